"""Writing a model as one ONNX file, and seeing that the file answers what the model does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.encoders import Waveform
from ser_transfer.encoders.heard import DIGESTS, digests
from ser_transfer.exporting.comparison import Comparison, compare, signal, signals
from ser_transfer.exporting.contents import INPUT, OUTPUTS, Description
from ser_transfer.exporting.errors import ExportError, require_extra
from ser_transfer.exporting.files import write_file
from ser_transfer.exporting.onnx_model import OnnxModel
from ser_transfer.model import EmotionModel

if TYPE_CHECKING:
    from torch import nn

OPSET = 17  # the oldest with layer norm in one operator
TOLERANCE = 1e-4  # of a probability, and of an embedding beside its largest number
TRACED_SECONDS = 2.0  # of what the graph is followed with: none of the lengths that are compared
MOST_BYTES = 2**31 - 2**24  # of weights, what one file of protobuf can hold


def export_onnx(model: EmotionModel, path: str | Path, waveforms: Iterable[Waveform] = ()) -> Comparison:
    """Write a model as one ONNX graph, from a waveform to calibrated probabilities.

    The graph takes one mono waveform of any length, float32 of shape (1, samples), and gives what
    `contents.OUTPUTS` names; `contents.Description` stands in its metadata. Input normalisation, log-mel
    spectrogram, encoder, pooling, head and temperature are inside. It is run beside the model on signals of
    several lengths before it is written: a file that is there answers as the model does.

    Args:
        model: On a frozen encoder, or fine-tuned: of the wav2vec2 kind, Whisper, YAMNet or VGGish. A frozen
            one's head is one of `heads.EXPORTED_HEADS`, or a head on frames.
        path: Of the file; what is there is replaced, whole or not at all.
        waveforms: Recordings to compare both on besides `comparison.signals`, at the model's sampling rate;
            of one that is longer than the graph hears at once, its beginning.

    Returns:
        How far the answers of graph and model lie apart.

    Raises:
        ExportError: If the extra ``[onnx]`` is not installed, no graph can hold the model, its answers differ
            by more than 1e-4, or the file cannot be written.
    """
    require_extra()
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
        training=_without_names(model.training),
        fingerprint=model.fingerprint,
    )
    to = Path(path).expanduser()
    content = described.put_into(_traced(graph, signal(TRACED_SECONDS, model)))
    heard = (waveform[:max_samples] for waveform in chain(signals(model), waveforms))
    comparison = compare(model, OnnxModel(content, to), heard)
    if not comparison.largest <= TOLERANCE:  # nor is NaN
        raise ExportError(
            f"the graph of {model.name} differs from PyTorch by {comparison.largest:.2g} on "
            f"{comparison.worst_seconds:.2f} s, and {TOLERANCE:g} is allowed: no file was written"
        )
    write_file(to, content)
    return comparison


def _without_names(training: Mapping[str, Any]) -> dict[str, Any]:
    """Put digests in place of speakers' names, as `model.pushing.hide_speakers` does: files are passed on."""
    facts = dict(training)
    speakers = facts.get("speakers")
    if speakers and facts.get("corpus_name") not in CORPUS_CARDS:
        facts |= {"speakers": [], DIGESTS: digests(map(str, speakers))}
    return facts


def _refuse_too_large(graph: nn.Module, model: EmotionModel) -> None:
    tensors = [*graph.parameters(), *graph.buffers()]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if n_bytes > MOST_BYTES:
        raise ExportError(
            f"{model.name} has {n_bytes / 2**30:.1f} GiB of weights, and one ONNX file holds 2: export a "
            "smaller model"
        )


def _traced(graph: nn.Module, heard: Waveform) -> bytes:
    """Follow the graph through one signal and write down what it does, its length left open.

    By tracing, not by `torch.export`: this needs no further package, and takes models whose shapes that
    cannot prove. Where a number that hangs on the length was written down as it was, the comparison tells.
    """
    import torch

    given = (torch.from_numpy(heard).unsqueeze(0),)
    file = BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: what they warn of is tested
            torch.onnx.export(
                graph,
                given,
                file,  # type: ignore[arg-type]  # it takes open files, too
                dynamo=False,
                opset_version=OPSET,
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
        raise ExportError(f"torch cannot write this model as a graph ({reason})") from error
    return file.getvalue()
