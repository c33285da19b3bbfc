"""Choosing inside a fold: layers, pooling, head, fusion and temperature, never with a test speaker."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ser_transfer import cross_validation
from ser_transfer.cross_validation import (
    Columns,
    HeadChoice,
    Labels,
    Search,
    TrainingError,
    cross_validate,
    cross_validate_sequences,
    joined,
    keep_result,
    kept_result,
    run_fold,
)
from ser_transfer.cross_validation.search import FoldData
from ser_transfer.heads import make_sequence_head
from ser_transfer.metrics import fit_temperature
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings, Frames

CLASSES = ("neutral", "anger", "fear")
SPEAKERS = tuple(f"s{number}" for number in range(6))
N_TAKES = 20


def labelled() -> Labels:
    """Six speakers, each emotion twenty times."""
    ids = [f"{s}-{e}-{take}" for s in SPEAKERS for e in CLASSES for take in range(N_TAKES)]
    return Labels(
        emotions={id_: id_.split("-")[1] for id_ in ids},
        speakers={id_: id_.split("-")[0] for id_ in ids},
        classes=CLASSES,
    )


def folds() -> Split:
    """Two folds of two test and one validation speakers."""
    made = []
    for name, test, validation in (("1", ("s0", "s1"), ("s2",)), ("2", ("s3", "s4"), ("s5",))):
        sides = {True: [], False: [], None: []}
        for id_, speaker in labelled().speakers.items():
            sides[True if speaker in test else False if speaker in validation else None].append(id_)
        made.append(Fold(name, tuple(sides[None]), tuple(sides[False]), tuple(sides[True])))
    return Split("speaker-folds", tuple(made), True, "two folds")


def signal(labels: Labels, dim: int, strength: float, seed: int, only_on=None) -> np.ndarray:
    """Noise, and the emotion along its first axes as strong as asked, for some utterances or all."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(len(labels.emotions), dim))
    for row, (id_, emotion) in enumerate(labels.emotions.items()):
        if only_on is None or id_ in only_on:
            out[row, CLASSES.index(emotion)] += strength
    return out.astype(np.float32)


def speakers_own_code(labels: Labels, seed: int) -> np.ndarray:
    """Each speaker shows the emotions along axes of their own: what one teaches misleads on others."""
    rng = np.random.default_rng(seed)
    code = {speaker: rng.permutation(len(CLASSES)) for speaker in SPEAKERS}
    out = rng.normal(size=(len(labels.emotions), len(CLASSES)))
    for row, (id_, emotion) in enumerate(labels.emotions.items()):
        out[row, code[labels.speakers[id_]][CLASSES.index(emotion)]] += 3.0
    return out.astype(np.float32)


def embeddings(name: str = "planted", pooling: str = "mean", **layers: np.ndarray) -> Embeddings:
    ids = tuple(labelled().emotions)
    return Embeddings(ids, layers, name, name.ljust(64, "0"), pooling, "float32")


CHOOSE = Search((HeadChoice(),), None)


def test_the_layer_that_tells_emotions_apart_is_chosen():
    labels = labelled()
    others = {f"layer_{i:02d}": speakers_own_code(labels, i) for i in range(6)}
    predictions = cross_validate(
        embeddings(**others, layer_06=signal(labels, 6, 2.0, 99)), labels, folds(), CHOOSE
    )
    for choice in predictions.choices.values():
        assert choice.columns["planted"]["layers"] == ["layer_06"]
    assert len(predictions.by_layer) == 7


def test_a_layer_that_only_helps_on_test_speakers_is_not_chosen():
    labels, split = labelled(), folds().only(["1"])
    [fold] = split.folds
    honest = signal(labels, 6, 2.0, 0)
    peeking = signal(labels, 6, 50.0, 1, only_on=set(fold.test_ids))
    choices = [
        cross_validate(embeddings(honest=honest, other=other), labels, split, CHOOSE).choices["1"]
        for other in (peeking, signal(labels, 6, 0.0, 1))
    ]
    assert choices[0] == choices[1]
    assert (
        "other" not in choices[0].columns["planted"]["layers"]
        or len(choices[0].columns["planted"]["layers"]) == 2
    )


def test_changing_every_test_row_changes_no_choice_and_no_temperature():
    labels, split = labelled(), folds().only(["2"])
    [fold] = split.folds
    layers = {name: signal(labels, 5, 1.0, seed) for seed, name in enumerate(("a", "b"))}
    rows = [row for row, id_ in enumerate(labels.emotions) if id_ in fold.test_ids]
    garbled = {name: layer.copy() for name, layer in layers.items()}
    for layer in garbled.values():
        layer[rows] = np.random.default_rng(5).normal(scale=100, size=layer[rows].shape)
    search = Search((HeadChoice(), HeadChoice("lda")), None)
    members = [[embeddings(**each), embeddings("second", x=each["a"])] for each in (layers, garbled)]
    for pair in ([m[:1] for m in members], members):
        first, second = (run_fold(group, labels, fold, search) for group in pair)
        assert first.choice == second.choice
        assert first.temperature == second.temperature
        np.testing.assert_array_equal(first.validation, second.validation)
        assert not np.array_equal(first.test, second.test)


