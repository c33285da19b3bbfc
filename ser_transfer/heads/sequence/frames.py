"""Frame sequences of different lengths: checked, standardised, put into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser_transfer.heads.registry import HeadError
from ser_transfer.heads.scaling import CONSTANT_TOLERANCE

Frames = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]

LENGTH_JITTER = 0.25  # batches mix lengths that differ by so much each way, and differ from epoch to epoch


def checked_sequences(sequences: Sequence[Any], n_features: int | None = None) -> list[Frames]:
    """Refuse what no head can read; the arrays themselves are not copied.

    Args:
        sequences: Arrays of shape (frames, dim), float16 or float32, each of its own length.
        n_features: The `dim` that is wanted; the first sequence's where None.

    Raises:
        HeadError: If there is no sequence, or one has the wrong shape, no frame, or a NaN or infinity.
    """
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays:
        raise HeadError("a sequence head wants at least one sequence, and there is none")
    for row, array in enumerate(arrays):
        if array.ndim != 2 or array.size == 0:
            raise HeadError(
                f"sequence {row} has the shape {array.shape}, and not (frames, dim): embed it again"
            )
        if n_features is None:
            n_features = array.shape[1]
        if array.shape[1] != n_features:
            raise HeadError(
                f"sequence {row} has {array.shape[1]} features per frame, and this head reads {n_features}: "
                "give frames of one layer of one encoder, the one it was trained with"
            )
        if not np.isfinite(array).all():
            frame, column = np.argwhere(~np.isfinite(array))[0]
            raise HeadError(
                f"feature {column} of frame {frame} of sequence {row} is {array[frame, column]}: the encoder "
                "gave no number there; embed again, in float32 or without the recording"
            )
    return arrays


@dataclass(frozen=True)
class Standardiser:
    """What brings each feature of the training frames to mean 0 and variance 1.

    Every training frame counts the same. A feature that is constant over them becomes 0 everywhere.

    Attributes:
        mean: Float32 of shape (dim,).
        scale: What the centred feature is multiplied by, float32 of shape (dim,).
    """

    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, sequences: Sequence[Frames]) -> Standardiser:
        """Measure the training sequences, in float64 and one sequence at a time."""
        n_frames = sum(map(len, sequences))
        mean = sum(frames.sum(axis=0, dtype=np.float64) for frames in sequences) / n_frames
        squares = sum(np.square(frames.astype(np.float64) - mean).sum(axis=0) for frames in sequences)
        deviation = np.sqrt(squares / n_frames)
        varies = deviation > CONSTANT_TOLERANCE * np.abs(mean)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        return cls(np.asarray(mean, np.float32), scale.astype(np.float32))

    def transform(self, frames: Frames) -> npt.NDArray[np.float32]:
        """Standardise frames of shape (frames, dim)."""
        standardised: npt.NDArray[np.float32] = (frames.astype(np.float32) - self.mean) * self.scale
        return standardised


def collate(
    sequences: Sequence[Frames], standardiser: Standardiser, n_frames: int | None = None
) -> tuple[Tensor, Tensor]:
    """Make one batch, padded behind the last frame with 0: the training mean.

    Args:
        sequences: Arrays of shape (frames, dim).
        standardiser: Fitted on the training frames.
        n_frames: Pad to so many frames, and keep only the middle of what is longer; None for the longest
            sequence's.

    Returns:
        Float32 frames of shape (batch, n_frames, dim), and the number of valid ones, of shape (batch,).
    """
    if n_frames is not None:
        sequences = [_middle(frames, n_frames) for frames in sequences]
    lengths = [len(frames) for frames in sequences]
    batch = np.zeros((len(sequences), n_frames or max(lengths), sequences[0].shape[1]), np.float32)
    for row, frames in enumerate(sequences):
        batch[row, : len(frames)] = standardiser.transform(frames)
    return torch.from_numpy(batch), torch.tensor(lengths)


def batches_by_length(
    rows: Indices, lengths: npt.NDArray[np.intp], batch_size: int, rng: np.random.Generator
) -> list[Indices]:
    """Put rows of similar length into one batch, others each time, in a random order of batches.

    Args:
        rows: Rows to put into batches; one may stand there more than once.
        lengths: Frames of every row.
        batch_size: Rows per batch, at most; batches differ by one row, so that none is left with a few.
        rng: Draws by how much a row is taken for longer or shorter than it is, and the order of batches.
    """
    jitter = rng.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(rows))
    by_length = rows[np.argsort(lengths[rows] * jitter)]
    batches = np.array_split(by_length, -(-len(rows) // batch_size))
    return [batches[number] for number in rng.permutation(len(batches))]


def balanced_rows(targets: Indices, rng: np.random.Generator) -> Indices:
    """Return every row, those of rarer classes as often as makes all classes equally frequent."""
    counts = np.bincount(targets)
    rows = []
    for code in np.flatnonzero(counts):
        members = rng.permutation(np.flatnonzero(targets == code))
        rows.append(np.resize(members, counts.max()))  # repeats them from the start
    return np.concatenate(rows)


def _middle(frames: Frames, n_frames: int) -> Frames:
    start = max(0, (len(frames) - n_frames) // 2)
    return frames[start : start + n_frames]
