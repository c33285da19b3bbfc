"""The clips of one side of a fold, and how they are evaluated: whole, or in windows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ser_transfer.audio import AudioError, duration_seconds, read_audio
from ser_transfer.encoders import Waveform
from ser_transfer.encoders.streams import ahead
from ser_transfer.fill import ROWS_AT_A_TIME, SOURCE_COLUMNS
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import FrontEnd

if TYPE_CHECKING:
    import datasets

Source = tuple[Any, float | None, float | None]  # audio, start_seconds, end_seconds


class ClipError(FinetuneError):
    """A clip that cannot be used.

    What a loader worker raises, torch raises again with the traceback as its text, and the message is the
    last line of that.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.strip().rpartition("\n")[2].removeprefix(f"{__name__}.ClipError: "))


class Clips:
    """The rows of a corpus that make one side of a fold; a waveform is decoded each time it is asked for.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        ids: Which utterances, in the order of the rows.
        targets: Class per utterance id.
        sampling_rate: Hz, of the waveforms.
        min_samples: The shortest clip that the network takes.
        keep_waveforms: Decode all clips now and keep them in memory: 230 MB an hour at 16 kHz (float32, so
            that nothing is lost), shared by loader workers that are forked, as they are on Linux.

    Attributes:
        ids: Utterance id per row.
        targets: Class per row, integers of shape (n_clips,).
        seconds: Duration per row, from headers or the ends of segments, of shape (n_clips,).
        sampling_rate: Hz.
        min_samples: As above.

    Raises:
        ClipError: If a clip's header cannot be read, or tells that it is too short; with `keep_waveforms`
            also if a clip cannot be decoded.
        FinetuneError: If an id is not in the corpus.
    """

    def __init__(
        self,
        corpus: datasets.Dataset,
        ids: Sequence[str],
        targets: Mapping[str, int],
        sampling_rate: int,
        min_samples: int,
        *,
        keep_waveforms: bool = False,
    ) -> None:
        self.ids = tuple(ids)
        self.sampling_rate, self.min_samples = sampling_rate, min_samples
        row_of = {id_: row for row, id_ in enumerate(corpus["utterance_id"][:])}
        unknown = [id_ for id_ in self.ids if id_ not in row_of]
        if unknown:
            raise FinetuneError(
                f"{len(unknown)} utterances are not in the corpus, {unknown[0]!r} the first: split the "
                "corpus as it is now"
            )
        self.targets = np.array([targets[id_] for id_ in self.ids], np.intp)
        self._sources = corpus.select_columns(list(SOURCE_COLUMNS)).select([row_of[id_] for id_ in self.ids])
        n_threads = os.cpu_count() or 1
        rows = enumerate(self._all_sources())
        self._kept: list[Waveform] | None = None
        if keep_waveforms:
            self._kept = list(ahead(rows, lambda row: self._decoded(*row), n_threads))
            self.seconds = np.array([len(waveform) / sampling_rate for waveform in self._kept])
        else:
            self.seconds = np.fromiter(
                ahead(rows, lambda row: self._declared_seconds(*row), n_threads), float
            )

    def __len__(self) -> int:
        return len(self.ids)

    def waveform(self, row: int) -> Waveform:
        """Return a clip, float32 of shape (samples,), the caller's own.

        Raises:
            ClipError: If it cannot be decoded.
        """
        if self._kept is not None:
            return self._kept[row].copy()
        source = self._sources[row]
        audio, start, end = (source[name] for name in SOURCE_COLUMNS)
        return self._decoded(row, (audio, start, end))

    def crop_samples(self, crop_seconds: float, reader: str) -> int:
        """Count the samples of a crop.

        Raises:
            FinetuneError: If they are too few for what reads them.
        """
        n_samples = round(crop_seconds * self.sampling_rate)
        if n_samples < self.min_samples:
            raise FinetuneError(
                f"crop_seconds is {crop_seconds:g}, and {reader} needs "
                f"{self.min_samples / self.sampling_rate:.3f} s or more"
            )
        return n_samples

    def _all_sources(self) -> Iterator[Source]:
        """Read a few rows at a time: a corpus may hold the audio itself, more of it than memory."""
        for batch in self._sources.iter(batch_size=ROWS_AT_A_TIME):
            yield from zip(*(batch[name] for name in SOURCE_COLUMNS), strict=True)

    def _decoded(self, row: int, source: Source) -> Waveform:
        audio, start, end = source
        try:
            return read_audio(
                audio,
                self.sampling_rate,
                start_seconds=start,
                end_seconds=end,
                min_seconds=self.min_samples / self.sampling_rate,
            )
        except AudioError as error:
            raise self._unusable(row, str(error)) from None

    def _declared_seconds(self, row: int, source: Source) -> float:
        audio, start, end = source
        try:
            seconds = (duration_seconds(audio) if end is None else end) - (start or 0.0)
        except AudioError as error:
            raise self._unusable(row, str(error)) from None
        # Half a sample, for what resampling rounds.
        if seconds * self.sampling_rate < self.min_samples - 0.5:
            needed = self.min_samples / self.sampling_rate
            raise self._unusable(row, f"it has {seconds:.3f} s, and the network needs {needed:.3f} s.")
        return seconds

    def _unusable(self, row: int, found: str) -> ClipError:
        return ClipError(
            f"utterance {self.ids[row]!r} cannot be used: {found} To list all such recordings: "
            "python -m ser_transfer.embed --corpus NAME --root DIR --encoder ID --skip-bad"
        )


