"""The loss that sequence heads minimise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from ser_transfer.heads.registry import ClassWeight


class FocalLoss(nn.Module):
    """Cross entropy, each row's times (1 - p)^gamma, with p the probability of the truth.

    What the network already knows then counts less (Lin et al. 2017, https://arxiv.org/abs/1708.02002);
    gamma 0 is the plain cross entropy. Rows are averaged after their classes' weights, not divided by the
    weights' sum: a batch without a rare class does not count more for it.

    Args:
        gamma: From 0 on.
        label_smoothing: Share of the truth that is spread over all classes.
        class_weights: Of shape (n_classes,).
    """

    def __init__(self, gamma: float, label_smoothing: float, class_weights: Tensor) -> None:
        super().__init__()
        self.gamma = gamma
        self.cross_entropy = nn.CrossEntropyLoss(
            class_weights, reduction="none", label_smoothing=label_smoothing
        )

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Average over rows: logits of shape (batch, n_classes), targets of shape (batch,)."""
        losses: Tensor = self.cross_entropy(logits, targets)
        if self.gamma > 0:
            p_truth = logits.softmax(dim=1).gather(1, targets.unsqueeze(1)).squeeze(1)
            # At p = 1 a root's slope is infinite, and times a loss of 0 that is no number.
            losses = losses * (1.0 - p_truth).clamp_min(torch.finfo(losses.dtype).tiny) ** self.gamma
        return losses.mean()


def class_weights(class_weight: ClassWeight, y: npt.NDArray[np.generic]) -> Tensor:
    """Return one weight per class of `y`, sorted, as scikit-learn gives it; see `make_sequence_head`."""
    weights = compute_class_weight(class_weight, classes=np.unique(y), y=y)
    return torch.as_tensor(weights, dtype=torch.float32)
