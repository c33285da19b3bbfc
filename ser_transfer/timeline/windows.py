"""Windows over a stream of blocks: a few seconds each, a hop apart with nothing left out, or where asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]


class Window(NamedTuple):
    """A few seconds of a recording.

    Attributes:
        start: Its first sample, counted from the recording's.
        waveform: Its samples.
    """

    start: int
    waveform: Waveform

    @property
    def end(self) -> int:
        """The sample behind its last."""
        return self.start + len(self.waveform)


def windows(blocks: Iterable[Waveform], n_window: int, n_hop: int) -> Iterator[Window]:
    """Cut windows of one length out of a recording that comes in blocks.

    The last one ends where the recording ends: where a hop would lead past that, it is moved back, whole.
    A recording shorter than a window is one window. Only the samples from the newest window on are held.

    Args:
        blocks: The recording, in pieces of any length.
        n_window: Samples of a window.
        n_hop: Samples from one window's start to the next's, at most `n_window`.

    Yields:
        Windows from first to last; each sample of the recording lies in one at least.

    Raises:
        ValueError: If `n_hop` is not from 1 to `n_window`.
    """
    if not 1 <= n_hop <= n_window:
        raise ValueError(
            f"a hop of {n_hop} samples is none, or leaves some out between windows of {n_window}"
        )
    held = np.zeros(0, np.float32)
    start, next_start = 0, 0  # of what is held, and of the next window
    for block in blocks:
        held = np.concatenate([held, block])
        while next_start + n_window <= start + len(held):
            # From this window's start on: the last one, moved back from the end, begins after it.
            held = held[next_start - start :]
            start = next_start
            yield Window(start, held[:n_window].copy())
            next_start = start + n_hop
    n_samples = start + len(held)
    if 0 < n_samples < n_window:
        yield Window(0, held)
    elif n_samples > start + n_window:
        yield Window(n_samples - n_window, held[-n_window:].copy())


def windows_at(blocks: Iterable[Waveform], starts: Sequence[int], n_window: int) -> Iterator[Window]:
    """Cut windows of one length where they are asked for.

    Args:
        blocks: The recording, in pieces of any length.
        starts: First sample of each window, ascending; all of them end within the recording.
        n_window: Samples of a window.
    """
    held = np.zeros(0, np.float32)
    start, wanted = 0, iter(starts)
    next_start = next(wanted, None)
    for block in blocks:
        if next_start is None:
            return
        held = np.concatenate([held, block])
        while next_start is not None and next_start + n_window <= start + len(held):
            at = next_start - start
            yield Window(next_start, held[at : at + n_window].copy())
            next_start = next(wanted, None)
        n_done = len(held) if next_start is None else min(len(held), max(0, next_start - start))
        held, start = held[n_done:], start + n_done
