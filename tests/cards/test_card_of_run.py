import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard as HubCard
from markdown_it import MarkdownIt
from sample_runs import (
    CLASSES,
    FINETUNE,
    HONEST,
    LEAKY,
    RECIPE,
    UNCALIBRATED,
    edit,
    labels,
    run_of,
    save_frozen,
)
from zero_crossings import ZeroCrossings

from ser_transfer.cards import CardError, card_of_run
from ser_transfer.cross_validation import mean_temperature
from ser_transfer.runs import save_run

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = "x | <script>alert(1)</script> ](javascript:1) \n---\nlicense: mit"


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Drawing takes longest, and one test looks at it."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("ser_transfer.cards.model_card.card_figures", lambda run, title: {})


@pytest.fixture
def drawn():
    """For the test that looks at figures."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Runs that tests copy before they damage them."""
    root = tmp_path_factory.mktemp("runs")
    encoder, honest = ZeroCrossings(), run_of(HONEST)
    save_frozen(honest, root / "honest", encoder)
    save_frozen(run_of(LEAKY), root / "leaky", encoder)
    save_frozen(
        run_of(UNCALIBRATED, title="folder"), root / "own", encoder, recipe={**RECIPE, "corpus": "folder"}
    )
    save_frozen(replace(honest, leak=run_of(LEAKY)), root / "told", encoder)
    return root


@pytest.fixture
def folder(kept, tmp_path):
    def copy(name):
        return Path(shutil.copytree(kept / name, tmp_path / name))

    return copy


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def leading(described):
    return next(each for each in described["systems"].values() if each["role"] == "encoder")


def tables(text):
    """Every table as a list of its rows, by the heading above it."""
    found, heading, rows = {}, "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("## "):
            heading = line[3:]
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            found.setdefault(heading, []).append([rows[0], *rows[2:]])
            rows = []
    return found


def three(value):
    return f"{value:.3f}"


def spread(ends):
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def test_the_hubs_own_tools_read_back_what_was_meant(folder, tmp_path):
    run = folder("honest")
    card = card_of_run(run, repo_id="someone/voices", title="Voices")
    card.write(tmp_path / "written")
    read = HubCard.load(tmp_path / "written" / "README.md")
    assert read.data.to_dict() == card.metadata
    assert str(read) == card.text
    assert read.data.pipeline_tag == "audio-classification"
    assert read.data.model_name == "Voices"
    scores = leading(metrics(run))
    told = {result.metric_type: result.metric_value for result in read.data.eval_results}
    assert told == {"recall": scores["uar"], "accuracy": scores["wa"], "f1": scores["macro_f1"]}
    assert all("speaker-independent" in result.metric_name for result in read.data.eval_results)


def test_every_number_of_the_tables_is_that_of_metrics_json(folder):
    run = folder("told")
    text, described = card_of_run(run).text, metrics(run)
    found, scores = tables(text), leading(described)
    systems = described["systems"].values()
    assert found[""] == [
        [
            ["tested", "UAR", "95 % interval", "accuracy", "macro F1"],
            *[
                [
                    name,
                    three(each["uar"]),
                    spread(each["intervals"]["uar"]),
                    three(each["wa"]),
                    three(each["macro_f1"]),
                ]
                for name, each in zip(
                    ("**this model**", "handcrafted baseline (mfcc)", "always the most frequent emotion"),
                    systems,
                    strict=True,
                )
            ],
        ]
    ]
    assert found["Scores by emotion"][0][1:] == [
        [
            emotion,
            *(three(scores[part][emotion]) for part in ("recall", "precision", "f1")),
            str(sum(scores["confusion"][row])),
        ]
        for row, emotion in enumerate(scores["classes"])
    ]
    assert [row[1:] for row in found["How far to trust the probabilities"][0][1:]] == [
        [three(scores["calibration"][when][part]) for part in ("ece", "brier")]
        for when in ("before", "after")
    ]
    by = scores["groups"]["sentence"]
    assert [row[2:6] for row in found["Whom and what it understands least"][0][1:]] == [
        [name, three(by[name]["uar"]), spread(by[name]["interval"]), str(by[name]["n"])]
        for name in sorted(by, key=lambda name: by[name]["uar"])
    ]
    leak = leading(described["speaker_dependent"])
    [section] = found["Not speaker-independent: what a leak would add"]
    assert section[1][1] == three(scores["uar"])
    assert section[2][1:3] == [three(leak["uar"]), spread(leak["intervals"]["uar"])]
    gap = scores["above_baseline"]
    assert f"{gap['uar']:+.3f} UAR (95 % interval {gap['interval'][0]:+.3f} to " in text
    assert f"p = {gap['p_value']:.4f}" in text