def test_of_vectors_pooled_as_mean_and_deviation_the_means_alone_may_be_chosen():
    labels = labelled()
    halves = np.concatenate([signal(labels, 6, 3.0, 0), signal(labels, 200, 0.0, 1)[:, :6] * 30], axis=1)
    noisy = np.concatenate([signal(labels, 6, 1.5, 0), signal(labels, 6, 0.0, 1)], axis=1)
    columns = Columns((("only",),), means_only=True)
    features = columns.of([embeddings(pooling="mean_std", only=halves)])
    np.testing.assert_array_equal(features.matrix, halves[:, :6])
    assert features.block_sizes == (6,)
    whole = Columns((("only",),)).of([embeddings(pooling="mean_std", only=noisy)])
    assert whole.block_sizes == (12,)


def test_in_a_fusion_every_encoder_has_the_same_share_of_the_variance():
    labels = labelled()
    many = embeddings(**{f"layer_{i:02d}": signal(labels, 4, 0.0, i) for i in range(5)})
    one = embeddings("single", only=signal(labels, 3, 0.0, 9))
    features = Columns((tuple(many.layers), ("only",))).of([many, one])
    from ser_transfer.heads import make_head

    head = make_head("lda", **features.blocks)
    scaled = head["scaler"].fit_transform(features.matrix)
    variance = scaled.var(axis=0)
    assert variance[:20].sum() == pytest.approx(0.5, rel=1e-4)
    assert variance[20:].sum() == pytest.approx(0.5, rel=1e-4)
    assert variance[:4].sum() == pytest.approx(0.1, rel=1e-4)


def test_a_fusion_of_complements_beats_either():
    labels, split = labelled(), folds()
    first, second = signal(labels, 6, 0.0, 1), signal(labels, 6, 0.0, 2)
    for row, emotion in enumerate(labels.emotions.values()):
        first[row, 0] += 4.0 * (emotion == "anger")
        second[row, 0] += 4.0 * (emotion == "fear")
    members = [embeddings("a", x=first), embeddings("b", x=second)]
    right = {}
    for name, group in (("a", members[:1]), ("b", members[1:]), ("a+b", members)):
        predictions = cross_validate(group, labels, split, CHOOSE)
        right[name] = np.mean([t == p for t, p in zip(predictions.truth, predictions.predicted, strict=True)])
        assert all((c.fusion is None) == (len(group) == 1) for c in predictions.choices.values())
    assert right["a+b"] > 0.9
    assert max(right["a"], right["b"]) < 0.75


def test_rows_of_fused_encoders_are_joined_by_id_not_by_position():
    labels, split = labelled(), folds()
    strong = embeddings("a", x=signal(labels, 6, 3.0, 1))
    other = embeddings("b", x=signal(labels, 6, 3.0, 2))
    shuffled = other.select(np.random.default_rng(0).permutation(list(other.utterance_ids)).tolist())
    straight, joined = (cross_validate([strong, each], labels, split, CHOOSE) for each in (other, shuffled))
    np.testing.assert_allclose(joined.probabilities, straight.probabilities, atol=1e-8)


def test_the_temperature_is_fitted_on_the_validation_rows():
    labels, split = labelled(), folds().only(["1"])
    predictions = cross_validate(embeddings(x=signal(labels, 6, 1.0, 3)), labels, split, CHOOSE)
    result = run_fold([embeddings(x=signal(labels, 6, 1.0, 3))], labels, split.folds[0], CHOOSE)
    truth = [labels.emotions[id_] for id_ in split.folds[0].validation_ids]
    assert result.temperature == fit_temperature(result.validation, truth, CLASSES)
    assert predictions.temperatures == {"1": result.temperature}
    sharpened = predictions.probabilities ** (1 / result.temperature)
    np.testing.assert_allclose(
        predictions.calibrated, sharpened / sharpened.sum(axis=1, keepdims=True), atol=1e-9
    )


def test_without_validation_speakers_the_plainest_is_taken_and_nothing_is_calibrated():
    labels = labelled()
    folded = [
        replace(f, train_ids=(*f.train_ids, *f.validation_ids), validation_ids=()) for f in folds().folds
    ]
    split = replace(folds(), folds=tuple(folded))
    members = [embeddings("a", x=signal(labels, 6, 2.0, 1)), embeddings("b", x=signal(labels, 6, 2.0, 2))]
    for group in (members[:1], members):
        predictions = cross_validate(group, labels, split, CHOOSE)
        assert not predictions.is_calibrated
        assert {choice.validation_uar for choice in predictions.choices.values()} == {None}


