"""A run's folder: what it keeps, what it clears, and the run that is read back from it."""

import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from ser_transfer.cross_validation import (
    Choice,
    FoldResult,
    HeadChoice,
    Labels,
    Predictions,
    Search,
    cross_validate,
    joined,
    majority_floor,
)
from ser_transfer.metrics import fit_temperature
from ser_transfer.plots import training_figure
from ser_transfer.runs import MAJORITY, Run, RunError, System, save_run, saved_run
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

CLASSES = ("neutral", "anger", "fear")
SPEAKERS = tuple(f"s{number}" for number in range(6))
IDS = tuple(f"{s}-{e}-{take}" for s in SPEAKERS for e in CLASSES for take in range(8))
LABELS = Labels(
    emotions={id_: id_.split("-")[1] for id_ in IDS},
    speakers={id_: id_.split("-")[0] for id_ in IDS},
    classes=CLASSES,
    groups={"gender": {id_: "female" if id_[1] in "024" else "male" for id_ in IDS}},
)
SEARCH = Search((HeadChoice("lda", {"shrinkage": 0.3}),))


def fold(name, test, validation):
    sides = {"test": [], "validation": [], "train": []}
    for id_ in sorted(IDS):
        speaker = id_.split("-")[0]
        sides["test" if speaker in test else "validation" if speaker in validation else "train"].append(id_)
    return Fold(name, *(tuple(sides[side]) for side in ("train", "validation", "test")))


SPLIT = Split(
    "speaker-folds",
    (fold("1", {"s0", "s1", "s2"}, {"s3"}), fold("2", {"s3", "s4", "s5"}, {"s0"})),
    True,
    "two folds",
)
LEAKY = replace(
    SPLIT, name="speaker-dependent", speaker_independent=False, description="speakers on both sides"
)


def embeddings(name, *strengths):
    """A layer per strength, each noise with so much of the emotion in it."""
    rng = np.random.default_rng(len(name))
    layers = {}
    for number, strength in enumerate(strengths):
        layer = rng.normal(size=(len(IDS), 5)).astype(np.float32)
        for row, id_ in enumerate(IDS):
            layer[row, CLASSES.index(LABELS.emotions[id_])] += strength
        layers[f"layer_{number:02d}"] = layer
    return Embeddings(IDS, layers, name, name.ljust(64, "0"), "mean", "float32")


def network(split=SPLIT, seed=0):
    """What a fine-tuning gives per fold: probabilities, a temperature and a training curve."""
    rng = np.random.default_rng(seed)
    results = []
    for each in split.folds:
        sides = []
        for ids in (each.validation_ids, each.test_ids):
            logits = rng.normal(size=(len(ids), 3))
            for row, id_ in enumerate(ids):
                logits[row, CLASSES.index(LABELS.emotions[id_])] += 1.0
            sides.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
        truth = [LABELS.emotions[id_] for id_ in each.validation_ids]
        history = tuple(
            {"epoch": n, "train_loss": 1 / n, "validation_loss": 0.1 * n, "validation_uar": 0.3 + n / 9}
            for n in range(1, 4)
        )
        choice = Choice({"net": {"layers": ["last"], "pooling": "mean"}}, "fine-tuned", {}, None, 0.6)
        temperature = fit_temperature(sides[0], truth, CLASSES) if truth else None
        results.append(FoldResult(choice, (), *sides, temperature, {}, 1234, 2.34567, history))
    return joined(LABELS, split, results)


def system(name, role, predictions, labels=LABELS):
    return System.scored(name, role, predictions, labels, {"given": name}, 0.7)


def whole_run(split=SPLIT):
    several, mfcc = embeddings("several", 0.5, 1.5), embeddings("mfcc", 0.6)
    systems = [
        system("several", "encoder", cross_validate(several, LABELS, split, SEARCH)),
        system("several+mfcc", "fusion", cross_validate([several, mfcc], LABELS, split, SEARCH)),
        system("net", "encoder", network(split)),
        system("mfcc", "baseline", cross_validate(mfcc, LABELS, split, SEARCH)),
        System.scored(MAJORITY, "floor", majority_floor(LABELS, split), LABELS),
    ]
    return Run("toy", split, SEARCH, False, tuple(systems))


@pytest.fixture(scope="module")
def run():
    return replace(whole_run(), leak=whole_run(LEAKY))


