"""A fold's result on disk: arrays and JSON in one npz file, under the hash of all that it follows from."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ser_transfer.cross_validation import Choice, Columns, FoldResult, HeadChoice, Labels, Search, Trial
from ser_transfer.splits import Fold
from ser_transfer.store.files import explaining, remove_leftovers, write_whole

# Raise it when the same inputs would be searched or scored otherwise than before.
SEARCH_VERSION = 1


def result_key(digests: Sequence[str], fold: Fold, labels: Labels, search: Search) -> str:
    """Name the result of one system on one fold: 64 hex digits."""
    sides = (fold.train_ids, fold.validation_ids, fold.test_ids)
    content = {
        "version": [SEARCH_VERSION, version("scikit-learn"), version("scipy"), version("numpy")],
        "members": list(digests),
        "sides": [[[id_, labels.emotions[id_]] for id_ in side] for side in sides],
        "classes": list(labels.classes),
        "search": asdict(search),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def keep_result(cache: Path, key: str, result: FoldResult) -> None:
    """Write a result; the file is there whole or not at all."""
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
    """Read a result; None where there is none that is whole."""
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