def test_a_later_trial_must_be_more_than_a_standard_error_better():
    labels, [fold, _] = labelled(), folds().folds
    data = FoldData([embeddings(x=signal(labels, 6, 1.0, 0))], labels, fold)
    truth = data.validation.emotions

    def answers(n_wrong: int) -> np.ndarray:
        right = np.array([[float(emotion == each) for each in CLASSES] for emotion in truth])
        right[:n_wrong] = np.roll(right[:n_wrong], 1, axis=1)
        return right

    assert not data.is_behind(answers(1), answers(0))  # one of 60: a gain of 1/60, and an error of as much
    assert data.is_behind(answers(6), answers(0))
    assert not data.is_behind(answers(0), answers(6))


def test_a_number_that_is_none_is_named_with_its_encoder_and_fold():
    labels = labelled()
    broken = signal(labels, 4, 1.0, 0)
    broken[10, 2] = np.nan
    with pytest.raises(TrainingError, match=r"planted, fold 1: feature 2 of row"):
        cross_validate(embeddings(x=broken), labels, folds().only(["1"]), CHOOSE)


def test_validation_rows_are_told_with_their_utterance_and_fold():
    labels, split = labelled(), folds()
    predictions = cross_validate(embeddings(x=signal(labels, 6, 1.0, 3)), labels, split, CHOOSE)
    assert predictions.validation_ids == tuple(id_ for fold in split.folds for id_ in fold.validation_ids)
    assert predictions.validation_folds == tuple(f.name for f in split.folds for _ in f.validation_ids)
    assert [labels.emotions[id_] for id_ in predictions.validation_ids] == [*predictions.validation_truth]
    assert len(predictions.validation) == len(predictions.validation_ids)


class TestHistories:
    """Training curves, from a fold's result to the predictions and to the disk."""

    HISTORY = (
        {"epoch": 1, "train_loss": 1.25, "validation_loss": None, "validation_uar": None},
        {"epoch": 2, "train_loss": 1 / 3, "validation_loss": 0.1 + 0.2, "validation_uar": 0.5},
    )

    def result(self, fold, *encoders):
        members = [embeddings(name, x=signal(labelled(), 6, 1.0, row)) for row, name in enumerate(encoders)]
        return run_fold(members, labelled(), fold, CHOOSE)

    def test_they_are_joined_by_fold_and_only_where_there_are_some(self):
        first, second = folds().folds
        results = [self.result(first, "a"), replace(self.result(second, "a"), history=self.HISTORY)]
        assert joined(labelled(), folds(), results).histories == {"2": self.HISTORY}

    @pytest.mark.parametrize("encoders", [("a",), ("a", "b")])
    def test_a_result_comes_back_from_disk_with_every_number(self, encoders, tmp_path):
        [fold, _] = folds().folds
        result = replace(self.result(fold, *encoders), history=self.HISTORY)
        keep_result(tmp_path / "kept", "1", result)
        kept = kept_result(tmp_path / "kept", "1")
        assert kept.history == self.HISTORY
        np.testing.assert_array_equal(kept.validation, result.validation)
        np.testing.assert_array_equal(kept.test, result.test)
        for name in ("choice", "temperature", "n_parameters", "seconds"):
            assert getattr(kept, name) == getattr(result, name)
        assert [trial.uar for trial in kept.trials] == [trial.uar for trial in result.trials]
        assert kept_result(tmp_path / "kept", "2") is None

    def test_a_result_that_was_kept_without_one_is_still_read(self, tmp_path):
        """Those on the disks of users follow from the same inputs, and need not be computed again."""
        [fold, _] = folds().folds
        keep_result(tmp_path, "1", self.result(fold, "a"))
        with np.load(tmp_path / "1.npz") as file:
            arrays = dict(file)
        described = json.loads(arrays["described"].tobytes())
        del described["history"]
        arrays["described"] = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)
        np.savez(tmp_path / "1.npz", **arrays)
        assert kept_result(tmp_path, "1").history == ()


