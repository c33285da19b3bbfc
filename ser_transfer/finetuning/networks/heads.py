"""From frames to one vector, and from that to logits: the heads that are ours and not a stock class's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_transfer.heads.sequence.networks import VARIANCE_FLOOR
from ser_transfer.pooling import mean_pool

ATTENTION_UNITS = 128  # as the sequence head's


class MeanPooling(nn.Module):
    """The average of a clip's own frames."""

    n_statistics = 1

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool frames of shape (batch, frames, dim), those that `mask` marks."""
        return mean_pool(frames, mask)


class MeanStdPooling(nn.Module):
    """Mean and standard deviation of a clip's own frames."""

    n_statistics = 2

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool frames of shape (batch, frames, dim), those that `mask` marks."""
        return mean_and_std(frames, mask.unsqueeze(2) / mask.sum(dim=1).view(-1, 1, 1))


class AttentivePooling(nn.Module):
    """Attentive statistics pooling (Okabe et al. 2018, https://arxiv.org/abs/1803.10963).

    A small network weighs each frame; out come the weighted mean and standard deviation.
    """

    n_statistics = 2

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(n_features, ATTENTION_UNITS), nn.Tanh(), nn.Linear(ATTENTION_UNITS, 1)
        )

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pool frames of shape (batch, frames, dim), those that `mask` marks."""
        scores = self.attention(frames).float().masked_fill(~mask.unsqueeze(2), -torch.inf)
        return mean_and_std(frames, scores.softmax(dim=1))


def mean_and_std(frames: Tensor, weights: Tensor) -> Tensor:
    """Lay the weighted mean and standard deviation side by side, float32 of shape (batch, 2 * dim).

    Unlike `ser_transfer.pooling.mean_std_pool` this can be trained through: the variance has a floor, since
    the root's slope is infinite where all frames are alike (one frame; a feature that a ReLU has shut off).

    Args:
        frames: Of shape (batch, frames, dim).
        weights: Of shape (batch, frames, 1), 0 on padding; those of a clip sum to 1.
    """
    frames = frames.float().masked_fill(weights == 0, 0.0)  # 0 * NaN would carry the padding into the sum
    mean = (weights * frames).sum(dim=1)
    variance = (weights * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
    return torch.cat([mean, (variance + VARIANCE_FLOOR).sqrt()], dim=1)


def make_pooling(pooling: str, n_features: int) -> MeanPooling | MeanStdPooling | AttentivePooling:
    """Make a pooling of frames of a size, by its name in `design.POOLINGS`; stock is the mean."""
    if pooling == "attentive":
        return AttentivePooling(n_features)
    return MeanStdPooling() if pooling == "mean_std" else MeanPooling()


def make_head(n_features: int, n_classes: int, dropout: float, projection_size: int | None) -> nn.Sequential:
    """Make what classifies a pooled vector: a projection with ReLU where wanted, norm, dropout, linear layer.

    With the norm a learning rate means the same whatever an encoder's features measure.
    """
    projection: list[nn.Module] = []
    if projection_size is not None:
        projection = [nn.Linear(n_features, projection_size), nn.ReLU()]
        n_features = projection_size
    classifier = (nn.LayerNorm(n_features), nn.Dropout(dropout), nn.Linear(n_features, n_classes))
    return nn.Sequential(*projection, *classifier)


def classify(head: nn.Sequential, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Run a head of `make_head`; return its logits, and what its norm reads."""
    *projection, norm, dropout, last = head
    embedding = pooled
    for module in projection:
        embedding = module(embedding)
    logits: Tensor = last(dropout(norm(embedding)))
    return logits, embedding
