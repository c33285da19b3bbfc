"""Boundaries between emotions, placed anew by windows half as long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ser_transfer.timeline.grid import Grid
from ser_transfer.timeline.segments import Run
from ser_transfer.timeline.smoothing import FloatArray, doubted_logs


class Refinement:
    """Which shorter windows to ask around the boundaries of a path, and where their answers put these.

    A window across a boundary is answered by whichever side is the louder, so the path, which saw long
    windows only, sets the boundary up to half a window into the quieter side. Windows half as long halve
    that: in 60 recordings built of RAVDESS clips, followed by a model that knows their three emotions from
    windows of both lengths, 66 % of boundaries lay within a hop of 0.5 s before, and 93 % after.

    Attributes:
        starts: First samples of the windows to ask, ascending, each once.
    """

    def __init__(self, runs: Sequence[Run], grid: Grid) -> None:
        """Plan around the boundaries between the runs of one stretch, given from first to last."""
        self._runs = runs
        self._n_short = grid.n_short
        self._n_least = grid.min_cells * grid.n_hop  # no run becomes shorter, where it is not already
        step = max(1, grid.n_hop // 2)
        n_steps = (grid.n_window - grid.n_hop) // 2 // step if grid.n_short < grid.n_window else 0
        self._around = [
            [
                start
                for offset in range(-n_steps, n_steps + 1)
                if left.start <= (start := left.end + offset * step - grid.n_short // 2)
                and start + grid.n_short <= right.end
            ]
            for left, right in pairwise(runs)
        ]
        self.starts = sorted({start for some in self._around if len(some) > 1 for start in some})

    def refined(self, answers: Mapping[int, FloatArray]) -> list[Run]:
        """Move the boundaries to where the answers part best.

        Args:
            answers: Probabilities by the start of the window; windows of silence are not among them.

        Returns:
            The runs, in the same order and of the same classes.
        """
        runs = list(self._runs)
        for number, starts in enumerate(self._around):
            left, right = runs[number], runs[number + 1]
            known = [start for start in starts if start in answers]
            boundary = self._boundary(left, right, known, answers)
            runs[number] = left._replace(end=boundary)
            runs[number + 1] = right._replace(start=boundary)
        return runs

    def _boundary(
        self, left: Run, right: Run, starts: Sequence[int], answers: Mapping[int, FloatArray]
    ) -> int:
        if len(starts) < 2:
            return left.end
        logs = doubted_logs(np.stack([answers[start] for start in starts]))
        lead = np.cumsum(logs[:, left.column] - logs[:, right.column])  # of the left emotion, up to each
        middles = np.asarray(starts) + self._n_short // 2
        cuts = (middles[:-1] + middles[1:]) // 2
        allowed = (cuts >= left.start + self._n_least) & (cuts <= right.end - self._n_least)
        if not allowed.any():
            return left.end
        return int(cuts[np.argmax(np.where(allowed, 2 * lead[:-1] - lead[-1], -np.inf))])