class TestSequences:
    """Heads on a few frames per utterance that say the emotion, and the copies that may be learned from."""

    def frames(self, originals=None, garbled=()) -> Frames:
        rng = np.random.default_rng(0)
        ids = [*labelled().emotions, *(originals or {})]
        sequences = []
        for id_ in ids:
            emotion = labelled().emotions[(originals or {}).get(id_, id_)]
            sequence = rng.normal(size=(rng.integers(3, 9), 4))
            sequence[:, CLASSES.index(emotion)] += 0.0 if id_ in garbled else 3.0
            sequences.append(sequence.astype(np.float16))
        return Frames(
            tuple(ids), tuple(sequences), "layer_00", 50.0, "planted", "0" * 64, "float32", originals or {}
        )

    def test_a_head_on_sequences_is_tested_on_speakers_it_never_heard(self):
        head = HeadChoice("mean_mlp", {"max_epochs": 15, "learning_rate": 1e-2})
        predictions = cross_validate_sequences(self.frames(), labelled(), folds(), head)
        right = [t == p for t, p in zip(predictions.truth, predictions.predicted, strict=True)]
        assert np.mean(right) > 0.9
        assert predictions.is_calibrated
        assert set(predictions.histories) == {"1", "2"}
        for fold, choice in predictions.choices.items():
            assert choice.validation_uar == max(
                epoch["validation_uar"] for epoch in predictions.histories[fold]
            )

    def test_an_augmented_copy_never_crosses_a_fold(self, monkeypatch):
        """Whatever a head is shown is traced back to its utterance."""
        originals = {f"{id_}#1": id_ for id_ in labelled().emotions}
        frames, shown = self.frames(originals), []
        id_of = {
            id(sequence): id_ for id_, sequence in zip(frames.utterance_ids, frames.sequences, strict=True)
        }

        def make(name, **options):
            head = make_sequence_head(name, **options)
            fit, predict = head.fit, head.predict_proba

            def recording_fit(sequences, y, validation=None):
                shown.append(
                    ({id_of[id(s)] for s in sequences}, {id_of[id(s)] for s in validation[0]}, set())
                )
                return fit(sequences, y, validation)

            def recording_predict(sequences):
                shown[-1][2].update(id_of[id(s)] for s in sequences)
                return predict(sequences)

            monkeypatch.setattr(head, "fit", recording_fit)
            monkeypatch.setattr(head, "predict_proba", recording_predict)
            return head

        monkeypatch.setattr(cross_validation.sequences, "make_sequence_head", make)
        cross_validate_sequences(frames, labelled(), folds(), HeadChoice("mean_mlp", {"max_epochs": 1}))
        for fold, (fitted, validated, predicted) in zip(folds().folds, shown, strict=True):
            assert fitted == {*fold.train_ids, *(f"{id_}#1" for id_ in fold.train_ids)}
            assert validated == set(fold.validation_ids)
            assert predicted == {*fold.validation_ids, *fold.test_ids}

    def test_without_validation_speakers_it_trains_all_its_epochs(self):
        [fold] = folds().only(["1"]).folds
        bare = replace(fold, train_ids=(*fold.train_ids, *fold.validation_ids), validation_ids=())
        split = replace(folds(), folds=(bare,))
        head = HeadChoice("mean_mlp", {"max_epochs": 3})
        predictions = cross_validate_sequences(self.frames(), labelled(), split, head)
        assert len(predictions.histories["1"]) == 3
        assert not predictions.is_calibrated
        with pytest.raises(TrainingError, match="--n-draws"):
            cross_validate_sequences(self.frames(), labelled(), split, head, n_draws=2)

    def test_settings_drawn_are_those_that_are_told(self):
        head = HeadChoice("mean_mlp", {"max_epochs": 2, "hidden_units": (8,)})
        predictions = cross_validate_sequences(
            self.frames(), labelled(), folds().only(["1"]), head, n_draws=2
        )
        told = predictions.choices["1"].settings
        assert told["max_epochs"] == 2
        assert "learning_rate" in told


def test_copies_of_pooled_embeddings_are_trained_on_and_never_tested():
    labels, split = labelled(), folds()
    plain = embeddings(x=signal(labels, 6, 2.0, 1))
    ids = tuple(f"{id_}#1" for id_ in plain.utterance_ids)
    copies = replace(
        plain,
        utterance_ids=ids,
        layers={"x": signal(labels, 6, 2.0, 2)},
        originals=dict(zip(ids, plain.utterance_ids, strict=True)),
    )
    both = Embeddings.joined([plain, copies])
    data = FoldData([both], labels, split.folds[0])
    assert len(data.train.rows) == 2 * len(split.folds[0].train_ids)
    assert len(data.validation.rows) == len(split.folds[0].validation_ids)
    assert {both.utterance_ids[row] for row in data.test.rows} == set(split.folds[0].test_ids)
    predictions = cross_validate(both, labels, split)
    assert set(predictions.utterance_ids) == {id_ for fold in split.folds for id_ in fold.test_ids}
    for id_, emotion in zip(data.train.rows, data.train.emotions, strict=True):
        assert both.utterance_ids[id_].split("-")[1] == emotion


def test_a_head_that_does_not_exist_is_refused_before_anything_runs():
    with pytest.raises(TrainingError, match="logistic_regression"):
        Search((HeadChoice("transformer"),))
