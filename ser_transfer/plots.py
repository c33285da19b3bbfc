"""Every figure, each a function from data to a matplotlib `Figure`.

Colours are Okabe and Ito's, which colour-blind readers tell apart. `Figure` is made directly:
no global state of pyplot, no window, safe in threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008).
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
SYSTEM_COLOURS = {"encoder": BLUE, "baseline": ORANGE, "floor": GREY}
DPI = 150


def confusion_figure(counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix: colour and large figure the share of the row, small figure the count.

    Args:
        counts: Integers of shape (n_classes, n_classes), truth along rows.
        classes: Names of rows and columns.
        title: What was scored, on what, with n.
    """
    n = len(classes)
    figure = _figure(width=1.6 + 0.72 * n, height=1.3 + 0.66 * n)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(n, n):
        colour = "white" if shares[row, column] > 0.55 else "#222222"
        axes.text(
            column,
            row - 0.08,
            f"{shares[row, column]:.2f}",
            ha="center",
            va="center",
            color=colour,
            fontsize=9,
        )
        axes.text(
            column, row + 0.24, f"{counts[row, column]}", ha="center", va="center", color=colour, fontsize=6
        )
    axes.set_xticks(range(n), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), classes)
    axes.set_xlabel("predicted emotion")
    axes.set_ylabel("true emotion")
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the true emotion")
    _title(figure, title)
    return figure


def score_figure(
    scores: Mapping[str, tuple[float, float, float]], roles: Mapping[str, str], title: str, chance: float
) -> Figure:
    """Draw the UAR of each system with its 95 % interval over speakers.

    Args:
        scores: Per system, UAR and the two ends of its interval, each in 0 to 1.
        roles: Per system, ``"encoder"``, ``"baseline"`` or ``"floor"``; gives the colour.
        title: What was scored, on what, with n.
        chance: UAR of guessing, 1 / n_classes.
    """
    figure = _figure(width=7.0, height=1.4 + 0.55 * len(scores))
    axes = figure.subplots()
    for position, (system, (uar, low, high)) in enumerate(scores.items()):
        colour = SYSTEM_COLOURS[roles[system]]
        axes.barh(position, uar, height=0.62, color=colour, alpha=0.85)
        axes.plot([low, high], [position, position], color="#222222", linewidth=1.4, solid_capstyle="butt")
        axes.plot([low, high], [position, position], "|", color="#222222", markersize=9)
        axes.text(high + 0.012, position, f"{uar:.3f}", va="center", fontsize=10)
    axes.axvline(chance, color="#222222", linestyle=":", linewidth=1.0)
    axes.text(chance, len(scores) - 0.45, " chance", fontsize=8, va="bottom", ha="left")
    axes.set_yticks(range(len(scores)), scores)
    axes.invert_yaxis()
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(scores) - 0.3, -0.9)
    axes.set_xlabel("UAR (mean of per-emotion recalls), 95 % interval over speakers")
    _bare(axes)
    _title(figure, title)
    return figure


def speaker_figure(uar: Mapping[str, Mapping[str, float]], roles: Mapping[str, str], title: str) -> Figure:
    """Draw the UAR of every speaker, the encoder beside the baseline, worst speaker first.

    Args:
        uar: Per system, per speaker, the UAR over the emotions that the speaker has.
        roles: Per system, ``"encoder"`` or ``"baseline"``; the order of speakers is the encoder's.
        title: What was scored, on what, with n.
    """
    leading = next(system for system, role in roles.items() if role == "encoder")
    speakers = sorted(uar[leading], key=lambda speaker: (uar[leading][speaker], speaker))
    figure = _figure(width=max(6.0, 2.0 + 0.3 * len(speakers)), height=3.6)
    axes = figure.subplots()
    for system, by_speaker in uar.items():
        axes.plot(
            range(len(speakers)),
            [by_speaker[speaker] for speaker in speakers],
            "o",
            color=SYSTEM_COLOURS[roles[system]],
            markersize=7 if system == leading else 5,
            alpha=0.9,
            label=system,
        )
    is_crowded = sum(map(len, speakers)) > 60  # characters that stand side by side at this width and size
    axes.set_xticks(range(len(speakers)), speakers, rotation=90 if is_crowded else 0, fontsize=8)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("speaker, worst first")
    axes.set_ylabel("UAR")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower right", ncols=len(uar))
    _bare(axes)
    _title(figure, title)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the ending of the path says the format (.png, .svg, .pdf)."""
    figure.savefig(path, bbox_inches="tight", pad_inches=0.12)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
