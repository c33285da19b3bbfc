"""What a head reads: which layers of which encoders, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.cross_validation.labels import TrainingError
from ser_transfer.store import Embeddings

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Columns:
    """Layers of one or more encoders.

    Attributes:
        layers: Per encoder, the names of its layers.
        means_only: Whether of vectors pooled as ``mean_std`` the means alone are read.
    """

    layers: tuple[tuple[str, ...], ...]
    means_only: bool = False

    def of(self, members: Sequence[Embeddings]) -> Features:
        """Lay the columns of the encoders side by side.

        Every encoder gets the same share of the variance, and within it every layer: a fusion of 14 layers
        with 2 is not decided by the 14.
        """
        blocks: list[FloatArray] = []
        weights: list[float] = []
        for embeddings, names in zip(members, self.layers, strict=True):
            for name in names:
                layer = _layer(embeddings, name)
                is_halved = self.means_only and embeddings.pooling == "mean_std"
                blocks.append(layer[:, : layer.shape[1] // 2] if is_halved else layer)
                weights.append(1.0 / len(names))
        sizes = tuple(block.shape[1] for block in blocks)
        matrix = np.concatenate(blocks, axis=1, dtype=np.float32)
        return Features(matrix, sizes, tuple(weights) if len(members) > 1 else None)

    def describe(self, members: Sequence[Embeddings]) -> dict[str, Any]:
        """Say which layers and which pooling, per encoder, as `metrics.json` keeps it."""
        return {
            embeddings.encoder: {
                "layers": list(names),
                "pooling": "mean" if self.means_only else embeddings.pooling,
            }
            for embeddings, names in zip(members, self.layers, strict=True)
        }


@dataclass(frozen=True)
class Features:
    """Rows of numbers, and the blocks that their columns fall into.

    Attributes:
        matrix: Float32 array of shape (n_utterances, n_features).
        block_sizes: Columns per block, a layer each.
        block_weights: Share of the variance per block; None for equal ones.
    """

    matrix: FloatArray
    block_sizes: tuple[int, ...]
    block_weights: tuple[float, ...] | None

    @property
    def blocks(self) -> dict[str, Any]:
        """What `ser_transfer.heads.make_head` is told of the blocks."""
        return {"block_sizes": self.block_sizes, "block_weights": self.block_weights}


def options(members: Sequence[Embeddings]) -> Iterator[Columns]:
    """List what may be read of one encoder: all layers side by side first, then each by itself."""
    (embeddings,) = members
    names = tuple(embeddings.layers)
    yield Columns((names,))
    if len(names) > 1:
        yield from (Columns(((name,),)) for name in names)


def normalised_by_speaker(embeddings: Embeddings, speakers: Sequence[str | None]) -> Embeddings:
    """Standardise every feature within each speaker; see `standardised_by_speaker`."""
    layers = {name: standardised_by_speaker(layer, speakers) for name, layer in embeddings.layers.items()}
    return replace(embeddings, layers=layers)


def standardised_by_speaker(features: FloatArray, speakers: Sequence[str | None]) -> FloatArray:
    """Give every feature mean 0 and standard deviation 1 within each speaker.

    Args:
        features: Float32 array of shape (n_utterances, n_features).
        speakers: One per row.

    Returns:
        An array of the same shape; a feature that is constant within a speaker becomes 0 there.

    Raises:
        TrainingError: If a speaker is unknown.
    """
    if None in speakers:
        raise TrainingError("--speaker-normalise needs the speaker of every utterance, and some are unknown")
    names = np.array(speakers)
    out = np.empty_like(features)
    for speaker in np.unique(names):
        rows = features[names == speaker]
        deviation = rows.std(axis=0)
        out[names == speaker] = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return out


def _layer(embeddings: Embeddings, name: str) -> FloatArray:
    if name not in embeddings.layers:
        raise TrainingError(
            f"{name!r} was asked of {embeddings.encoder}, which has {', '.join(embeddings.layers)}"
        )
    return embeddings.layers[name]
