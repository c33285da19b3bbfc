"""HuBERT: naming the hidden unit of a masked frame (Hsu et al. 2021, https://arxiv.org/abs/2106.07447)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_transfer.encoders.front_ends import ListedFrontEnd
from ser_transfer.finetuning.pretraining.network import MaskedPrediction, ObjectiveNetwork, sum_by_clip

UNIT_DIM = 256  # of the space in which units are told apart; published for the base model
TEMPERATURE = 0.1


class HubertNetwork(ObjectiveNetwork):
    """Cross entropy at masked frames, of cosines to one vector per unit.

    The checkpoints in transformers' form hold no such head, so it is new, and is not saved.

    Args:
        name: Where the model came from.
        model: A ``HubertModel``.
        front_end: Prepares its input.
        n_units: Hidden units.
    """

    objective = "hubert"

    def __init__(self, name: str, model: Any, front_end: ListedFrontEnd, n_units: int) -> None:
        super().__init__(name, model, front_end)
        self.projection = nn.Linear(model.config.hidden_size, UNIT_DIM)
        self.units = nn.Embedding(n_units, UNIT_DIM)
        nn.init.uniform_(self.units.weight)  # as in the published code

    @property
    def core(self) -> Any:
        """The model itself."""
        return self.model

    def head(self) -> list[nn.Module]:
        """List the projection and the units."""
        return [self.projection, self.units]

    def forward(self, inputs: Mapping[str, Tensor]) -> MaskedPrediction:
        """Predict the masked frames; ``targets`` are their units, of shape (batch, masked)."""
        mask, n_masked = inputs["mask"], inputs["mask"].sum(dim=1)
        is_masked = torch.arange(inputs["targets"].shape[1], device=mask.device) < n_masked.unsqueeze(1)
        truth = inputs["targets"][is_masked]
        states, _ = self._run(inputs)
        predicted = self.projection(states[mask])
        with torch.autocast(mask.device.type, enabled=False):
            predicted = functional.normalize(predicted.float(), dim=1)
            logits = predicted @ functional.normalize(self.units.weight.float(), dim=1).T / TEMPERATURE
            losses = functional.cross_entropy(logits, truth, reduction="none")
        return MaskedPrediction(
            losses=sum_by_clip(losses, mask) / n_masked,
            n_right=sum_by_clip((logits.argmax(dim=1) == truth).long(), mask),
            n_masked=n_masked,
            penalty=losses.new_zeros(()),
            usage=losses.new_zeros(len(mask), 0),
        )
