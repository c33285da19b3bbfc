"""What a network predicts of the validation speakers' masked frames: whatever the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ser_transfer.finetuning.pretraining.network import MaskedPrediction


@dataclass(frozen=True)
class Predicted:
    """How well masked frames are predicted.

    Attributes:
        loss: The objective's, mean per clip; of wav2vec2 with the diversity penalty over all clips.
        accuracy: Share of masked frames whose target is the likeliest: of a frame's own code and its
            negatives, or of all hidden units.
        n_frames: Masked frames.
        perplexity: How many codes of wav2vec2's quantiser are in use; None for HuBERT.
    """

    loss: float
    accuracy: float
    n_frames: int
    perplexity: float | None = None


def predict_masked(accelerator: Accelerator, network: nn.Module, loader: Any, n_clips: int) -> Predicted:
    """Ask a network about the masked frames of every clip; the windows of a long one are averaged.

    Args:
        accelerator: That prepared network and loader.
        network: In any mode; left in evaluation.
        loader: Over `ValidationClips`, prepared.
        n_clips: How many clips there are.

    Returns:
        The same on every process.
    """
    network.eval()
    parts: list[list[torch.Tensor]] = []
    with torch.no_grad():
        for batch in loader:
            found: MaskedPrediction = network(batch["inputs"])
            told = (batch["row"], found.losses, found.n_right, found.n_masked, found.usage)
            parts.append([column.cpu() for column in accelerator.gather_for_metrics(told)])
    columns = [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
    rows, losses, n_right, n_masked, usage = columns
    of_clips = np.bincount(rows, losses * n_masked, n_clips) / np.bincount(rows, n_masked, n_clips)
    n_frames = int(n_masked.sum())
    summed = torch.from_numpy(usage.sum(axis=0, dtype=np.float64))
    penalty, perplexity = accelerator.unwrap_model(network).penalty_of(summed, n_frames)
    return Predicted(float(of_clips.mean()) + penalty, int(n_right.sum()) / n_frames, n_frames, perplexity)
