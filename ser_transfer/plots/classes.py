"""Precision, recall and F1 of every emotion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ser_transfer.plots.style import (
    BLUE,
    FAINT,
    INK,
    VERMILLION,
    PlotError,
    bare,
    legend_below,
    new_figure,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def per_class_figure(
    precision: Mapping[str, float | None],
    recall: Mapping[str, float | None],
    f1: Mapping[str, float | None],
    title: str,
) -> Figure:
    """Draw the three scores of every emotion on one line each.

    Args:
        precision: Per emotion, from 0 to 1; None where there is none, and no mark is drawn.
        recall: The same of recall; its keys say the order of emotions.
        f1: The same of F1.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If the three are not of the same emotions, or of none.
    """
    if not recall or not set(precision) == set(recall) == set(f1):
        raise PlotError(
            "precision, recall and F1 want the same emotions, one at least; there are "
            f"{', '.join(precision) or 'none'}; {', '.join(recall) or 'none'}; {', '.join(f1) or 'none'}"
        )
    figure = new_figure(width=7.0, height=1.6 + 0.42 * len(recall))
    axes = figure.subplots()
    for position, emotion in enumerate(recall):
        found = [score for score in (precision[emotion], recall[emotion], f1[emotion]) if score is not None]
        if found:
            axes.plot([min(found), max(found)], [position, position], color=FAINT, linewidth=5, zorder=1)
    for name, scores, marker, colour in (
        ("precision", precision, ">", BLUE),
        ("recall", recall, "o", VERMILLION),
        ("F1", f1, "D", INK),
    ):
        drawn = [(score, y) for y, emotion in enumerate(recall) if (score := scores[emotion]) is not None]
        x, y = zip(*drawn, strict=True) if drawn else ((), ())
        axes.plot(x, y, marker, color=colour, markersize=8 if name == "recall" else 6, alpha=0.9, label=name)
    axes.set_yticks(range(len(recall)), recall)
    axes.set_ylim(len(recall) - 0.4, -0.6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share, from 0 to 1")
    bare(axes, grid="both")
    legend_below(figure)
    set_title(figure, title)
    return figure
