"""Pooling and heads in a graph: the frames of one recording in, one logit per class out."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_transfer.exporting.errors import ExportError
from ser_transfer.exporting.tracing import counted, floored, length
from ser_transfer.pooling import LAGS, PERCENTILES

EXPORTED_HEADS = ("logistic_regression", "linear_svm", "lda", "layer_mix", "mlp")


def pool(pooling: str, frames: Tensor) -> Tensor:
    """Pool the frames of one recording as `ser_transfer.pooling` does, all of them valid.

    Args:
        pooling: A name in `ser_transfer.pooling.POOLINGS`.
        frames: Of shape (1, frames, dim).

    Returns:
        Tensor of shape (1, `pooled_dim` of dim).
    """
    mean = frames.mean(dim=1)
    if pooling == "mean":
        return mean
    deviation = frames - mean.unsqueeze(1)
    variance = (deviation * deviation).mean(dim=1)
    if pooling == "mean_std":
        return torch.cat([mean, variance.sqrt()], dim=1)
    if pooling == "functionals":
        return _functionals(frames, mean, deviation, variance)
    raise ExportError(f"no graph holds the pooling {pooling}: train with mean, mean_std or functionals")


def _functionals(frames: Tensor, mean: Tensor, deviation: Tensor, variance: Tensor) -> Tensor:
    """See `ser_transfer.pooling.functionals_pool`, whose terms these are, in its order."""
    places = counted(length(frames))
    last = places[-1]
    safe = variance + (1e-4 * mean).square() + 1e-12
    squared = deviation * deviation
    ordered = frames.sort(dim=1).values
    position = last * (torch.tensor(PERCENTILES) / 100)
    low, high = ordered[:, position.floor().long()], ordered[:, position.ceil().long()]
    percentiles = low + (high - low) * (position - position.floor()).view(1, -1, 1)
    time = (places - last / 2).view(1, -1, 1)
    spread = (time * time).mean().sqrt().clamp(min=1e-6)
    step, has_next = _steps(frames, places, 1)
    n_up, n_down = ((has_next * step * sign > 0).float().sum(dim=1).clamp(min=1) for sign in (1, -1))
    parts = [
        mean,
        variance.sqrt(),
        percentiles.flatten(1),
        (deviation * time).mean(dim=1) / spread,
        step.clamp(min=0).sum(dim=1) / n_up,
        step.clamp(max=0).sum(dim=1) / n_down,
        (squared * deviation).mean(dim=1) / safe**1.5,
        (squared * squared).mean(dim=1) / (safe * safe),
    ]
    for lag in LAGS:
        step, has_other = _steps(frames, places, lag)
        n_pairs = has_other.sum()
        ratio = (step * step).sum(dim=1) / (2 * n_pairs.clamp(min=1) * safe)
        parts.append(torch.where(n_pairs > 0, ratio, torch.ones_like(ratio)))
    return torch.cat(parts, dim=1)


def _steps(frames: Tensor, places: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """Give each frame's change over a lag, 0 where there is no frame so far on, and 1 where there is."""
    there = (places + lag <= places[-1]).float().view(1, -1, 1)
    return (frames[:, torch.minimum(places + lag, places[-1])] - frames) * there, there


class PooledHead(nn.Module):
    """A head on pooled layers, as `ser_transfer.heads.make_head` makes them.

    Args:
        layers: Gives the frames of each layer of a waveform.
        pooling: A name in `ser_transfer.pooling.POOLINGS`.
        pipeline: The fitted head.

    Raises:
        ExportError: If it is none of `EXPORTED_HEADS`.
    """

    def __init__(self, layers: nn.Module, pooling: str, pipeline: Any) -> None:
        super().__init__()
        self.layers, self.pooling = layers, pooling
        self.head = _classifier(pipeline)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Give the logits of (1, samples), and what they were read from."""
        pooled = torch.cat([pool(self.pooling, frames) for frames in self.layers(waveform)], dim=1)
        return self.head(pooled), pooled


class Scaled(nn.Module):
    """A `BlockScaler`: features minus their training mean, times a scale."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Any, scale: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(np.asarray(mean, np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale, np.float32)))

    def forward(self, features: Tensor) -> Tensor:
        """Scale features; the last dimension is theirs."""
        return (features - self.mean) * self.scale


