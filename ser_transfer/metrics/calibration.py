"""Whether probabilities mean what they say, how to mend them, and when to give no answer.

Probabilities are of shape (rows, n_classes), each row non-negative and summing to 1; the answer is the
class of the largest, the first among equals, and that largest probability is the confidence. What is
fitted, a temperature or a threshold, is fitted on validation speakers and applied to test speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser_transfer.metrics.intervals import FloatArray
from ser_transfer.metrics.scores import MetricError, codes_of

N_BINS = 15  # as in Guo et al. 2017, and in most that cite it: ECE depends on it
LOWEST, HIGHEST = 0.1, 10.0  # temperatures searched
LEAST_GAIN = 1e-9  # of mean log-likelihood in nats: less is rounding
# The logarithm of 0 is taken as that of this, -36: scikit-learn's `log_loss` does the same.
SMALLEST = float(np.finfo(np.float64).eps)
SUM_TOLERANCE = 1e-3  # probabilities that were float16 on the way sum to 1 this closely
# Confidences that differ by less are equal: a temperature leaves equal ones equal but for rounding.
CONFIDENCE_DECIMALS = 12


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, in bins of equal width over 0 to 1, each closed at its upper end.

    Attributes:
        confidence: Mean confidence per bin; None where the bin is empty.
        accuracy: Share of right answers per bin; None where the bin is empty.
        counts: Rows per bin.
    """

    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Abstention:
    """What remains when an answer is given only where the confidence is at least a threshold.

    Attributes:
        threshold: On the confidence, 0 to 1.
        coverage: Share of rows that are answered.
        accuracy: Share of those answers that are right; None where nothing is answered.
    """

    threshold: float
    coverage: float
    accuracy: float | None


def fit_temperature(probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str]) -> float:
    """Find the temperature under which the truth is most likely.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599): above 1 the probabilities were too sure, below
    1 not sure enough. Answers stay the same. The mean negative log-likelihood of the truth is minimised
    over temperatures from 0.1 to 10; it has one minimum there. Where every answer is right, the rows set no
    limit to how sure the probabilities should be, and the lowest temperature comes out; where no temperature
    is better than 1, it is 1.

    Args:
        probabilities: Of validation rows, of shape (rows, n_classes).
        truth: Emotion per row.
        classes: The columns of `probabilities`.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    checked, column = _checked_with_truth(probabilities, truth, classes)
    logarithms = _logarithms(checked)
    rows = np.arange(len(checked))

    def mean_negative_log_likelihood(temperature: float) -> float:
        return -float(log_softmax(logarithms / temperature, axis=1)[rows, column].mean())

    found = minimize_scalar(
        lambda log_temperature: mean_negative_log_likelihood(np.exp(log_temperature)),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    # The bounded search comes near its ends without trying them.
    best = min((float(np.exp(found.x)), LOWEST, HIGHEST), key=mean_negative_log_likelihood)
    gain = mean_negative_log_likelihood(1.0) - mean_negative_log_likelihood(best)
    return best if gain > LEAST_GAIN else 1.0


def with_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Raise probabilities to the power of 1 / temperature, and let each row sum to 1 again.

    A probability of 0 is taken as 2e-16, as in `fit_temperature`.

    Args:
        probabilities: Of shape (rows, n_classes).
        temperature: Above 0; 1 changes nothing.

    Returns:
        Float64 array of the same shape.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, or the temperature is not above 0.
    """
    from scipy.special import softmax

    if not (np.isfinite(temperature) and temperature > 0):
        raise MetricError(f"a temperature is a number above 0, not {temperature}; fit_temperature finds one")
    scaled: FloatArray = softmax(_logarithms(_checked(probabilities)) / temperature, axis=1)
    return scaled


def brier(probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str]) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes (Brier 1950).

    0 is perfect, 2 is certain and wrong; always giving 1 / n_classes has 1 - 1 / n_classes. For two
    classes, scikit-learn's `brier_score_loss` gives half of it unless told ``scale_by_half=False``.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    checked, column = _checked_with_truth(probabilities, truth, classes)
    wanted = np.eye(len(classes))[column]
    return float(((checked - wanted) ** 2).sum(axis=1).mean())


def reliability(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str], *, n_bins: int = N_BINS
) -> Reliability:
    """Sort rows into bins by their confidence, and hold it against the share of right answers.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    confidence, right = _answers(probabilities, truth, classes)
    inner_edges = np.linspace(0.0, 1.0, n_bins + 1)[1:-1].round(CONFIDENCE_DECIMALS)
    place = np.searchsorted(inner_edges, confidence)
    counts = np.bincount(place, minlength=n_bins)
    confident = np.bincount(place, weights=confidence, minlength=n_bins)
    n_right = np.bincount(place, weights=right, minlength=n_bins)
    return Reliability(
        confidence=tuple(float(s / n) if n else None for s, n in zip(confident, counts, strict=True)),
        accuracy=tuple(float(s / n) if n else None for s, n in zip(n_right, counts, strict=True)),
        counts=tuple(counts.tolist()),
    )


def expected_calibration_error(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str], *, n_bins: int = N_BINS
) -> float:
    """Mean distance of confidence from accuracy over the bins of `reliability`, weighted by their rows.

    From 0 to 1. It depends on the bins, and fewer rows make it larger by chance alone, so compare it only
    over the same rows.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    bins = reliability(probabilities, truth, classes, n_bins=n_bins)
    gaps = [
        n * abs(confidence - accuracy)
        for confidence, accuracy, n in zip(bins.confidence, bins.accuracy, bins.counts, strict=True)
        if confidence is not None and accuracy is not None
    ]
    return sum(gaps) / sum(bins.counts)


