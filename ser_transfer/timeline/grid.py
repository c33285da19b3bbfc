"""The settings of a timeline in samples of one recording."""

from __future__ import annotations

import math
from typing import NamedTuple

from ser_transfer.timeline.settings import TimelineError, TimelineSettings


class Grid(NamedTuple):
    """Lengths in samples.

    Attributes:
        sampling_rate: Hz.
        n_window: Of a window.
        n_hop: From one window to the next; of a cell.
        n_short: Of the shorter windows around boundaries; where the model takes none shorter, `n_window`.
        min_cells: Of a segment.
    """

    sampling_rate: int
    n_window: int
    n_hop: int
    n_short: int
    min_cells: int

    @classmethod
    def of(cls, settings: TimelineSettings, sampling_rate: int, min_seconds: float) -> Grid:
        """Convert settings.

        Raises:
            TimelineError: If the model needs longer waveforms than the windows.
        """
        if settings.window_seconds < min_seconds:
            raise TimelineError(
                f"window_seconds is {settings.window_seconds}, and the model needs {min_seconds:.3f} s at "
                "least; give a longer window"
            )
        n_window = max(1, round(settings.window_seconds * sampling_rate))
        return cls(
            sampling_rate=sampling_rate,
            n_window=n_window,
            n_hop=max(1, round(settings.hop_seconds * sampling_rate)),
            n_short=min(n_window, max(n_window // 2, math.ceil(min_seconds * sampling_rate))),
            min_cells=math.ceil(round(settings.min_segment_seconds / settings.hop_seconds, 6)),
        )