def _classifier(pipeline: Any) -> nn.Sequential:
    """Rebuild a fitted pipeline of scaler and classifier."""
    from ser_transfer.heads.layer_mix import LayerMix
    from ser_transfer.heads.linear import RowSpaceClassifier
    from ser_transfer.heads.network import WeightedMLP

    scaler, classifier = pipeline["scaler"], pipeline["classifier"]
    if isinstance(classifier, RowSpaceClassifier):
        layers: list[nn.Module] = [_linear(classifier.coef_, classifier.intercept_)]
    elif isinstance(classifier, LayerMix):
        # One product for all: each layer's weight, and the factor of `LayerMix._layers`, into its columns.
        factors = np.sqrt(classifier.n_layers) * classifier.layer_weights_
        layers = [_linear(np.hstack([f * classifier.coef_ for f in factors]), classifier.intercept_)]
    elif isinstance(classifier, WeightedMLP):
        layers = []
        for weights, bias in zip(classifier.coefs_, classifier.intercepts_, strict=True):
            layers += [_linear(weights.T, bias), nn.ReLU()]
        layers.pop()
    else:
        raise ExportError(
            f"no graph holds the head {type(classifier).__name__}: train one of {', '.join(EXPORTED_HEADS)}"
        )
    if len(classifier.classes_) == 2:
        layers.append(FirstOfTwo())
    return nn.Sequential(Scaled(scaler.mean_, scaler.scale_), *layers)


class FirstOfTwo(nn.Module):
    """The first of two classes has the logit 0, where a head gives the second one's alone."""

    def forward(self, logits: Tensor) -> Tensor:
        """Bring (1, 1) to (1, 2), and leave (1, 2)."""
        return logits if logits.shape[1] == 2 else functional.pad(logits, (1, 0))


def _linear(weights: Any, bias: Any) -> nn.Linear:
    layer = nn.Linear(weights.shape[1], weights.shape[0])
    layer.weight = nn.Parameter(torch.from_numpy(np.asarray(weights, np.float32)).contiguous())
    layer.bias = nn.Parameter(torch.from_numpy(np.asarray(bias, np.float32)))
    return layer


class SequenceHeadOnFrames(nn.Module):
    """A head on the frames of one layer.

    Args:
        layers: Gives the frames of that one layer.
        head: A fitted `SequenceHead`.
    """

    def __init__(self, layers: nn.Module, head: Any) -> None:
        super().__init__()
        self.layers, self.n_frames = layers, head.network_.n_frames
        self.scaled = Scaled(head.standardiser_.mean, head.standardiser_.scale)
        self.head = _with_fixed_averages(head.network_)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Give the logits of (1, samples), and the mean frame."""
        [frames] = self.layers(waveform)
        scaled = self.scaled(frames.half().float())  # it was trained on frames as the store keeps them
        n_frames = length(frames)
        if self.n_frames is not None:  # the middle of what is longer, silence behind what is shorter
            start = floored((n_frames - self.n_frames).clamp(min=0), 2)
            places = start + counted(self.n_frames)
            there = (places < n_frames).float().view(1, -1, 1)
            scaled = scaled[:, torch.minimum(places, n_frames - 1)] * there
            n_frames = n_frames.clamp(max=self.n_frames)
        return self.head(scaled, n_frames.view(1)), frames.mean(dim=1)


class FixedAverage(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two products with constant matrices, which ONNX has for every size."""

    def __init__(self, output_size: tuple[int, int]) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, pictures: Tensor) -> Tensor:
        """Average (batch, channels, height, width) to (batch, channels, *output_size)."""
        rows, columns = (
            _shares(int(size), wanted)
            for size, wanted in zip(pictures.shape[2:], self.output_size, strict=True)
        )
        return rows @ pictures @ columns.T


def _with_fixed_averages(network: nn.Module) -> nn.Module:
    copied = copy.deepcopy(network)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(module, name, FixedAverage(child.output_size))  # type: ignore[arg-type]
    return copied


def _shares(size: int, n_parts: int) -> Tensor:
    """Tell what each place counts in each part: (n_parts, size), rows summing to 1."""
    shares = np.zeros((n_parts, size), np.float32)
    for part in range(n_parts):
        start, stop = part * size // n_parts, -(-(part + 1) * size // n_parts)
        shares[part, start:stop] = 1 / (stop - start)
    return torch.from_numpy(shares)
