"""Models as ONNX files: one graph from the waveform to calibrated probabilities, and what runs it.

`export_onnx` needs PyTorch and the extra ``[onnx]``; `OnnxModel` runs the file with NumPy and onnxruntime
alone. Importing this imports neither.
"""

from ser_transfer.exporting.comparison import Comparison, compare, signals
from ser_transfer.exporting.errors import ExportError, require_extra
from ser_transfer.exporting.onnx_model import ONNX_FILE, ONNX_SUFFIX, OnnxModel
from ser_transfer.exporting.places import find_onnx, load_onnx, place_for
from ser_transfer.exporting.quantising import quantise
from ser_transfer.exporting.writing import export_onnx

__all__ = [
    "ONNX_FILE",
    "ONNX_SUFFIX",
    "Comparison",
    "ExportError",
    "OnnxModel",
    "compare",
    "export_onnx",
    "find_onnx",
    "load_onnx",
    "place_for",
    "quantise",
    "require_extra",
    "signals",
]