def test_scores_of_a_leak_stand_in_their_own_section_alone(folder):
    run = folder("told")
    card = card_of_run(run)
    leak = leading(metrics(run)["speaker_dependent"])
    row = f"{three(leak['uar'])} | {spread(leak['intervals']['uar'])}"
    before, _, rest = card.text.partition("## Not speaker-independent")
    section, _, after = rest.partition("\n## ")
    assert row in section
    assert "Do not quote" in section
    assert row not in before + after
    assert "speaker-dependent**" not in before + after
    assert str(leak["uar"]) not in json.dumps(card.metadata)


def test_a_speaker_dependent_run_gives_the_hub_no_result_and_says_so_first(folder):
    card = card_of_run(folder("leaky"))
    assert "model-index" not in card.metadata
    assert "model-index" not in card.text
    body = card.text.split("\n---\n", 1)[1]
    assert body.split("\n\n")[1].startswith("> **NOT SPEAKER-INDEPENDENT.**")
    assert HubCard(card.text).data.eval_results is None


def test_a_speaker_dependent_run_cannot_be_passed_off_as_another(folder):
    run = folder("leaky")
    edit(run / "metrics.json", lambda told: told.update(speaker_independent=True))
    edit(run / "model" / "config.json", lambda told: told["training"].update(speaker_independent=True))
    with pytest.raises(CardError, match="calls itself speaker-independent"):
        card_of_run(run)
    # Not by another name of the split either: its own tables show who validated it.
    edit(run / "metrics.json", lambda told: told["split"].update(name="speaker-folds"))
    with pytest.raises(CardError, match="shares speakers between the sides"):
        card_of_run(run)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: leading(told).update(uar=0.99),
        lambda told: leading(told)["recall"].update(anger=1.0),
        lambda told: leading(told)["intervals"].update(uar=[0.9, 0.95]),
        lambda told: leading(told)["calibration"]["after"].update(ece=0.001),
        lambda told: leading(told)["above_baseline"].update(uar=0.5),
        lambda told: leading(told).update(worst_group={"column": "sentence", "value": "none of it"}),
        lambda told: leading(told).pop("f1"),
        lambda told: told["speaker_dependent"]["systems"]["mfcc"].update(uar=0.1),
    ],
)
def test_a_score_that_its_answers_do_not_have_is_refused_in_one_line(folder, change):
    run = folder("told")
    edit(run / "metrics.json", change)
    with pytest.raises(CardError) as caught:
        card_of_run(run)
    assert "\n" not in str(caught.value)
    assert "run it again" in str(caught.value)


