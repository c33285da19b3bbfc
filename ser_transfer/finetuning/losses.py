"""What fine-tuning minimises: one number per clip, so that a step is one mean whatever its batches are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from ser_transfer.finetuning.errors import FinetuneError

KINDS = ("cross_entropy", "focal")

# A shorter embedding has no direction worth the name; dividing by its norm would give slopes without bound.
_LEAST_NORM = 1e-6


class EmotionLoss(nn.Module):
    """Cross entropy or focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002) of a soft truth.

    The loss of a truth that is shared among classes is the losses of those classes, in the same shares: so
    mixed clips are weighed as their parts are. For one certain class it is that of
    `ser_transfer.heads.sequence.losses.FocalLoss`, before its mean over rows.

    Args:
        kind: ``"cross_entropy"`` or ``"focal"``: each class's times (1 - p)^gamma, with p its probability.
        gamma: Of the focal loss, from 0 on.
        label_smoothing: Share of the truth that is spread over all classes.
        class_weights: Of shape (n_classes,); None for 1 each.

    Raises:
        FinetuneError: If a setting is out of range.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        kind: str = "cross_entropy",
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise FinetuneError(f"there is no loss {kind!r}; choose {' or '.join(KINDS)}")
        if not 0 <= gamma < float("inf"):
            raise FinetuneError(f"gamma is {gamma}: give a number from 0 on")
        if not 0 <= label_smoothing < 1:
            raise FinetuneError(f"label_smoothing is {label_smoothing}: give a share from 0 to below 1")
        self.gamma = gamma if kind == "focal" else 0.0
        self.label_smoothing = label_smoothing
        self.register_buffer("class_weights", None if class_weights is None else class_weights.float())

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return one loss per row, in float32 under autocast as well.

        Args:
            logits: Of shape (batch, n_classes).
            truth: Share of each class, of shape (batch, n_classes); rows sum to 1.
        """
        with torch.autocast(logits.device.type, enabled=False):
            log_shares = logits.float().log_softmax(dim=1)
            losses = -log_shares
            if self.class_weights is not None:
                losses = losses * self.class_weights
            if self.label_smoothing > 0:
                smooth = losses.mean(dim=1, keepdim=True)
                losses = (1 - self.label_smoothing) * losses + self.label_smoothing * smooth
            if self.gamma > 0:
                # At p = 1 a root's slope is infinite, and times a loss of 0 that is no number.
                missing = (-log_shares.expm1()).clamp_min(torch.finfo(torch.float32).tiny)
                losses = losses * missing**self.gamma
            return (truth.float() * losses).sum(dim=1)


def balanced_class_weights(targets: npt.ArrayLike, n_classes: int) -> Tensor:
    """Weigh each class by the inverse of its frequency, as scikit-learn's ``"balanced"`` does.

    Args:
        targets: Class of every training clip, 0 to ``n_classes - 1``.
        n_classes: All of them; one that no clip has weighs 0, since nothing is learned of it.

    Returns:
        Float32 of shape (n_classes,); their mean over the clips is 1.
    """
    codes = np.asarray(targets)
    present = np.unique(codes)
    weights = torch.zeros(n_classes)
    weights[present] = torch.as_tensor(
        compute_class_weight("balanced", classes=present, y=codes), dtype=torch.float32
    )
    return weights


def supervised_contrastive(embeddings: Tensor, targets: Tensor, temperature: float = 0.1) -> Tensor:
    """Draw clips of one class together and others apart: L_out of Khosla et al. 2020, equation 2.

    https://arxiv.org/abs/2004.11362. Embeddings are brought to length 1 here; one of zeros stays as it is.
    The others are those of the same micro-batch.

    Args:
        embeddings: Of shape (batch, dim).
        targets: Class of each row, of shape (batch,).
        temperature: Above 0; the smaller, the more the nearest rows count.

    Returns:
        One loss per row, float32 under autocast as well; 0 for a row without another of its class.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.float()
        norms = rows.norm(dim=1, keepdim=True)
        rows = rows / torch.where(norms > _LEAST_NORM, norms, torch.ones_like(norms))
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        similarities = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
        log_shares = similarities.log_softmax(dim=1)
        positive = (targets.unsqueeze(0) == targets.unsqueeze(1)) & ~itself
        n_positives = positive.sum(dim=1).clamp_min(1)
        return -torch.where(positive, log_shares, 0.0).sum(dim=1) / n_positives
