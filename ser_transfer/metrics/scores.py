"""Scores of predicted emotions, with intervals over speakers.

Everything is computed from confusion counts of shape (..., n_classes, n_classes), the truth in rows
and the prediction in columns. Leading axes are carried along, so that one call scores thousands
of resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.errors import SerTransferError
from ser_transfer.metrics.intervals import (
    N_RESAMPLES,
    Counts,
    FloatArray,
    Interval,
    resample_speakers,
    t_interval,
)

Labels = Sequence[Any] | npt.NDArray[Any]


class MetricError(SerTransferError):
    """Labels or probabilities that cannot be scored."""


@dataclass(frozen=True)
class Scores:
    """How well predictions agree with the truth.

    Attributes:
        classes: The emotions, in the order of every tuple below.
        confusion: Counts, truth in rows and prediction in columns.
        uar: Unweighted average recall, the mean of the per-class recalls: the main score.
        wa: Weighted accuracy, the share of utterances that are right.
        macro_f1: Mean of the per-class F1.
        recall: Per class; None where the truth has no such utterance.
        precision: Per class; 0 where the class was never predicted.
        f1: Per class; None where neither truth nor prediction has the class.
        intervals: 95 % intervals of ``uar``, ``wa`` and ``macro_f1`` over speakers; None where the
            speakers are unknown, or there is only one.
        n_speakers: Speakers behind the intervals; None where they are unknown.
    """

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    uar: float
    wa: float
    macro_f1: float
    recall: tuple[float | None, ...]
    precision: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    intervals: Mapping[str, Interval] | None = None
    n_speakers: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `json.dump` can write, per-class scores by class."""
        per_class = {"recall": self.recall, "precision": self.precision, "f1": self.f1}
        return {
            "uar": self.uar,
            "wa": self.wa,
            "macro_f1": self.macro_f1,
            "intervals": None if self.intervals is None else {k: list(v) for k, v in self.intervals.items()},
            "n_speakers": self.n_speakers,
            "n_utterances": sum(map(sum, self.confusion)),
            "classes": list(self.classes),
            "confusion": [list(row) for row in self.confusion],
            **{name: dict(zip(self.classes, values, strict=True)) for name, values in per_class.items()},
        }


def score(
    truth: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
    speakers: Sequence[str | None] | None = None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score predictions, all folds pooled.

    Args:
        truth: Emotion per utterance.
        predicted: Predicted emotion per utterance.
        classes: All emotions, in the order wanted.
        speakers: Speaker per utterance; without them, or where one is unknown, there are no intervals.
        n_resamples: Resamples behind the intervals.
        seed: Of the resampling.

    Raises:
        MetricError: If there is nothing to score, lengths differ, or a label is not among `classes`.
    """
    names = known_speakers(speakers)
    by_speaker = confusion_by_speaker(truth, predicted, names or ["all"] * len(truth), classes)
    total = by_speaker.sum(axis=0)
    intervals = None
    if len(by_speaker) > 1:
        resampled = resample_speakers(by_speaker, n_resamples=n_resamples, seed=seed)
        intervals = {
            name: t_interval(float(metric(total)), metric(resampled), len(by_speaker), len(truth))
            for name, metric in METRICS.items()
        }
    correct = np.diagonal(total)
    return Scores(
        classes=tuple(classes),
        confusion=tuple(tuple(row) for row in total.tolist()),
        uar=float(uar(total)),
        wa=float(wa(total)),
        macro_f1=float(macro_f1(total)),
        recall=_numbers(_ratio(correct, total.sum(axis=1))),
        precision=_numbers(np.nan_to_num(_ratio(correct, total.sum(axis=0)))),
        f1=_numbers(_ratio(2 * correct, total.sum(axis=0) + total.sum(axis=1))),
        intervals=intervals,
        n_speakers=len(by_speaker) if names else None,
    )


def confusion_matrix(truth: Labels, predicted: Labels, classes: Labels) -> Counts:
    """Count utterances by truth and prediction.

    Returns:
        Int64 array of shape (n_classes, n_classes), truth in rows, both in the order of `classes`.

    Raises:
        MetricError: If there is nothing to score, lengths differ, or a label is not among `classes`.
    """
    counts: Counts = confusion_by_speaker(truth, predicted, ["all"] * len(truth), classes)[0]
    return counts


def known_speakers(speakers: Sequence[str | None] | None) -> list[str]:
    """Return the speakers' names, or none at all where one is unknown."""
    names = [] if speakers is None else list(speakers)
    return [] if None in names else list(map(str, names))


def confusion_by_speaker(
    truth: Labels, predicted: Labels, speakers: Sequence[str], classes: Labels
) -> Counts:
    """Count one confusion matrix per speaker, speakers sorted by name.

    Returns:
        Int64 array of shape (n_speakers, n_classes, n_classes).

    Raises:
        MetricError: If there is nothing to score, lengths differ, or a label is not among `classes`.
    """
    if not len(truth) == len(predicted) == len(speakers) or len(truth) == 0:
        raise MetricError(
            "scores want one truth, one prediction and one speaker per utterance, "
            f"and at least one utterance: there are {len(truth)}, {len(predicted)} and {len(speakers)}"
        )
    n_classes = len(classes)
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    cell = (speaker * n_classes + codes_of(truth, classes)) * n_classes + codes_of(predicted, classes)
    counts = np.bincount(cell, minlength=len(names) * n_classes**2)
    return counts.reshape(len(names), n_classes, n_classes).astype(np.int64)


def uar(confusion: Counts) -> FloatArray:
    """Unweighted average recall: the mean recall of the classes that the truth has.

    Where the truth lacks a class, this is scikit-learn's `balanced_accuracy_score`.
    """
    return _mean_defined(_ratio(_correct(confusion), confusion.sum(axis=-1)))


def wa(confusion: Counts) -> FloatArray:
    """Weighted accuracy: the share of utterances that are right."""
    return _ratio(_correct(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def macro_f1(confusion: Counts) -> FloatArray:
    """Mean F1 of the classes that the truth or the prediction has, as scikit-learn's default."""
    marginals = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return _mean_defined(_ratio(2 * _correct(confusion), marginals))


METRICS: dict[str, Callable[[Counts], FloatArray]] = {"uar": uar, "wa": wa, "macro_f1": macro_f1}


def majority_class(labels: Sequence[str]) -> str:
    """Return the most frequent label, the first in the alphabet among equals.

    Predicting it always is the floor: its UAR is 1 / n_classes.
    """
    if not labels:
        raise MetricError("there are no labels, and so no most frequent one")
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def codes_of(labels: Labels, classes: Labels) -> npt.NDArray[np.int64]:
    """Return the position of each label among the classes.

    Raises:
        MetricError: If a label is not among `classes`.
    """
    position = {label: index for index, label in enumerate(classes)}
    try:
        return np.fromiter((position[label] for label in labels), dtype=np.int64, count=len(labels))
    except KeyError as error:
        raise MetricError(
            f"the label {error.args[0]!r} is not among the classes {', '.join(map(str, classes))}"
        ) from None


def _correct(confusion: Counts) -> Counts:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(part: Counts, whole: Counts) -> FloatArray:
    """Divide; NaN where the whole is 0."""
    undefined = np.full(np.shape(whole), np.nan)
    ratio: FloatArray = np.divide(part, whole, out=undefined, where=np.asarray(whole) > 0)
    return ratio


def _mean_defined(values: FloatArray) -> FloatArray:
    """Average the last axis over what is not NaN."""
    defined = ~np.isnan(values)
    mean: FloatArray = np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1)
    return mean


def _numbers(values: FloatArray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)
