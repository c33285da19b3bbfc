"""Where the ONNX file of a model lies, and whether it is still that model's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_transfer.encoders.heard import DIGESTS
from ser_transfer.exporting.errors import ExportError
from ser_transfer.exporting.onnx_model import ONNX_FILE, ONNX_SUFFIX, OnnxModel

NAMES = ("speakers", DIGESTS)  # of speakers, which a file may tell otherwise


def load_onnx(name: str | Path) -> OnnxModel:
    """Read the ONNX file that a user means.

    Args:
        name: See `find_onnx`.

    Raises:
        ExportError: If there is none, it holds no model of ours that can be run, or beside it lies a model
            that was trained otherwise, as after a second training into the same folder.
    """
    file = find_onnx(name)
    model = OnnxModel.from_file(file)
    if file == Path(name).expanduser():
        return model
    beside = _training_beside(file)
    told = {key: value for key, value in model.training.items() if key not in NAMES}
    if beside is not None and any(beside.get(key) != value for key, value in told.items()):
        raise ExportError(
            f"{file} is of another model than the one beside it, which was trained since: write it anew with "
            f"python -m ser_transfer.export {name}, or give the file itself"
        )
    return model


def find_onnx(name: str | Path) -> Path:
    """Find the ONNX file that a user means.

    Args:
        name: The file, the folder of a run, which has it as `ONNX_FILE`, or that of a model, which has it so
            or lies in a run that has.

    Raises:
        ExportError: If there is none.
    """
    given = Path(name).expanduser()
    above = [given.parent / ONNX_FILE] if _is_of_run(given) else []
    for path in (given, given / ONNX_FILE, *above):
        if path.is_file():
            return path
    if given.suffix == ONNX_SUFFIX:
        raise ExportError(f"there is no file {name}: give one that ser_transfer.export wrote")
    out = "" if given.is_dir() else f" --out {ONNX_FILE}"
    raise ExportError(
        f"{name} has no {ONNX_FILE}: write one with python -m ser_transfer.export {name}{out}, or give the "
        "file that was written elsewhere"
    )


def place_for(name: str | Path) -> Path | None:
    """Say where the ONNX file of a run or model goes: into the run, whose model is shared as it is.

    Returns:
        A path for `find_onnx` to find; None where there is no such folder.
    """
    given = Path(name).expanduser()
    if not given.is_dir():
        return None
    return (given.parent if _is_of_run(given) else given) / ONNX_FILE


def _is_of_run(folder: Path) -> bool:
    return folder.name == "model" and (folder.parent / "metrics.json").is_file()


def _training_beside(file: Path) -> Mapping[str, Any] | None:
    """Read what the model beside a file was trained on; None where nothing says so."""
    # Of a network, and of a model on a frozen encoder; alone, and in a run.
    for place in ("training.json", "config.json", "model/training.json", "model/config.json"):
        try:
            content = json.loads((file.parent / place).read_text(encoding="utf-8"))
            return dict(content if place.endswith("training.json") else content["training"])
        except (OSError, ValueError, TypeError, KeyError):
            continue  # whoever loads that model tells what is wrong with it
    return None
