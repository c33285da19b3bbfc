import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from ser_transfer.metrics import (
    MetricError,
    confusion_by_speaker,
    confusion_matrix,
    macro_f1,
    majority_class,
    resample_speakers,
    score,
    uar,
    wa,
)

CLASSES = ("neutral", "happiness", "sadness", "anger")


def predictions(n_speakers=6, n_rows=300, seed=0, classes=CLASSES):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n_rows, p=[0.4, 0.3, 0.2, 0.1])
    predicted = np.where(rng.random(n_rows) < 0.6, truth, rng.choice(classes, n_rows))
    speakers = [f"p{number}" for number in rng.integers(0, n_speakers, n_rows)]
    return truth.tolist(), predicted.tolist(), speakers


def test_scores_are_scikit_learns():
    truth, predicted, speakers = predictions()
    scores = score(truth, predicted, CLASSES, speakers)
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(truth, predicted, labels=CLASSES)
    np.testing.assert_array_equal(scores.confusion, oracle.confusion_matrix(truth, predicted, labels=CLASSES))
    np.testing.assert_allclose(scores.uar, oracle.balanced_accuracy_score(truth, predicted))
    np.testing.assert_allclose(scores.wa, oracle.accuracy_score(truth, predicted))
    np.testing.assert_allclose(scores.macro_f1, oracle.f1_score(truth, predicted, average="macro"))
    np.testing.assert_allclose(scores.recall, recall)
    np.testing.assert_allclose(scores.precision, precision)
    np.testing.assert_allclose(scores.f1, f1)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_a_class_absent_from_the_truth_is_left_out_as_in_scikit_learn():
    truth, predicted = ["anger", "anger", "sadness", "sadness"], ["anger", "neutral", "sadness", "anger"]
    scores = score(truth, predicted, CLASSES)
    np.testing.assert_allclose(scores.uar, oracle.balanced_accuracy_score(truth, predicted))
    np.testing.assert_allclose(scores.macro_f1, oracle.f1_score(truth, predicted, average="macro"))
    assert scores.recall == (None, None, 0.5, 0.5)
    assert scores.precision == (0.0, 0.0, 1.0, 0.5)
    assert scores.f1 == (0.0, None, pytest.approx(2 / 3), 0.5)


def test_stacked_confusion_matrices_score_as_one_by_one():
    truth, predicted, speakers = predictions()
    stacked = resample_speakers(confusion_by_speaker(truth, predicted, speakers, CLASSES), n_resamples=20)
    for metric in (uar, wa, macro_f1):
        np.testing.assert_allclose(metric(stacked), [metric(one) for one in stacked])


def test_intervals_hold_the_score_and_stay_between_0_and_1():
    truth, _, speakers = predictions()
    wrong = [CLASSES[CLASSES.index(label) - 1] for label in truth]
    for predicted in (truth, wrong):
        scores = score(truth, predicted, CLASSES, speakers)
        for name, (low, high) in scores.intervals.items():
            assert 0 <= low <= getattr(scores, name) <= high <= 1


def test_intervals_are_wider_when_utterances_come_from_fewer_speakers():
    truth, predicted, _ = predictions()
    widths = []
    for n_speakers in (4, 30):
        low, high = score(truth, predicted, CLASSES, [f"p{i % n_speakers}" for i in range(300)]).intervals[
            "uar"
        ]
        widths.append(high - low)
    assert widths[0] > widths[1]


def test_without_known_speakers_there_are_no_intervals():
    truth, predicted, speakers = predictions()
    assert score(truth, predicted, CLASSES).intervals is None
    unknown = score(truth, predicted, CLASSES, [None, *speakers[1:]])
    assert (unknown.intervals, unknown.n_speakers) == (None, None)
    one = score(truth, predicted, CLASSES, ["p0"] * len(truth))
    assert (one.intervals, one.n_speakers) == (None, 1)


def test_scores_are_written_as_json_and_do_not_change_with_the_seed_of_another_run():
    truth, predicted, speakers = predictions()
    first, second = (score(truth, predicted, CLASSES, speakers) for _ in range(2))
    assert first == second
    written = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert written["recall"]["anger"] == first.recall[3]
    assert (written["n_utterances"], written["n_speakers"]) == (300, 6)


def test_always_the_majority_class_has_a_uar_of_one_over_the_classes():
    truth, _, _ = predictions()
    floor = majority_class(truth)
    assert floor == "neutral"
    assert score(truth, [floor] * len(truth), CLASSES).uar == pytest.approx(1 / len(CLASSES))
    assert majority_class(["sadness", "anger"]) == "anger"


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(MetricError, match="'joy' is not among the classes neutral"):
        score(["joy"], ["anger"], CLASSES)
    with pytest.raises(MetricError, match="there are 2, 1 and 2"):
        confusion_matrix(["anger", "anger"], ["anger"], CLASSES)
    with pytest.raises(MetricError, match="at least one utterance"):
        score([], [], CLASSES)
    with pytest.raises(MetricError, match="no labels"):
        majority_class([])
