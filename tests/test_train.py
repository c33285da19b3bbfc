import json
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

import ser_transfer.embed
import ser_transfer.train
from ser_transfer import cross_validation, embed, train
from ser_transfer.corpora.synthetic import synthesise_corpus
from ser_transfer.cross_validation import (
    Labels,
    TrainingError,
    cross_validate,
    majority_floor,
    standardised_by_speaker,
)
from ser_transfer.heads import Tuner, make_head
from ser_transfer.runs import save_run
from ser_transfer.runs.figures import figures
from ser_transfer.splits import SplitError, make_split
from ser_transfer.store import Embeddings
from ser_transfer.train import TrainSettings, default_folder

PATTERN = "(?P<speaker>p[0-9])_"


@pytest.fixture
def embeddings(corpus, encoder, tmp_path):
    return embed(corpus, encoder, store=tmp_path / "store")


def with_layer(embeddings: Embeddings, layer: np.ndarray) -> Embeddings:
    return replace(embeddings, pooling="mean", layers={"planted": layer.astype(np.float32)})


def test_tones_are_told_apart_on_speakers_never_heard(corpus, embeddings):
    run = train(corpus, embeddings, split="leave-one-speaker-out", layers="crossings")
    assert run.systems[0].scores.uar > 0.9
    assert run.systems[-1].scores.uar == pytest.approx(1 / 3)
    assert not run.warnings


def test_every_utterance_is_tested_once_and_never_in_its_own_training(corpus, embeddings):
    split = make_split(corpus, "leave-one-speaker-out")
    predictions = cross_validate(embeddings, Labels.of(corpus), split)
    assert sorted(predictions.utterance_ids) == sorted(corpus["utterance_id"])
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1.0)


def test_a_feature_that_helps_on_test_speakers_only_chooses_nothing(corpus, embeddings):
    """On the test speaker the feature tells the truth, elsewhere it is noise: peeking would see it."""
    labels, split = Labels.of(corpus), make_split(corpus, "leave-one-speaker-out").only(["p1"])
    rng = np.random.default_rng(0)
    code = {emotion: number for number, emotion in enumerate(labels.classes)}
    noise = rng.normal(size=(len(embeddings.utterance_ids), 1))
    planted = noise.copy()
    for row, id_ in enumerate(embeddings.utterance_ids):
        if labels.speakers[id_] == "p1":
            planted[row] = code[labels.emotions[id_]]
    choices = [
        cross_validate(with_layer(embeddings, layer), labels, split).choices for layer in (noise, planted)
    ]
    assert choices[0] == choices[1]


def test_no_choice_and_no_fit_ever_reads_a_test_speaker(corpus, embeddings, monkeypatch):
    """Every row carries its own number as its feature, so whatever is read can be named."""
    labels, split = Labels.of(corpus), make_split(corpus, "leave-one-speaker-out")
    numbers = {id_: number for number, id_ in enumerate(embeddings.utterance_ids)}
    numbered = with_layer(embeddings, np.arange(len(numbers), dtype=np.float32)[:, np.newaxis])
    chosen_on, fitted_on = [], []

    class Recording(Tuner):
        def __init__(self, X_train, y_train, X_validation, y_validation, **options):
            chosen_on.append((set(X_train.ravel()), set(X_validation.ravel())))
            super().__init__(X_train, y_train, X_validation, y_validation, **options)

    def make(name, **options):
        head = make_head(name, **options)
        fit = head.fit
        monkeypatch.setattr(head, "fit", lambda X, y: fitted_on.append(set(X.ravel())) or fit(X, y))
        return head

    monkeypatch.setattr(cross_validation.search, "Tuner", Recording)
    monkeypatch.setattr(cross_validation.search, "make_head", make)
    cross_validate(numbered, labels, split)
    for fold, read, fitted in zip(split.folds, chosen_on, fitted_on, strict=True):
        in_train, in_validation, in_test = (
            {numbers[id_] for id_ in ids} for ids in (fold.train_ids, fold.validation_ids, fold.test_ids)
        )
        assert read == (in_train, in_validation)
        assert fitted == in_train | in_validation
        assert not fitted & in_test


