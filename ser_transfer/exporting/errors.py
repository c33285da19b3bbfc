"""What is wrong with an export, or with a file that was exported."""

from __future__ import annotations

import importlib
from typing import Any

from ser_transfer.errors import SerTransferError


class ExportError(SerTransferError):
    """A model that no ONNX file can hold, or a file that holds none of ours."""


def require_extra() -> None:
    """See that the extra ``[onnx]`` is there, before anything is loaded for nothing.

    Raises:
        ExportError: If it is not installed.
    """
    required("onnx")
    required("onnxruntime")


def required(module: str) -> Any:
    """Import a module of the extra ``[onnx]``.

    Raises:
        ExportError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ExportError(
            f"ONNX files need {package}, which is not installed: pip install 'ser-transfer[onnx]'"
        ) from error
