"""Training an encoder's own weights: transformers models for audio classification, YAMNet and VGGish.

Importing this imports the settings only; the rest, and torch with it, is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.settings import (
    BatchSettings,
    Finetuning,
    LossSettings,
    NetworkSettings,
    Optimisation,
)

if TYPE_CHECKING:
    from ser_transfer.finetuning.accelerated import end_training, make_accelerator
    from ser_transfer.finetuning.folds import cross_validate_network, finetune_on_all
    from ser_transfer.finetuning.loop import InterruptedTraining, Step
    from ser_transfer.finetuning.networks import EmotionNetwork, load_network, load_saved_network

__all__ = [
    "BatchSettings",
    "EmotionNetwork",
    "FinetuneError",
    "Finetuning",
    "InterruptedTraining",
    "LossSettings",
    "NetworkSettings",
    "Optimisation",
    "Step",
    "cross_validate_network",
    "end_training",
    "finetune_on_all",
    "load_network",
    "load_saved_network",
    "make_accelerator",
]

_ROOMS = {
    "accelerated": ("end_training", "make_accelerator"),
    "folds": ("cross_validate_network", "finetune_on_all"),
    "loop": ("InterruptedTraining", "Step"),
    "networks": ("EmotionNetwork", "load_network", "load_saved_network"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
