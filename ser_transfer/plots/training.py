"""Training curves: whether a network still learned, and where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.plots.style import (
    INK,
    PlotError,
    bare,
    legend_below,
    new_figure,
    series_styles,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    title: str,
    best_epochs: Mapping[str, int | None] | None = None,
) -> Figure:
    """Draw loss and validation UAR by epoch, one line per fold, the best epoch marked.

    The best epoch is the one whose weights were kept. Where nothing validated, there is only the training
    loss.

    Args:
        histories: Per fold, one mapping per epoch, with ``epoch`` (from 1), ``train_loss``,
            ``validation_loss`` and ``validation_uar``; the last two are None where nothing validates.
        title: What was trained, on what.
        best_epochs: Per fold, which epoch was kept, from 1; where it is not told, the first of highest
            validation UAR was.

    Raises:
        PlotError: If there is no fold, or one without an epoch.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    if not histories or not all(histories.values()):
        raise PlotError("a training curve wants one fold at least, and one epoch of each")
    validates = any(line["validation_uar"] is not None for history in histories.values() for line in history)
    figure = new_figure(width=9.0 if validates else 5.5, height=4.4)
    panels = list(figure.subplots(1, 1 + validates, squeeze=False)[0])
    styles = series_styles(len(histories))
    for (fold, history), style in zip(histories.items(), styles, strict=True):
        epoch, train_loss, validation_loss, uar = (
            np.array([line[key] for line in history], dtype=float)
            for key in ("epoch", "train_loss", "validation_loss", "validation_uar")
        )
        panels[0].plot(epoch, train_loss, "-", color=style.colour, linewidth=1.2)
        if np.isnan(uar).all():
            continue
        panels[0].plot(epoch, validation_loss, "--", color=style.colour, linewidth=1.2)
        panels[1].plot(epoch, uar, "--", color=style.colour, linewidth=1.2)
        kept = (best_epochs or {}).get(fold)
        best = int(np.nanargmax(uar)) if kept is None else int(np.flatnonzero(epoch == kept)[0])
        for axes, y in zip(panels, (validation_loss[best], uar[best]), strict=True):
            axes.plot(epoch[best], y, style.marker, color=style.colour, markeredgecolor=INK, markersize=8)
    for axes, label in zip(panels, ("loss, mean per utterance", "UAR on validation speakers"), strict=False):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        bare(axes, grid="y")
    panels[0].set_ylim(bottom=0.0)
    if validates:
        panels[1].set_ylim(0.0, 1.02)
    meanings = [Line2D([], [], color=INK, linestyle="-", label="training")]
    if validates:
        meanings.append(Line2D([], [], color=INK, linestyle="--", label="validation"))
        meanings.append(Line2D([], [], color=INK, linestyle="", marker="o", label="best epoch"))
    folds = [
        Line2D([], [], color=style.colour, marker=style.marker, label=f"fold {fold}", markeredgecolor=INK)
        for fold, style in zip(histories, styles, strict=True)
    ]
    legend_below(figure, [*meanings, *folds])
    set_title(figure, title)
    return figure
