"""What stands in an ONNX file of ours, and what must not: the description beside the graph, the operators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from ser_transfer.exporting.errors import ExportError, required

FORMAT = 1  # of the description
KEY = "ser_transfer."  # before each name among the file's metadata_props

INPUT = "waveform"  # float32 of shape (1, samples), mono, full scale 1
# Each of shape (1, size): calibrated probabilities; what is classified; each emotion's share before
# calibration, whose mean over windows is what is calibrated where a recording is longer than one.
OUTPUTS = ("probabilities", "embedding", "shares")

STANDARD = ("", "ai.onnx")  # domains of operators that every runtime defines, and none runs code of a file


@dataclass(frozen=True)
class Description:
    """What a file says of its model, each attribute as JSON in ``metadata_props`` under `KEY` and its name.

    Attributes:
        classes: The emotions, in the order of the probabilities.
        sampling_rate: Hz.
        min_seconds: The shortest recording that gives an answer.
        max_samples: The longest stretch that the graph hears at once; None for any.
        temperature: What the graph calibrates with.
        name: The model's.
        training: What it was trained on; see `EmotionModel`.
        fingerprint: Of the PyTorch model that was exported.
        precision: ``"float32"``, or ``"int8"`` after `quantise`.
        format: Of this description.
    """

    classes: tuple[str, ...]
    sampling_rate: int
    min_seconds: float
    max_samples: int | None
    temperature: float
    name: str
    training: Mapping[str, Any]
    fingerprint: str
    precision: Literal["float32", "int8"] = "float32"
    format: int = FORMAT

    def put_into(self, content: bytes) -> bytes:
        """Give a file's content with this description in place of what metadata it has."""
        model = parsed(content, self.name)
        del model.metadata_props[:]
        for name, value in asdict(self).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = KEY + name, json.dumps(value, ensure_ascii=False)
        written: bytes = model.SerializeToString()
        return written

    @classmethod
    def read_from(cls, model: Any, file: str) -> Description:
        """Read the description out of a ``ModelProto``.

        Raises:
            ExportError: If there is none, or it is a newer release's.
        """
        given = {entry.key: entry.value for entry in model.metadata_props}
        try:
            written = given[f"{KEY}format"]
            if int(written) > FORMAT:
                raise ExportError(f"{file} was written by a newer ser_transfer: pip install -U ser-transfer")
            values = {item.name: json.loads(given[KEY + item.name]) for item in fields(cls)}
            found = cls(**{**values, "classes": tuple(values["classes"])})
        except KeyError as error:
            raise ExportError(
                f"{file} is no model of ours: its metadata lack {error}; write one with "
                "python -m ser_transfer.export MODEL"
            ) from error
        except (TypeError, ValueError) as error:
            raise ExportError(
                f"the description in {file} is damaged ({error}): export the model again"
            ) from error
        found.check(file)
        return found

    def check(self, file: str) -> None:
        """Refuse values that no model has.

        Raises:
            ExportError: If there is one.
        """
        names = (self.name, self.fingerprint, *self.classes)
        numbers = (self.sampling_rate, self.min_seconds, self.temperature, self.max_samples or 1)
        sound = (
            len(set(self.classes)) > 1
            and all(isinstance(each, str) for each in names)
            and all(isinstance(each, int | float) and each >= 0 for each in numbers)
            and min(self.sampling_rate, self.temperature) > 0
            and isinstance(self.training, Mapping)
        )
        if not sound:
            raise ExportError(f"the description in {file} is damaged: export the model again")


def checked(content: bytes, file: str) -> Description:
    """Read the description of a file, if nothing in it reaches beyond the file.

    Args:
        content: The whole file.
        file: What to call it in an error.

    Raises:
        ExportError: If it is damaged, is none of ours, names other files that its weights lie in, or uses
            operators that ONNX does not define.
    """
    model = parsed(content, file)
    description = Description.read_from(model, file)
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location != 0:
            raise ExportError(
                f"{file} keeps weights in other files, which are not read: export the model into one file"
            )
    foreign = sorted({node.domain for node in _nodes(model) if node.domain not in STANDARD})
    if foreign:
        raise ExportError(
            f"{file} uses operators of {foreign[0]!r}, and only ONNX's own are run: export the model again"
        )
    return description


def parsed(content: bytes, file: str) -> Any:
    """Read a ``ModelProto``, without the other files that it may name.

    Raises:
        ExportError: If it is none.
    """
    onnx = required("onnx")
    try:
        return onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's own, whose name differs between its implementations
        raise ExportError(f"{file} is no ONNX file, or is damaged: fetch or export it again") from error


def _graphs(model: Any) -> Iterator[Any]:
    """Give every graph and function, those inside nodes too."""
    waiting = [model.graph, *model.functions]
    for training in model.training_info:
        waiting += [training.initialization, training.algorithm]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())  # a function has none
        sparse = list(getattr(graph, "sparse_initializer", ()))
        for node in graph.node:
            for attribute in node.attribute:
                yield from [attribute.t] if attribute.HasField("t") else []
                yield from attribute.tensors
                sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                sparse += list(attribute.sparse_tensors)
        for each in sparse:
            yield from (each.values, each.indices)