def test_the_floor_answers_the_majority_of_the_training_side(corpus):
    labels, split = Labels.of(corpus), make_split(corpus, "leave-one-speaker-out")
    rare = {id_: ("anger" if emotion == "neutral" else emotion) for id_, emotion in labels.emotions.items()}
    floor = majority_floor(replace(labels, emotions=rare), split)
    assert set(floor.predicted) == {"anger"}


def test_speaker_normalisation_is_scikit_learns_scaler_per_speaker():
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 3)).astype(np.float32) * [1, 10, 0]
    speakers = ["a", "b"] * 6
    out = standardised_by_speaker(features.astype(np.float32), speakers)
    np.testing.assert_allclose(out[::2], StandardScaler().fit_transform(features[::2]), atol=1e-5)
    with pytest.raises(TrainingError, match="speaker of every utterance"):
        standardised_by_speaker(features, [None, *speakers[1:]])


def test_an_utterance_without_embedding_is_named(corpus, embeddings):
    some = embeddings.select(embeddings.utterance_ids[1:])
    with pytest.raises(TrainingError, match="1 utterances of the split have no embedding"):
        train(corpus, some, split="leave-one-speaker-out")


def test_without_speakers_a_speaker_independent_score_is_refused(corpus, embeddings):
    nameless = corpus.remove_columns("speaker").add_column("speaker", [None] * len(corpus))
    with pytest.raises(SplitError, match="speaker-pattern"):
        train(nameless, embeddings)


@pytest.mark.parametrize(
    ("options", "stamp"),
    [
        ({"split": "speaker-dependent"}, "NOT SPEAKER-INDEPENDENT"),
        ({"split": "loso", "speaker_normalise": True}, "SPEAKER-NORMALISED"),
    ],
)
def test_what_is_not_the_honest_number_is_stamped_on_every_output(
    options, stamp, corpus, embeddings, tmp_path
):
    run = train(corpus, embeddings, n_folds=4, **options)
    save_run(run, tmp_path / "run", {}, plots=False)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert stamp in str(run)
    assert written["warnings"]
    assert stamp in written["warnings"][0]
    for drawing in figures(run):
        assert stamp in drawing.figure.get_suptitle()


@pytest.fixture
def arguments(tones, tmp_path):
    return [
        *("--corpus", "folder", "--root", str(tones), "--speaker-pattern", PATTERN),
        *("--encoder", "seed180", "--store", str(tmp_path / "store")),
    ]


@pytest.fixture
def training(arguments):
    """The same for train, where one tone is as like another as two copies of a take."""
    return [*arguments, "--allow", "near-identical-audio"]


