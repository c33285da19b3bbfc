"""Matrices: which emotion is taken for which, and which corpus teaches for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.plots.style import FAINT, INK, MAX_NAME, PlotError, broken, new_figure, set_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DARK = 0.55  # of the colour scale: above, white is read more easily


def confusion_figure(
    counts: npt.NDArray[np.int64],
    classes: Sequence[str],
    title: str,
    *,
    emphasis: Literal["shares", "counts"] = "shares",
) -> Figure:
    """Draw a confusion matrix, colour and large figures in one reading, small figures in the other.

    Args:
        counts: Integers of shape (n_classes, n_classes), truth along rows.
        classes: Names of rows and columns.
        title: What was scored, on what, with n.
        emphasis: ``"shares"`` of the true emotion, each row summing to 1, or ``"counts"`` of utterances.

    Raises:
        PlotError: If the matrix does not fit the classes.
    """
    n = len(classes)
    _check_shape(counts, n, n)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(width=1.6 + 0.72 * n, height=1.3 + 0.66 * n)
    axes = figure.subplots()
    if emphasis == "shares":
        depth = shares
        _colour_cells(axes, shares, 1.0, "share of the true emotion")
    else:
        depth = counts / max(counts.max(), 1)
        _colour_cells(axes, counts, max(counts.max(), 1), "utterances")
    for row, column in np.ndindex(n, n):
        texts = (f"{shares[row, column]:.2f}", f"{counts[row, column]}")
        large, small = texts if emphasis == "shares" else texts[::-1]
        _write(axes, row - 0.08, column, large, depth[row, column], fontsize=9)
        _write(axes, row + 0.24, column, small, depth[row, column], fontsize=6)
    _name_cells(axes, classes, classes)
    axes.set_xlabel("predicted emotion")
    axes.set_ylabel("true emotion")
    set_title(figure, title)
    return figure


def matrix_figure(
    scores: npt.NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], title: str
) -> Figure:
    """Draw the UAR on every test corpus after training on every training corpus.

    Where both are the same corpus, the cell has a frame: that is the within-corpus score.

    Args:
        scores: UAR from 0 to 1, of shape (n_rows, n_columns); NaN where it was not measured.
        rows: Corpora trained on.
        columns: Corpora tested on.
        title: What was scored, on which emotions.

    Raises:
        PlotError: If the matrix does not fit the names.
    """
    from matplotlib.patches import Rectangle

    _check_shape(scores, len(rows), len(columns))
    figure = new_figure(
        width=2.2 + 0.07 * min(max(map(len, rows)), MAX_NAME) + 0.9 * len(columns),
        height=1.4 + 0.05 * min(max(map(len, columns)), MAX_NAME) + 0.66 * len(rows),
    )
    axes = figure.subplots()
    axes.set_facecolor(FAINT)
    _colour_cells(axes, scores, 1.0, "UAR")
    for row, column in np.ndindex(scores.shape):
        uar = float(scores[row, column])
        _write(axes, row, column, "–" if np.isnan(uar) else f"{uar:.2f}", uar, fontsize=10)
        if rows[row] == columns[column]:
            corner = (column - 0.47, row - 0.47)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.8))
    _name_cells(axes, rows, columns)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    set_title(figure, title)
    return figure


def _check_shape(values: npt.NDArray[Any], n_rows: int, n_columns: int) -> None:
    if values.shape != (n_rows, n_columns) or not values.size:
        raise PlotError(
            f"{n_rows} names of rows and {n_columns} of columns want a matrix of that shape, one of each at "
            f"least, not {values.shape}"
        )


def _colour_cells(axes: Axes, values: npt.NDArray[Any], top: float, label: str) -> None:
    image = axes.imshow(values, cmap="Blues", vmin=0.0, vmax=top)
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label=label)


def _write(axes: Axes, y: float, x: float, text: str, depth: float, fontsize: float) -> None:
    """Write on a cell whose colour stands at `depth`, 0 to 1, of its scale."""
    colour = "white" if depth > DARK else INK
    written = axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=fontsize)
    written.set_in_layout(False)  # it lies inside the axes, and measuring it takes longer than drawing it


def _name_cells(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(
        range(len(columns)), list(map(broken, columns)), rotation=40, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(rows)), list(map(broken, rows)))
    axes.spines[:].set_visible(False)
