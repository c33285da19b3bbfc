import numpy as np
import pytest

from ser_transfer.metrics import (
    Abstention,
    Reliability,
    coverage_curve,
    expected_calibration_error,
    reliability,
    with_temperature,
)
from ser_transfer.plots import PlotError, coverage_figure, reliability_figure

CLASSES = ("neutral", "anger", "fear")


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(3), 300), [CLASSES[i] for i in rng.integers(0, 3, 300)]


def legend(figure):
    return [text.get_text() for axes in figure.axes if (box := axes.get_legend()) for text in box.get_texts()]


def test_the_legend_gives_the_ece_of_metrics_before_and_after(answers):
    probabilities, truth = answers
    scaled = with_temperature(probabilities, 2.0)
    bins = [reliability(p, truth, CLASSES) for p in (probabilities, scaled)]
    before, after = (expected_calibration_error(p, truth, CLASSES) for p in (probabilities, scaled))
    assert legend(reliability_figure(*bins, "toy"))[1:] == [
        f"as given  ECE {before:.3f}",
        f"temperature-scaled  ECE {after:.3f}",
    ]


def test_empty_bins_have_no_mark_and_no_bar():
    bins = Reliability((None, 0.4, None, 0.9), (None, 0.5, None, 1.0), (0, 10, 0, 30))
    upper, lower = reliability_figure(bins, None, "toy").axes
    assert upper.lines[1].get_xydata().tolist() == [[0.4, 0.5], [0.9, 1.0]]
    assert [bar.get_height() for bar in lower.patches] == [0, 10, 0, 30]


def test_a_bar_stands_inside_its_bin_also_when_two_share_it():
    bins = Reliability((None, 0.4, None, 0.9), (None, 0.5, None, 1.0), (0, 10, 0, 30))
    lower = reliability_figure(bins, bins, "toy").axes[1]
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in lower.patches]
    for number, (begin, end) in enumerate(ends):
        assert number % 4 / 4 < begin < end < (number % 4 + 1) / 4
    assert all(first[1] <= second[0] + 1e-12 for first, second in zip(ends[:4], ends[4:], strict=True))


def test_bins_without_rows_or_of_two_kinds_are_refused():
    empty, two = Reliability((None,), (None,), (0,)), Reliability((0.4, 0.9), (0.5, 1.0), (1, 1))
    for pair in ((empty, None), (two, empty), (Reliability((0.5,), (0.5,), (3,)), two)):
        with pytest.raises(PlotError, match=r"rows in \d bins"):
            reliability_figure(*pair, "toy")


def test_the_coverage_curve_runs_from_few_answers_to_all(answers):
    curve = coverage_curve(*answers, CLASSES)
    line = (
        coverage_figure([p.coverage for p in curve], [p.accuracy for p in curve], None, "toy")
        .axes[0]
        .lines[0]
    )
    assert np.all(np.diff(line.get_xdata()) > 0)
    assert line.get_xydata()[-1].tolist() == [1.0, curve[-1].accuracy]


def test_the_chosen_threshold_is_marked_where_it_leads_and_named():
    marked = Abstention(0.62, 0.4, 0.8)
    figure = coverage_figure([0.2, 0.4, 1.0], [0.9, 0.8, 0.6], marked, "toy")
    (star,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert star.get_xydata().tolist() == [[0.4, 0.8]]
    assert star.get_label() == "confidence 0.62 or more: 40% answered, 80% of them right"


@pytest.mark.parametrize("marked", [None, Abstention(0.99, 0.0, None)])
def test_a_threshold_that_answers_nothing_is_not_marked(marked):
    assert len(coverage_figure([0.0, 1.0], [None, 0.6], marked, "toy").axes[0].lines) == 1


def test_a_curve_of_no_point_is_refused():
    with pytest.raises(PlotError, match="one accuracy per coverage, one at least, not 2 for 1"):
        coverage_figure([0.5], [0.5, 0.6], None, "toy")
