"""Writing a model as one ONNX file, and seeing that the file answers what the model does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.encoders import Waveform
from ser_transfer.exporting.contents import INPUT, OUTPUTS, Description, parsed
from ser_transfer.exporting.errors import ExportError, required
from ser_transfer.exporting.onnx_model import OnnxModel
from ser_transfer.model import EmotionModel

if TYPE_CHECKING:
    from torch import nn

OPSET = 17  # the oldest with layer norm in one operator
TOLERANCE = 1e-4  # of a probability, and of an embedding beside its largest number
LENGTHS_SECONDS = (0.5, 1.0, 3.3, 11.0)  # of what a written file is asked about
TRACED_SECONDS = 2.0  # of what the graph is followed with: none of these
MOST_BYTES = 2**31 - 2**24  # of weights, what one file of protobuf can hold


def export_onnx(model: EmotionModel, path: str | Path, *, opset: int | None = None) -> Path:
    """Write a model as one ONNX graph, from a waveform to calibrated probabilities.

    The graph takes one mono waveform of any length, float32 of shape (1, samples), and gives what
    `contents.OUTPUTS` names; `contents.Description` stands in its metadata. Input normalisation, log-mel
    spectrogram, encoder, pooling, head and temperature are inside. It is run beside the model on signals of
    `LENGTHS_SECONDS` before it gets its name: a file that is there answers as the model does.

    Args:
        model: On a frozen encoder, or fine-tuned: of the wav2vec2 kind, Whisper, YAMNet or VGGish. A frozen
            one's head is one of `heads.EXPORTED_HEADS`, or a head on frames.
        path: Of the file; what is there is replaced.
        opset: Version of ONNX's operators; None for 17.

    Returns:
        The path.

    Raises:
        ExportError: If the extra ``[onnx]`` is not installed, no graph can hold the model, its answers differ
            by more than 1e-4, or the file cannot be written.
    """
    required("onnx")
    required("onnxruntime")
    from ser_transfer.exporting.graph import graph_of

    graph, max_samples = graph_of(model)
    _refuse_too_large(graph, model)
    described = Description(
        classes=model.classes,
        sampling_rate=model.sampling_rate,
        min_seconds=model.min_seconds,
        max_samples=max_samples,
        temperature=model.temperature,
        name=model.name,
        training=dict(model.training),
        fingerprint=model.fingerprint,
    )
    to = Path(path).expanduser()
    with written_beside(to) as unfinished:
        _write_graph(graph, unfinished, _signal(TRACED_SECONDS, model), opset or OPSET)
        describe(unfinished, described)
        _compare(model, OnnxModel.from_file(unfinished))
    return to


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a name to write under, which becomes `path` once the block has ended well, and is gone if not.

    Raises:
        ExportError: If the file cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # a folder that is none: told above
            unfinished.unlink(missing_ok=True)


def describe(file: Path, described: Description) -> None:
    """Put a description into an ONNX file."""
    model = parsed(file.read_bytes(), str(file))
    described.write_into(model)
    file.write_bytes(model.SerializeToString())


def _refuse_too_large(graph: nn.Module, model: EmotionModel) -> None:
    tensors = [*graph.parameters(), *graph.buffers()]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if n_bytes > MOST_BYTES:
        raise ExportError(
            f"{model.name} has {n_bytes / 2**30:.1f} GiB of weights, and one ONNX file holds 2: export a "
            "smaller model"
        )


def _write_graph(graph: nn.Module, file: Path, signal: Waveform, opset: int) -> None:
    """Follow the graph through one signal and write down what it does, its length left open.

    By tracing, not by `torch.export`: this needs no further package, and takes models whose shapes that
    cannot prove. What tracing may write down as a number that hangs on the length, `_compare` finds.
    """
    import torch

    given = (torch.from_numpy(signal).unsqueeze(0),)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: what they warn of is tested
            torch.onnx.export(
                graph,
                given,
                str(file),
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_axes={INPUT: {1: "samples"}},
            )
    except (
        RuntimeError,
        ValueError,
        TypeError,
        NotImplementedError,
        torch.onnx.errors.OnnxExporterError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"torch cannot write this model as a graph of opset {opset} ({reason})") from error


def _compare(model: EmotionModel, exported: OnnxModel) -> None:
    """Ask both about signals of several lengths.

    Raises:
        ExportError: If they differ by more than `TOLERANCE`.
    """
    worst, where = 0.0, 0.0
    for seconds in (model.min_seconds, *LENGTHS_SECONDS):
        signal = _signal(seconds, model)
        embedding = model.embeddings_of_waveforms([signal])
        differences = (
            model.probabilities_of_waveforms([signal]) - exported.probabilities_of_waveforms([signal]),
            (embedding - exported.embeddings_of_waveforms([signal]))
            / max(1.0, float(np.abs(embedding).max())),
        )
        difference = max(float(np.abs(each).max()) for each in differences)
        if not difference <= worst:  # a NaN is the worst of all
            worst, where = difference, len(signal) / model.sampling_rate
    if not worst <= TOLERANCE:
        raise ExportError(
            f"the graph of {model.name} differs from PyTorch by {worst:.2g} on {where:.2f} s, and "
            f"{TOLERANCE:g} is allowed: the file was not kept"
        )


def _signal(seconds: float, model: EmotionModel) -> Waveform:
    """Make a gliding tone in noise that swells, so that no part is like another."""
    n_samples = round(max(seconds, model.min_seconds) * model.sampling_rate)
    time = np.arange(n_samples) / model.sampling_rate
    tone = np.sin(2 * np.pi * (120 * time + 60 * np.sin(2 * np.pi * 1.3 * time)))
    noise = np.random.default_rng(n_samples).normal(0, 0.3, n_samples)
    signal: Any = 0.1 * (tone + noise) * np.linspace(0.3, 1.5, n_samples)
    return np.asarray(signal, np.float32)
