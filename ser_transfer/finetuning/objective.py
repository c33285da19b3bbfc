"""What a training on emotions minimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ser_transfer.finetuning.losses import EmotionLoss, balanced_class_weights, supervised_contrastive
from ser_transfer.finetuning.settings import LossSettings


class EmotionObjective:
    """The loss of a batch: what each clip costs, divided by the clips of the whole step.

    Args:
        settings: Which loss.
        targets: Of the training clips, for the weights of the emotions.
        n_classes: How many emotions there are.
    """

    def __init__(self, settings: LossSettings, targets: Sequence[int], n_classes: int) -> None:
        weights = None
        if settings.balanced and not settings.balanced_sampling:
            weights = balanced_class_weights(targets, n_classes)
        self._loss = EmotionLoss(settings.loss, settings.gamma, settings.label_smoothing, weights)
        self._contrastive = settings.contrastive

    def __call__(self, network: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Run a batch and give its share of the step's mean loss."""
        output = network(batch["inputs"])
        self._loss.to(output.logits.device)
        answers = [output.logits] if output.exits is None else list(output.exits)
        losses = torch.stack([self._loss(logits, batch["truth"]) for logits in answers]).mean(dim=0)
        if self._contrastive > 0:
            targets = batch["truth"].argmax(dim=1)
            losses = losses + self._contrastive * supervised_contrastive(output.embedding, targets)
        total: Tensor = losses.sum() / int(batch["n_in_step"])
        return total
