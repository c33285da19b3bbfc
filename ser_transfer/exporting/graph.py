"""A whole model as one torch module: a waveform in, calibrated probabilities out."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ser_transfer.encoders.audioset_networks import YAMNET_LAYERS
from ser_transfer.encoders.patch_encoder import average
from ser_transfer.exporting.errors import ExportError
from ser_transfer.exporting.frames import ModelInput, layers_of
from ser_transfer.exporting.heads import PooledHead, SequenceHeadOnFrames
from ser_transfer.exporting.spectra import Patches, WholeSpectrogram
from ser_transfer.finetuning.adapters import merged
from ser_transfer.finetuning.networks import EmotionNetwork
from ser_transfer.finetuning.networks.patch_inputs import STEP
from ser_transfer.finetuning.networks.patch_network import PATCH_ENCODERS, PatchNetwork
from ser_transfer.finetuning.networks.transformers_network import TransformersNetwork
from ser_transfer.metrics.calibration import SMALLEST
from ser_transfer.model import EmotionModel, FrozenModel, NetworkModel, SequenceModel


class EmotionGraph(nn.Module):
    """What an ONNX file of ours computes; see `contents.OUTPUTS`.

    Args:
        body: Gives one logit per label, and what is classified.
        columns: Which emotion each label means, ones and zeros of shape (n_labels, n_classes); None where
            labels and classes are the same.
        temperature: What the probabilities are calibrated with.
    """

    columns: Tensor | None

    def __init__(self, body: nn.Module, columns: Any, temperature: float) -> None:
        super().__init__()
        self.body, self.temperature = body, temperature
        self.register_buffer("columns", None if columns is None else torch.from_numpy(columns).float())

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Answer one waveform of shape (1, samples)."""
        logits, embedding = self.body(waveform)
        shares = logits.float().softmax(dim=1)
        if self.columns is not None:
            shares = shares @ self.columns
        # As `with_temperature` does: what is smaller than a float64 tells from 0 counts as that.
        certain = (shares / shares.sum(dim=1, keepdim=True)).clamp(min=SMALLEST).log()
        return (certain / self.temperature).softmax(dim=1), embedding.float(), shares


class TransformersBody(nn.Module):
    """A fine-tuned network of the transformers family on one waveform."""

    def __init__(self, network: TransformersNetwork) -> None:
        super().__init__()
        self.network = network
        self.input = ModelInput(network.front_end._front_end, network.name)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and embedding of (1, samples)."""
        return self.network._answer(self.input(waveform), self.input.frame_mask(waveform))


class PatchBody(nn.Module):
    """A fine-tuned YAMNet or VGGish on one waveform.

    Raises:
        ExportError: If it hears each clip at several speeds.
    """

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        if network.design.speeds != (1.0,):
            speeds = ", ".join(f"{speed:g}" for speed in network.design.speeds)
            raise ExportError(
                f"{network.name} hears each clip at speeds {speeds}, and no graph resamples: fine-tune it "
                "without --speeds"
            )
        offset, hop = PATCH_ENCODERS[network.name].log_offset, PATCH_ENCODERS[network.name].patch_hop
        self.network = network
        self.input = WholeSpectrogram(offset, STEP) if network.design.whole else Patches(offset, hop)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits and embedding of (1, samples)."""
        outputs = self.network._layers(self.input(waveform))
        if self.network.design.whole:
            frames = torch.cat(
                [self._in_steps(i, each) for i, each in zip(self.network._read, outputs, strict=True)], dim=2
            )
        else:
            frames = torch.cat([average(each) for each in outputs], dim=1).unsqueeze(0)
        pooled = self.network.pooling(frames, torch.ones_like(frames[:, :, 0]) > 0)
        found = self.network._classified(pooled)
        return found.logits, found.embedding

    def _in_steps(self, layer: int, output: Tensor) -> Tensor:
        """Average (1, dim, time, frequency) to (1, steps, dim)."""
        frames_of_step = STEP // math.prod(stride for stride, _ in YAMNET_LAYERS[: layer + 1])
        over_frequency = output.mean(dim=3)
        steps = over_frequency.reshape(1, over_frequency.shape[1], -1, frames_of_step).mean(dim=3)
        return steps.transpose(1, 2)


def graph_of(model: EmotionModel) -> tuple[EmotionGraph, int | None]:
    """Build a model's graph, on the CPU, without changing the model.

    Returns:
        The graph, in evaluation mode, and the most samples that it may be run on at once; None for any.

    Raises:
        ExportError: If no graph can hold the model.
    """
    columns = None
    body: nn.Module
    if isinstance(model, FrozenModel):
        layers, longest = layers_of(model.encoder, model.layers)
        body = PooledHead(layers, model.pooling, model.head)
    elif isinstance(model, SequenceModel):
        layers, longest = layers_of(model.encoder, [model.layer])
        body = SequenceHeadOnFrames(layers, model.head)
    elif isinstance(model, NetworkModel):
        network: Any = _plain(model.network)
        body = PatchBody(network) if isinstance(network, PatchNetwork) else TransformersBody(network)
        longest = network.max_samples
        columns = None if np.array_equal(model._columns, np.eye(len(model.classes))) else model._columns
    else:
        raise ExportError(f"{model.name} is a {type(model).__name__}, which is not exported: give its model")
    return EmotionGraph(body, columns, model.temperature).eval(), longest


def _plain(network: EmotionNetwork) -> EmotionNetwork:
    """Copy a network to the CPU, with what adapter it has merged."""
    copied = copy.deepcopy(network) if network.adapter is None else merged(network)
    return copied.to("cpu")
