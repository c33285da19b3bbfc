"""Whether one system beats another on the same utterances, by more than its speakers' luck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ser_transfer.metrics.intervals import (
    N_RESAMPLES,
    Counts,
    FloatArray,
    Interval,
    difference_interval,
    resample_speakers,
)
from ser_transfer.metrics.scores import MetricError, confusion_by_speaker, known_speakers, uar

MAX_EXACT = 20_000  # ways to swap that are still counted one by one: up to 14 speakers
N_SWAPS = 9999  # drawn ways; a p value of 0.05 then has a standard error of 0.002
ROUNDING = 1e-12  # sums of the same shares in another order differ by less; two unequal ones, by far more


@dataclass(frozen=True)
class Difference:
    """By how much a system beats another.

    Attributes:
        uar: UAR of the system minus that of the baseline, -1 to 1.
        interval: Its 95 % interval over speakers; None where the speakers are unknown, or there is only one.
        p_value: Two-sided, of the paired permutation test over speakers; None where the interval is.
    """

    uar: float
    interval: Interval | None
    p_value: float | None


def difference(
    truth: Sequence[str],
    predicted: Sequence[str],
    baseline_predicted: Sequence[str],
    classes: Sequence[str],
    speakers: Sequence[str | None] | None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Compare the UAR of two systems that answered the same utterances, all folds pooled.

    The interval comes from a paired bootstrap: both systems are scored on the same draws of speakers. The
    test asks how often a difference as large comes about when, within each speaker, it is left to chance
    which answers were whose. With n speakers no p value falls below 2 / 2**n: four speakers can never show
    a difference at 0.05, six can.

    Args:
        truth: Emotion per utterance.
        predicted: The system's answer per utterance.
        baseline_predicted: The baseline's answer per utterance.
        classes: All emotions.
        speakers: Speaker per utterance; without them, or where one is unknown, only the difference is given.
        n_resamples: Resamples behind the interval.
        seed: Of the resampling, and of the swaps where there are too many to count them all.

    Raises:
        MetricError: If there is nothing to score, lengths differ, or a label is not among `classes`.
    """
    names = known_speakers(speakers)
    groups = names or ["all"] * len(truth)
    ours = confusion_by_speaker(truth, predicted, groups, classes)
    theirs = confusion_by_speaker(truth, baseline_predicted, groups, classes)
    estimate = float(uar(ours.sum(axis=0)) - uar(theirs.sum(axis=0)))
    if len(ours) < 2:
        return Difference(estimate, None, None)
    resampled, baseline_resampled = (
        uar(resample_speakers(counts, n_resamples=n_resamples, seed=seed)) for counts in (ours, theirs)
    )
    return Difference(
        estimate,
        difference_interval(estimate, resampled - baseline_resampled, len(ours)),
        _permutation_p(_contributions(ours, theirs), seed),
    )


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Correct p values for being several, so that one false finding among all stays as rare as stated.

    Holm (1979), "A simple sequentially rejective multiple test procedure": the smallest is multiplied by
    their number, the next by one less, and so on; none may end below a smaller one, and none above 1. It
    holds however the tests depend on each other.

    Args:
        p_values: One per comparison, 0 to 1; None, where no test was possible, stays and is not counted.

    Raises:
        MetricError: If a p value is not between 0 and 1.
    """
    wrong = [value for value in p_values if value is not None and not 0 <= value <= 1]
    if wrong:
        raise MetricError(f"a p value lies between 0 and 1, or is None without a test; {wrong[0]} does not")
    ranked = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(ranked):
        largest = max(largest, min(1.0, (len(ranked) - rank) * value))
        adjusted[place] = largest
    return tuple(adjusted)


def _contributions(ours: Counts, theirs: Counts) -> FloatArray:
    """Return what each speaker adds to the difference of the pooled UARs, of shape (n_speakers,).

    Both systems answered the same utterances, so the classes' sizes are the same and UAR is a plain sum
    over speakers. Swapping a speaker's answers turns the sign of what that speaker adds.
    """
    more_right = np.diagonal(ours - theirs, axis1=-2, axis2=-1)
    n_utterances = ours.sum(axis=(0, 2))
    present = n_utterances > 0
    contributions: FloatArray = (more_right[:, present] / n_utterances[present]).mean(axis=1)
    return contributions


def _permutation_p(contributions: FloatArray, seed: int) -> float:
    """Return the share of swaps with a difference as large as the one seen, in either direction."""
    n_speakers = len(contributions)
    seen = abs(contributions.sum()) - ROUNDING
    if 2**n_speakers <= MAX_EXACT:
        swapped = np.arange(2**n_speakers)[:, np.newaxis] >> np.arange(n_speakers) & 1
        return float(np.mean(np.abs((1 - 2 * swapped) @ contributions) >= seen))
    swapped = np.random.default_rng(seed).integers(0, 2, (N_SWAPS, n_speakers))
    n_as_large = int(np.sum(np.abs((1 - 2 * swapped) @ contributions) >= seen))
    # The one seen is a swap too (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585): p is never 0.
    return (n_as_large + 1) / (N_SWAPS + 1)