def test_the_model_of_another_run_is_refused(folder):
    run = folder("honest")
    edit(run / "model" / "config.json", lambda told: told.update(temperature=3.0))
    with pytest.raises(CardError, match=r"is not the model of this run: its temperature is 3\.0"):
        card_of_run(run)
    edit(run / "model" / "config.json", lambda told: told["training"].update(uar=0.5))
    with pytest.raises(CardError, match=r"is not the model of this run: its UAR is 0\.5"):
        card_of_run(run)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "metrics.json").unlink(), "no run in"),
        (
            lambda run: (run / "recipe.yaml").write_text("corpus: ravdess\nencoders: a,b\n"),
            "is a run of compare",
        ),
        (lambda run: (run / "recipe.yaml").write_text("corpus: ravdess\nmodel: a\n"), "is a run of evaluate"),
        (
            lambda run: (run / "recipe.yaml").write_text("corpus: ravdess\nencoder: a\n"),
            "is a run of pretrain",
        ),
        (lambda run: (run / "recipe.yaml").write_text("[1, 2"), "cannot be read"),
        (lambda run: shutil.rmtree(run / "model"), "kept no model"),
        (lambda run: (run / "model" / "config.json").unlink(), "no config.json"),
        (lambda run: (run / "model" / "config.json").write_text('{"encoder": 3}'), "damaged"),
        (lambda run: (run / "predictions.parquet").unlink(), "predictions.parquet is not there"),
        (lambda run: (run / "predictions.parquet").write_bytes(b"PAR1"), "predictions.parquet is damaged"),
        (lambda run: edit(run / "metrics.json", lambda told: told.update(format=99)), "newer ser_transfer"),
        (lambda run: edit(run / "metrics.json", lambda told: told.pop("split")), "split"),
    ],
)
def test_what_is_no_run_with_a_model_is_refused_in_one_line(folder, damage, said):
    run = folder("honest")
    damage(run)
    with pytest.raises(CardError, match=said) as caught:
        card_of_run(run)
    assert "\n" not in str(caught.value)


def test_hostile_words_stay_words(tmp_path, encoder):
    known = labels(sentences=(HOSTILE, "two"))
    recipe = {**RECIPE, "corpus": "folder", "language": HOSTILE, "head": HOSTILE, "allow": HOSTILE}
    audit = f"what is shared:\n\nshared  train\n{HOSTILE.replace(chr(10), ' ')} ```\n\nverdict"
    run = save_frozen(
        run_of(HONEST, known, title=HOSTILE, audit=audit), tmp_path / "run", encoder, known, recipe
    )
    calm = save_frozen(
        run_of(HONEST, title="calm"), tmp_path / "calm", encoder, recipe={**RECIPE, "corpus": "folder"}
    )
    card, like = card_of_run(run, title=HOSTILE), card_of_run(calm, title="calm")
    header, _, body = card.text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header).keys() == like.metadata.keys()
    assert "license" not in card.metadata
    assert HubCard(card.text).data.to_dict() == card.metadata
    html, calm_html = MARKDOWN.render(body), MARKDOWN.render(like.text.split("\n---\n", 1)[1])
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert not re.search(r'(?:href|src)="javascript', html)
    assert {
        html.count(f"<{tag}") - calm_html.count(f"<{tag}") for tag in ("table", "h1", "h2", "img", "a ")
    } == {0}
    for tokens in (MARKDOWN.parse(body),):
        widths, row = set(), 0
        for token in tokens:
            row = row + 1 if token.type in ("td_open", "th_open") else row
            if token.type == "tr_close":
                widths.add(row)
                row = 0
        assert widths <= {2, 3, 5, 7}


def test_what_is_not_known_is_left_out(folder):
    card = card_of_run(folder("own"))
    assert {"language", "license", "datasets", "base_model"}.isdisjoint(card.metadata)
    body = card.text.split("\n---\n", 1)[1]
    for word in (
        "None",
        "nan",
        "licence",
        "citation",
        "**language:**",
        "How far to trust",
        "reliability.png",
    ):
        assert word not in body, word
    assert "a leak would add" not in body
    for section in body.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        assert text.strip(), f"{heading} is empty"


def test_what_the_corpus_is_known_for_is_said(folder):
    card = card_of_run(folder("honest"))
    assert card.metadata["language"] == ["en"]
    for words in (
        "**licence of the recordings:** CC-BY-NC-SA-4.0",
        "Livingstone, S. R., & Russo, F. A. (2018)",
        "**speakers:** 6 of 24",
        "**Do not test it on RAVDESS**",
        "trained on its speakers 01, 02, 03, 04, 05 and 06",
        "the emotion that an actor was asked to play",
        "Article 5(1)(f)",
        "Annex III, point 1(c)",
        "Article 50(3)",
        "not a lie detector",
    ):
        assert words in card.text, words


def test_no_place_on_the_makers_machine_gets_into_the_card(folder):
    card = card_of_run(folder("told"))
    assert "secret" not in card.text
    assert "/home" not in card.text


