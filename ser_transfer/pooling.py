"""Frames and a mask in, one vector out.

A recording has as many frames as it is long, a head wants one vector of a fixed size.
Every pooling here reads the frames of real audio only, so that an utterance gets the same
embedding alone and inside a batch of longer ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Callable[["Tensor", "Tensor"], "Tensor"]


class PoolingError(SerTransferError):
    """A pooling that does not exist."""


def mean_pool(hidden_states: Tensor, frame_mask: Tensor) -> Tensor:
    """Average the valid frames.

    Args:
        hidden_states: Encoder output of shape (batch, frames, hidden_size).
        frame_mask: Bool tensor of shape (batch, frames), True on real audio.

    Returns:
        Float32 tensor of shape (batch, hidden_size).

    Raises:
        ValueError: If the shapes disagree, or a row has no valid frame.
    """
    states, weights = _checked(hidden_states, frame_mask)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def mean_std_pool(hidden_states: Tensor, frame_mask: Tensor) -> Tensor:
    """Concatenate the mean and the standard deviation of the valid frames.

    Args:
        hidden_states: Encoder output of shape (batch, frames, hidden_size).
        frame_mask: Bool tensor of shape (batch, frames), True on real audio.

    Returns:
        Float32 tensor of shape (batch, 2 * hidden_size): means, then population
        standard deviations (0 where a row has a single valid frame).

    Raises:
        ValueError: If the shapes disagree, or a row has no valid frame.
    """
    import torch

    states, weights = _checked(hidden_states, frame_mask)
    n_frames = weights.sum(dim=1)
    mean = (states * weights).sum(dim=1) / n_frames
    # Deviations from the mean, not E[x²] - E[x]²: the latter loses all digits in float32
    # where the mean is large beside the deviation.
    variance = ((states - mean.unsqueeze(1)).square() * weights).sum(dim=1) / n_frames
    return torch.cat([mean, variance.sqrt()], dim=1)


def _checked(hidden_states: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return float32 states, zero outside the mask, and the mask as (batch, frames, 1) weights."""
    if hidden_states.ndim != 3 or frame_mask.shape != hidden_states.shape[:2]:
        raise ValueError(
            "pooling wants hidden states of shape (batch, frames, hidden_size) and a mask of shape "
            f"(batch, frames), not {tuple(hidden_states.shape)} and {tuple(frame_mask.shape)}"
        )
    if not bool(frame_mask.any(dim=1).all()):
        rows = (~frame_mask.any(dim=1)).nonzero().flatten().tolist()
        raise ValueError(f"no valid frame in row {rows[0]} of the batch: there is nothing to pool")
    # masked_fill, not a product: 0 * NaN would carry what stands in the padding into the sum.
    states = hidden_states.float().masked_fill(~frame_mask.unsqueeze(-1), 0.0)
    return states, frame_mask.unsqueeze(-1).float()


POOLINGS: dict[str, Pooling] = {"mean": mean_pool, "mean_std": mean_std_pool}

# Vectors of the layer's size that each pooling lays side by side.
N_STATISTICS: dict[str, int] = {"mean": 1, "mean_std": 2}


def pooled_dim(pooling: str, dim: int) -> int:
    """Tell the size of a pooled vector, without pooling anything.

    Args:
        pooling: A name in `POOLINGS`.
        dim: Size of a frame of the layer.

    Raises:
        PoolingError: If there is no such pooling.
    """
    if pooling not in N_STATISTICS:
        raise PoolingError(f"there is no pooling named {pooling!r}; known are {', '.join(POOLINGS)}")
    return N_STATISTICS[pooling] * dim
