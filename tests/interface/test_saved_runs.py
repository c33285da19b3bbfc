"""Finished runs read for showing: the very scores they were saved with, and only equals in one ranking."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ser_transfer.cross_validation import Choice, Labels, Predictions, majority_floor
from ser_transfer.interface.rankings import HEADER, rankings
from ser_transfer.interface.saved_runs import LEAKED, find_runs, reliability_of
from ser_transfer.metrics import reliability
from ser_transfer.runs import MAJORITY, Run, System, save_run, saved_run
from ser_transfer.splits import Fold, Split

CLASSES = ("neutral", "anger", "fear")
SPEAKERS = ("s0", "s1", "s2", "s3")
IDS = tuple(f"{speaker}-{emotion}-{take}" for speaker in SPEAKERS for emotion in CLASSES for take in range(4))
LABELS = Labels(
    emotions={id_: id_.split("-")[1] for id_ in IDS},
    speakers={id_: id_.split("-")[0] for id_ in IDS},
    classes=CLASSES,
    groups={},
)


def of_speakers(*speakers):
    return tuple(id_ for id_ in IDS if id_.split("-")[0] in speakers)


def split_of(first, second, **settings):
    """Two folds; each tests two speakers, and has one of the others to validate on."""
    folds = (
        Fold("1", of_speakers(second[0]), of_speakers(second[1]), of_speakers(*first)),
        Fold("2", of_speakers(first[0]), of_speakers(first[1]), of_speakers(*second)),
    )
    told = {"name": "speaker-folds", "speaker_independent": True, "description": "2 folds"} | settings
    return Split(folds=folds, **told)


SPLIT = split_of(("s0", "s1"), ("s2", "s3"))
OTHER_FOLDS = split_of(("s0", "s2"), ("s1", "s3"))
LEAKY = replace(SPLIT, name="speaker-dependent", speaker_independent=False, description="random folds")


def predictions(split, seed, strength):
    """Answers that are right the more often, the greater the strength."""
    rng = np.random.default_rng(seed)
    sides = {}
    for side in ("test", "validation"):
        ids = [id_ for fold in split.folds for id_ in getattr(fold, f"{side}_ids")]
        logits = rng.normal(size=(len(ids), 3))
        for row, id_ in enumerate(ids):
            logits[row, CLASSES.index(LABELS.emotions[id_])] += strength
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        folds = [fold.name for fold in split.folds for _ in getattr(fold, f"{side}_ids")]
        sides[side] = (tuple(ids), tuple(folds), probabilities)
    ids, folds, probabilities = sides["test"]
    validation_ids, validation_folds, validation = sides["validation"]
    truth = tuple(LABELS.emotions[id_] for id_ in ids)
    choices = {
        "1": Choice({"net": {"layers": ["layer_01"], "pooling": "mean"}}, "lda", {}, None, 0.6),
        "2": Choice({"net": {"layers": ["layer_00", "layer_01"], "pooling": "mean"}}, "lda", {}, None, 0.5),
    }
    return Predictions(
        utterance_ids=ids,
        folds=folds,
        speakers=tuple(LABELS.speakers[id_] for id_ in ids),
        truth=truth,
        probabilities=probabilities,
        classes=CLASSES,
        choices=choices,
        temperatures={"1": 0.5, "2": 2.0},
        validation_ids=validation_ids,
        validation_folds=validation_folds,
        validation_truth=tuple(LABELS.emotions[id_] for id_ in validation_ids),
        validation=validation,
        by_layer={"layer_00": truth, "layer_01": tuple(reversed(truth))},
    )


def run_on(split, name="net", strength=2.0, seed=0, normalised=False):
    systems = (
        System.scored(name, "encoder", predictions(split, seed, strength), LABELS),
        System.scored("mfcc", "baseline", predictions(split, 99, 0.5), LABELS),
        System.scored(MAJORITY, "floor", majority_floor(LABELS, split), LABELS),
    )
    return Run("toy", split, None, normalised, systems)


@pytest.fixture(scope="module")
def run():
    return replace(run_on(SPLIT), leak=run_on(LEAKY, strength=4.0))


@pytest.fixture
def root(run, tmp_path):
    save_run(run, tmp_path / "outputs" / "first", {}, plots=False)
    return tmp_path / "outputs"


def test_a_shown_run_has_the_scores_that_it_was_saved_with(root):
    shown = find_runs(root).runs["first"]
    oracle = saved_run(root / "first", LABELS)
    assert {each.name for each in shown.systems} == {each.name for each in oracle.systems}
    for theirs in oracle.systems:
        ours = next(each for each in shown.systems if each.name == theirs.name)
        assert ours.role == theirs.role
        assert ours.scores == theirs.scores


def test_the_difference_to_the_baseline_is_the_runs_own(run, root):
    shown = find_runs(root).runs["first"]
    assert shown.systems[0].above == run.differences["net"]
    assert shown.baseline.name == "mfcc"
    assert shown.baseline.above is None


def test_reliability_is_of_the_test_speakers_before_and_after_the_folds_own_temperatures(run, root):
    shown = find_runs(root).runs["first"]
    found = run.systems[0].predictions
    before, after = reliability_of(shown, shown.systems[0])
    assert before == reliability(found.probabilities, found.truth, CLASSES)
    assert after == reliability(found.calibrated, found.truth, CLASSES)
    assert before != after


def test_the_layer_curve_and_the_folds_that_chose_a_layer_are_read(root):
    system = find_runs(root).runs["first"].systems[0]
    assert system.layers["layer_00"][0] == 1.0  # its answers are the truth
    assert system.layers["layer_01"][0] < 1.0
    assert system.chosen == {"layer_01": 1}  # the other fold chose two layers together


def test_the_split_that_leaks_is_a_run_of_its_own_with_its_warning(root):
    runs = find_runs(root).runs
    assert list(runs) == ["first", "first" + LEAKED]
    assert runs["first"].warnings == ()
    assert runs["first" + LEAKED].warnings == ("NOT SPEAKER-INDEPENDENT: random folds",)
    assert runs["first" + LEAKED].systems[0].scores.uar > runs["first"].systems[0].scores.uar


def change(path, what):
    described = json.loads(path.read_text())
    what(described)
    path.write_text(json.dumps(described))


DAMAGES = {
    "no json": lambda folder: (folder / "metrics.json").write_text("{"),
    "a list": lambda folder: (folder / "metrics.json").write_text("[]"),
    "nested without end": lambda folder: (folder / "metrics.json").write_text("[" * 200_000),
    "not text": lambda folder: (folder / "metrics.json").write_bytes(b"\xff\xfe\x00"),
    "newer": lambda folder: change(folder / "metrics.json", lambda told: told.update(format=10**6)),
    "format in words": lambda folder: change(folder / "metrics.json", lambda told: told.update(format="1")),
    "no systems": lambda folder: change(folder / "metrics.json", lambda told: told.update(systems={})),
    "systems is a list": lambda folder: change(
        folder / "metrics.json", lambda told: told.update(systems=[1])
    ),
    "no split": lambda folder: change(folder / "metrics.json", lambda told: told.pop("split")),
    "score beyond 1": lambda folder: change(
        folder / "metrics.json", lambda told: told["systems"]["net"].update(uar=1.2)
    ),
    "score not a number": lambda folder: change(
        folder / "metrics.json", lambda told: told["systems"]["net"].update(uar=float("nan"))
    ),
    "unknown role": lambda folder: change(
        folder / "metrics.json", lambda told: told["systems"]["net"].update(role="winner")
    ),
    "other scores than answers": lambda folder: change(
        folder / "metrics.json",
        lambda told: told["systems"]["net"]["confusion"].reverse(),
    ),
    "no answers": lambda folder: (folder / "predictions.parquet").unlink(),
    "answers cut short": lambda folder: (folder / "predictions.parquet").write_bytes(
        (folder / "predictions.parquet").read_bytes()[:500]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_told_in_words_and_costs_the_others_nothing(damage, root):
    save_run(run_on(SPLIT, seed=1), root / "second", {}, plots=False)
    DAMAGES[damage](root / "first")
    found = find_runs(root)
    assert "first" not in found.runs
    assert "second" in found.runs
    assert "run it again" in found.refused["first"] or "pip install" in found.refused["first"]
    assert "\n" not in found.refused["first"]
    assert str(root) not in found.refused["first"]  # where things lie here is no visitor's business


def test_a_run_older_than_the_format_number_is_shown_all_the_same(root):
    change(root / "first" / "metrics.json", lambda told: told.pop("format"))
    assert "first" in find_runs(root).runs


def test_a_run_that_was_run_again_is_read_again(root):
    before = find_runs(root).runs["first"].systems[0].scores.uar
    save_run(run_on(SPLIT, strength=9.0, seed=5), root / "first", {}, plots=False)
    found = find_runs(root).runs
    assert found["first"].systems[0].scores.uar > before
    assert "first" + LEAKED not in found


def test_answers_that_were_replaced_since_the_last_look_are_noticed(root):
    assert "first" in find_runs(root).runs
    save_run(run_on(SPLIT, strength=9.0, seed=5), root / "second", {}, plots=False)
    (root / "second" / "predictions.parquet").replace(root / "first" / "predictions.parquet")
    assert "do not fit together" in find_runs(root).refused["first"]


def test_runs_are_found_in_groups_but_not_inside_runs_nor_hidden_nor_round_a_link(run, root):
    save_run(run, root / "group" / "paper" / "deep", {}, plots=False)
    save_run(run, root / "first" / "folds" / "inner", {}, plots=False)
    save_run(run, root / ".hidden", {}, plots=False)
    save_run(run, root / "a" / "b" / "c" / "too_deep", {}, plots=False)
    (root / "loop").symlink_to(root, target_is_directory=True)
    names = {name for name in find_runs(root).runs if not name.endswith(LEAKED)}
    assert {name for name in names if not name.startswith("loop/")} == {"first", "group/paper/deep"}
    assert find_runs(root / "first").runs.keys() == {"first", "first" + LEAKED}
    assert find_runs(root / "nowhere").runs == {}


def rankings_of(folder, runs):
    for name, each in runs.items():
        save_run(each, folder / name, {}, plots=False)
    return rankings(find_runs(folder).runs.values())


def systems_of(ranking):
    return [entry.system.name for entry in ranking.entries]


def test_a_ranking_is_sorted_by_uar_over_all_runs(tmp_path):
    found = rankings_of(
        tmp_path,
        {
            "a": run_on(SPLIT, "good", strength=1.0),
            "b": run_on(SPLIT, "better", strength=9.0, seed=1),
        },
    )
    assert len(found) == 1
    assert systems_of(found[0])[:2] == ["better", "good"]
    scores = [entry.system.scores.uar for entry in found[0].entries]
    assert scores == sorted(scores, reverse=True)


def test_a_baseline_and_a_floor_that_runs_share_are_one_row(tmp_path):
    (found,) = rankings_of(tmp_path, {"a": run_on(SPLIT, "one"), "b": run_on(SPLIT, "two", seed=1)})
    assert sorted(systems_of(found)) == [MAJORITY, "mfcc", "one", "two"]
    shared = {entry.system.name: entry.runs for entry in found.entries}
    assert shared["mfcc"] == shared[MAJORITY] == ("a", "b")
    assert shared["one"] == ("a",)


@pytest.mark.parametrize(
    "other",
    [
        run_on(OTHER_FOLDS),
        run_on(LEAKY),
        run_on(SPLIT, normalised=True),
        replace(run_on(SPLIT), corpus="another"),
    ],
    ids=["other folds", "speakers on both sides", "speaker-normalised", "another corpus"],
)
def test_scores_that_were_not_got_alike_never_stand_in_one_ranking(other, tmp_path):
    found = rankings_of(tmp_path, {"a": run_on(SPLIT), "b": other})
    assert len(found) == 2
    assert {entry.runs for ranking in found for entry in ranking.entries} == {("a",), ("b",)}
    assert found[0].title != found[1].title or found[0].warnings != found[1].warnings


def test_warned_rankings_come_last_and_say_why(tmp_path):
    found = rankings_of(
        tmp_path, {"a": run_on(LEAKY), "b": run_on(SPLIT), "c": run_on(SPLIT, normalised=True)}
    )
    assert [len(each.warnings) for each in found] == [0, 1, 1]
    told = {word for each in found for warning in each.warnings for word in warning.split(":")[:1]}
    assert told == {"NOT SPEAKER-INDEPENDENT", "SPEAKER-NORMALISED"}


def test_a_row_holds_score_interval_difference_and_p(run, tmp_path):
    (found,) = rankings_of(tmp_path, {"a": replace(run, leak=None)})
    header, first, *_ = found.rows()
    assert header == HEADER
    above, scores = run.differences["net"], run.systems[0].scores
    low, high = run.systems[0].interval
    assert first == (
        "net",
        f"{scores.uar:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{scores.wa:.3f}",
        f"{above.uar:+.3f}",
        f"{above.interval[0]:+.3f} to {above.interval[1]:+.3f}",
        f"{above.p_value:.4f}",
        "a",
    )


def test_columns_of_a_difference_that_no_run_measured_are_left_out(tmp_path):
    alone = run_on(SPLIT)
    (found,) = rankings_of(tmp_path, {"a": replace(alone, systems=(alone.systems[0], alone.systems[2]))})
    assert found.rows()[0] == ("system", "UAR", "95 % interval", "WA", "run")
    assert {len(row) for row in found.rows()} == {5}
