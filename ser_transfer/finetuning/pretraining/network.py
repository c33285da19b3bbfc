"""What every network promises that goes on with its own pretraining."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ser_transfer.encoders.front_ends import ListedFrontEnd
from ser_transfer.encoders.heard import TRAINING_FILE
from ser_transfer.encoders.padding import PaddingGuard
from ser_transfer.encoders.transformers_model import quiet
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import Block
from ser_transfer.finetuning.networks.transformers_parts import encoder_blocks
from ser_transfer.finetuning.pretraining.masks import MIN_FRAMES


@dataclass(frozen=True)
class MaskedPrediction:
    """How well a batch's masked frames are predicted.

    Attributes:
        losses: Mean over each clip's masked frames, of shape (batch,). It hangs on no other clip.
        n_right: Masked frames of each clip whose target is the likeliest, of shape (batch,).
        n_masked: Masked frames of each clip, of shape (batch,).
        penalty: What is added to every clip's loss, of all clips of the batch together; a number.
        usage: In evaluation, what `ObjectiveNetwork.penalty_of` wants of each clip, of shape (batch, n).
    """

    losses: Tensor
    n_right: Tensor
    n_masked: Tensor
    penalty: Tensor
    usage: Tensor


class ObjectiveNetwork(nn.Module, ABC):
    """An encoder below its own pretraining objective.

    A clip's loss is the same alone and beside any neighbours, in training too, but for what is drawn. Layers
    are not left out at random (``layerdrop``); the config that is saved still says the checkpoint's share.

    Args:
        name: Where the model came from.
        model: What `save` writes; the encoder, or the encoder and its objective.
        front_end: Prepares its input.

    Attributes:
        objective: The model's type.
        min_samples: The shortest clip that can be masked.
    """

    objective: str
    model: Any
    n_steps: Tensor  # optimiser steps done: a state that is saved with the weights

    def __init__(self, name: str, model: Any, front_end: ListedFrontEnd) -> None:
        super().__init__()
        self.name = name
        self.front_end = front_end
        self.sampling_rate = front_end.sampling_rate
        self.min_samples = front_end.grid.receptive_field + (MIN_FRAMES - 1) * front_end.grid.hop
        self.model = model
        core = self.core
        if not hasattr(core, "masked_spec_embed"):  # a config that masks nothing makes none
            core.masked_spec_embed = nn.Parameter(torch.empty(core.config.hidden_size).uniform_())
        # Processes that leave out different layers would wait for each other's gradients.
        self._layerdrop: float = core.config.layerdrop
        core.config.layerdrop = 0.0
        self._guard = PaddingGuard(core)
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.long))

    @property
    @abstractmethod
    def core(self) -> Any:
        """The encoder in the model."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> MaskedPrediction:
        """Predict the masked frames of a batch that `clips.MaskedCollate` made."""

    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass, of the same batch without its padding."""
        settings = {"use_reentrant": False, "context_fn": self._guard.recomputation}
        # The first name is deprecated in releases that have the second.
        if hasattr(self.model, "activation_checkpointing_enable"):
            self.model.activation_checkpointing_enable(activation_checkpointing_kwargs=settings)
        else:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=settings)

    @abstractmethod
    def head(self) -> list[nn.Module]:
        """List what stands on the encoder."""

    def penalty_of(self, usage: Tensor, n_masked: int) -> tuple[float, float | None]:
        """Compute the penalty of clips together, whatever batches they came in.

        Args:
            usage: `MaskedPrediction.usage`, summed over the clips.
            n_masked: Their masked frames.

        Returns:
            The penalty, and how many targets are in use (None where that is fixed).
        """
        return 0.0, None

    def blocks(self) -> list[Block]:
        """Divide the network from input to output; every parameter belongs to exactly one block."""
        return [*encoder_blocks(self.core), Block("head", "head", tuple(self.head()))]

    def train(self, mode: bool = True) -> ObjectiveNetwork:
        """Switch to training; a batch norm keeps its statistics, which would be of the whole batch."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def save(self, folder: Path, training: Mapping[str, Any]) -> None:
        """Write a plain transformers model with its feature extractor.

        Args:
            folder: Made if it is not there.
            training: What it was trained on, kept beside it in ``training.json``.

        Raises:
            FinetuneError: If it cannot be written.
        """
        config = self.core.config
        try:
            config.layerdrop = self._layerdrop
            with quiet():
                self.model.save_pretrained(folder)
            self.front_end.feature_extractor().save_pretrained(folder)
            text = json.dumps(dict(training), indent=2, ensure_ascii=False)
            (folder / TRAINING_FILE).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise FinetuneError(f"the model cannot be written to {folder}: {error}") from error
        finally:
            config.layerdrop = 0.0

    def _run(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """Run the encoder over a batch with its masked frames hidden.

        Returns:
            The last hidden states of shape (batch, frames, dim), and what the feature projection gave.
        """
        core, mask = self.core, inputs["mask"]
        n_samples = inputs["n_samples"].tolist()
        own_frames = self.front_end.frame_mask(n_samples, mask.device)
        with self._guard.batch(n_samples, own_frames):
            features = core.feature_extractor(inputs["input_values"]).transpose(1, 2)
            projected = core.feature_projection(features)
            hidden = projected[0] if isinstance(projected, tuple) else projected
            hidden = torch.where(mask.unsqueeze(-1), core.masked_spec_embed.to(hidden.dtype), hidden)
            attended = own_frames if min(n_samples) < max(n_samples) else None
            states = core.encoder(hidden, attention_mask=attended).last_hidden_state
        return states, projected


def sum_by_clip(values: Tensor, mask: Tensor) -> Tensor:
    """Sum values of shape (n_masked,), in the order of the mask's frames, over each clip's own."""
    summed = torch.zeros(len(mask), dtype=values.dtype, device=values.device)
    return summed.index_add(0, mask.nonzero()[:, 0], values)
