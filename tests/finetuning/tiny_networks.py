"""Tiny networks of every family, recordings for them, and a few steps of training."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from encoders.tiny_checkpoints import save_checkpoint

from ser_transfer.finetuning.networks import EmotionNetwork, load_network
from ser_transfer.finetuning.trainable import parameter_groups

CLASSES = ("anger", "fear", "joy", "neutral")
N_SAMPLES = (16_340, 9_001, 12_000)  # an odd number of frames among them


@cache
def checkpoint(name: str) -> str:
    """Write the tiny checkpoint of that name, once for all tests."""
    return str(save_checkpoint(name, Path(tempfile.mkdtemp(prefix=f"{name}-"))))


def network(name: str, **options) -> EmotionNetwork:
    """Make a network on a tiny checkpoint, or yamnet or vggish with random weights."""
    if name in ("yamnet", "vggish"):
        return load_network(name, CLASSES, untrained=True, **options)
    return load_network(checkpoint(name), CLASSES, **options)


def recordings(n_samples=N_SAMPLES) -> list[np.ndarray]:
    """Make noise of so many samples each, swelling, so that no part is like another."""
    rng = np.random.default_rng(0)
    return [(rng.normal(0, 0.1, n) * np.linspace(0.2, 2, n)).astype(np.float32) for n in n_samples]


def logits(net: EmotionNetwork, waveforms) -> torch.Tensor:
    """Ask a network in evaluation mode."""
    net.eval()
    with torch.no_grad():
        return net(net.front_end.prepare(waveforms)).logits


def take_steps(net: EmotionNetwork, n_steps: int = 3) -> None:
    """Train for some steps of AdamW at a rate that moves whatever may move."""
    groups = parameter_groups(
        net, learning_rate=1e-2, head_learning_rate=1e-2, layer_decay=0.9, weight_decay=0.1
    )
    optimizer = torch.optim.AdamW(groups)
    net.train()
    for _ in range(n_steps):
        output = net(net.front_end.prepare(recordings((16_000, 9_000)), training=True))
        (output.logits - torch.eye(2, len(CLASSES))).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def state_of(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copy a network's weights and buffers."""
    return {name: value.clone() for name, value in net.state_dict().items()}
