"""The UAR of every speaker: whom the systems understand, and whom they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.plots.style import (
    FAINT,
    PALETTE,
    SYSTEM_COLOURS,
    bare,
    legend_below,
    new_figure,
    series_styles,
    set_title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches along the axis. Names stand side by side down to 0.11, where a line of 6 pt still has air.
ROOMY, NARROW = 0.3, 0.11
MAX_WIDTH = 16.0


def speaker_figure(uar: Mapping[str, Mapping[str, float]], roles: Mapping[str, str], title: str) -> Figure:
    """Draw the UAR of every speaker by every system, worst speaker first.

    A line joins the systems' scores of a speaker. Beyond what the width takes, about 130 speakers, their
    names are left out.

    Args:
        uar: Per system, per speaker, the UAR over the emotions that the speaker has.
        roles: Per system, a key of `SYSTEM_COLOURS`; the order of speakers is that of the first encoder, or
            without one, of the first system.
        title: What was scored, on what, with n.
    """
    leading = next((system for system in uar if roles[system] == "encoder"), next(iter(uar)))
    speakers = sorted(uar[leading], key=lambda speaker: (uar[leading][speaker], speaker))
    spacing = ROOMY if len(speakers) <= 30 else max(NARROW, ROOMY * 30 / len(speakers))
    width = min(max(6.0, 2.0 + spacing * len(speakers)), MAX_WIDTH)
    figure = new_figure(width, height=4.1)
    axes = figure.subplots()
    scores = np.array([[by_speaker[speaker] for speaker in speakers] for by_speaker in uar.values()])
    axes.vlines(range(len(speakers)), scores.min(axis=0), scores.max(axis=0), color=FAINT, zorder=1)
    markers = [style.marker for style in series_styles(len(uar))]
    for (system, colour), marker in zip(_colours(uar, roles).items(), markers, strict=True):
        axes.plot(
            range(len(speakers)),
            [uar[system][speaker] for speaker in speakers],
            marker,
            color=colour,
            markersize=(7 if system == leading else 5) if len(speakers) <= 30 else 4,
            alpha=0.9,
            label=system,
        )
    is_crowded = sum(map(len, speakers)) > 60  # characters that stand side by side at this width and size
    if NARROW * len(speakers) <= MAX_WIDTH - 2.0:
        axes.set_xticks(
            range(len(speakers)),
            speakers,
            rotation=90 if is_crowded else 0,
            fontsize=8 if spacing > 0.15 else 6,
        )
    else:
        axes.set_xticks([])
    axes.set_xlim(-0.7, len(speakers) - 0.3)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel(f"speaker (n = {len(speakers)}), worst first")
    axes.set_ylabel("UAR")
    bare(axes, grid="y")
    legend_below(figure)
    set_title(figure, title)
    return figure


def _colours(uar: Mapping[str, Mapping[str, float]], roles: Mapping[str, str]) -> dict[str, str]:
    """Give each system the colour of its role, or if another has that, one that none has."""
    colours: dict[str, str] = {}
    for system in uar:
        wanted = [SYSTEM_COLOURS[roles[system]], *PALETTE]
        colours[system] = next((colour for colour in wanted if colour not in colours.values()), PALETTE[-1])
    return colours
