"""An ONNX file with weights of 8 bits: a quarter of the size, at a cost that only a corpus tells."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

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
    left = _left_as_they_are(model.graph)
    _scale_outputs(model.graph, left)
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
            nodes_to_exclude=left,
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
        is_wide = node.op_type == "Conv" and set(shapes.get(node.input[1], [])[2:]) != {1}
        if is_wide or any(part in node.name for part in KEPT_IN_FLOAT32):
            left += [node.name, f"{node.name}_MatMul"]  # what the quantiser makes of a Gemm
    return left


def _scale_outputs(graph: Any, left: Collection[str]) -> None:
    """Bring each output's weights of a convolution to a maximum of 1, and multiply the output by it after.

    onnxruntime gives all weights of a convolution one scale, and those of a matrix product one per output.
    Where outputs differ, as under a folded batch norm, the integers of the smaller ones would say little.
    """
    helper, numpy_helper = required("onnx.helper"), required("onnx.numpy_helper")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Conv" or node.name in left:
            graph.node.append(node)
            continue
        tensor = weights[node.input[1]]
        values = numpy_helper.to_array(tensor)
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
        scale[scale == 0] = 1.0
        of_outputs = np.array([1, -1, *scale.shape[2:]])
        tensor.CopyFrom(numpy_helper.from_array(values / scale, tensor.name))
        name, output = node.name, node.output[0]
        constants = {f"{name}/scale": scale.reshape(of_outputs), f"{name}/shape": of_outputs}
        node.output[0] = f"{name}/unscaled"
        after = [helper.make_node("Mul", [f"{name}/unscaled", f"{name}/scale"], [output], f"{name}/Mul")]
        if len(node.input) > 2:  # a bias, which several convolutions may share
            bias = node.input.pop()
            after[0].output[0] = f"{name}/scaled"
            after += [
                helper.make_node("Reshape", [bias, f"{name}/shape"], [f"{name}/bias"], f"{name}/Reshape"),
                helper.make_node("Add", [f"{name}/scaled", f"{name}/bias"], [output], f"{name}/Add"),
            ]
        graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
        graph.node.extend([node, *after])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice to optimise the graph first off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