def coverage_curve(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str]
) -> tuple[Abstention, ...]:
    """Say what each threshold would leave, the highest first: one point per confidence that occurs.

    Rows of equal confidence stand or fall together. The last point answers every row.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    confidence, right = _answers(probabilities, truth, classes)
    order = np.argsort(-confidence, kind="stable")
    thresholds = confidence[order]
    n_right = np.cumsum(right[order])
    ends = np.flatnonzero(np.append(thresholds[1:] != thresholds[:-1], True))  # the last row of each tie
    return tuple(
        Abstention(float(thresholds[end]), float((end + 1) / len(order)), float(n_right[end] / (end + 1)))
        for end in ends
    )


def abstention(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str], wanted_accuracy: float
) -> Abstention | None:
    """Find the threshold that answers the most rows with the wanted accuracy.

    For validation rows: the accuracy that comes with it was chosen for being high enough, and flatters. Its
    honest counterpart is `abstention_at` of the same threshold on test rows.

    Args:
        probabilities: Of validation rows, of shape (rows, n_classes).
        truth: Emotion per row.
        classes: The columns of `probabilities`.
        wanted_accuracy: Share of given answers that shall be right, above 0 and at most 1.

    Returns:
        The threshold, its coverage and accuracy; None where no threshold reaches the accuracy.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, a label is unknown, or
            the accuracy is no share.
    """
    if not 0 < wanted_accuracy <= 1:
        raise MetricError(f"a wanted accuracy is a share above 0 and up to 1, as 0.9, not {wanted_accuracy}")
    curve = coverage_curve(probabilities, truth, classes)
    reached = [point for point in curve if point.accuracy is not None and point.accuracy >= wanted_accuracy]
    return reached[-1] if reached else None


def abstention_at(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str], threshold: float
) -> Abstention:
    """Say what a threshold leaves of other rows than it was found on.

    Raises:
        MetricError: If probabilities are not finite or do not sum to 1, sizes differ, or a label is unknown.
    """
    confidence, right = _answers(probabilities, truth, classes)
    answered = confidence >= threshold
    accuracy = float(right[answered].mean()) if answered.any() else None
    return Abstention(float(threshold), float(answered.mean()), accuracy)


def _answers(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str]
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the confidence of each row's answer, and whether it is right."""
    checked, column = _checked_with_truth(probabilities, truth, classes)
    confidence: FloatArray = checked.max(axis=1).round(CONFIDENCE_DECIMALS)
    return confidence, checked.argmax(axis=1) == column


def _logarithms(probabilities: FloatArray) -> FloatArray:
    logarithms: FloatArray = np.log(np.maximum(probabilities, SMALLEST))
    return logarithms


def _checked_with_truth(
    probabilities: FloatArray, truth: Sequence[str], classes: Sequence[str]
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return the probabilities as float64, and the column of each row's truth."""
    checked = _checked(probabilities)
    if checked.shape != (len(truth), len(classes)):
        raise MetricError(
            f"probabilities want one row per utterance and one column per class: {len(truth)} utterances and "
            f"{len(classes)} classes were given with probabilities of shape {checked.shape}"
        )
    return checked, codes_of(truth, classes)


def _checked(probabilities: FloatArray) -> FloatArray:
    checked = np.asarray(probabilities, dtype=np.float64)
    if checked.ndim != 2 or checked.size == 0:
        raise MetricError(
            f"probabilities are of shape (rows, classes), one of each at least, not {checked.shape}"
        )
    wrong = np.flatnonzero(~np.isfinite(checked).all(axis=1))
    if wrong.size:
        raise MetricError(
            f"{wrong.size} of {len(checked)} rows of probabilities are not finite, the first is row "
            f"{wrong[0]}: {checked[wrong[0]].tolist()}; look at the features and at the head that gave them"
        )
    wrong = np.flatnonzero((checked < 0).any(axis=1) | (np.abs(checked.sum(axis=1) - 1) > SUM_TOLERANCE))
    if wrong.size:
        raise MetricError(
            f"{wrong.size} of {len(checked)} rows are no probabilities, the first is row "
            f"{wrong[0]}: {checked[wrong[0]].tolist()}; a row has values from 0 that sum to 1, as those "
            "of predict_proba"
        )
    return checked
