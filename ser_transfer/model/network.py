"""Models whose encoder was fine-tuned, by us or by others: one network from the waveform to the answer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError, read_audio
from ser_transfer.encoders import Waveform
from ser_transfer.encoders.pooled import GPU_BATCH_SECONDS, Recording
from ser_transfer.encoders.streams import ahead, chunks
from ser_transfer.labels import LabelError, parse_emotion
from ser_transfer.metrics import with_temperature
from ser_transfer.model.answers import Answer
from ser_transfer.model.base import Attention, EmotionModel, Probabilities
from ser_transfer.model.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from ser_transfer.finetuning import EmotionNetwork

DECODED_AT_ONCE = 64  # recordings that a GPU's batches are made of, sorted by length


class NetworkModel(EmotionModel):
    """A network from waveforms to emotions, in evaluation mode.

    What a network cannot run at once, it hears in equal windows whose answers are averaged, as it was tested.

    Args:
        network: From `ser_transfer.finetuning.load_saved_network`.
        name: What tables and the page call it.
        training: See `EmotionModel`.
        temperature: See `EmotionModel`.
        label_map: Labels of a foreign network to emotions, None for one that is left out.
        device: A torch device.

    Raises:
        ModelError: If a label is no emotion, or fewer than two are left.
    """

    def __init__(
        self,
        network: EmotionNetwork,
        name: str,
        training: Mapping[str, Any],
        temperature: float = 1.0,
        *,
        label_map: Mapping[str, str | None] | None = None,
        device: str = "cpu",
    ) -> None:
        self.network = network.to(device).eval()
        self.name, self.training, self.temperature = name, training, temperature
        self.sampling_rate = network.sampling_rate
        self.min_seconds = network.min_samples / network.sampling_rate
        self._device = device
        targets = emotions_of(network.classes, label_map, name)
        self.classes = tuple(dict.fromkeys(target for target in targets if target is not None))
        # Labels that mean one emotion are added up; those that are left out do not count.
        self._columns = np.zeros((len(targets), len(self.classes)))
        for row, target in enumerate(targets):
            if target is not None:
                self._columns[row, self.classes.index(target)] = 1.0

    @cached_property
    def fingerprint(self) -> str:
        """See `EmotionModel.fingerprint`."""
        import xxhash

        digest = xxhash.xxh3_128(repr((self.classes, self.temperature, self._columns.tolist())).encode())
        for key, value in self.network.state_dict().items():
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
        return digest.hexdigest()

    def probabilities_of_waveforms(self, waveforms: Sequence[Waveform]) -> Probabilities:
        """See `EmotionModel.probabilities_of_waveforms`."""
        logits, _ = self._run(waveforms)
        return self._calibrated(logits)

    def embeddings_of_waveforms(self, waveforms: Sequence[Waveform]) -> npt.NDArray[np.float32]:
        """Give what the last layers classify: float32 of shape (n_waveforms, dim)."""
        found: npt.NDArray[np.float32] = self._run(waveforms)[1].astype(np.float32)
        return found

    def attention(self, waveform: Waveform) -> Attention | None:
        """See `EmotionModel.attention`; only networks with attentive pooling weigh their frames."""
        from ser_transfer.finetuning.networks.heads import AttentivePooling

        pooling = getattr(self.network, "pooling", None)
        most = self.network.max_samples
        if not isinstance(pooling, AttentivePooling) or (most is not None and len(waveform) > most):
            return None
        scores: list[Tensor] = []
        hook = pooling.attention.register_forward_hook(lambda module, given, found: scores.append(found))
        try:
            self._run([waveform])
        finally:
            hook.remove()
        weights = scores[0][0, :, 0].double().softmax(dim=0).cpu().numpy()
        seconds = len(waveform) / self.sampling_rate
        return (np.arange(len(weights)) + 0.5) * seconds / len(weights), weights

    def save(self, folder: str | Path, *, include_encoder: bool = False) -> None:
        """Write the network: of a transformers type as the class that plain transformers loads."""
        from ser_transfer.finetuning import FinetuneError

        try:
            self.network.save(folder, {**self.training, "temperature": self.temperature})
        except FinetuneError as error:
            raise ModelError(str(error)) from error

    def _answers(self, recordings: Iterable[Recording], n_workers: int | None) -> Iterator[Answer]:
        import torch

        n_threads = n_workers or os.cpu_count() or 1
        if self._device != "cpu":
            decoded = ahead(recordings, self._decoded, n_threads)
            for chunk in chunks(decoded, DECODED_AT_ONCE):
                yield from self._of_decoded(chunk)
            return
        # As `encode_pooled` does: one recording per core is quicker than cores that share each product.
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            done = ahead(recordings, lambda each: list(self._of_decoded([self._decoded(each)])), n_threads)
            yield from itertools.chain.from_iterable(done)
        finally:
            torch.set_num_threads(before)

    def _decoded(self, recording: Recording) -> tuple[Recording, Waveform | AudioError]:
        try:
            waveform = read_audio(
                recording.source,
                self.sampling_rate,
                start_seconds=recording.start_seconds,
                end_seconds=recording.end_seconds,
                min_seconds=self.min_seconds,
            )
        except AudioError as error:
            return recording, error
        return recording, waveform

    def _of_decoded(self, items: Sequence[tuple[Recording, Waveform | AudioError]]) -> Iterator[Answer]:
        heard = [(each, waveform) for each, waveform in items if not isinstance(waveform, AudioError)]
        rows = self.probabilities_of_waveforms([waveform for _, waveform in heard]) if heard else ()
        for (recording, waveform), row in zip(heard, rows, strict=True):
            yield Answer(recording.key, len(waveform) / self.sampling_rate, row)
        for recording, found in items:
            if isinstance(found, AudioError):
                yield Answer(recording.key, 0.0, None, found)

    def _calibrated(self, probabilities: Probabilities) -> Probabilities:
        """Bring the network's labels to emotions, and the answers to the calibrated temperature."""
        emotions = probabilities @ self._columns
        emotions /= emotions.sum(axis=1, keepdims=True)
        return with_temperature(emotions, self.temperature)

    def _run(self, waveforms: Sequence[Waveform]) -> tuple[Probabilities, npt.NDArray[np.float64]]:
        """Give probabilities of the network's labels, and what they were read from."""
        import torch

        most = self.network.max_samples
        windows = [
            (row, window) for row, each in enumerate(waveforms) for window in equal_windows(each, most)
        ]
        windows.sort(key=lambda item: len(item[1]))
        probabilities = np.zeros((len(waveforms), len(self.network.classes)))
        embeddings: npt.NDArray[np.float64] | None = None
        n_windows = np.zeros((len(waveforms), 1))
        for batch in self._batches(windows):
            with torch.inference_mode():
                inputs = self.network.front_end.prepare([window for _, window in batch])
                output = self.network({name: value.to(self._device) for name, value in inputs.items()})
            rows = [row for row, _ in batch]
            found = output.embedding.double().cpu().numpy()
            if embeddings is None:
                embeddings = np.zeros((len(waveforms), found.shape[1]))
            np.add.at(probabilities, rows, output.logits.double().softmax(dim=1).cpu().numpy())
            np.add.at(embeddings, rows, found)
            np.add.at(n_windows, rows, 1.0)
        assert embeddings is not None
        return probabilities / n_windows, embeddings / n_windows

    def _batches(self, windows: Sequence[tuple[int, Waveform]]) -> Iterator[list[tuple[int, Waveform]]]:
        """One window at a time on a CPU, where padding costs more than batching gains; batches on a GPU."""
        most = 0.0 if self._device == "cpu" else GPU_BATCH_SECONDS * self.sampling_rate
        batch: list[tuple[int, Waveform]] = []
        for item in windows:  # ascending: the newest is the longest
            filled = self.network.filled_samples or len(item[1])
            if batch and (len(batch) + 1) * filled > most:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch


