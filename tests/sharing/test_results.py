import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from private_corpus import EMOTIONS, PEOPLE, SECRET, embedded, private_corpus
from sklearn.metrics import balanced_accuracy_score

from ser_transfer import train
from ser_transfer.runs import save_run
from ser_transfer.sharing.errors import SharingError
from ser_transfer.sharing.results import results_repository


def finished(folder: Path, corpus="folder", *, root=SECRET, title=None, leak=True, **options) -> Path:
    """A run on a corpus of three people; its folds are called after them."""
    loaded = private_corpus(corpus)
    given = embedded(loaded, dim=5, name="/home/someone/secret/encoder").embeddings
    baseline = embedded(loaded, dim=2, name="mfcc", fingerprint="1" * 64).embeddings
    run = train(
        loaded,
        given,
        baseline=baseline,
        head="lda",
        show_leak=leak,
        title=title,
        **{"split": "loso", "n_folds": 3} | options,
    )
    recipe = {"corpus": corpus, "root": root, "encoder": SECRET, "head": "lda", "store": SECRET}
    save_run(run, folder, recipe, plots=False)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two honest runs, one on a published corpus and one on somebody's own, and one that leaks."""
    root = tmp_path_factory.mktemp("runs") / "outputs"
    finished(root / "published", "ravdess")
    finished(root / "own", title="Ward seven's patients")
    finished(root / "group/leaky", "ravdess", leak=False, split="speaker-dependent")
    return root


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "results"
    results_repository([runs], folder, repo_id="ada/results")
    return folder


def rows(folder: Path, config: str) -> pd.DataFrame:
    return pd.read_parquet(folder / config)


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def everything(folder: Path) -> str:
    told = []
    for path in sorted(folder.rglob("*.*")):
        told.append(path.relative_to(folder).as_posix())
        if path.suffix == ".parquet":
            told.append(pq.read_table(path).to_pandas().to_string() + path.read_bytes().decode("latin-1"))
        else:
            told.append(path.read_text(encoding="utf-8"))
    return "\n".join(told)


def test_the_numbers_are_those_of_metrics_json_and_follow_from_the_answers(runs, made):
    board, answers = rows(made, "leaderboard"), rows(made, "predictions")
    n_seen = 0
    for name in ("published", "own", "group/leaky"):
        described = metrics(runs / name)
        for told in (described, described["speaker_dependent"]):
            for system, scores in (told or {"systems": {}})["systems"].items():
                n_seen += 1
                shown = system.replace("/home/someone/secret/", "")
                where = f"run == {name!r} and split == {told['split']['name']!r} and system == {shown!r}"
                [row] = board.query(where).to_dict("records")
                assert row["uar"] == scores["uar"]
                assert row["wa"] == scores["wa"]
                assert row["macro_f1"] == scores["macro_f1"]
                assert [row["uar_low"], row["uar_high"]] == scores["intervals"]["uar"]
                assert row["n_utterances"] == scores["n_utterances"] == 36
                assert row["speaker_independent"] == told["speaker_independent"]
                if "above_baseline" in scores:
                    assert row["above_baseline"] == scores["above_baseline"]["uar"]
                    assert row["p_value"] == scores["above_baseline"]["p_value"]
                found = answers.query(where)
                assert len(found) == 36
                assert balanced_accuracy_score(found["truth"], found["predicted"]) == pytest.approx(
                    row["uar"]
                )
    assert len(board) == n_seen == 3 * 5


def test_every_answer_on_a_published_corpus_is_the_runs_own_to_the_last_bit(runs, made):
    answers = rows(made, "predictions")
    for split, path in (("leave-one-speaker-out", ""), ("speaker-dependent", "speaker_dependent")):
        kept = pd.read_parquet(runs / "published" / path / "predictions.parquet")
        found = answers.query(f"run == 'published' and split == {split!r}").reset_index(drop=True)
        kept["system"] = kept["system"].str.replace("/home/someone/secret/", "")
        columns = [name for name in kept.columns if not name.startswith("predicted_by_")]
        assert {f"p_{emotion}" for emotion in EMOTIONS} < set(columns)
        pd.testing.assert_frame_equal(found[columns], kept[columns], check_exact=True)


