from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ser_transfer.plots import PlotError, precision_recall_figure, roc_figure

CLASSES = ("neutral", "anger", "fear")
TRUTH = ["neutral"] * 30 + ["anger"] * 20 + ["fear"] * 10


@pytest.fixture
def probabilities():
    rng = np.random.default_rng(0)
    scores = rng.random((60, 3)) + [[0.4 * (name == truth) for name in CLASSES] for truth in TRUTH]
    return scores / scores.sum(axis=1, keepdims=True)


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def with_two_more_classes(probabilities):
    return np.column_stack([probabilities, np.zeros((60, 2))]), (*CLASSES, "boredom", "disgust")


def test_the_legend_of_the_roc_curves_gives_scikit_learns_auc_and_their_mean(probabilities):
    areas = [roc_auc_score([t == name for t in TRUTH], probabilities[:, i]) for i, name in enumerate(CLASSES)]
    assert labels(roc_figure(probabilities, TRUTH, CLASSES, "toy")) == [
        "chance  AUC 0.50",
        *(f"{name}  AUC {area:.2f}" for name, area in zip(CLASSES, areas, strict=True)),
        f"mean of emotions  AUC {np.mean(areas):.2f}",
    ]


def test_the_area_under_the_mean_curve_is_the_mean_area(probabilities):
    mean = roc_figure(probabilities, TRUTH, CLASSES, "toy").axes[0].lines[-1]
    macro = roc_auc_score(np.array(TRUTH)[:, None] == CLASSES, probabilities, average="macro")
    assert np.trapezoid(mean.get_ydata(), mean.get_xdata()) == pytest.approx(macro, abs=0.005)


def test_the_legend_of_precision_and_recall_gives_ap_and_the_share_of_each_emotion(probabilities):
    precisions = [
        average_precision_score([t == name for t in TRUTH], probabilities[:, i])
        for i, name in enumerate(CLASSES)
    ]
    figure = precision_recall_figure(probabilities, TRUTH, CLASSES, "toy")
    assert labels(figure) == [
        f"{name}  AP {ap:.2f}, floor {share}"
        for name, ap, share in zip(CLASSES, precisions, ("0.50", "0.33", "0.17"), strict=True)
    ]
    floors = [line.get_ydata()[0] for line in figure.axes[0].lines[1::2]]
    assert floors == pytest.approx([1 / 2, 1 / 3, 1 / 6])


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
def test_classes_that_the_truth_lacks_are_named_and_not_drawn(draw, probabilities):
    without = draw(probabilities, TRUTH, CLASSES, "toy")
    wider, classes = with_two_more_classes(probabilities)
    figure = draw(wider, TRUTH, classes, "toy")
    assert labels(figure)[:-1] == labels(without)
    assert labels(figure)[-1].replace("\n", " ") == "not in the truth: boredom, disgust"


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
def test_eight_curves_differ_in_dashes_or_colour_in_every_pair_and_neighbours_in_both(draw):
    classes = [f"class {i}" for i in range(8)]
    axes = draw(np.full((16, 8), 1 / 8), classes * 2, classes, "toy").axes[0]
    named = [line for line in axes.lines if line.get_label().startswith("class")]
    looks = [(line.get_color(), str(line._unscaled_dash_pattern)) for line in named]
    assert len({colour for colour, _ in looks}) == len(looks) == 8
    assert all(one[1] != other[1] for one, other in pairwise(looks))


@pytest.mark.parametrize("draw", [roc_figure, precision_recall_figure])
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda p, t: (p[:-1], t), r"60 utterances and 3 classes .* \(59, 3\)"),
        (lambda p, t: (np.where(p > p.max() - 1e-9, np.nan, p), t), "not finite"),
        (lambda p, t: (p, ["joy", *t[1:]]), "the truth has joy, the classes are neutral, anger, fear"),
        (lambda p, t: (p, ["fear"] * 60), "wants two emotions in the truth; there is fear"),
    ],
)
def test_data_without_a_curve_are_refused(draw, spoil, complaint, probabilities):
    with pytest.raises(PlotError, match=complaint):
        draw(*spoil(probabilities, TRUTH), CLASSES, "toy")
