"""A model out of an ONNX file, run by onnxruntime: neither torch nor transformers is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError, read_audio
from ser_transfer.encoders import Waveform
from ser_transfer.encoders.pooled import Recording
from ser_transfer.encoders.streams import ahead
from ser_transfer.exporting.contents import INPUT, OUTPUTS, Description, checked
from ser_transfer.exporting.errors import ExportError, required
from ser_transfer.exporting.files import write_file
from ser_transfer.metrics import with_temperature
from ser_transfer.model.answers import Answer
from ser_transfer.model.base import EmotionModel, Probabilities
from ser_transfer.model.network import equal_windows

SCORES = ("uar", "uar_interval")  # in what a model says of its training
ONNX_SUFFIX = ".onnx"
ONNX_FILE = f"model{ONNX_SUFFIX}"  # in the folder of a model


class OnnxModel(EmotionModel):
    """What `export_onnx` wrote, with the answers of the model that it was written of.

    A recording is heard whole up to `max_samples`, and in equal windows beyond, whose answers are averaged.
    So do fine-tuned networks in PyTorch; a frozen transformer pools the frames of all its windows instead,
    and may answer otherwise between 30 s and 60 s.

    Args:
        content: The whole file.
        file: Where it lies.
        n_threads: Cores that one answer may use; None for all.

    Attributes:
        max_samples: The longest stretch that the graph hears at once; None for any.
        precision: ``"float32"``, or ``"int8"`` after `quantise`.
        exported_from: The fingerprint of the PyTorch model.

    Raises:
        ExportError: If it holds no model of ours that can be run; see `checked`.
    """

    def __init__(self, content: bytes, file: Path, *, n_threads: int | None = None) -> None:
        import xxhash

        told = checked(content, str(file))
        self.classes, self.temperature = told.classes, told.temperature
        # The score is that of the model in float32: what 8 bits made of it was not measured.
        left_out = () if told.precision == "float32" else SCORES
        self.training = {name: value for name, value in told.training.items() if name not in left_out}
        self.sampling_rate, self.min_seconds = told.sampling_rate, told.min_seconds
        self.max_samples, self.precision = told.max_samples, told.precision
        self.exported_from = told.fingerprint
        self.name = told.name if told.precision == "float32" else f"{told.name} ({told.precision})"
        self._file = file
        self._fingerprint = xxhash.xxh3_128(content).hexdigest()
        self._session = _session(content, file, n_threads or os.cpu_count() or 1, told)

    @classmethod
    def from_file(cls, path: str | Path, *, n_threads: int | None = None) -> OnnxModel:
        """Read a file. Nothing in it is run but ONNX's own operators.

        Args:
            path: What `export_onnx` or `quantise` wrote.
            n_threads: Cores that one answer may use; None for all.

        Raises:
            ExportError: If there is no such file, or it holds no model of ours that can be run.
        """
        file = Path(path).expanduser()
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ExportError(
                f"{file} cannot be read ({error.strerror}): give a file that ser_transfer.export wrote"
            ) from error
        return cls(content, file, n_threads=n_threads)

    @property
    def fingerprint(self) -> str:
        """See `EmotionModel.fingerprint`: of the file, so that an int8 copy has another."""
        return self._fingerprint

    def probabilities_of_waveforms(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """See `EmotionModel.probabilities_of_waveforms`."""
        return np.stack([self._run(waveform)[0] for waveform in waveforms])

    def embeddings_of_waveforms(self, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
        """See `EmotionModel.embeddings_of_waveforms`."""
        return np.stack([self._run(waveform)[1] for waveform in waveforms]).astype(np.float32)

    def save(self, folder: str | Path, *, include_encoder: bool = False) -> None:
        """Copy the file into a folder, as `ONNX_FILE`; its encoder is always in it.

        Raises:
            ExportError: If it cannot be written.
        """
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise ExportError(f"{self._file} cannot be read any more ({error.strerror})") from error
        write_file(Path(folder) / ONNX_FILE, content)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Refuse: a repository holds the model itself, of which everyone can make the file.

        Raises:
            ExportError: Always.
        """
        raise ExportError(
            f"{self._file} is no model to build on: push the one that it was made of, with "
            "python -m ser_transfer.share"
        )

    def _answers(self, recordings: Iterable[Recording], n_workers: int | None) -> Iterator[Answer]:
        """Decode and answer as many at once as there are workers; they share the session's threads."""
        yield from ahead(recordings, self._answer, n_workers or os.cpu_count() or 1)

    def _answer(self, recording: Recording) -> Answer:
        try:
            waveform = read_audio(
                recording.source,
                self.sampling_rate,
                start_seconds=recording.start_seconds,
                end_seconds=recording.end_seconds,
                min_seconds=self.min_seconds,
            )
        except AudioError as error:
            return Answer(recording.key, 0.0, None, error)
        return Answer(recording.key, len(waveform) / self.sampling_rate, self._run(waveform)[0])

    def _run(self, waveform: Waveform) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Give the probabilities of a waveform, and what they were read from."""
        if len(waveform) < round(self.min_seconds * self.sampling_rate):
            raise ExportError(
                f"a waveform has {len(waveform)} samples, and {self.name} needs {self.min_seconds:.3f} s at "
                f"{self.sampling_rate} Hz: leave it out"
            )
        windows = list(equal_windows(np.asarray(waveform, np.float32), self.max_samples))
        found = [self._session.run(list(OUTPUTS), {INPUT: window[np.newaxis]}) for window in windows]
        probabilities, embedding, shares = (
            np.concatenate(of_windows).astype(np.float64) for of_windows in zip(*found, strict=True)
        )
        if len(windows) > 1:  # averaged before calibration, as `NetworkModel` does
            mean = shares.mean(axis=0, keepdims=True)
            probabilities = with_temperature(mean / mean.sum(), self.temperature)
        return probabilities[0] / probabilities[0].sum(), embedding.mean(axis=0)


def _session(content: bytes, file: Path, n_threads: int, told: Description) -> Any:
    """Start onnxruntime on a file that was checked, and see that it takes and gives what ours do."""
    runtime = required("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 4  # errors are raised; the rest is about what it optimises
    # Threads that wait for work by spinning would take the cores from whoever decodes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a type of its own for every way in which a graph can be wrong
        reason = " ".join(str(error).split())[:200]
        raise ExportError(f"onnxruntime cannot run {file} ({reason}): export the model again") from error
    takes = [(each.name, each.type) for each in session.get_inputs()]
    gives = [each.name for each in session.get_outputs()]
    if takes != [(INPUT, "tensor(float)")] or gives != list(OUTPUTS):
        raise ExportError(
            f"{file} takes {takes} and gives {gives}, which is no model of ours: export the model again"
        )
    n_classes = session.get_outputs()[0].shape[-1]
    if isinstance(n_classes, int) and n_classes != len(told.classes):
        raise ExportError(
            f"{file} names {len(told.classes)} emotions and answers {n_classes}: export the model again"
        )
    return session
