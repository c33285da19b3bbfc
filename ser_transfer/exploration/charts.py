"""Charts of counts and of spreads, each from numbers to a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.plots.style import (
    INK,
    PALETTE,
    SeriesStyle,
    bare,
    legend_below,
    new_figure,
    series_styles,
    set_title,
    write_beside,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["linear", "log", "octaves"]

HATCHES = ("", "///", "...")  # from the ninth emotion on, where colours begin again
INCHES_PER_NAME, NARROWEST = 0.3, 0.11  # of a speaker's bar; a name of 6 pt still has air at the narrowest
MAX_WIDTH = 16.0
MAX_DOTS = 3000  # in all; of more clips, a part is drawn as dots, and all are counted in the boxes
F0_TICKS = (60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 600, 800)  # Hz


def bar_figure(stacks: Mapping[str, Mapping[str, int]], parts: Sequence[str], title: str) -> Figure:
    """Draw lying bars of counts, the number beside each; stacked where there are several parts.

    Args:
        stacks: Per bar, per part, a count.
        parts: Their order; a legend names them, unless there is one.
        title: What was counted.
    """
    figure = new_figure(width=7.4, height=1.2 + 0.36 * len(stacks) + 0.5 * (len(parts) > 1))
    axes = figure.subplots()
    lefts = np.zeros(len(stacks))
    for number, part in enumerate(parts):
        counts = np.array([stack[part] for stack in stacks.values()])
        axes.barh(range(len(stacks)), counts, 0.68, left=lefts, label=part, **_look(number))
        lefts += counts
    for place, stack in enumerate(stacks.values()):
        write_beside(axes, place, str(sum(stack.values())))
    axes.set_yticks(range(len(stacks)), list(stacks))
    axes.set_ylim(len(stacks) - 0.5, -0.5)
    axes.set_xlabel("clips")
    axes.locator_params(axis="x", integer=True)
    bare(axes, grid="x")
    if len(parts) > 1:
        legend_below(figure)
    set_title(figure, title)
    return figure


def stack_figure(stacks: Mapping[str, Mapping[str, int]], parts: Sequence[str], title: str) -> Figure:
    """Draw standing stacks of counts, one per speaker.

    Beyond what the width takes, about 130 speakers, their names are left out.

    Args:
        stacks: Per speaker, per part, a count.
        parts: Their order, from below.
        title: What was counted.
    """
    n = len(stacks)
    spacing = max(NARROWEST, min(INCHES_PER_NAME, INCHES_PER_NAME * 30 / n))
    figure = new_figure(min(max(6.0, 2.0 + spacing * n), MAX_WIDTH), height=4.1)
    axes = figure.subplots()
    bottoms = np.zeros(n)
    for number, part in enumerate(parts):
        counts = np.array([stack[part] for stack in stacks.values()])
        axes.bar(range(n), counts, 0.8, bottom=bottoms, label=part, **_look(number))
        bottoms += counts
    if NARROWEST * n <= MAX_WIDTH - 2.0:
        is_crowded = sum(map(len, stacks)) > 60
        axes.set_xticks(
            range(n), list(stacks), rotation=90 if is_crowded else 0, fontsize=8 if spacing > 0.15 else 6
        )
    else:
        axes.set_xticks([])
    axes.set_xlim(-0.7, n - 0.3)
    axes.set_xlabel(f"speaker (n = {n})")
    axes.set_ylabel("clips")
    axes.locator_params(axis="y", integer=True)
    bare(axes, grid="y")
    legend_below(figure)
    set_title(figure, title)
    return figure


def _look(number: int) -> dict[str, Any]:
    """Colour, and hatch where colours begin again."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "hatch": HATCHES[number // len(PALETTE) % len(HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.4,
    }


def spread_figure(
    values: Mapping[str, Mapping[str, Sequence[float]]], label: str, title: str, *, scale: Scale = "linear"
) -> Figure:
    """Draw how numbers of clips spread in each emotion: every clip a dot, and a box over them.

    Args:
        values: Per series, such as a gender, per emotion the numbers. ``""`` is a series that nobody named.
        label: What they are, with the unit.
        title: Of what, with n.
        scale: ``"linear"``, ``"log"``, or ``"octaves"`` for frequencies of voices in Hz.
    """
    emotions = list(next(iter(values.values())))
    figure = new_figure(width=7.4, height=1.4 + 0.22 * (1 + len(values)) * len(emotions))
    axes = figure.subplots()
    n = sum(len(found) for of_series in values.values() for found in of_series.values())
    dots = _Dots(axes, n, height=0.72 * 0.8 / len(values))
    styles = series_styles(len(values))
    for number, ((series, of_series), style) in enumerate(zip(values.items(), styles, strict=True)):
        offset = (number - (len(values) - 1) / 2) * 0.8 / len(values)
        for place, found in enumerate(of_series.values()):
            if found:
                dots.draw(np.array(found), place + offset, style)
        named = f"{series or 'unknown'} (n = {sum(map(len, of_series.values()))})"
        axes.scatter([], [], marker=style.marker, color=style.colour, label=named)
    totals = [sum(len(of_series[emotion]) for of_series in values.values()) for emotion in emotions]
    names = [f"{emotion} (n = {total})" for emotion, total in zip(emotions, totals, strict=True)]
    axes.set_yticks(range(len(emotions)), names)
    axes.set_ylim(len(emotions) - 0.5, -0.5)
    axes.set_xlabel(label)
    if scale == "log":
        axes.set_xscale("log")
    elif scale == "octaves":
        _octaves(axes)
    bare(axes, grid="x")
    if len(values) > 1:
        legend_below(figure)
    set_title(figure, title)
    return figure


class _Dots:
    """Draws rows of dots, `height` high, each with its box; of more than `MAX_DOTS`, each row its share."""

    def __init__(self, axes: Axes, n: int, height: float) -> None:
        self._axes, self._height = axes, height
        self._share = min(1.0, MAX_DOTS / n)
        self._area = float(np.clip(8_000 / n, 7, 25))  # square points: of many, each has less room
        self._rng = np.random.default_rng(0)

    def draw(self, values: npt.NDArray[np.float64], place: float, style: SeriesStyle) -> None:
        shown = self._rng.permutation(values)[: max(1, round(len(values) * self._share))]
        self._axes.scatter(
            shown,
            place + self._rng.uniform(-0.5, 0.5, len(shown)) * self._height,
            s=self._area,
            marker=style.marker,
            color=style.colour,
            alpha=0.5,
            linewidths=0,
            rasterized=True,
        )
        _box(self._axes, values, place, self._height / 2)


def _box(axes: Axes, values: npt.NDArray[np.float64], place: float, half: float) -> None:
    from matplotlib.patches import Rectangle

    low, first, median, third, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.hlines([place, place], [low, third], [first, high], color=INK, linewidth=1.0)
    box = Rectangle((first, place - half), third - first, 2 * half, fill=False, edgecolor=INK, linewidth=1.0)
    axes.add_patch(box)
    axes.vlines(median, place - half, place + half, color=INK, linewidth=2.4)


def _octaves(axes: Axes) -> None:
    """Scale the axis by octaves, with ticks in plain Hz."""
    low, high = axes.get_xlim()
    axes.set_xscale("log", base=2)
    ticks = [tick for tick in F0_TICKS if low <= tick <= high]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.set_xticks([], minor=True)
