"""What overlapping windows say together of each hop-long cell of a recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Samples = npt.NDArray[np.int64]

# A window may be wrong whatever it is sure of: so much of its probability is spread over all emotions. That
# bounds what one window can say for an emotion against another, at log(99 * n_classes + 1) nats.
DOUBT = 0.01


def doubted_logs(probabilities: FloatArray) -> FloatArray:
    """The logarithms of probabilities, (n, n_classes), none of which is taken at its word entirely."""
    return np.asarray(np.log((1 - DOUBT) * probabilities + DOUBT / probabilities.shape[1]))


def cell_edges(n_samples: int, n_hop: int) -> Samples:
    """Divide a recording into cells of one hop; the last takes what is left over, less than a hop.

    Returns:
        The n_cells + 1 samples where cells begin and end.
    """
    n_cells = max(1, n_samples // n_hop)
    edges = np.arange(n_cells + 1, dtype=np.int64) * n_hop
    edges[-1] = n_samples
    return edges


def cell_evidence(
    edges: Samples, starts: Samples, ends: Samples, probabilities: FloatArray, weights: FloatArray
) -> FloatArray:
    """Average the log-probabilities of the windows over a cell, most of those in whose middle it lies.

    A window knows best what lies in its middle: towards its ends its weight falls to 0 in a straight line.
    The mean of logarithms is the logarithmic opinion pool (Genest & Zidek 1986, Combining probability
    distributions, Statistical Science 1:114-135). A sure window outvotes two that hardly lean the other way,
    and it is what a hidden Markov model adds up along its path.

    Args:
        edges: Of the cells, from `cell_edges`.
        starts: First sample of each window that was answered, ascending.
        ends: The sample behind its last.
        probabilities: What was answered, of shape (n_windows, n_classes).
        weights: Of the windows, positive: how much of each is to be believed.

    Returns:
        Normalised log-probabilities of shape (n_cells, n_classes); NaN in cells that no answered window
        is over.
    """
    logs = doubted_logs(probabilities)
    middles = (edges[:-1] + edges[1:]) / 2
    total = np.zeros((len(middles), probabilities.shape[1]))
    weight = np.zeros(len(middles))
    for start, end, log, trust in zip(starts, ends, logs, weights, strict=True):
        first, last = np.searchsorted(middles, [start, end], side="right")
        from_middle = np.abs(middles[first:last] - (start + end) / 2) / ((end - start) / 2)
        share = trust * (1 - from_middle)
        total[first:last] += share[:, None] * log
        weight[first:last] += share
    evidence = np.full_like(total, np.nan)
    known = weight > 0
    mean = total[known] / weight[known, None]
    evidence[known] = mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)
    return evidence
