"""What came of the pretraining of a fold, and where it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.pretraining.validation import Predicted

# What the folder and the fold are called of a pretraining that hears every speaker. A score on a corpus whose
# test speakers the encoder has heard is transductive, and has to be called so.
HEARS_ALL = "transductive"
RESULT = "pretrained.json"


@dataclass(frozen=True)
class Pretrained:
    """What came of the pretraining of one fold.

    Attributes:
        fold: Its name; `HEARS_ALL` where every speaker was heard.
        objective: ``"wav2vec2"`` or ``"hubert"``.
        before: How the validation speakers' masked frames were predicted before; None without them. HuBERT's
            head is new then.
        after: By what was kept.
        best_epoch: Of what was kept: the one of the lowest validation loss, or the last.
        n_steps: Optimiser steps.
        history: One mapping per epoch: ``train_loss``, ``validation_loss``, ``learning_rate``, ``seconds``.
    """

    fold: str
    objective: str
    before: Predicted | None
    after: Predicted | None
    best_epoch: int
    n_steps: int
    history: tuple[Mapping[str, Any], ...]


def digest(content: object) -> str:
    """Name a result by all that it follows from: 64 hex digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def keep_result(place: Path, key: str, result: Pretrained) -> None:
    """Write a result beside its model, whole or not at all.

    Raises:
        FinetuneError: If it cannot be written.
    """
    part = place / f"{RESULT}.part"
    try:
        part.write_text(json.dumps({"key": key, "result": asdict(result)}, indent=2), encoding="utf-8")
        part.replace(place / RESULT)
    except OSError as error:
        raise FinetuneError(f"the result cannot be written to {place}: {error}") from error


def kept_result(place: Path, key: str) -> Pretrained | None:
    """Read the result of the same training, if it was finished."""
    try:
        kept = json.loads((place / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if kept["key"] != key or not (place / "model" / "config.json").is_file():
        return None
    found = kept["result"]
    sides = {name: None if found[name] is None else Predicted(**found[name]) for name in ("before", "after")}
    return Pretrained(**{**found, **sides, "history": tuple(found["history"])})