def equal_windows(waveform: Waveform, max_samples: int | None) -> Iterator[Waveform]:
    """Cut a waveform into as few equal windows as `max_samples` allows."""
    n_windows = 1 if max_samples is None else -(-len(waveform) // max_samples)
    edges = [number * len(waveform) // n_windows for number in range(n_windows + 1)]
    for start, stop in itertools.pairwise(edges):
        yield waveform[start:stop]


def emotions_of(
    labels: Sequence[str], label_map: Mapping[str, str | None] | None, name: str
) -> list[str | None]:
    """Name the emotion of each label of a network; None where it is left out.

    Raises:
        ModelError: If a label is no emotion, the map names one that the network has not, or fewer than two
            emotions are left.
    """
    given = dict(label_map or {})
    unknown = sorted(given.keys() - set(labels))
    if unknown:
        raise ModelError(f"{name} has no label {unknown[0]!r}; it has {', '.join(labels)}")
    found: list[str | None] = []
    for label in labels:
        try:
            wanted = given.get(label, label)
            found.append(None if wanted is None else parse_emotion(wanted))
        except LabelError as error:
            raise ModelError(
                f"{name} answers {', '.join(labels)}, and {label!r} names no emotion: tell what each means "
                f"with a label map, such as {{{label!r}: 'anger'}}, or None to leave it out"
            ) from error
    if len({emotion for emotion in found if emotion is not None}) < 2:
        raise ModelError(f"{name} answers {', '.join(labels)}: fewer than two emotions are left of them")
    return found