@pytest.fixture(scope="module")
def kept(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    save_run(run, folder, {}, plots=False)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    """A copy that a test may damage."""
    for path in kept.rglob("*.*"):
        copy = tmp_path / "run" / path.relative_to(kept)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "run"


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def as_json(found):
    return json.loads(json.dumps(found))


def alike(first, second):
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    return as_json(first) == as_json(second)


class TestReadBack:
    def test_every_score_is_that_of_metrics_json_to_the_last_digit(self, kept):
        """Scores, intervals, calibration, abstention, groups, layers, histories: all that is told of it."""
        metrics, saved = metrics_of(kept), saved_run(kept, LABELS)
        for written, read in ((metrics, saved), (metrics["speaker_dependent"], saved.leak)):
            assert list(written["systems"]) == [each.name for each in read.systems]
            assert read.speaker_independent is written["speaker_independent"]
            for each in read.systems:
                told = written["systems"][each.name]
                told.pop("above_baseline", None)
                assert as_json(each.to_dict()) == told
        net = metrics["systems"]["net"]
        assert net["calibration"]["abstention"]["wanted_accuracy"] == 0.7
        assert net["groups"]["gender"]
        assert metrics["systems"]["several"]["layers"]

    def test_the_answers_are_those_that_were_saved(self, run, kept):
        saved = saved_run(kept, LABELS)
        for before, after in zip(run.systems, saved.systems, strict=True):
            assert (before.name, before.role, before.embeddings) == (after.name, after.role, after.embeddings)
            for item in fields(Predictions):
                if item.name == "choices":  # below
                    continue
                first, second = (getattr(each.predictions, item.name) for each in (before, after))
                if item.name == "validation" and not first.size:
                    assert not second.size
                else:
                    assert alike(first, second), f"{before.name}: {item.name}"
            for name, choice in before.predictions.choices.items():
                assert alike(vars(choice), vars(after.predictions.choices[name]))

    def test_it_stands_in_another_table_as_it_stood_in_its_own(self, run, kept):
        again = replace(run, systems=saved_run(kept, LABELS, 0.7).systems, leak=None)
        assert again.rows()[1:] == replace(run, leak=None).rows()[1:]
        assert (
            as_json(again.differences["net"].uar)
            == metrics_of(kept)["systems"]["net"]["above_baseline"]["uar"]
        )

    def test_another_wanted_accuracy_may_be_asked_for(self, run, kept):
        saved = saved_run(kept, LABELS, 0.9)
        for before, after in zip(run.systems, saved.systems, strict=True):
            if before.calibration is not None:
                wanted = replace(before, wanted_accuracy=0.9).calibration
                assert after.calibration == wanted
                assert after.calibration["abstention"] != before.calibration["abstention"]

    def test_the_training_curve_can_be_drawn_from_the_folder_alone(self, run, kept):
        told = metrics_of(kept)["systems"]["net"]["history_by_fold"]
        before, after = (
            [line.get_ydata().tolist() for axes in training_figure(each, "toy").axes for line in axes.lines]
            for each in (run.systems[2].predictions.histories, told)
        )
        assert before == after
        assert not metrics_of(kept)["systems"]["mfcc"]["history_by_fold"]

    def test_without_speakers_and_validation_there_are_no_intervals_as_before(self, tmp_path):
        bare = replace(
            SPLIT,
            folds=tuple(
                replace(each, train_ids=(*each.train_ids, *each.validation_ids), validation_ids=())
                for each in SPLIT.folds
            ),
        )
        nameless = replace(LABELS, speakers=dict.fromkeys(IDS))
        alone = system("net", "encoder", replace(network(bare), speakers=(None,) * len(IDS)), nameless)
        save_run(Run("toy", bare, None, False, (alone,)), tmp_path, {}, plots=False)
        [read] = saved_run(tmp_path, nameless).systems
        assert read.interval is None
        assert read.predictions.temperatures == {"1": None, "2": None}
        assert as_json(read.to_dict()) == metrics_of(tmp_path)["systems"]["net"]

    def test_one_fold_without_validation_rows_keeps_those_of_the_other(self, tmp_path):
        first, second = SPLIT.folds
        half = replace(SPLIT, folds=(replace(first, validation_ids=()), second))
        save_run(
            Run("toy", half, None, False, (system("net", "encoder", network(half)),)),
            tmp_path,
            {},
            plots=False,
        )
        [read] = saved_run(tmp_path, LABELS).systems
        assert read.calibration is None
        assert read.predictions.validation_ids == second.validation_ids
        assert set(read.predictions.validation_folds) == {"2"}


class TestRefused:
    def test_a_folder_without_a_run(self, tmp_path):
        for path in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(RunError, match=f"no run in {path}: it has no metrics.json"):
                saved_run(path, LABELS)

    @pytest.mark.parametrize("text", ["{", "[]", "\x00", '"run"'])
    def test_metrics_that_are_no_run(self, text, folder):
        (folder / "metrics.json").write_text(text)
        with pytest.raises(RunError, match=r"metrics\.json is damaged: run it again"):
            saved_run(folder, LABELS)

    @pytest.mark.parametrize(
        "name",
        ["predictions.parquet", "validation.parquet", "speaker_dependent/validation.parquet"],
    )
    def test_a_table_that_is_damaged_or_gone(self, name, folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(RunError, match=f"{name} is damaged: run it again"):
            saved_run(folder, LABELS)
        path.unlink()
        with pytest.raises(RunError, match=f"{name} is not there"):
            saved_run(folder, LABELS)

    @pytest.mark.parametrize(
        ("number", "told"),
        [(None, "before runs could be read back: run it again"), (2, "newer ser_transfer")],
    )
    def test_another_format(self, number, told, folder):
        metrics = metrics_of(folder)
        del metrics["format"]
        (folder / "metrics.json").write_text(
            json.dumps(metrics | ({} if number is None else {"format": number}))
        )
        with pytest.raises(RunError, match=told):
            saved_run(folder, LABELS)

    def test_tables_of_another_run_than_the_scores(self, folder):
        """What a run leaves that is cut short while it replaces another."""
        table = pd.read_parquet(folder / "predictions.parquet")
        mine = table["system"] == "net"
        table.loc[mine, ["p_anger", "p_fear"]] = table.loc[mine, ["p_fear", "p_anger"]].to_numpy()
        table.to_parquet(folder / "predictions.parquet", index=False)
        with pytest.raises(RunError, match="net has other answers than scores"):
            saved_run(folder, LABELS)

    @pytest.mark.parametrize(
        "lost", ["systems", "speaker_dependent", "split", ("systems", "net", "history_by_fold")]
    )
    def test_an_entry_that_is_missing(self, lost, folder):
        metrics = metrics_of(folder)
        *path, last = (lost,) if isinstance(lost, str) else lost
        within = metrics
        for key in path:
            within = within[key]
        del within[last]
        (folder / "metrics.json").write_text(json.dumps(metrics))
        with pytest.raises(RunError, match=f"no '{last}'") as error:
            saved_run(folder, LABELS)
        assert "\n" not in str(error.value)

    def test_validation_rows_that_are_missing(self, folder):
        table = pd.read_parquet(folder / "validation.parquet")
        table[table["system"] != "net"].to_parquet(folder / "validation.parquet", index=False)
        with pytest.raises(RunError, match="net has scores of calibration"):
            saved_run(folder, LABELS)

    def test_a_corpus_that_lacks_what_was_tested(self, folder):
        emotions = {id_: emotion for id_, emotion in LABELS.emotions.items() if not id_.startswith("s5")}
        with pytest.raises(
            RunError, match="tested 24 utterances that the corpus lacks, the first s5-anger-0"
        ):
            saved_run(folder, replace(LABELS, emotions=emotions))


class TestUnlike:
    def test_its_own_folds_are_alike(self, kept):
        saved = saved_run(kept, LABELS)
        assert saved.unlike(SPLIT, LABELS) is None
        assert saved.leak.unlike(LEAKY, LABELS) is None
        assert [each.name for each in saved.entrants] == ["several", "several+mfcc", "net"]

    def test_whatever_differs_is_said(self, kept):
        saved = saved_run(kept, LABELS)
        first, second = SPLIT.folds
        swapped = (replace(first, test_ids=second.test_ids), replace(second, test_ids=first.test_ids))
        less = (replace(first, test_ids=first.test_ids[1:]), second)
        angry = {**LABELS.emotions, "s4-fear-3": "anger"}
        fewer = replace(LABELS, classes=CLASSES[:2])
        for why, split, labels, options in (
            ("it is speaker-independent, and this is not", LEAKY, LABELS, {}),
            ("it is not speaker-normalised, and this is", SPLIT, LABELS, {"speaker_normalised": True}),
            ("its folds are 1, 2, here 2", SPLIT.only(["2"]), LABELS, {}),
            ("its folds are 1, 2, here 2, 1", SPLIT.only(["2", "1"]), LABELS, {}),
            ("its fold 1 tests other utterances, s0-anger-0 in", replace(SPLIT, folds=swapped), LABELS, {}),
            ("its fold 1 tests other utterances, s0-anger-0 in", replace(SPLIT, folds=less), LABELS, {}),
            ("s4-fear-3 is fear there and anger here", SPLIT, replace(LABELS, emotions=angry), {}),
            ("its emotions are neutral, anger, fear, here neutral, anger", SPLIT, fewer, {}),
        ):
            assert saved.unlike(split, labels, **options).startswith(why)
            with pytest.raises(RunError, match="cannot stand beside") as error:
                saved.refuse_unlike(split, labels, **options)
            assert "\n" not in str(error.value)
        assert saved.leak.unlike(SPLIT, LABELS).startswith("it is not speaker-independent, and this is")


def test_the_validation_table_holds_what_the_threshold_was_found_on(run, kept):
    """Row by row the utterance, its truth, and the probabilities that abstention was decided on."""
    table = pd.read_parquet(kept / "validation.parquet")
    assert set(table["system"]) == {"several", "several+mfcc", "net", "mfcc"}
    rows = table[table["system"] == "net"]
    assert list(rows["utterance_id"]) == [id_ for each in SPLIT.folds for id_ in each.validation_ids]
    assert list(rows["truth"]) == [LABELS.emotions[id_] for id_ in rows["utterance_id"]]
    np.testing.assert_array_equal(
        rows[[f"p_{emotion}" for emotion in CLASSES]], run.systems[2].predictions.validation
    )
    kept_threshold = run.systems[2].calibration["abstention"]["threshold"]
    answered = rows[rows[[f"p_{emotion}" for emotion in CLASSES]].max(axis=1) >= kept_threshold - 1e-9]
    assert (answered["truth"] == answered["predicted"]).mean() >= 0.7


def test_the_answers_of_single_layers_are_kept_with_the_curve(run, kept):
    rows = pd.read_parquet(kept / "predictions.parquet")
    rows = rows[rows["system"] == "several"]
    curve = metrics_of(kept)["systems"]["several"]["layers"]
    assert set(curve) == {"layer_00", "layer_01"}
    for layer, told in curve.items():
        assert told["uar"] == pytest.approx(
            balanced_accuracy_score(rows["truth"], rows[f"predicted_by_{layer}"])
        )


def test_where_nothing_was_searched_metrics_say_null(tmp_path):
    run = Run("toy", SPLIT, None, False, (system("net", "encoder", network()),))
    save_run(run, tmp_path, {}, plots=False)
    assert metrics_of(tmp_path)["search"] is None


def test_the_table_says_what_was_fitted_and_how_long_it_took(run):
    header, *rows = run.rows()
    assert header[-2:] == ("fit s", "fitted")
    net = next(row for row in rows if row[0] == "net")
    assert net[-2:] == ("4.7", "1,234")


class TestCleared:
    MODELS = (
        ("head.skops",),
        ("config.json", "model.safetensors"),
        ("adapter_config.json", "adapter_model.safetensors"),
    )

    def fill(self, folder, names):
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine")

    @pytest.mark.parametrize("names", MODELS)
    def test_a_model_of_an_earlier_run_goes_and_the_folds_to_resume_from_stay(self, names, folder):
        self.fill(folder, [f"model/{name}" for name in names] + ["folds/1/result.npz", "folds/1/state/x.bin"])
        plain = Run("toy", SPLIT, None, False, (system("net", "encoder", network()),))
        save_run(plain, folder, {}, plots=False)
        assert not (folder / "model").exists()
        assert not (folder / "speaker_dependent").exists()
        assert (
            (folder / "folds/1/state/x.bin").read_text()
            == (folder / "folds/1/result.npz").read_text()
            == "mine"
        )
        assert saved_run(folder, LABELS).leak is None

    @pytest.mark.parametrize("names", MODELS)
    def test_in_a_folder_without_a_run_a_model_is_someone_elses(self, names, folder):
        self.fill(folder, [f"model/{name}" for name in names])
        (folder / "metrics.json").unlink()
        save_run(
            Run("toy", SPLIT, None, False, (system("net", "encoder", network()),)), folder, {}, plots=False
        )
        assert all((folder / "model" / name).exists() for name in names)

    @pytest.mark.parametrize("names", MODELS)
    def test_a_model_that_was_there_before_the_scores_is_kept_if_asked(self, names, folder):
        self.fill(folder, [f"model/{name}" for name in names])
        plain = Run("toy", SPLIT, None, False, (system("net", "encoder", network()),))
        save_run(plain, folder, {}, plots=False, keep_model=True)
        assert all((folder / "model" / name).exists() for name in names)

    def test_what_runs_do_not_write_stays(self, folder):
        mine = ["model/config.json", "model/notes.txt", "speaker_dependent/notes.txt"]
        self.fill(folder, mine)
        save_run(
            Run("toy", SPLIT, None, False, (system("net", "encoder", network()),)), folder, {}, plots=False
        )
        assert all((folder / name).read_text() == "mine" for name in mine)
        assert not (folder / "speaker_dependent" / "predictions.parquet").exists()
