"""What a model says of a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError


@dataclass(frozen=True)
class Prediction:
    """What a model says of one recording.

    Attributes:
        probabilities: By emotion, in the order of the model's classes; they sum to 1.
    """

    probabilities: Mapping[str, float]

    @classmethod
    def of(cls, classes: Sequence[str], probabilities: npt.NDArray[np.float64]) -> Prediction:
        """Name the columns of one row of `EmotionModel.predict_proba`."""
        return cls(dict(zip(classes, map(float, probabilities), strict=True)))

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def confidence(self) -> float:
        """The probability of `emotion`."""
        return self.probabilities[self.emotion]

    def __str__(self) -> str:
        return f"{self.emotion} ({self.confidence:.0%})"


@dataclass(frozen=True)
class Answer:
    """What a model says of one of many recordings, or why it says nothing.

    Attributes:
        key: Of the recording, as the caller named it.
        seconds: Of audio; 0 where there is none.
        probabilities: Float64 of shape (n_classes,); None with an error.
        error: Why the recording could not be used, or None.
    """

    key: str
    seconds: float
    probabilities: npt.NDArray[np.float64] | None
    error: AudioError | None = None