def test_nobody_in_a_corpus_of_ones_own_is_named_and_no_place_of_the_machine(made):
    answers = rows(made, "predictions").query("run == 'own'")
    assert set(answers["speaker"]) == {"speaker_1", "speaker_2", "speaker_3"}
    assert set(answers.query("not speaker_independent")["fold"]) == {"1", "2", "3"}
    by_fold = answers.query("speaker_independent").groupby("fold")["speaker"].nunique()
    assert by_fold.to_dict() == {"1": 1, "2": 1, "3": 1}
    for name in ("leaderboard", "predictions"):
        table = rows(made, name)
        own = table[table["run"] == "own"].to_string()
        assert not any(secret in own for secret in (*PEOPLE, "ward-seven"))
    shown = "\n".join(path.read_text("utf-8") for path in (made / "README.md", made / "results.json"))
    assert not any(secret in shown for secret in (*PEOPLE, "ward-seven", "my-diagnosis-is"))
    assert SECRET not in everything(made)
    assert "/home" not in everything(made)


def test_numbers_in_place_of_names_say_nothing_of_the_names(tmp_path, monkeypatch):
    """The same answers of people with other names, in another order: the same files, byte for byte."""
    # Intervals are drawn over speakers in the order of their names, so these would be a little others.
    monkeypatch.setattr("ser_transfer.sharing.finished_runs.refuse_other_numbers", lambda *_: None)
    first = finished(tmp_path / "first/own", leak=False)
    again = tmp_path / "again/own"
    shutil.copytree(first, again)
    called = dict(zip(PEOPLE, ("mallory-z", "ann-a", "bob-b"), strict=True))
    for path in again.iterdir():
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            texts = table.columns[table.map(lambda cell: isinstance(cell, str)).any()]
            for name in texts:
                for old, new in called.items():
                    table[name] = table[name].str.replace(old, new)
            table.to_parquet(path)
        elif path.suffix == ".json":
            text = path.read_text(encoding="utf-8")
            for old, new in called.items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
    for run in (first, again):
        results_repository([run], run.parent / "made")
    for name in ("leaderboard", "predictions"):
        ours, theirs = (
            (folder / "made" / name / "test-00000-of-00001.parquet").read_bytes()
            for folder in (first.parent, again.parent)
        )
        assert ours == theirs


def test_a_person_has_one_number_in_all_runs_on_the_same_recordings(tmp_path):
    finished(tmp_path / "runs/one", leak=False)
    finished(tmp_path / "runs/two", leak=False, split="speaker-dependent")
    results_repository([tmp_path / "runs"], tmp_path / "made")
    answers = rows(tmp_path / "made", "predictions")
    per_run = [
        dict(zip(found["utterance_id"], found["speaker"] + found["truth"], strict=True))
        for _, found in answers.groupby("run")
    ]
    assert per_run[0] == per_run[1]
    assert len(per_run[0]) == 36


def test_what_shares_speakers_says_so_in_every_row_and_never_stands_among_the_others(made):
    board, answers = rows(made, "leaderboard"), rows(made, "predictions")
    leaky = board.query("not speaker_independent")
    assert set(leaky["split"]) == {"speaker-dependent"}
    assert set(leaky["run"]) == {"published", "own", "group/leaky"}
    for _, row in leaky.iterrows():
        assert "same speakers on both sides" in row["split_in_words"]
    assert set(answers.query("not speaker_independent")["split"]) == {"speaker-dependent"}
    text = (made / "README.md").read_text(encoding="utf-8")
    assert text.index("NOT SPEAKER-INDEPENDENT") < text.index("| run |")
    honest, _, dependent = text.partition("## NOT SPEAKER-INDEPENDENT")
    assert "group/leaky" not in honest
    assert "Do not quote these numbers" in dependent
    assert "group/leaky (**NOT SPEAKER-INDEPENDENT**)" in dependent
    data = DatasetCard(text).data
    assert data.license is None
    assert [config["config_name"] for config in data.configs] == ["leaderboard", "predictions"]
    assert data.task_categories == ["audio-classification"]
    assert "**licence of the recordings:** CC-BY-NC-SA-4.0" in text


