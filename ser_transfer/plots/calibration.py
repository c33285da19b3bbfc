"""Whether probabilities mean what they say, and what is left when unsure answers are not given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.plots.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILLION,
    PlotError,
    bare,
    legend_below,
    new_figure,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ser_transfer.metrics import Abstention, Reliability


def reliability_figure(before: Reliability, after: Reliability | None, title: str) -> Figure:
    """Draw the share of right answers against the confidence, and below it how often each was had.

    Above the diagonal the probabilities are not sure enough, below it they are too sure. ECE is the mean
    distance from it, weighted by rows.

    Args:
        before: Of the head's own probabilities.
        after: Of the same rows after temperature scaling; None where there was none.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If there is no row, or the two are not of the same number of bins.
    """
    named = {"as given": before} if after is None else {"as given": before, "temperature-scaled": after}
    if len({len(bins.counts) for bins in named.values()}) > 1 or any(
        not sum(bins.counts) for bins in named.values()
    ):
        raise PlotError(
            "reliability wants bins with some rows in them, before and after of the same number: "
            + " and ".join(f"{sum(bins.counts)} rows in {len(bins.counts)} bins" for bins in named.values())
        )
    figure = new_figure(width=5.6, height=6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], ":", color=INK, linewidth=1.0, label="confidence is accuracy")
    looks = ((VERMILLION, "--", "s"), (BLUE, "-", "o"))
    for place, ((name, bins), (colour, dashes, marker)) in enumerate(zip(named.items(), looks, strict=False)):
        confidence, accuracy = np.array(bins.confidence, float), np.array(bins.accuracy, float)
        filled = np.array(bins.counts) > 0
        upper.plot(
            confidence[filled],
            accuracy[filled],
            color=colour,
            linestyle=dashes,
            marker=marker,
            markersize=5,
            label=f"{name}  ECE {_ece(bins):.3f}",
        )
        _histogram(lower, bins.counts, place, len(named), colour)
    upper.set_ylabel("accuracy: share of right answers")
    upper.set_ylim(-0.02, 1.02)
    lower.set_ylabel("utterances")
    lower.set_xlabel("confidence: probability of the answer")
    lower.set_xlim(0.0, 1.0)
    bare(upper, grid="both")
    bare(lower, grid="y")
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    set_title(figure, title)
    return figure


def coverage_figure(
    coverage: Sequence[float], accuracy: Sequence[float | None], marked: Abstention | None, title: str
) -> Figure:
    """Draw the accuracy of the answers against the share of utterances that get one.

    Args:
        coverage: Share answered per threshold, from 0 to 1.
        accuracy: Share of those answers that are right; None where nothing is answered.
        marked: What the chosen threshold leaves of the same utterances; None where none was chosen.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If there is nothing to draw, or the two are not of one length.
    """
    if not coverage or len(coverage) != len(accuracy):
        raise PlotError(
            "the curve wants one accuracy per coverage, one at least, not "
            f"{len(accuracy)} for {len(coverage)}"
        )
    figure = new_figure(width=6.4, height=4.2)
    axes = figure.subplots()
    order = np.argsort(coverage)
    axes.plot(
        np.array(coverage)[order],
        np.array(accuracy, float)[order],
        color=BLUE,
        label="surest utterances first",
    )
    if marked is not None and marked.accuracy is not None:
        axes.plot([marked.coverage] * 2, [0, marked.accuracy], ":", color=INK, linewidth=1.0)
        axes.plot([0, marked.coverage], [marked.accuracy] * 2, ":", color=INK, linewidth=1.0)
        axes.plot(
            marked.coverage,
            marked.accuracy,
            "*",
            color=ORANGE,
            markeredgecolor=INK,
            markersize=15,
            label=f"confidence {marked.threshold:.2f} or more: {marked.coverage:.0%} answered, "
            f"{marked.accuracy:.0%} of them right",
        )
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(0.0, 1.03)
    axes.set_xlabel("coverage: share of utterances that get an answer")
    axes.set_ylabel("accuracy: share of right answers")
    bare(axes, grid="both")
    legend_below(figure)
    set_title(figure, title)
    return figure


def _ece(bins: Reliability) -> float:
    """Return the mean distance of confidence from accuracy, as `metrics.expected_calibration_error` does."""
    counts = np.array(bins.counts)
    gaps = np.abs(np.array(bins.confidence, float) - np.array(bins.accuracy, float))
    return float((counts * np.where(counts > 0, gaps, 0.0)).sum() / counts.sum())


def _histogram(axes: Axes, counts: Sequence[int], place: int, n_series: int, colour: str) -> None:
    """Draw counts in bins of equal width from 0 to 1, one series beside the other."""
    width = 1 / len(counts)
    left = (np.arange(len(counts)) + 0.08 + 0.84 * place / n_series) * width
    axes.bar(left, counts, width=0.84 * width / n_series, align="edge", color=colour)
