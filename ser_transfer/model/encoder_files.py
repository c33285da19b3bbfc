"""The frozen encoder of a model: found by its name, or in the folder of the model."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_transfer.encoders import NAMED_ENCODERS, Encoder, load_encoder
from ser_transfer.model.errors import ModelError

ENCODER = "encoder"  # the folder, within a model's, of the files that were copied


def copy_encoder(encoder: Encoder, folder: Path) -> None:
    """Copy the files that an encoder was read from, unchanged, so that it keeps its fingerprint.

    Args:
        encoder: One without files, which is computed, needs no copy.
        folder: Made if it is not there and there is something to copy.

    Raises:
        ModelError: If its weights are no safetensors, and might be read by what runs code.
        OSError: If they cannot be written.
    """
    files = encoder.files()
    for name in files:
        if not name.endswith((".json", ".safetensors")):
            raise ModelError(
                f"the weights of {encoder.name} lie in {name}, and only safetensors are copied into a model: "
                "leave the encoder out, and it is found by its name"
            )
    for name, path in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)


def find_encoder(
    folder: Path, described: Mapping[str, Any], weights: str | Path | None, device: str
) -> Encoder:
    """Load the encoder that a model names: from the copy beside it, where there is one and no `weights`.

    Args:
        folder: The model's.
        described: What its config says of the encoder.
        weights: File of the user's choice, for YAMNet or VGGish.
        device: A torch device, or ``"auto"``.

    Raises:
        EncoderError: If there is none of that name.
        KeyError: If something is not described.
    """
    name, revision = str(described["name"]), described["revision"]
    precision, copied = described["precision"], folder / ENCODER
    if not copied.is_dir():
        return load_encoder(name, revision=revision, precision=precision, weights=weights, device=device)
    if name in NAMED_ENCODERS:
        beside = copied / f"{name}.safetensors"
        return load_encoder(name, precision=precision, weights=weights or beside, device=device)
    encoder = load_encoder(str(copied), precision=precision, weights=weights, device=device)
    encoder.name, encoder.revision = name, revision  # as it was when the model was trained
    return encoder