def test_a_title_of_the_users_stays_words(tmp_path):
    hostile = "x | <script>alert(1)</script> \n---\nlicense: mit"
    finished(tmp_path / "runs/own", leak=False, title=hostile)
    results_repository([tmp_path / "runs"], tmp_path / "made", title=hostile)
    card = DatasetCard((tmp_path / "made/README.md").read_text(encoding="utf-8"))
    assert card.data.license is None
    assert "<script" not in card.text


def test_pushed_results_come_back_by_datasets_alone(made, hub_server, tmp_path):
    script = f"""
import json
from ser_transfer.hub import push_folder
push_folder({str(made)!r}, "ada/results", repo_type="dataset", message="Results")
from huggingface_hub import DatasetCard
DatasetCard.load("ada/results").validate()
"""
    hub_server.python(script, tmp_path / "pusher")
    script = """
import json, sys
from datasets import load_dataset
found = [load_dataset("ada/results", name, split="test").to_dict() for name in ("leaderboard", "predictions")]
assert not any(name.startswith("ser_transfer") for name in sys.modules)
print(json.dumps(found))
"""
    found = json.loads(hub_server.python(script, tmp_path / "puller").splitlines()[-1])
    for name, pulled in zip(("leaderboard", "predictions"), found, strict=True):
        ours = pq.read_table(made / name).to_pydict()
        assert ours == pulled


def edit(path: Path, change) -> None:
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("published", lambda m: m["systems"]["mfcc"].update(uar=0.99), "says other scores of mfcc"),
        ("published", lambda m: m["speaker_dependent"]["systems"]["mfcc"].update(wa=0.99), "other scores"),
        ("group/leaky", lambda m: m.update(speaker_independent=True), "calls itself speaker-independent"),
        ("published", lambda m: m.pop("format"), "run it again"),
        ("published", lambda m: m.update(format=99), "newer ser_transfer"),
        ("published", lambda m: m["systems"]["mfcc"].pop("uar"), "no 'uar'"),
    ],
)
def test_a_run_that_does_not_bear_out_what_it_says_is_refused_in_one_line(
    name, change, message, runs, tmp_path
):
    shutil.copytree(runs / name, tmp_path / "run")
    edit(tmp_path / "run/metrics.json", change)
    with pytest.raises(SharingError, match=message) as refusal:
        results_repository([tmp_path / "run"], tmp_path / "made")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "made").exists()


def test_of_a_folder_of_runs_those_that_cannot_be_shared_are_named(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "outputs")
    edit(tmp_path / "outputs/own/metrics.json", lambda told: told.pop("format"))
    shutil.copytree(runs / "published", tmp_path / "outputs/published/folds/1")  # a part of that run
    with pytest.warns(UserWarning, match="left out: .*own"):
        results_repository([tmp_path / "outputs"], tmp_path / "made")
    assert set(rows(tmp_path / "made", "leaderboard")["run"]) == {"published", "group/leaky"}


def test_no_run_two_of_a_name_and_a_full_folder_are_refused(runs, made, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SharingError, match="no finished run in"):
        results_repository([tmp_path / "empty"], tmp_path / "made")
    with pytest.raises(SharingError, match="two runs are called own"):
        results_repository([runs / "own", runs / "own"], tmp_path / "made")
    with pytest.raises(SharingError, match="is not empty"):
        results_repository([runs], made)
    assert np.isfinite(rows(made, "leaderboard")["uar"]).all()
