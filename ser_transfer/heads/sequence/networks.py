"""The networks behind the sequence heads: padded frames in, one logit per class out.

What lies behind a sequence's last frame never reaches its logits, so a sequence gets the same answer
alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# S2's layout: with 300 hidden units and 6 classes 2.78 million parameters, 1.55 of them in the convolutions.
CNN_CHANNELS = (64, 128, 256, 512)
CNN_GRID = (2, 4)  # feature bands × time steps that remain in front of the dense layers
VARIANCE_FLOOR = 1e-6  # the root's slope is infinite at 0, where all frames are alike


class SequenceNetwork(nn.Module):
    """What the networks share: `forward(frames, n_frames)` gives logits of shape (batch, n_classes).

    Attributes:
        n_frames: Frames that every sequence is cropped or padded to; None for its own.
    """

    n_frames: int | None = None

    def attention_weights(self, frames: Tensor, n_frames: Tensor) -> Tensor | None:
        """What each frame counts, of shape (batch, frames, 1), summing to 1; None where they count alike."""
        return None


class MeanNetwork(SequenceNetwork):
    """Dense layers on the mean of the valid frames."""

    def __init__(self, n_features: int, n_classes: int, hidden_units: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.dense = dense_layers((n_features, *hidden_units, n_classes), dropout)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Frames of shape (batch, frames, dim) with `n_frames` valid ones each."""
        share = valid_frames(frames, n_frames) / n_frames.unsqueeze(1)
        logits: Tensor = self.dense((share.unsqueeze(2) * frames).sum(dim=1))
        return logits


class AttentiveNetwork(SequenceNetwork):
    """Attentive statistics pooling (Okabe et al. 2018, https://arxiv.org/abs/1803.10963).

    A small network weighs each frame; dense layers read the weighted mean and standard deviation.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        attention_units: int,
        hidden_units: Sequence[int],
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(n_features, attention_units), nn.Tanh(), nn.Linear(attention_units, 1)
        )
        self.dense = dense_layers((2 * n_features, *hidden_units, n_classes), dropout)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Frames of shape (batch, frames, dim) with `n_frames` valid ones each."""
        weights = self.attention_weights(frames, n_frames)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
        logits: Tensor = self.dense(torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], dim=1))
        return logits

    def attention_weights(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """See `SequenceNetwork.attention_weights`."""
        valid = valid_frames(frames, n_frames).unsqueeze(2)
        weights: Tensor = self.attention(frames).masked_fill(~valid, -torch.inf).softmax(dim=1)
        return weights


class LSTMNetwork(SequenceNetwork):
    """LSTM layers one upon the other; dense layers read the last one's state after the last valid frame.

    An LSTM has not yet seen the padding where the valid frames end, and the one that reads backwards gets
    each sequence turned round in its own length. So nothing needs packing, which takes torch four times as
    long on a CPU.
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        units: Sequence[int],
        hidden_units: Sequence[int],
        bidirectional: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        n_directions = 2 if bidirectional else 1
        widths = [n_features, *(n_directions * size for size in units)]
        self.forwards = _lstms(widths, units)
        self.backwards = _lstms(widths, units) if bidirectional else nn.ModuleList()
        self.dropout = nn.Dropout(dropout)
        self.dense = dense_layers((widths[-1], *hidden_units, n_classes), dropout)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Frames of shape (batch, frames, dim) with `n_frames` valid ones each."""
        last = torch.arange(len(frames)), n_frames - 1
        end = frames[last]
        for number, forwards in enumerate(self.forwards):
            states = forwards(frames)[0]
            end = states[last]
            if len(self.backwards) > 0:
                turned = self.backwards[number](turned_round(frames, n_frames))[0]
                end = torch.cat([end, turned[last]], dim=1)
                states = torch.cat([states, turned_round(turned, n_frames)], dim=2)
            frames = self.dropout(states)
        logits: Tensor = self.dense(self.dropout(end))
        return logits


class CNNNetwork(SequenceNetwork):
    """Four blocks of 3 × 3 convolution, batch norm, ReLU and 2 × 2 maximum, then dense layers."""

    def __init__(self, n_classes: int, n_frames: int, hidden_units: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.n_frames = n_frames
        blocks: list[nn.Module] = []
        for n_in, n_out in zip((1, *CNN_CHANNELS), CNN_CHANNELS, strict=False):
            blocks += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
            blocks.append(nn.MaxPool2d(2, ceil_mode=True))  # ceil: a side of 1 stays 1
        self.blocks = nn.Sequential(
            *blocks, nn.AdaptiveAvgPool2d(CNN_GRID), nn.Flatten(), nn.Dropout(dropout)
        )
        width = CNN_CHANNELS[-1] * CNN_GRID[0] * CNN_GRID[1]
        self.dense = dense_layers((width, *hidden_units, n_classes), dropout)

    def forward(self, frames: Tensor, n_frames: Tensor) -> Tensor:
        """Frames of shape (batch, self.n_frames, dim), 0 behind the `n_frames` valid ones."""
        picture = frames.transpose(1, 2).unsqueeze(1)  # (batch, 1, dim, frames)
        logits: Tensor = self.dense(self.blocks(picture))
        return logits


def dense_layers(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers from the first width to the last, ReLU and dropout between them."""
    layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
    for n_in, n_out in pairwise(widths[1:]):
        layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(n_in, n_out)]
    return nn.Sequential(*layers)


def valid_frames(frames: Tensor, n_frames: Tensor) -> Tensor:
    """Return a mask of shape (batch, frames), True on valid frames."""
    return torch.arange(frames.shape[1]) < n_frames.unsqueeze(1)


def turned_round(frames: Tensor, n_frames: Tensor) -> Tensor:
    """Reverse the valid frames of each sequence, and leave its padding behind them."""
    places = torch.arange(frames.shape[1]).expand(frames.shape[:2])
    reverse = torch.where(valid_frames(frames, n_frames), n_frames.unsqueeze(1) - 1 - places, places)
    return frames.gather(1, reverse.unsqueeze(2).expand_as(frames))


def _lstms(widths: Sequence[int], units: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(
        nn.LSTM(width, size, batch_first=True) for width, size in zip(widths, units, strict=False)
    )
