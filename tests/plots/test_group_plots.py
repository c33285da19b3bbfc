import pytest

from ser_transfer.metrics import GroupScore
from ser_transfer.plots import PlotError, group_figure, per_class_figure

CLASSES = ("neutral", "anger")
SCORES = {
    "gender": {
        "female": GroupScore(720, 12, CLASSES, 0.67, 0.66, (0.6, 0.74)),
        "male": GroupScore(700, 12, CLASSES, 0.55, 0.56, (0.5, 0.6)),
    },
    "language": {"en": GroupScore(1420, None, CLASSES, 0.61, 0.6, None)},
}
PRECISION, RECALL = {"anger": 0.7, "neutral": 0.0}, {"neutral": None, "anger": 0.5}
F1 = {"neutral": 0.0, "anger": 0.58}


def marks(axes):
    return {
        line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"
    }


def test_every_group_has_its_size_its_uar_and_its_interval():
    axes = group_figure(SCORES, "toy").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "female (n = 720, 12 speakers)",
        "male (n = 700, 12 speakers)",
        "en (n = 1420)",
    ]
    assert [text.get_text() for text in axes.texts] == ["0.670", "0.550", "0.610"]
    whiskers = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [tuple(ends) for ends in whiskers] == [(0.6, 0.74), (0.5, 0.6)]


def test_a_group_without_an_interval_is_a_hollow_mark():
    dots = [line for line in group_figure(SCORES, "toy").axes[0].lines if len(line.get_xdata()) == 1]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, False, True]


def test_one_way_of_grouping_has_one_colour():
    dots = [line for line in group_figure(SCORES, "toy").axes[0].lines if len(line.get_xdata()) == 1]
    female, male, english = (dot.get_color() for dot in dots)
    assert female == male != english


def test_a_corpus_that_tells_no_group_is_refused():
    with pytest.raises(PlotError, match="no group to draw"):
        group_figure({"gender": {}}, "toy")


def test_emotions_stand_in_the_order_of_the_recalls_and_what_there_is_none_of_has_no_mark():
    axes = per_class_figure(PRECISION, RECALL, F1, "toy").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["neutral", "anger"]
    drawn = marks(axes)
    assert drawn["precision"] == [[0.0, 0], [0.7, 1]]
    assert drawn["recall"] == [[0.5, 1]]
    assert drawn["F1"] == [[0.0, 0], [0.58, 1]]


def test_scores_of_other_emotions_than_the_recalls_are_refused():
    with pytest.raises(PlotError, match="want the same emotions"):
        per_class_figure({"fear": 0.5}, RECALL, F1, "toy")
