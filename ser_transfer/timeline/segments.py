"""The course of emotions through a recording: the path through its cells that pays for every switch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ser_transfer.timeline.smoothing import FloatArray

# Windows that overlap by more than half repeat each other: together they count for as much as windows that
# overlap by half. Counted less (each second once), switches every few seconds were overlooked.
NEW_SHARE = 0.5  # of a window


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with one emotion.

    Attributes:
        start_seconds: Where it begins.
        end_seconds: Where it ends.
        emotion: The one that it has; None where the confidence is under the `min_confidence` asked for.
        confidence: Mean probability, after smoothing, of the emotion that fits it best.
        text: What is said in it, where someone transcribed it.
    """

    start_seconds: float
    end_seconds: float
    emotion: str | None
    confidence: float
    text: str | None = None


class Run(NamedTuple):
    """A run of samples that the path gives to one class."""

    start: int
    end: int
    column: int


def switching_cost(mean_cells: float, n_classes: int) -> float:
    """What a switch costs a path against staying, in nats, where emotions last so many cells on average.

    A Markov chain whose stays last `mean_cells` on average leaves with probability 1 / mean_cells at each
    step, for each of the other classes alike; the cost is the logarithm of the odds. It is never quite 0, so
    that nothing switches without evidence.
    """
    return max(1e-6, math.log((mean_cells - 1) * max(1, n_classes - 1)))


def most_probable_path(evidence: FloatArray, cost: float, min_cells: int) -> npt.NDArray[np.int64]:
    """Find the path through classes with the greatest evidence less the cost of its switches.

    This is Viterbi's algorithm (Rabiner 1989, A tutorial on hidden Markov models, Proc. IEEE 77:257-286) with
    one probability of switching, and a least duration of stays as in its section IV.D: a stay enters whole,
    at its least length, and then goes on cell by cell.

    Args:
        evidence: Of shape (n_cells, n_classes): log-likelihoods, each cell's up to a constant.
        cost: Of a switch, in the same unit.
        min_cells: No stay is shorter, unless the path is.

    Returns:
        The class of each cell.
    """
    n_cells, n_classes = evidence.shape
    least = max(1, min(min_cells, n_cells))
    sums = np.concatenate([np.zeros((1, n_classes)), np.cumsum(evidence, axis=0)])
    # Of all paths through the first k cells: the best that ends in each class, its stay long enough to be
    # left; and the best that is left there, whichever class it leaves: to enter its own anew is dearer than
    # to go on in it.
    settled = np.full((n_cells + 1, n_classes), -np.inf)
    entering = np.full(n_cells + 1, -np.inf)
    entering[0] = 0.0
    came_from = np.zeros(n_cells + 1, np.int64)
    entered = np.zeros((n_cells + 1, n_classes), bool)  # as opposed to gone on
    for k in range(least, n_cells + 1):
        gone_on = settled[k - 1] + evidence[k - 1]
        new = entering[k - least] + sums[k] - sums[k - least]
        entered[k] = new > gone_on
        settled[k] = np.maximum(new, gone_on)
        came_from[k] = int(np.argmax(settled[k]))
        entering[k] = settled[k, came_from[k]] - cost
    path = np.empty(n_cells, np.int64)
    k, column = n_cells, int(np.argmax(settled[n_cells]))
    while k > 0:
        n_back = least if entered[k, column] else 1
        path[k - n_back : k] = column
        if entered[k, column]:
            column = int(came_from[k - n_back])
        k -= n_back
    return path


def runs_of(path: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]) -> list[Run]:
    """Join the cells of a path that share a class; `edges` are those of its cells, in samples."""
    cuts = [0, *(np.flatnonzero(np.diff(path)) + 1).tolist(), len(path)]
    return [Run(int(edges[first]), int(edges[last]), int(path[first])) for first, last in pairwise(cuts)]
