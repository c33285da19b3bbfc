"""An exponential average of the weights that learn, less noisy than those of any single step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Keeps an average of a network's trained weights beside them.

    After step t the average moves to the weights by 1 - min(decay, (1 + t) / (10 + t)): the first steps, far
    from where the training ends, are soon forgotten (as in TensorFlow's ExponentialMovingAverage).

    Attributes:
        state: The average by parameter name.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {
            name: weights.detach().clone() for name, weights in _trained(network).items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up an average that was saved."""
        for name, kept in self.state.items():
            kept.copy_(state[name])

    def update(self, network: nn.Module, step: int) -> None:
        """Move the average after an optimiser step, counted from 0."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, weights in _trained(network).items():
            self.state[name].lerp_(weights.detach(), share)

    @contextmanager
    def in_place(self, network: nn.Module) -> Iterator[None]:
        """Give the network the average as its weights, inside the block."""
        own = {name: weights.detach().clone() for name, weights in _trained(network).items()}
        _set(network, self.state)
        try:
            yield
        finally:
            _set(network, own)


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weights for name, weights in network.named_parameters() if weights.requires_grad}


def _set(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weights in _trained(network).items():
            weights.copy_(state[name])
