"""A fold's result on disk: arrays and JSON in one npz file, under a name made of all that it follows from."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ser_transfer.cross_validation.columns import Columns
from ser_transfer.cross_validation.folds import FoldResult
from ser_transfer.cross_validation.search import Choice, HeadChoice, Trial
from ser_transfer.store.disk import remove_leftovers, write_whole
from ser_transfer.store.errors import explaining


def keep_result(cache: Path, key: str, result: FoldResult) -> None:
    """Write a result; the file is there whole or not at all.

    Args:
        cache: Folder of results; made if it is not there.
        key: The name of this one, without an ending: a hash of all that the result follows from.
        result: To keep. Of its trials all but the fitted heads.

    Raises:
        StoreError: If the folder cannot be written.
    """
    described = {
        "choice": asdict(result.choice),
        "trials": [
            {
                "columns": asdict(trial.columns),
                "head": asdict(trial.head),
                "settings": dict(trial.settings),
                "uar": trial.uar,
            }
            for trial in result.trials
        ],
        "temperature": result.temperature,
        "layers": list(result.by_layer),
        "n_parameters": result.n_parameters,
        "seconds": result.seconds,
        "history": [dict(epoch) for epoch in result.history],
    }
    arrays = {"validation": result.validation, "test": result.test}
    arrays |= {f"trial_{number}": trial.validation for number, trial in enumerate(result.trials)}
    arrays |= {f"layer_{number}": test for number, test in enumerate(result.by_layer.values())}
    arrays["described"] = np.frombuffer(json.dumps(described).encode(), dtype=np.uint8)

    def fill(file: BinaryIO) -> None:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for allow_pickle

    with explaining(cache):
        cache.mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache)
        write_whole(cache, fill, lambda _: f"{key}.npz")


def kept_result(cache: Path, key: str) -> FoldResult | None:
    """Read a result; None where there is none that is whole.

    Args:
        cache: See `keep_result`.
        key: See `keep_result`.

    Returns:
        The result, equal in every number; tuples among its settings are lists then.
    """
    path = cache / f"{key}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            described = json.loads(kept["described"].tobytes())
            trials = tuple(
                _trial(trial, kept[f"trial_{number}"]) for number, trial in enumerate(described["trials"])
            )
            return FoldResult(
                choice=Choice(**described["choice"]),
                trials=trials,
                validation=kept["validation"],
                test=kept["test"],
                temperature=described["temperature"],
                by_layer={name: kept[f"layer_{i}"] for i, name in enumerate(described["layers"])},
                n_parameters=described["n_parameters"],
                seconds=described["seconds"],
                # Files of an older version have none: they are of heads that know no epochs.
                history=tuple(described.get("history", ())),
            )
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError):  # damaged: computed again, and replaced
        return None


def _trial(described: dict[str, Any], validation: Any) -> Trial:
    columns = described["columns"]
    layers = tuple(tuple(names) for names in columns["layers"])
    return Trial(
        Columns(layers, columns["means_only"]),
        HeadChoice(**described["head"]),
        described["settings"],
        described["uar"],
        validation,
    )
