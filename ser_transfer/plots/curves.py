"""Curves of one emotion against all others, from probabilities: ROC, and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.plots.style import INK, PlotError, SeriesStyle, bare, new_figure, series_styles, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = np.linspace(0.0, 1.0, 201)  # false positive rates at which the curves are averaged


def roc_figure(
    probabilities: npt.NDArray[np.float64], truth: Sequence[str], classes: Sequence[str], title: str
) -> Figure:
    """Draw a ROC curve per emotion against all others, with its AUC, and the mean over emotions.

    Args:
        probabilities: Of shape (rows, n_classes), each row from a fold that did not train on it.
        truth: Emotion per row.
        classes: The columns of `probabilities`. One that no row has, or every row, has no curve: the
            legend names it.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If sizes differ, a probability is not finite, a label is unknown, or all rows have the
            same emotion.
    """
    from sklearn.metrics import auc, roc_curve

    drawn = _one_against_rest(probabilities, truth, classes)
    figure, axes = _square(title)
    axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1.0, label="chance  AUC 0.50")
    rates, areas = [], []
    for name, (is_it, score, style) in drawn.items():
        false_positive, true_positive, _ = roc_curve(is_it, score)
        areas.append(auc(false_positive, true_positive))
        rates.append(np.interp(GRID, false_positive, true_positive))
        rates[-1][0] = 0.0
        _line(axes, false_positive, true_positive, style, f"{name}  AUC {areas[-1]:.2f}")
    axes.plot(
        GRID,
        np.mean(rates, axis=0),
        color=INK,
        linewidth=2.6,
        label=f"mean of emotions  AUC {np.mean(areas):.2f}",
    )
    axes.set_xlabel("false positive rate: share of the other emotions taken for this one")
    axes.set_ylabel("true positive rate: share of this emotion found")
    _legend(axes, [name for name in classes if name not in drawn])
    return figure


def precision_recall_figure(
    probabilities: npt.NDArray[np.float64], truth: Sequence[str], classes: Sequence[str], title: str
) -> Figure:
    """Draw precision against recall per emotion, with its average precision (AP).

    The floor of an AP is the emotion's share of all rows: guessing reaches it. A dotted line shows it.

    Args:
        probabilities: Of shape (rows, n_classes), each row from a fold that did not train on it.
        truth: Emotion per row.
        classes: The columns of `probabilities`. One that no row has, or every row, has no curve: the
            legend names it.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If sizes differ, a probability is not finite, a label is unknown, or all rows have the
            same emotion.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    drawn = _one_against_rest(probabilities, truth, classes)
    figure, axes = _square(title)
    for name, (is_it, score, style) in drawn.items():
        precision, recall, _ = precision_recall_curve(is_it, score, drop_intermediate=True)
        average, floor = average_precision_score(is_it, score), is_it.mean()
        _line(axes, recall, precision, style, f"{name}  AP {average:.2f}, floor {floor:.2f}")
        axes.axhline(floor, color=style.colour, linestyle=":", linewidth=1.0, zorder=1)
    axes.set_xlabel("recall: share of this emotion found")
    axes.set_ylabel("precision: share of the answers that are right")
    _legend(axes, [name for name in classes if name not in drawn])
    return figure


def _one_against_rest(
    probabilities: npt.NDArray[np.float64], truth: Sequence[str], classes: Sequence[str]
) -> dict[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], SeriesStyle]]:
    """Return, per emotion that some rows have and some have not: which, its probabilities, and its style."""
    if probabilities.shape != (len(truth), len(classes)):
        raise PlotError(
            f"probabilities want one row per utterance and one column per class: {len(truth)} utterances and "
            f"{len(classes)} classes were given with probabilities of shape {probabilities.shape}"
        )
    if not np.isfinite(probabilities).all():
        raise PlotError("some probabilities are not finite; look at the head that gave them")
    unknown = sorted(set(truth) - set(classes))
    if unknown:
        raise PlotError(f"the truth has {', '.join(unknown)}, the classes are {', '.join(classes)}")
    if len(set(truth)) < 2:
        raise PlotError(
            "a curve of one emotion against the others wants two emotions in the truth; there is "
            f"{', '.join(set(truth)) or 'none'}"
        )
    labels, styles = np.asarray(truth), series_styles(len(classes))
    return {
        name: (labels == name, probabilities[:, column], styles[column])
        for column, name in enumerate(classes)
        if name in set(truth)
    }


def _square(title: str) -> tuple[Figure, Axes]:
    figure = new_figure(width=8.0, height=5.4)
    axes = figure.subplots()
    axes.set_aspect("equal")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    bare(axes, grid="both")
    set_title(figure, title)
    return figure, axes


def _line(
    axes: Axes, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], style: SeriesStyle, label: str
) -> None:
    axes.plot(x, y, color=style.colour, linestyle=style.dashes, linewidth=1.6, label=label)


def _legend(axes: Axes, left_out: Sequence[str]) -> None:
    """List the curves beside the axes, and below them the classes that have none."""
    if left_out:
        axes.plot([], [], " ", label="\n".join(wrap(f"not in the truth: {', '.join(left_out)}", 28)))
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9, handlelength=3.2)
