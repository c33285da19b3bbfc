"""Intervals over speakers: which scores the same systems would get from other people.

A speaker's utterances resemble each other, so utterances are no independent evidence: speakers are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Interval = tuple[float, float]

N_RESAMPLES = 2000  # the ends of the interval then move by about 1.6 % of its width with the seed


def resample_speakers(by_speaker: Counts, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Counts:
    """Draw speakers with replacement, and add up their confusion matrices.

    The same seed draws the same speakers, which makes the difference of two systems' resamples a
    paired one.

    Args:
        by_speaker: Counts of shape (n_speakers, n_classes, n_classes).
        n_resamples: How many times all speakers are drawn.
        seed: Of the draws.

    Returns:
        Int64 array of shape (n_resamples, n_classes, n_classes).
    """
    n_speakers, n_classes, _ = by_speaker.shape
    draws = np.random.default_rng(seed).multinomial(
        n_speakers, np.full(n_speakers, 1 / n_speakers), n_resamples
    )
    # In float64, for BLAS: exact, as these are counts.
    sums = draws.astype(float) @ by_speaker.reshape(n_speakers, -1).astype(float)
    resampled: Counts = sums.reshape(n_resamples, n_classes, n_classes).astype(np.int64)
    return resampled


def t_interval(
    estimate: float, resampled: FloatArray, n_speakers: int, n_utterances: int, level: float = 0.95
) -> Interval:
    """Put an interval around a share, from its bootstrap standard error.

    With few speakers the bootstrap's percentiles are too narrow: with 4, they hold the truth 78 % of the
    time instead of 95 %. So the standard error is freed of the bootstrap's bias, n / (n - 1), and
    multiplied by Student's t (Hesterberg 2015, doi:10.1080/00031305.2015.1089789); on the logit scale, where
    the error is close to symmetric and the interval stays between 0 and 1.

    Args:
        estimate: The score of all speakers, from 0 to 1.
        resampled: The score of each resample, of shape (n_resamples,).
        n_speakers: Speakers that were drawn from, two or more.
        n_utterances: Utterances that were scored; no share is taken for nearer to 0 or 1 than half of one.
        level: How often the interval shall hold the truth.
    """
    margin = _margin(_logit(resampled, n_utterances), n_speakers, level)
    centre = float(_logit(np.array(estimate), n_utterances))
    low, high = (1 / (1 + np.exp(-end)) for end in (centre - margin, centre + margin))
    return min(float(low), estimate), max(float(high), estimate)


def difference_interval(
    estimate: float, resampled: FloatArray, n_speakers: int, level: float = 0.95
) -> Interval:
    """Put an interval around the difference of two shares, from its bootstrap standard error.

    As `t_interval`, but on the plain scale: a difference lies on both sides of 0, far from its ends -1
    and 1.

    Args:
        estimate: The difference of the two scores of all speakers, from -1 to 1.
        resampled: The difference within each resample, of shape (n_resamples,).
        n_speakers: Speakers that were drawn from, two or more.
        level: How often the interval shall hold the truth.
    """
    margin = _margin(resampled, n_speakers, level)
    return max(-1.0, estimate - margin), min(1.0, estimate + margin)


def _margin(resampled: FloatArray, n_speakers: int, level: float) -> float:
    """Half the width of the interval: Student's t times the unbiased standard error."""
    from scipy.special import stdtrit

    error = np.std(resampled, ddof=1) * np.sqrt(n_speakers / (n_speakers - 1))
    return float(stdtrit(n_speakers - 1, (1 + level) / 2) * error)


def _logit(share: FloatArray, n_utterances: int) -> FloatArray:
    """Return ln(p / (1 - p)); 0 and 1, which have none, are moved inside by half an utterance."""
    nearest = 0.5 / n_utterances
    inside = np.clip(share, nearest, 1 - nearest)
    logit: FloatArray = np.log(inside / (1 - inside))
    return logit
