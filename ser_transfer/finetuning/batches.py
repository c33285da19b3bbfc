"""Which clips make each optimiser step, by seconds of padded audio and not by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.heads.sequence.frames import balanced_rows

Indices = npt.NDArray[np.intp]

# A clip is taken for longer or shorter by so much, so that batches differ from epoch to epoch. 4 % of a batch
# is padding then, in RAVDESS (3 to 5 s) as where lengths spread from 1 to 20 s; with 0.1 it is 8 %.
LENGTH_JITTER = 0.05


class Draw(NamedTuple):
    """What a training sampler asks the data set for.

    Attributes:
        row: Which clip.
        epoch: From 0 on; another one changes what is drawn for the clip.
        n_in_step: Clips of the whole optimiser step, over all its micro-batches and processes.
        repeat: How often the epoch has had this clip before: each time it is changed in another way.
    """

    row: int
    epoch: int
    n_in_step: int
    repeat: int = 0


@dataclass(frozen=True)
class _Plan:
    """One epoch: micro-batch i of the epoch holds ``rows[edges[order[i]] : edges[order[i] + 1]]``."""

    rows: Indices
    repeats: Indices
    edges: list[int]
    order: Indices


class StepPlan(Sampler[list[Draw]]):
    """Which clips make each optimiser step of each epoch, by seed and epoch alone, whatever runs it.

    Clips of like length share a micro-batch. A step is `n_micro` micro-batches that follow one another, none
    of them empty; accelerate deals them out to the processes in turn, so accumulation in one process and the
    same number of micro-batches over several take the same steps.

    `begin_epoch` chooses the epoch. There is no ``set_epoch``: where there is one process, accelerate would
    call it with a count of its own.

    Every clip comes once an epoch, or, balanced, as often as its class needs. Where a micro-batch each is not
    enough to fill the last step, clips drawn at random, fewer than `n_micro`, come once more.

    Args:
        seconds: Length of every clip as it enters the network, cropped.
        batch_seconds: Seconds of a micro-batch at most, padding included.
        n_micro: Micro-batches of a step: accumulation times processes.
        seed: Of the draws.
        targets: Class of every clip; needed where balanced.
        balanced: Repeat clips of rarer classes until all classes are equally frequent.
        max_clips: Clips of a micro-batch at most; None for as many as fit.

    Attributes:
        batch_seconds: As above.

    Raises:
        FinetuneError: If a clip does not fit a micro-batch, or there are fewer clips than `n_micro`.
    """

    # What accelerate's BatchSamplerShard asks of a batch sampler whose batches are not of one size.
    batch_size: None = None
    drop_last = False

    def __init__(
        self,
        seconds: Sequence[float] | npt.NDArray[np.floating],
        *,
        batch_seconds: float,
        n_micro: int = 1,
        seed: int = 0,
        targets: Sequence[int] | npt.NDArray[np.integer] | None = None,
        balanced: bool = False,
        max_clips: int | None = None,
    ) -> None:
        self._seconds = np.asarray(seconds, np.float64)
        self.batch_seconds, self._max_clips = batch_seconds, max_clips
        self._n_micro, self._seed = n_micro, seed
        self._targets = np.asarray(targets, np.intp) if balanced else None
        self._check()
        self._epoch, self._steps = 0, slice(None)
        self._last: tuple[int, _Plan] | None = None

    def begin_epoch(self, epoch: int, skip_steps: int = 0, n_steps: int | None = None) -> None:
        """Choose what is iterated over from now on.

        Args:
            epoch: From 0 on.
            skip_steps: Leave out so many steps at its beginning.
            n_steps: Of those that are left, so many at most; None for all.

        Raises:
            FinetuneError: If the epoch has fewer steps than are to be skipped.
        """
        n_all = self.n_steps(epoch)
        if not 0 <= skip_steps <= n_all:
            raise FinetuneError(
                f"epoch {epoch} cannot go on behind step {skip_steps}: it has {n_all} steps. Resume with "
                "the clips, the batch_seconds and the number of micro-batches that the run began with"
            )
        self._epoch = epoch
        self._steps = slice(skip_steps, None if n_steps is None else skip_steps + n_steps)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the micro-batches of the epoch, those of a step following one another."""
        epoch, plan = self._epoch, self._plan(self._epoch)
        for numbers in plan.order.reshape(-1, self._n_micro)[self._steps].tolist():
            batches = [slice(plan.edges[number], plan.edges[number + 1]) for number in numbers]
            n_in_step = sum(batch.stop - batch.start for batch in batches)
            for batch in batches:
                drawn = zip(plan.rows[batch].tolist(), plan.repeats[batch].tolist(), strict=True)
                yield [Draw(row, epoch, n_in_step, repeat) for row, repeat in drawn]

    def __len__(self) -> int:
        """Count the micro-batches that `__iter__` gives."""
        return len(range(self.n_steps(self._epoch))[self._steps]) * self._n_micro

    def n_steps(self, epoch: int) -> int:
        """Count the optimiser steps of an epoch; epochs may differ by a few."""
        return len(self._plan(epoch).order) // self._n_micro

    def _check(self) -> None:
        for name, value in (("n_micro", self._n_micro), ("max_clips", self._max_clips)):
            if value is not None and value < 1:
                raise FinetuneError(f"{name} is {value}: give a whole number from 1 on")
        if len(self._seconds) < self._n_micro:
            raise FinetuneError(
                f"{len(self._seconds)} training clips cannot fill a step of {self._n_micro} micro-batches: "
                "lower the gradient accumulation, or the number of processes"
            )
        longest = float(self._seconds.max())
        if not longest <= self.batch_seconds:  # NaN as well
            raise FinetuneError(
                f"the longest training clip has {longest:.2f} s, and a batch holds "
                f"{self.batch_seconds:g} s: raise batch_seconds, or cut long clips with crop_seconds"
            )

    def _plan(self, epoch: int) -> _Plan:
        if self._last is None or self._last[0] != epoch:
            self._last = epoch, self._planned(epoch)
        return self._last[1]

    def _planned(self, epoch: int) -> _Plan:
        rng = np.random.default_rng([self._seed, epoch])
        rows = np.arange(len(self._seconds))
        if self._targets is not None:
            rows = balanced_rows(self._targets, rng)
        jitter = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(rows))
        rows = rows[np.argsort(self._seconds[rows] * jitter)]
        edges = self._packed(self._seconds[rows].tolist())
        n_batches = -(-(len(edges) - 1) // self._n_micro) * self._n_micro
        while len(edges) <= min(n_batches, len(rows)):
            edges = _largest_halved(edges)
        n_lacking = n_batches - (len(edges) - 1)
        again = rng.choice(len(self._seconds), n_lacking, replace=False)
        edges += range(len(rows) + 1, len(rows) + n_lacking + 1)
        rows = np.concatenate([rows, again])
        return _Plan(rows, _times_before(rows), edges, rng.permutation(n_batches))

    def _packed(self, seconds: list[float]) -> list[int]:
        """Fill one micro-batch after the other with neighbours; return where each begins, and the end."""
        most = len(seconds) if self._max_clips is None else self._max_clips
        edges, longest = [0], 0.0
        for i, length in enumerate(seconds):
            longest = max(longest, length)
            n_clips = i + 1 - edges[-1]
            if n_clips * longest > self.batch_seconds or n_clips > most:
                edges.append(i)
                longest = length
        edges.append(len(seconds))
        if len(edges) > 2:
            edges[-2] = self._fair_edge(seconds, *edges[-3:])
        return edges

    def _fair_edge(self, seconds: list[float], start: int, edge: int, stop: int) -> int:
        """Divide the last two micro-batches evenly: a rest of one clip would be a step of one clip."""
        middle = min(edge, (start + stop + 1) // 2)
        return next(
            i
            for i in range(middle, edge + 1)
            if i == edge or (stop - i) * max(seconds[i:stop]) <= self.batch_seconds
        )


def _largest_halved(edges: list[int]) -> list[int]:
    sizes = np.diff(edges)
    largest = int(sizes.argmax())
    return [*edges[: largest + 1], edges[largest] + int(sizes[largest] + 1) // 2, *edges[largest + 1 :]]


def _times_before(rows: Indices) -> Indices:
    """Count for each place how often its row stands before it."""
    by_row = np.argsort(rows, kind="stable")
    ordered = rows[by_row]
    times = np.empty_like(rows)
    times[by_row] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return times
