"""What all figures share: colours, the second channel beside colour, titles, and writing to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008); without their yellow, which white paper swallows.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, INK = "#CC79A7", "#56B4E9", "#999999", "#222222"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, INK, GREY)
FAINT = "#dddddd"
SYSTEM_COLOURS = {
    "encoder": BLUE,
    "fusion": GREEN,
    "baseline": ORANGE,
    "untrained": PURPLE,
    "floor": GREY,
}

# Beside the colour, and of other lengths than the palette's: colour and mark together repeat late.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p")
DASHES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 2.5)))

DPI = 150
TITLE_POINTS = 10
MAX_NAME = 32  # characters of a name on one line
CHARACTERS_PER_INCH = 12.5  # of DejaVu Sans at 9 pt, if capitals are few


class PlotError(SerTransferError):
    """Data that cannot be drawn."""


@dataclass(frozen=True)
class SeriesStyle:
    """How one of several series looks."""

    colour: str
    marker: str
    dashes: Any  # a name or an (offset, on-off lengths) pair, as matplotlib takes them


def series_styles(n: int) -> list[SeriesStyle]:
    """Return n styles, told apart by colour and, for those who see none, by marker and dashes."""
    looks = zip(cycle(PALETTE), cycle(MARKERS), cycle(DASHES), strict=False)
    return [SeriesStyle(*look) for look in islice(looks, n)]


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches, without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def set_title(figure: Figure, title: str) -> None:
    """Write the title above all axes, from the left, its lines broken where the figure ends.

    For every line but the first the figure grows, so that a warning takes nothing from the axes.
    """
    n_characters = int(figure.get_figwidth() * CHARACTERS_PER_INCH * 9 / TITLE_POINTS)
    n_lines = sum(1 + len(line) // n_characters for line in title.splitlines())
    figure.set_figheight(figure.get_figheight() + max(n_lines - 1, 0) * TITLE_POINTS * 1.2 / 72)
    figure.suptitle(title, fontsize=TITLE_POINTS, x=0.01, ha="left", wrap=True)


def broken(name: str) -> str:
    """Break a long name into lines, so that it leaves room for the axes it stands beside."""
    return "\n".join(wrap(name, MAX_NAME))


def bare(axes: Axes, *, grid: str | None = None) -> None:
    """Leave out the frame's upper and right line; draw a faint grid along ``"x"``, ``"y"`` or ``"both"``."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)  # type: ignore[arg-type]


def legend_below(figure: Figure, handles: Sequence[Artist] | None = None) -> None:
    """Put a legend below all axes, where no data lie, in as many columns as the width takes.

    Args:
        figure: Where it belongs.
        handles: The artists listed; None for all of the figure's that have a label.
    """
    if handles is None:
        handles = [artist for axes in figure.axes for artist in axes.get_legend_handles_labels()[0]]
    longest = max(len(str(artist.get_label())) for artist in handles)
    n_columns = int(figure.get_figwidth() / (longest / CHARACTERS_PER_INCH + 0.55))
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(max(n_columns, 1), len(handles)),
        frameon=False,
        fontsize=9,
    )


def write_beside(axes: Axes, y: float, text: str, *, column: int = 0, colour: str = INK) -> None:
    """Write right of the axes, into a column of short numbers."""
    axes.annotate(
        text,
        (1.0, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(8 + 42 * column, 0),
        textcoords="offset points",
        va="center",
        color=colour,
        fontsize=9,
        annotation_clip=False,
    )


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the path says the format (.png, .svg, .pdf)."""
    figure.savefig(path, bbox_inches="tight", pad_inches=0.12)
