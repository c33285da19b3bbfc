"""An ONNX file with weights of 8 bits: a quarter of the size, at a cost that only a corpus tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ser_transfer.exporting.contents import checked, parsed
from ser_transfer.exporting.errors import ExportError, required
from ser_transfer.exporting.files import explaining, write_file
from ser_transfer.exporting.onnx_model import OnnxModel

# Parts of a node's name, which is made of the modules that it lies in: what hears the signal needs its
# digits, and a head has few weights, and the last word.
KEPT_IN_FLOAT32 = ("/log_mel/", "/head/", "/projector/", "/classifier/")


def quantise(path: str | Path, to: str | Path) -> Path:
    """Write a copy of an ONNX file whose matrix products are computed in 8 bits (dynamic quantisation).

    Weights become integers once, each output of a matrix product with a scale of its own, and activations for
    each recording as it comes; no recordings are needed to calibrate. That holds for matrix products and 1×1
    convolutions; other convolutions, the spectrogram and the head stay in float32. Weights have 7 bits of the
    8, so that no sum overflows on CPUs without VNNI. What it costs in UAR, `ser_transfer.evaluate` tells on a
    corpus that the model has not heard, and ``benchmarks/onnx_export.py`` on unheard speakers.

    Args:
        path: What `export_onnx` wrote.
        to: Of the copy; what is there is replaced.

    Returns:
        The path of the copy.

    Raises:
        ExportError: If the extra ``[onnx]`` is not installed, the file is none of ours or int8 already, or
            the copy cannot be written.
    """
    quantization: Any = required("onnxruntime.quantization")
    source, target = Path(path).expanduser(), Path(to).expanduser()
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ExportError(
            f"{source} cannot be read ({error.strerror}): give what ser_transfer.export wrote"
        ) from error
    described = checked(content, str(source))
    if described.precision == "int8":
        raise ExportError(f"{source} is int8 already: give the float32 file that it was made from")
    model = parsed(content, str(source))
    # onnxruntime's quantiser writes files only.
    with explaining(target), TemporaryDirectory() as folder, _quiet():
        unfinished = Path(folder) / "int8.onnx"
        quantization.quantize_dynamic(
            model,
            unfinished,
            op_types_to_quantize=["MatMul", "Conv"],
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=_left_as_they_are(model.graph),
        )
        content = unfinished.read_bytes()
    content = replace(described, precision="int8").put_into(content)
    OnnxModel(content, target)  # it runs
    write_file(target, content)
    return target


def _left_as_they_are(graph: Any) -> list[str]:
    """Name the nodes that stay in float32."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    left = []
    for node in graph.node:
        is_wide = node.op_type == "Conv" and any(
            size != 1 for size in shapes.get(node.input[1], [0])[2:] or [0]
        )
        if is_wide or any(part in node.name for part in KEPT_IN_FLOAT32):
            left += [node.name, f"{node.name}_MatMul"]  # what the quantiser makes of a Gemm
    return left


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice to optimise the graph first off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
