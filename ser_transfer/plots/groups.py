"""Scores of groups of utterances: who is understood less well, and what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ser_transfer.plots.style import (
    PlotError,
    bare,
    broken,
    legend_below,
    new_figure,
    series_styles,
    set_title,
    write_beside,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ser_transfer.metrics import GroupScore


def group_figure(scores: Mapping[str, Mapping[str, GroupScore]], title: str) -> Figure:
    """Draw the UAR of every group with its 95 % interval over speakers, one block per way of grouping.

    The UAR is over the emotions that the group has. A hollow mark has no interval: its speakers are unknown,
    or there is one.

    Args:
        scores: Per way of grouping, such as ``"gender"`` or ``"sentence"``, the score per group, as
            `metrics.scores_by_group` gives them.
        title: What was scored, on what, with n.

    Raises:
        PlotError: If there is no group.
    """
    from matplotlib.lines import Line2D

    if not any(scores.values()):
        raise PlotError(
            "there is no group to draw: the corpus tells none of gender, intensity, sentence, ..."
        )
    n_rows = sum(map(len, scores.values())) + len(scores) - 1
    n_lines = max(_named(*item).count("\n") + 1 for groups in scores.values() for item in groups.items())
    figure = new_figure(width=7.4, height=1.7 + (0.16 + 0.16 * n_lines) * n_rows)
    axes = figure.subplots()
    styles = series_styles(len(scores))
    ticks: dict[float, str] = {}
    handles, begin = [], 0
    for (grouping, groups), style in zip(scores.items(), styles, strict=True):
        for place, (name, scored) in enumerate(groups.items(), begin):
            ticks[place] = _named(name, scored)
            if scored.interval is not None:
                axes.plot(scored.interval, [place, place], color=style.colour, linewidth=1.6)
            axes.plot(
                scored.uar,
                place,
                style.marker,
                color=style.colour,
                markerfacecolor="white" if scored.interval is None else style.colour,
                markersize=7,
            )
            write_beside(axes, place, f"{scored.uar:.3f}")
        handles.append(Line2D([], [], color=style.colour, marker=style.marker, label=grouping))
        begin += len(groups) + 1
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=9)
    axes.set_ylim(begin - 1.4, -0.6)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("UAR, 95 % interval over speakers")
    bare(axes, grid="x")
    legend_below(figure, handles)
    set_title(figure, title)
    return figure


def _named(name: str, scored: GroupScore) -> str:
    speakers = "" if scored.n_speakers is None else f", {scored.n_speakers} speakers"
    return broken(f"{name} (n = {scored.n}{speakers})")
