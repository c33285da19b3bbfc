"""Systems against each other: their UAR with intervals, and whether a leak would have flattered them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ser_transfer.plots.style import (
    INK,
    SYSTEM_COLOURS,
    VERMILLION,
    PlotError,
    bare,
    broken,
    legend_below,
    new_figure,
    set_title,
    write_beside,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

UAR_LABEL = "UAR (mean of per-emotion recalls), 95 % interval over speakers"


@dataclass(frozen=True)
class LeaderboardRow:
    """One system of a leaderboard.

    Attributes:
        system: Its name.
        role: What it is, and so its colour.
        uar: On speakers it did not train on.
        interval: 95 % interval of `uar` over speakers; None where there is none.
        speaker_dependent_uar: What it scores where speakers stand on both sides; None where not measured.
    """

    system: str
    role: Literal["encoder", "fusion", "baseline", "untrained", "floor"]
    uar: float
    interval: tuple[float, float] | None = None
    speaker_dependent_uar: float | None = None


def score_figure(
    scores: Mapping[str, tuple[float, float, float]], roles: Mapping[str, str], title: str, chance: float
) -> Figure:
    """Draw the UAR of each system with its 95 % interval over speakers.

    Args:
        scores: Per system, UAR and the two ends of its interval, each in 0 to 1.
        roles: Per system, a key of `SYSTEM_COLOURS`: ``"encoder"``, ``"baseline"``, ``"floor"``, ...
        title: What was scored, on what, with n.
        chance: UAR of guessing, 1 / n_classes.
    """
    figure = new_figure(width=7.0, height=1.4 + 0.55 * len(scores))
    axes = figure.subplots()
    for position, (system, (uar, low, high)) in enumerate(scores.items()):
        axes.barh(position, uar, height=0.62, color=SYSTEM_COLOURS[roles[system]], alpha=0.85)
        _whisker(axes, position, low, high)
        axes.text(high + 0.012, position, f"{uar:.3f}", va="center", fontsize=10)
    axes.axvline(chance, color=INK, linestyle=":", linewidth=1.0)
    axes.text(chance, len(scores) - 0.45, " chance", fontsize=8, va="bottom", ha="left")
    axes.set_yticks(range(len(scores)), list(map(broken, scores)))
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(scores) - 0.3, -0.9)
    axes.set_xlabel(UAR_LABEL)
    bare(axes)
    set_title(figure, title)
    return figure


def leaderboard_figure(rows: Sequence[LeaderboardRow], title: str, chance: float) -> Figure:
    """Draw the UAR of many systems, the best first, and what a leak of speakers would have added.

    A hollow mark is a score with speakers on both sides of the split: no score to quote, and labelled so.
    The line from the end of the bar to it is the gap.

    Args:
        rows: One per system, in any order.
        title: What was scored, on what, with n.
        chance: UAR of guessing, 1 / n_classes.

    Raises:
        PlotError: If there is no row.
    """
    from matplotlib.patches import Patch

    if not rows:
        raise PlotError("a leaderboard wants one system at least")
    present = {row.role for row in rows}
    ranked = sorted(rows, key=lambda row: (-row.uar, row.system))
    figure = new_figure(width=8.0, height=2.1 + 0.4 * len(rows))
    axes = figure.subplots()
    leaks = []
    for position, row in enumerate(ranked):
        axes.barh(position, row.uar, height=0.66, color=SYSTEM_COLOURS[row.role], alpha=0.85)
        if row.interval is not None:
            _whisker(axes, position, *row.interval)
        write_beside(axes, position, f"{row.uar:.3f}")
        if row.speaker_dependent_uar is not None:
            leaks.append(_leak(axes, position, row.uar, row.speaker_dependent_uar))
            write_beside(
                axes, position, f"{row.speaker_dependent_uar - row.uar:+.3f}", column=1, colour=VERMILLION
            )
    chance_line = axes.axvline(chance, color=INK, linestyle=":", linewidth=1.0, label="chance")
    write_beside(axes, -0.85, "UAR")
    if leaks:
        write_beside(axes, -0.85, "gap", column=1, colour=VERMILLION)
    axes.set_yticks(range(len(ranked)), [broken(row.system) for row in ranked])
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(ranked) - 0.4, -1.2)
    axes.set_xlabel(UAR_LABEL)
    bare(axes)
    roles = [Patch(color=SYSTEM_COLOURS[role], label=role) for role in SYSTEM_COLOURS if role in present]
    legend_below(figure, [*roles, chance_line, *leaks[:1]])
    set_title(figure, title)
    return figure


def _whisker(axes: Axes, position: int, low: float, high: float) -> None:
    axes.plot([low, high], [position, position], color=INK, linewidth=1.4, solid_capstyle="butt")
    axes.plot([low, high], [position, position], "|", color=INK, markersize=9)


def _leak(axes: Axes, position: int, uar: float, speaker_dependent_uar: float) -> Line2D:
    """Draw the gap between the two scores a little below the middle of the bar, where no whisker lies."""
    height = position + 0.2
    axes.plot([uar, speaker_dependent_uar], [height, height], "--", color=VERMILLION, linewidth=1.2)
    (mark,) = axes.plot(
        speaker_dependent_uar,
        height,
        "D",
        color=VERMILLION,
        markerfacecolor="white",
        markersize=6,
        linestyle="none",
        label="NOT SPEAKER-INDEPENDENT",
    )
    return mark