def test_train_says_the_exact_command_that_fills_the_store(arguments, training, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run"), "--split", "loso"]
    assert ser_transfer.train.main([*training, *out]) == 1
    command = capsys.readouterr().err.strip().splitlines()[-1].partition("python -m ser_transfer.embed ")[2]
    assert ser_transfer.embed.main(shlex.split(command)) == 0
    assert ser_transfer.train.main([*training, *out]) == 0


def test_the_run_folder_holds_what_the_table_says(arguments, training, tmp_path, capsys):
    ser_transfer.embed.main(arguments)
    folder = tmp_path / "run"
    assert ser_transfer.train.main([*training, "--out", str(folder), "--split", "loso"]) == 0
    printed = capsys.readouterr().out
    metrics = json.loads((folder / "metrics.json").read_text())
    table = pd.read_parquet(folder / "predictions.parquet")
    assert set(table["system"]) == {"seed180", "mfcc", "majority class"}
    for name, system in metrics["systems"].items():
        rows = table[table["system"] == name]
        assert len(rows) == 24
        assert system["uar"] == pytest.approx(balanced_accuracy_score(rows["truth"], rows["predicted"]))
        assert system["wa"] == pytest.approx(accuracy_score(rows["truth"], rows["predicted"]))
        assert system["macro_f1"] == pytest.approx(
            f1_score(rows["truth"], rows["predicted"], average="macro")
        )
        assert f"{system['uar']:.3f}" in printed
    assert metrics["speaker_independent"] is True
    assert "seed180" in (folder / "recipe.yaml").read_text()
    drawn = {path.name for path in folder.glob("*.png")}
    assert {"leaderboard.png", "speakers.png", "map.png"} <= drawn
    kinds = ("confusion", "counts", "per_class", "roc", "precision_recall", "reliability", "coverage")
    assert {f"{kind}_{name}.png" for kind in kinds for name in ("seed180", "mfcc")} <= drawn
    assert "seed180" in (folder / "report.html").read_text()


def test_a_run_is_its_own_recipe(arguments, training, tmp_path):
    ser_transfer.embed.main(arguments)
    first, second = tmp_path / "first", tmp_path / "second"
    ser_transfer.train.main([*training, "--out", str(first), "--split", "loso"])
    assert ser_transfer.train.main([str(first / "recipe.yaml"), "--out", str(second)]) == 0
    tables = [pd.read_parquet(folder / "predictions.parquet") for folder in (first, second)]
    pd.testing.assert_frame_equal(*tables)


def test_one_fold_can_be_run_alone_and_the_title_says_so(corpus, embeddings):
    run = train(corpus, embeddings, split="loso", folds=["p2"])
    assert set(run.systems[0].predictions.folds) == {"p2"}
    assert "p2 only" in run.title
    with pytest.raises(SplitError, match="no fold 'p9'"):
        train(corpus, embeddings, split="loso", folds=["p9"])


def test_layers_are_all_the_last_or_those_named(corpus, embeddings):
    for asked, names in (("all", ["energy", "crossings"]), ("last", ["crossings"]), ("energy", ["energy"])):
        assert (
            train(corpus, embeddings, split="loso", layers=asked)
            .systems[0]
            .predictions.choices["p1"]
            .columns[embeddings.encoder]["layers"]
            == names
        )


def test_nothing_of_an_earlier_run_stays_in_its_folder(arguments, training, tmp_path):
    ser_transfer.embed.main(arguments)
    folder = tmp_path / "run"
    ser_transfer.train.main([*training, "--out", str(folder), "--split", "loso"])
    assert (folder / "model" / "config.json").exists()
    ser_transfer.train.main(
        [*training, "--out", str(folder), "--split", "loso", "--folds", "p1", "--no-plots"]
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        "leaderboard.csv",
        "leaderboard.md",
        "metrics.json",
        "predictions.parquet",
        "recipe.yaml",
        "validation.parquet",
    ]


def test_a_folder_that_holds_other_things_keeps_them(corpus, embeddings, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("holiday.png", "model/mine.txt"):
        (tmp_path / name).write_text("mine")
    run = train(corpus, embeddings, split="loso")
    for _ in range(2):  # the second time it is a run folder
        save_run(run, tmp_path, {}, plots=False)
        assert (tmp_path / "holiday.png").read_text() == "mine"
        assert (tmp_path / "model" / "mine.txt").read_text() == "mine"


def test_runs_that_ask_for_different_things_get_folders_of_their_own():
    asked = (
        {},
        {"untrained": True},
        {"speaker_normalise": True},
        {"folds": 1},
        {"head": "lda"},
        {"split": "loso"},
    )
    folders = {
        default_folder(TrainSettings(corpus="ravdess", encoder="user/name", **options)) for options in asked
    }
    assert len(folders) == len(asked)


def test_a_head_on_sequences_is_trained_from_the_command_line(arguments, training, tmp_path, capsys):
    """From the embed command that train asks for to the training curve."""
    flags = ["--split", "loso", "--head", "mean_mlp", "--head-settings.max_epochs", "2"]
    flags += ["--augment", "gain:-6..6", "--out", str(tmp_path / "run")]
    sequences = [flag if flag != "seed180" else "mfcc" for flag in (*training, *flags)]
    assert ser_transfer.train.main(sequences) == 1
    asked = capsys.readouterr().err.strip().splitlines()[-1].partition("python -m ser_transfer.embed ")[2]
    assert "--frames mfcc" in asked
    assert "--augment" in asked
    assert ser_transfer.embed.main(shlex.split(asked)) == 0
    ser_transfer.embed.main([flag if flag != "seed180" else "mfcc" for flag in arguments])
    assert ser_transfer.train.main(sequences) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["systems"]) == {"mfcc (mean_mlp)", "mfcc", "majority class"}
    assert (tmp_path / "run" / "training_mfcc_mean_mlp.png").exists()
    assert (tmp_path / "run" / "model" / "head.safetensors").is_file()


def test_a_head_on_sequences_wants_one_layer(arguments, capsys):
    wrong = [flag if flag != "seed180" else "handcrafted" for flag in arguments]
    assert ser_transfer.train.main([*wrong, "--head", "lstm"]) == 1
    assert "cepstrum" in capsys.readouterr().err


def test_the_leak_can_be_shown_by_train_too(corpus, embeddings):
    run = train(corpus, embeddings, split="loso", show_leak=True, n_folds=4)
    assert run.leak is not None
    assert not run.leak.split.speaker_independent
    assert "gap" in str(run)


def test_a_copy_planted_under_another_speaker_stops_the_run(tmp_path, capsys):
    """The leak that no list of speakers shows: one recording, two names."""
    root = tmp_path / "voices"
    synthesise_corpus(root, n_speakers=3, seed=0)
    [source] = root.rglob("synthetic-v01f-anger-s1.wav")
    shutil.copy(source, source.with_name("synthetic-v02m-anger-s9.wav"))
    arguments = [
        *("--corpus", "folder", "--root", str(root), "--speaker-pattern", "synthetic-(?P<speaker>v[0-9]+)"),
        *("--encoder", "mfcc", "--baseline", "none", "--store", str(tmp_path / "store")),
    ]
    assert ser_transfer.embed.main(arguments) == 0
    out = ["--split", "loso", "--out", str(tmp_path / "run"), "--no-plots"]
    assert ser_transfer.train.main([*arguments, *out]) == 1
    error = capsys.readouterr().err
    assert "identical audio" in error
    assert "synthetic-v02m-anger-s9" in error
    assert ser_transfer.train.main([*arguments, *out, "--allow", "identical-audio"]) == 0


@pytest.mark.parametrize("wanted", [0.5, 0.9])
def test_what_can_be_answered_at_a_wanted_accuracy_is_told(wanted, corpus, embeddings):
    """The threshold comes from validation rows; what is told of it is counted on the test rows."""
    run = train(corpus, embeddings, split="loso", layers="energy", wanted_accuracy=wanted)
    system = run.systems[0]
    kept = system.calibration["abstention"]
    assert kept["wanted_accuracy"] == wanted
    predictions = system.predictions
    if kept["threshold"] is None:
        assert kept["coverage"] == 0.0
        return
    answered = predictions.calibrated.max(axis=1) >= kept["threshold"]
    assert kept["coverage"] == pytest.approx(answered.mean())
    right = np.array(predictions.truth)[answered] == np.array(predictions.predicted)[answered]
    assert kept["accuracy"] == (pytest.approx(right.mean()) if len(right) else None)
    assert f"{kept['coverage']:.0%} of the test recordings" in str(run)


def test_the_group_that_is_understood_least_is_named(corpus, embeddings):
    """One half of the utterances is given noise in place of what the encoder says."""
    rows = len(corpus)
    gender = ["female" if row % 2 else "male" for row in range(rows)]
    told = corpus.remove_columns("gender").add_column("gender", gender)
    garbled = {name: layer.copy() for name, layer in embeddings.layers.items()}
    female = [row for row, id_ in enumerate(embeddings.utterance_ids) if row % 2]
    for layer in garbled.values():
        layer[female] = np.random.default_rng(0).normal(size=layer[female].shape)
    repeated = replace(embeddings, layers=garbled)
    run = train(told, repeated, split="loso")
    groups = run.systems[0].groups["gender"]
    assert set(groups) == {"female", "male"}
    assert groups["female"].uar < groups["male"].uar
    assert groups["male"].n == groups["female"].n == rows // 2