class EvaluationClips(Dataset[tuple[int, Waveform]]):
    """Whole clips, longer ones in equal windows; the longest first, so that batches pad little.

    Item i is (row of the clip, waveform of the window); average what the network says of a row's windows.

    Args:
        clips: What is evaluated.
        window_seconds: Seconds that run at once at most; None for any.

    Attributes:
        rows: Row of each item, of shape (n_windows,).
        seconds: Length of each item, falling, of shape (n_windows,).

    Raises:
        FinetuneError: If half a window is less than the network takes.
    """

    def __init__(self, clips: Clips, window_seconds: float | None = None) -> None:
        self.clips = clips
        self._max_samples: int | None = None
        n_windows = np.ones(len(clips), np.intp)
        if window_seconds is not None:
            self._max_samples = round(window_seconds * clips.sampling_rate)
            if self._max_samples < 2 * clips.min_samples:
                raise FinetuneError(
                    f"window_seconds is {window_seconds:g}, and half a window must be enough for the "
                    f"network: give {2 * clips.min_samples / clips.sampling_rate:.3f} or more"
                )
            n_samples = np.round(clips.seconds * clips.sampling_rate).astype(np.intp)
            n_windows = np.maximum(1, -(-n_samples // self._max_samples))
        rows = np.repeat(np.arange(len(clips)), n_windows)
        numbers = np.concatenate([np.arange(n) for n in n_windows])
        seconds = (clips.seconds / n_windows)[rows]
        order = np.argsort(-seconds, kind="stable")
        self.rows, self.seconds = rows[order], seconds[order]
        self._numbers, self._n_windows = numbers[order], n_windows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[int, Waveform]:
        """Decode the clip of an item, and cut its window out.

        Raises:
            ClipError: If it cannot be decoded.
        """
        row, number = int(self.rows[item]), int(self._numbers[item])
        waveform = self.clips.waveform(row)
        n_windows = int(self._n_windows[row])
        start, stop = (edge * len(waveform) // n_windows for edge in (number, number + 1))
        if self._max_samples is not None:  # headers of MP3 may promise less than there is
            stop = min(stop, start + self._max_samples)
        return row, waveform[start:stop]


class Collate:
    """Makes a batch of examples; it can be pickled, so that loader workers prepare the network's input.

    Args:
        front_end: The network's.
        training: Whether examples are `TrainingExample`, and the front end may change its input at random.
    """

    def __init__(self, front_end: FrontEnd, training: bool) -> None:
        self._front_end, self._training = front_end, training

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        """Batch examples of `TrainingClips` or of `EvaluationClips`.

        Returns:
            ``inputs``, from the front end; in training ``truth`` of shape (batch, n_classes) and
            ``n_in_step``, a number; in evaluation ``row`` of shape (batch,).
        """
        if self._training:
            with torch.random.fork_rng(devices=[]):
                # Whichever worker it is in, and whether or not the training was resumed before it.
                torch.default_generator.manual_seed(examples[0].seed)
                inputs = self._front_end.prepare([each.waveform for each in examples], training=True)
            truth = torch.from_numpy(np.stack([each.truth for each in examples]))
            return {"inputs": inputs, "truth": truth, "n_in_step": examples[0].n_in_step}
        inputs = self._front_end.prepare([waveform for _, waveform in examples], training=False)
        rows: Tensor = torch.tensor([row for row, _ in examples])
        return {"inputs": inputs, "row": rows}
