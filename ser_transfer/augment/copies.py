"""Augmented copies: named like recordings, and kept on the training side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ser_transfer.augment.augmentation import Augmentation, AugmentationError
from ser_transfer.augment.effects import Waveform

VERSION = 1  # raise it when a change of code changes a copy: its key changes with it


@dataclass(frozen=True)
class AugmentedCopy:
    """One copy of one recording: the same every time it is made.

    Attributes:
        augmentation: What changes.
        audio_key: The recording, from `ser_transfer.audio.audio_key`.
        number: Which copy, from 1.
        seed: Of the draws.
    """

    augmentation: Augmentation
    audio_key: str
    number: int
    seed: int

    @property
    def key(self) -> str:
        """The name that the copy's embedding is kept under: 32 hex digits, as an audio key."""
        return _hash(f"{VERSION} {self.audio_key} {self.augmentation} {self.seed} {self.number}")

    def __call__(self, waveform: Waveform, sampling_rate: int) -> Waveform:
        """Make the copy from the recording's waveform; see `Augmentation.__call__`."""
        draw = int(_hash(f"{self.seed} {self.audio_key} {self.number}"), 16)
        return self.augmentation(waveform, sampling_rate, np.random.default_rng(draw))


@dataclass(frozen=True)
class Copies:
    """Which copies are made of every recording.

    Attributes:
        augmentation: What changes.
        n_copies: How many of each recording.
        seed: Of the draws.

    Raises:
        AugmentationError: If `n_copies` is not positive.
    """

    augmentation: Augmentation
    n_copies: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_copies < 1:
            raise AugmentationError(
                f"{self.n_copies} augmented copies are none; ask for one or more (--n-copies)"
            )

    def of(self, utterance_id: str, audio_key: str) -> Iterator[tuple[str, AugmentedCopy]]:
        """Yield each copy of an utterance with its id, which is that of the utterance, ``#`` and a number."""
        for number in range(1, self.n_copies + 1):
            yield f"{utterance_id}#{number}", AugmentedCopy(self.augmentation, audio_key, number, self.seed)


def with_copies(train_ids: Iterable[str], originals: Mapping[str, str]) -> tuple[str, ...]:
    """Add to the training side of a fold the copies of its own utterances, and no others.

    Args:
        train_ids: Utterances that are trained on. What is validated or tested on is not passed through here:
            a copy of a test utterance would be the test utterance, learnt by heart.
        originals: Utterance id per copy id, such as `ser_transfer.store.Embeddings.originals`.

    Returns:
        `train_ids`, then the ids of their copies in the order of `originals`.
    """
    ids = tuple(train_ids)
    kept = set(ids)
    return (*ids, *(copy for copy, original in originals.items() if original in kept))


def _hash(text: str) -> str:
    import xxhash

    return xxhash.xxh3_128_hexdigest(text.encode())
