"""Frames and a mask in, one vector out.

A recording has as many frames as it is long, a head wants one vector of a fixed size.
Every pooling here reads the frames of real audio only, so that an utterance gets the same
embedding alone and inside a batch of longer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


PERCENTILES = (5, 20, 50, 80, 95)
LAGS = (1, 2, 4, 8, 16, 32)  # frames: at 100 a second, from one frame to a long syllable


def functionals_pool(hidden_states: Tensor, frame_mask: Tensor) -> Tensor:
    """Describe how every feature is spread over the valid frames, and how it moves through them.

    The statistics are those that emotion research takes of handcrafted features (openSMILE's
    "functionals", Eyben et al. 2016), and the variogram of time series analysis: the mean squared
    difference of frames some lag apart, over twice the variance. It is 0 for a slow feature, 1 for
    frames without memory, above 1 for an alternation, and tells at which rate a voice modulates.

    Args:
        hidden_states: Encoder output of shape (batch, frames, hidden_size).
        frame_mask: Bool tensor of shape (batch, frames), True on real audio. Gaps are allowed:
            only frames that are valid at both ends of a lag are compared.

    Returns:
        Float32 tensor of shape (batch, 18 * hidden_size), one block of hidden_size per statistic:
        mean, standard deviation, the 5 `PERCENTILES`, trend (change per standard deviation of
        time), mean rise and mean fall from frame to frame, skewness, kurtosis, and the variogram
        at the 6 `LAGS` (1 where no two frames lie so far apart).

    Raises:
        ValueError: If the shapes disagree, or a row has no valid frame.
    """
    import torch

    states, weights = _checked(hidden_states, frame_mask)
    valid = frame_mask.any(dim=0).nonzero()
    span = slice(int(valid[0]), int(valid[-1]) + 1)  # the silence around all rows costs no time
    states = states[:, span].transpose(1, 2).contiguous()  # (batch, hidden_size, frames)
    weights = weights[:, span].transpose(1, 2)
    n_frames = weights.sum(dim=2)
    mean = states.sum(dim=2) / n_frames
    deviation = (states - mean.unsqueeze(2)) * weights
    squared = deviation.square()
    variance = squared.sum(dim=2) / n_frames
    std = variance.sqrt()
    # What float32 cannot tell from a constant counts as one: its shape is 0, not rounding noise.
    safe_variance = variance + (1e-4 * mean).square() + 1e-12
    skewness = (squared * deviation).sum(dim=2) / n_frames / safe_variance**1.5
    kurtosis = squared.square().sum(dim=2) / n_frames / safe_variance.square()
    return torch.cat(
        [
            mean,
            std,
            *_percentiles(states, weights, n_frames),
            _trend(deviation, weights, n_frames),
            *_rise_and_fall(states, weights),
            skewness,
            kurtosis,
            *_variograms(states, weights, safe_variance),
        ],
        dim=1,
    )


def _percentiles(states: Tensor, weights: Tensor, n_frames: Tensor) -> list[Tensor]:
    """Linear interpolation between order statistics, as NumPy's default."""
    import numpy as np
    import torch

    ordered = states.masked_fill(weights == 0, torch.inf)
    if ordered.is_cpu:  # NumPy sorts vectorised and without indices, ten times as fast
        ordered = torch.from_numpy(np.sort(ordered.detach().numpy(), axis=2))
    else:
        ordered = ordered.sort(dim=2).values
    shares = torch.tensor(PERCENTILES, device=states.device) / 100
    position = ((n_frames - 1) * shares).unsqueeze(1).expand(-1, states.shape[1], -1)
    below = position.floor()
    low = ordered.gather(2, below.long())
    high = ordered.gather(2, position.ceil().long())
    return list((low + (high - low) * (position - below)).unbind(dim=2))


def _trend(deviation: Tensor, weights: Tensor, n_frames: Tensor) -> Tensor:
    """Regression slope over time, times the standard deviation of time: a change in the feature's unit."""
    import torch

    time = torch.arange(deviation.shape[2], device=deviation.device, dtype=torch.float32)
    time = (time - (weights * time).sum(dim=2, keepdim=True) / n_frames.unsqueeze(2)) * weights
    spread = (time.square().sum(dim=2) / n_frames).sqrt().clamp(min=1e-6)
    return (deviation * time).sum(dim=2) / n_frames / spread


def _rise_and_fall(states: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the upward and of the downward steps between neighbouring valid frames."""
    step = (states[:, :, 1:] - states[:, :, :-1]) * (weights[:, :, 1:] * weights[:, :, :-1])
    n_up, n_down = (step > 0).sum(dim=2).clamp(min=1), (step < 0).sum(dim=2).clamp(min=1)
    return step.clamp(min=0).sum(dim=2) / n_up, step.clamp(max=0).sum(dim=2) / n_down


def _variograms(states: Tensor, weights: Tensor, variance: Tensor) -> list[Tensor]:
    """Half the mean squared difference at each of `LAGS`, over the variance."""
    import torch

    sums, counts = [], []
    for lag in LAGS:
        pairs = weights[:, :, lag:] * weights[:, :, :-lag]
        # A matrix product in place of a product and a sum: this is half of the pooling's time.
        sums.append((states[:, :, lag:] - states[:, :, :-lag]).square() @ pairs.transpose(1, 2))
        counts.append(pairs.sum(dim=2, keepdim=True))
    n_pairs = torch.cat(counts, dim=2)
    ratio = torch.cat(sums, dim=2) / (2 * n_pairs.clamp(min=1) * variance.unsqueeze(2))
    return list(torch.where(n_pairs > 0, ratio, 1.0).unbind(dim=2))


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


POOLINGS: dict[str, Pooling] = {"mean": mean_pool, "mean_std": mean_std_pool, "functionals": functionals_pool}

# Vectors of the layer's size that each pooling lays side by side.
N_STATISTICS: dict[str, int] = {"mean": 1, "mean_std": 2, "functionals": 7 + len(PERCENTILES) + len(LAGS)}


def pool_side_by_side(pooling: str, layers: Sequence[Tensor], frame_masks: Sequence[Tensor]) -> list[Tensor]:
    """Pool every layer as alone, those with the same mask in one call.

    For a handcrafted encoder's many small layers, where calls take the time and not the numbers.

    Args:
        pooling: A name in `POOLINGS`.
        layers: One tensor of shape (batch, frames, hidden_size) per layer, on the CPU.
        frame_masks: One bool tensor of shape (batch, frames) per layer.

    Returns:
        For each layer a float32 tensor of shape (batch, `pooled_dim` of its hidden_size).
    """
    import torch

    together: dict[bytes, list[int]] = {}
    for index, mask in enumerate(frame_masks):
        together.setdefault(mask.numpy().tobytes(), []).append(index)
    pooled: dict[int, Tensor] = {}
    for members in together.values():
        side_by_side = torch.cat([layers[index] for index in members], dim=2)
        vectors = POOLINGS[pooling](side_by_side, frame_masks[members[0]])
        blocks = vectors.reshape(len(vectors), N_STATISTICS[pooling], -1)  # (batch, statistics, features)
        first = 0
        for index in members:
            stop = first + layers[index].shape[2]
            pooled[index] = blocks[:, :, first:stop].flatten(1)
            first = stop
    return [pooled[index] for index in range(len(layers))]


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
