"""Going on with an encoder's own pretraining, on the recordings of a corpus and without their labels.

Task-adaptive pretraining (TAPT; Chen and Rudnicky 2021, https://arxiv.org/abs/2110.06309): what comes out is
an encoder as any other, to be fine-tuned. Importing this imports the settings only; the rest, and torch with
it, is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ser_transfer.finetuning.pretraining.settings import MaskedBatchSettings, ObjectiveSettings, Pretraining

if TYPE_CHECKING:
    from ser_transfer.finetuning.pretraining.folds import pretrain_folds, pretrain_on_all
    from ser_transfer.finetuning.pretraining.loading import load_objective_network
    from ser_transfer.finetuning.pretraining.results import HEARS_ALL, Pretrained

__all__ = [
    "HEARS_ALL",
    "MaskedBatchSettings",
    "ObjectiveSettings",
    "Pretrained",
    "Pretraining",
    "load_objective_network",
    "pretrain_folds",
    "pretrain_on_all",
]

_ROOMS = {
    "folds": ("pretrain_folds", "pretrain_on_all"),
    "loading": ("load_objective_network",),
    "results": ("HEARS_ALL", "Pretrained"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