def test_an_id_is_given_only_where_the_hub_is_known_to_have_it(folder, tmp_path, monkeypatch):
    run = folder("own")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    edit(run / "model" / "config.json", lambda told: told["encoder"].update(name="lab/encoder"))
    recipe = {**RECIPE, "corpus": "dataset", "root": "lab/speech"}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert {"datasets", "base_model"}.isdisjoint(card_of_run(run).metadata)
    for name in ("models--lab--encoder", "datasets--lab--speech"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    told = card_of_run(run).metadata
    assert (told["base_model"], told["datasets"]) == ("lab/encoder", ["lab/speech"])


def test_the_id_stands_in_lines_that_are_python(folder):
    run = folder("honest")
    text = card_of_run(run, repo_id="someone/voices").text
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(code, "card", "exec")
    assert 'EmotionModel.from_pretrained("someone/voices")' in code
    with pytest.raises(CardError, match="no id of a model"):
        card_of_run(run, repo_id='x"); import os; ("')


def test_figures_are_png_files_that_the_text_shows_with_words(folder, tmp_path, drawn):
    card = card_of_run(folder("honest"), title="costs $\\frac$ 5")
    shown = dict(re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", card.text))
    assert set(shown.values()) == set(card.figures) == {"confusion_matrix.png", "reliability.png"}
    assert all(len(alt) > 40 for alt in shown)
    card.write(tmp_path / "repo")
    assert {path.name for path in (tmp_path / "repo").iterdir()} == {"README.md", *card.figures}
    for name in card.figures:
        assert (tmp_path / "repo" / name).read_bytes().startswith(b"\x89PNG")


def test_a_write_that_fails_leaves_the_old_card_whole(folder, tmp_path, monkeypatch):
    card = card_of_run(folder("honest"))
    (tmp_path / "README.md").write_text("old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CardError, match="No space left on device"):
        card.write(tmp_path)
    assert (tmp_path / "README.md").read_text() == "old"
    assert not list(tmp_path.glob("*.part*"))


def test_a_fine_tuned_network_is_told_as_what_loads_it(tmp_path):
    from encoders.tiny_checkpoints import save_checkpoint

    from ser_transfer.finetuning.networks import load_network

    run = run_of(HONEST, finetuned=True)
    save_run(run, tmp_path / "run", FINETUNE, plots=False)
    checkpoint = save_checkpoint("wav2vec2-base", tmp_path / "checkpoint")
    facts = {
        "corpus": "ravdess",
        "corpus_name": "ravdess",
        "split": HONEST.description,
        "speaker_independent": True,
        "uar": run.systems[0].scores.uar,
        "speakers": ["01", "02"],
        "temperature": mean_temperature(run.systems[0].predictions),
    }
    load_network(str(checkpoint), CLASSES).save(tmp_path / "run" / "model", facts)
    card = card_of_run(tmp_path / "run", repo_id="someone/voices")
    assert card.metadata["library_name"] == "transformers"
    assert 'pipeline("audio-classification", model="someone/voices")' in card.text
    assert str(tmp_path) not in card.text
    assert "Training and testing in all 2 folds took 14401.0 s (4.0 hours)" in card.text
    assert f"a temperature of {facts['temperature']:.3f}" in card.text
    assert card.metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == run.systems[0].scores.uar


def test_what_was_said_by_people_of_an_unpublished_corpus_is_not_repeated(tmp_path):
    said = ("I never told my wife", "the money is in Zug")
    noted = replace(HONEST, notes=("fold Anneliese: nobody to validate on",))
    run, known = run_of(noted, labels(said), title="folder"), labels(said)
    save_frozen(run, tmp_path / "own", ZeroCrossings(), known, {**RECIPE, "corpus": "folder"})
    save_frozen(run, tmp_path / "published", ZeroCrossings(), known)
    own, published = (card_of_run(tmp_path / name).text for name in ("own", "published"))
    for words in (*said, "Anneliese"):
        assert words in published
        assert words not in own
    assert "The run's report says more of 1 of its folds." in own
