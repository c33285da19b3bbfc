"""One documented field of a settings dataclass: what a flag and a key of a recipe are declared with."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any


def setting(default: Any = MISSING, *, help: str) -> Any:
    """Declare one documented field of a settings dataclass.

    Args:
        default: Its value when neither recipe nor flag gives one; without it the field is required.
        help: What it means, with unit and allowed values; `--help` prints it.
    """
    if default is MISSING:
        return field(metadata={"help": help})
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})
