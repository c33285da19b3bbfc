"""A network's answers to whole recordings: whatever the batch, whatever the number of processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

Probabilities = npt.NDArray[np.float64]


def answers(accelerator: Accelerator, network: nn.Module, loader: Any, n_clips: int) -> Probabilities:
    """Ask a network about every clip; the answers to the windows of a long one are averaged.

    Args:
        accelerator: That prepared network and loader.
        network: In any mode; left in evaluation.
        loader: Over `EvaluationClips`, prepared.
        n_clips: How many there are.

    Returns:
        Float64 probabilities of shape (n_clips, n_classes), the same on every process.
    """
    network.eval()
    rows, logits = [], []
    with torch.no_grad():
        for batch in loader:
            output = network(batch["inputs"])
            gathered = accelerator.gather_for_metrics((batch["row"], output.logits.float()))
            rows.append(gathered[0].cpu())
            logits.append(gathered[1].cpu())
    places, of_windows = torch.cat(rows), torch.cat(logits).double().softmax(dim=1)
    summed = torch.zeros(n_clips, of_windows.shape[1], dtype=torch.float64)
    summed.index_add_(0, places, of_windows)
    averaged: Probabilities = (summed / torch.bincount(places, minlength=n_clips).unsqueeze(1)).numpy()
    return averaged
