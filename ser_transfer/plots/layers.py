"""Which layers of an encoder tell the emotions apart."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.plots.style import (
    INK,
    PlotError,
    SeriesStyle,
    bare,
    legend_below,
    new_figure,
    series_styles,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Curve = Mapping[str, tuple[float, float, float]]  # per layer, UAR and the two ends of its interval
NUMBERED = re.compile(r"layer_(\d+)")
RING_AREA = 340.0  # square points, of the layer chosen most often


def layer_figure(
    curves: Mapping[str, Curve],
    title: str,
    *,
    chance: float,
    chosen: Mapping[str, Mapping[str, int]] | None = None,
) -> Figure:
    """Draw the UAR of every layer of every encoder, with its 95 % interval.

    Encoders whose layers are numbered share one axis, where their curves can be compared; those whose
    layers have names follow on a second, one after the other.

    Args:
        curves: Per encoder, per layer from first to last, UAR and the two ends of its interval, 0 to 1.
        title: What was scored, on what, with n.
        chance: UAR of guessing, 1 / n_classes.
        chosen: Per encoder, how many folds chose a layer on their validation speakers: the area of a ring
            around its mark.

    Raises:
        PlotError: If there is no layer, or a chosen one has no score.
    """
    if not curves or not all(curves.values()):
        raise PlotError("a curve over layers wants one encoder at least, and one layer of each")
    times = {} if chosen is None else chosen
    _check_chosen(curves, times)
    numbered = {name: curve for name, curve in curves.items() if all(map(NUMBERED.fullmatch, curve))}
    named = {name: curve for name, curve in curves.items() if name not in numbered}
    panels = [places for places in (_at_their_numbers(numbered), _one_after_the_other(named)) if places]
    widths = [max(3, 1 + max(max(x) for x in places.values())) for places in panels]
    figure = new_figure(width=min(max(6.5, 1.8 + 0.4 * sum(widths)), 13.0), height=4.6)
    all_axes = figure.subplots(1, len(panels), sharey=True, width_ratios=widths, squeeze=False)[0]
    styles = dict(zip(curves, series_styles(len(curves)), strict=True))
    most = max((n for by_layer in times.values() for n in by_layer.values()), default=0)
    for axes, places in zip(all_axes, panels, strict=True):
        for name, x in places.items():
            shares = [times.get(name, {}).get(layer, 0) / max(most, 1) for layer in curves[name]]
            _draw(axes, x, curves[name], styles[name], shares)
        if next(iter(places)) in numbered:
            _number_layers(axes, max(max(x) for x in places.values()))
        else:
            names = [layer for name in places for layer in curves[name]]
            _name_layers(axes, [place for x in places.values() for place in x], names)
        axes.axhline(chance, color=INK, linestyle=":", linewidth=1.0)
        bare(axes, grid="y")
    all_axes[0].set_ylabel("UAR, 95 % interval over speakers")
    legend_below(figure, _handles(styles, most))
    set_title(figure, title)
    return figure


def _check_chosen(curves: Mapping[str, Curve], chosen: Mapping[str, Mapping[str, int]]) -> None:
    for name, by_layer in chosen.items():
        for layer in by_layer:
            if layer not in curves.get(name, {}):
                raise PlotError(
                    f"{layer} of {name} was chosen, and has no score; every layer chosen wants one"
                )


def _at_their_numbers(curves: Mapping[str, Curve]) -> dict[str, list[int]]:
    return {name: [int(layer.removeprefix("layer_")) for layer in curve] for name, curve in curves.items()}


def _one_after_the_other(curves: Mapping[str, Curve]) -> dict[str, list[int]]:
    """Place layers side by side, with a gap between two encoders."""
    places, begin = {}, 0
    for name, curve in curves.items():
        places[name] = list(range(begin, begin + len(curve)))
        begin += len(curve) + 1
    return places


def _draw(axes: Axes, x: Sequence[int], curve: Curve, style: SeriesStyle, shares: Sequence[float]) -> None:
    """Draw one encoder's curve, its interval, and rings of an area in proportion to `shares`."""
    uar, low, high = np.array(list(curve.values())).T
    axes.plot(x, uar, color=style.colour, linestyle=style.dashes, marker=style.marker, markersize=5)
    if len(x) > 1:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    else:
        axes.vlines(x, low, high, color=style.colour, linewidth=1.4)
    areas = RING_AREA * np.array(shares)
    axes.scatter(x, uar, s=areas, facecolors="none", edgecolors=style.colour, linewidths=1.4)


def _number_layers(axes: Axes, last: int) -> None:
    axes.set_xticks(range(0, last + 1, 1 if last <= 16 else 2))
    axes.set_xlabel("layer")


def _name_layers(axes: Axes, places: Sequence[int], names: Sequence[str]) -> None:
    axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_xlabel("named layer")


def _handles(styles: Mapping[str, SeriesStyle], most: int) -> list[Line2D]:
    """Say which line is which, and what a ring means where there are some."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour, linestyle=style.dashes, marker=style.marker, label=name)
        for name, style in styles.items()
    ]
    handles.append(Line2D([], [], color=INK, linestyle=":", linewidth=1.0, label="chance"))
    if most:
        label = f"ring: folds that chose the layer, at most {most}"
        ring = Line2D([], [], color=INK, marker="o", fillstyle="none", linestyle="", label=label)
        ring.set_markersize(0.7 * RING_AREA**0.5)
        handles.append(ring)
    return handles
