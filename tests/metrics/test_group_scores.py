from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from ser_transfer.metrics import MIN_ROWS, MetricError, score, scores_by_group, worst_group

CLASSES = ("neutral", "happiness", "sadness", "anger")


def predictions(n_rows=240, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.choice(CLASSES, n_rows)
    predicted = np.where(rng.random(n_rows) < 0.6, truth, rng.choice(CLASSES, n_rows))
    speakers = np.array([f"p{number}" for number in rng.integers(0, 8, n_rows)])
    return truth, predicted, speakers


def test_each_group_is_scored_as_by_scikit_learn_on_its_rows():
    truth, predicted, speakers = predictions()
    groups = np.where(np.isin(speakers, ["p0", "p3", "p5"]), "women", "men")
    scores = scores_by_group(truth, predicted, CLASSES, groups, speakers)
    assert list(scores) == ["men", "women"]
    for group, scored in scores.items():
        rows = groups == group
        assert scored.n == rows.sum()
        assert scored.uar == pytest.approx(balanced_accuracy_score(truth[rows], predicted[rows]))
        assert scored.wa == pytest.approx(accuracy_score(truth[rows], predicted[rows]))
        whole = score(truth[rows], predicted[rows], CLASSES, speakers[rows])
        assert scored.interval == whole.intervals["uar"]
    assert (scores["men"].n_speakers, scores["women"].n_speakers) == (5, 3)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_a_group_is_scored_over_the_emotions_that_it_has():
    truth, predicted, speakers = predictions()
    groups = np.where(truth == "neutral", "normal", "strong")
    strong = scores_by_group(truth, predicted, CLASSES, groups, speakers)["strong"]
    rows = groups == "strong"
    assert strong.classes == CLASSES[1:]
    assert strong.uar == pytest.approx(balanced_accuracy_score(truth[rows], predicted[rows]))


def test_utterances_of_no_group_are_left_out():
    truth, predicted, speakers = predictions()
    groups = [None if row < 100 else "kept" for row in range(len(truth))]
    scores = scores_by_group(truth, predicted, CLASSES, groups, speakers)
    assert scores == scores_by_group(truth[100:], predicted[100:], CLASSES, groups[100:], speakers[100:])
    assert (list(scores), scores["kept"].n) == (["kept"], len(truth) - 100)
    assert scores_by_group(truth, predicted, CLASSES, [None] * len(truth), speakers) == {}


def test_a_group_of_one_speaker_or_of_unknown_ones_has_no_interval():
    truth, predicted, speakers = predictions()
    by_speaker = scores_by_group(truth, predicted, CLASSES, speakers, speakers)
    assert [(scored.n_speakers, scored.interval) for scored in by_speaker.values()] == [(1, None)] * 8
    unknown = scores_by_group(truth, predicted, CLASSES, speakers)
    assert [(scored.n_speakers, scored.interval) for scored in unknown.values()] == [(None, None)] * 8
    # One unknown speaker takes the interval from its own group only.
    groups = ["first"] * 120 + ["second"] * 120
    mixed = scores_by_group(truth, predicted, CLASSES, groups, [None, *speakers[1:]])
    assert mixed["first"].interval is None
    assert mixed["second"].interval is not None


def test_the_worst_group_has_the_lowest_uar_and_enough_rows():
    truth, predicted, speakers = predictions()
    some = scores_by_group(truth, predicted, CLASSES, ["all"] * len(truth), speakers)["all"]
    scores = {
        "tiny": replace(some, n=MIN_ROWS - 1, uar=0.1),
        "z": replace(some, n=MIN_ROWS, uar=0.4, wa=0.9),
        "b": replace(some, n=MIN_ROWS, uar=0.4),
        "a": replace(some, n=500, uar=0.5, wa=0.1),
    }
    assert worst_group(scores) == "b"
    assert worst_group({"tiny": scores["tiny"]}) is None
    assert worst_group({}) is None


def test_columns_of_unlike_length_and_unknown_labels_are_refused():
    with pytest.raises(MetricError, match="there are 2, 2, 1 and 2"):
        scores_by_group(["anger"] * 2, ["anger"] * 2, CLASSES, ["a"], ["p0", "p1"])
    with pytest.raises(MetricError, match="'joy' is not among"):
        scores_by_group(["joy"], ["anger"], CLASSES, ["a"])
