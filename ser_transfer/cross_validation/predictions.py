"""One system's answers on the test side of every fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ser_transfer.cross_validation.labels import Labels
from ser_transfer.cross_validation.search import Choice, Probabilities
from ser_transfer.metrics import majority_class, with_temperature
from ser_transfer.splits import Split


@dataclass(frozen=True, eq=False)
class Predictions:
    """One system's answers on the test side of every fold.

    Attributes:
        utterance_ids: One id per row.
        folds: Name of the fold that tested it.
        speakers: Its speaker, None where unknown.
        truth: Its emotion.
        probabilities: Float64 array of shape (rows, n_classes), as the head gave them.
        classes: The columns of `probabilities`.
        choices: Per fold, what was chosen.
        temperatures: Per fold, what calibrates the probabilities, fitted on validation speakers; None where
            there are none.
        validation_ids: One id per validation row, fold after fold; an utterance may validate several folds.
        validation_folds: Name of the fold that it validates.
        validation_truth: Its emotion.
        validation: Their calibrated probabilities, by heads that saw the training rows only.
        by_layer: Per layer, the emotion that a head on it alone answers, row by row; the layer curve. Those
            heads are fitted on the training speakers only.
        histories: Per fold, the training curve of what is trained in epochs, one mapping per epoch.
        n_parameters: Numbers that the head keeps, the mean over folds.
        seconds: What choosing, fitting and testing took, all folds.
    """

    utterance_ids: tuple[str, ...]
    folds: tuple[str, ...]
    speakers: tuple[str | None, ...]
    truth: tuple[str, ...]
    probabilities: Probabilities
    classes: tuple[str, ...]
    choices: Mapping[str, Choice] = field(default_factory=dict)
    temperatures: Mapping[str, float | None] = field(default_factory=dict)
    validation_ids: tuple[str, ...] = ()
    validation_folds: tuple[str, ...] = ()
    validation_truth: tuple[str, ...] = ()
    validation: Probabilities = field(default_factory=lambda: np.zeros((0, 0)))
    by_layer: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    n_parameters: int = 0
    seconds: float = 0.0

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable emotion of each row."""
        return tuple(self.classes[column] for column in self.probabilities.argmax(axis=1))

    @property
    def is_calibrated(self) -> bool:
        """Whether every fold had validation speakers to fit a temperature on."""
        return bool(self.temperatures) and None not in self.temperatures.values()

    @property
    def calibrated(self) -> Probabilities:
        """The probabilities, each fold's under its temperature; shape (rows, n_classes)."""
        out = self.probabilities.copy()
        folds = np.array(self.folds)
        for fold, temperature in self.temperatures.items():
            if temperature is not None:
                out[folds == fold] = with_temperature(out[folds == fold], temperature)
        return out


def majority_floor(labels: Labels, split: Split) -> Predictions:
    """Answer the most frequent emotion of each fold's training side, whatever the recording.

    Its UAR is 1 / n_classes by construction: the floor that a score has to clear.
    """
    probabilities = []
    for fold in split.folds:
        majority = majority_class([labels.emotions[id_] for id_ in (*fold.train_ids, *fold.validation_ids)])
        answer = np.array([emotion == majority for emotion in labels.classes], dtype=np.float64)
        probabilities.append(np.tile(answer, (len(fold.test_ids), 1)))
    return Predictions(**tested_rows(labels, split), probabilities=np.concatenate(probabilities))


def tested_rows(labels: Labels, split: Split) -> dict[str, Any]:
    """Name the rows that a split tests, in the order in which `Predictions` hold them."""
    ids: Sequence[str] = [id_ for fold in split.folds for id_ in fold.test_ids]
    return {
        "utterance_ids": tuple(ids),
        "folds": tuple(fold.name for fold in split.folds for _ in fold.test_ids),
        "speakers": tuple(labels.speakers[id_] for id_ in ids),
        "truth": tuple(labels.emotions[id_] for id_ in ids),
        "classes": labels.classes,
    }
