"""How far two models' answers to the same signals lie apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ser_transfer.encoders import Waveform
from ser_transfer.model.base import EmotionModel

LENGTHS_SECONDS = (0.5, 1.0, 3.3, 11.0)  # of the signals that every written file is asked about


@dataclass(frozen=True)
class Comparison:
    """How far two models' answers to the same signals lie apart.

    Attributes:
        n_signals: How many were heard.
        shortest_seconds: The length of the shortest.
        longest_seconds: The length of the longest.
        of_probabilities: The largest difference of a probability; NaN where one gave NaN.
        of_embeddings: The largest difference of a number of an embedding, as a share of that embedding's
            largest number, or of 1 where that is less; NaN likewise.
        worst_seconds: The length of the signal with the largest difference of either.
        n_agreed: Signals whose most probable emotion both say is the same.
    """

    n_signals: int
    shortest_seconds: float
    longest_seconds: float
    of_probabilities: float
    of_embeddings: float
    worst_seconds: float
    n_agreed: int

    @property
    def largest(self) -> float:
        """The larger of both differences; NaN where there is one."""
        return float(np.maximum(self.of_probabilities, self.of_embeddings))

    def __str__(self) -> str:
        return (
            f"{self.n_signals} signals of {self.shortest_seconds:.2f} to {self.longest_seconds:.2f} s, "
            f"probabilities at most {self.of_probabilities:.2g} apart"
        )


def compare(one: EmotionModel, other: EmotionModel, waveforms: Iterable[Waveform]) -> Comparison:
    """Ask two models about the same signals, one by one.

    Args:
        one: Whose embeddings are the scale of their differences.
        other: With the same classes and sampling rate.
        waveforms: At least one, each at least `min_seconds` of both.
    """
    seconds, probabilities, embeddings, agreed = [], [], [], []
    for waveform in waveforms:
        seconds.append(len(waveform) / one.sampling_rate)
        [expected] = one.probabilities_of_waveforms([waveform])
        [found] = other.probabilities_of_waveforms([waveform])
        probabilities.append(np.abs(found - expected).max())
        agreed.append(bool(found.argmax() == expected.argmax()))
        [expected] = one.embeddings_of_waveforms([waveform])
        [found] = other.embeddings_of_waveforms([waveform])
        embeddings.append(np.abs(found - expected).max() / max(1.0, float(np.abs(expected).max())))
    of_signals = np.maximum(probabilities, embeddings)
    return Comparison(
        n_signals=len(seconds),
        shortest_seconds=min(seconds),
        longest_seconds=max(seconds),
        of_probabilities=float(np.max(probabilities)),
        of_embeddings=float(np.max(embeddings)),
        worst_seconds=seconds[int(of_signals.argmax())],  # a NaN is the largest of all
        n_agreed=sum(agreed),
    )


def signals(model: EmotionModel) -> Iterator[Waveform]:
    """Make signals of the shortest length that a model takes, and of `LENGTHS_SECONDS`."""
    for seconds in (model.min_seconds, *LENGTHS_SECONDS):
        yield signal(seconds, model)


def signal(seconds: float, model: EmotionModel) -> Waveform:
    """Make a gliding tone in noise that swells, so that no part is like another."""
    n_samples = round(max(seconds, model.min_seconds) * model.sampling_rate)
    time = np.arange(n_samples) / model.sampling_rate
    tone = np.sin(2 * np.pi * (120 * time + 60 * np.sin(2 * np.pi * 1.3 * time)))
    noise = np.random.default_rng(n_samples).normal(0, 0.3, n_samples)
    made: Any = 0.1 * (tone + noise) * np.linspace(0.3, 1.5, n_samples)
    return np.asarray(made, np.float32)
