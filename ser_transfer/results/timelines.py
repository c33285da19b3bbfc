"""Timelines of many recordings, a file each, with the words of their segments."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError, read_blocks
from ser_transfer.places import is_url
from ser_transfer.results.journal import Journal, write_whole
from ser_transfer.tables import text_table
from ser_transfer.timeline import FORMATS, Timeline, TimelineSettings

if TYPE_CHECKING:
    from ser_transfer.model import EmotionModel
    from ser_transfer.places import Output
    from ser_transfer.transcription import Transcriber

Waveform = npt.NDArray[np.float32]
TimelineFormat = Literal["csv", "json", "txt", "vtt"]

TIMELINE = "timeline"  # the part of a journal
BLOCK_SECONDS = 30.0  # decoded at a time for the words


def timeline_paths(files: Sequence[str], folder: Path, format_: TimelineFormat) -> dict[str, Path]:
    """Name the file of each recording's timeline: where it lies below the folder that all have in common.

    Two recordings that differ in their extension only keep it: ``a.wav.vtt`` and ``a.mp3.vtt``.
    """
    # Links stay as they are. A URL counts as the path that follows its scheme.
    named = ["/" + file.replace("://", "/", 1) if is_url(file) else file for file in files]
    absolute = [os.path.abspath(file) for file in named]  # noqa: PTH100
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    below = [Path(os.path.relpath(path, common)) for path in absolute]
    taken = Counter(path.with_suffix("") for path in below)
    paths = {}
    for file, path in zip(files, below, strict=True):
        name = path.stem if taken[path.with_suffix("")] == 1 else path.name
        paths[file] = folder / path.with_name(f"{name}.{format_}")
    return paths


def follow_into(
    journal: Journal,
    model: EmotionModel,
    settings: TimelineSettings,
    paths: dict[str, Path],
    out: Output,
    *,
    transcriber: Transcriber | None = None,
    on_progress: Callable[[str, float], object] = lambda file, seconds: None,
) -> int:
    """Write the timelines that are not there yet; one bad file does not cost the others.

    Args:
        journal: Where it is kept what was done.
        model: Whom to ask.
        settings: Windows, smoothing and segments.
        paths: Of the timelines, by recording; the extension is the format.
        out: The folder that they lie below; the journal names them as the user does.
        transcriber: Writes the words of each segment, where there is one.
        on_progress: Called with the file and the seconds of it that were followed.

    Returns:
        How many recordings were asked about.
    """
    n_asked = 0
    for file, path in paths.items():
        done = journal.get(TIMELINE, file) or {}
        told = out.named(path)
        if done.get("path") == told and path.is_file():
            continue
        n_asked += 1
        try:
            timeline = followed(file, model, settings, transcriber, partial(on_progress, file))
        except AudioError as error:
            journal.add_error(TIMELINE, file, error)
            continue
        write_whole(path, FORMATS[path.suffix](timeline).encode("utf-8"))
        n_segments = len(timeline.segments)
        journal.add(TIMELINE, file, path=told, seconds=timeline.seconds, n_segments=n_segments)
    return n_asked


def followed(
    file: str,
    model: EmotionModel,
    settings: TimelineSettings,
    transcriber: Transcriber | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Timeline:
    """Follow emotion through one recording, and write down what is said in each segment.

    Raises:
        AudioError: If it cannot be used.
    """
    timeline = model.timeline(file, settings, on_progress=on_progress)
    if transcriber is None:
        return timeline
    reader = _Reader(read_blocks(file, transcriber.sampling_rate, block_seconds=BLOCK_SECONDS))
    texts = []
    for segment in timeline.segments:
        span = (segment.start_seconds, segment.end_seconds)
        start, end = (round(seconds * transcriber.sampling_rate) for seconds in span)
        texts.append(transcriber.transcribe_blocks(reader.between(start, end)))
    return timeline.with_texts(texts)


def segments_table(timeline: Timeline) -> str:
    """Lay out segments for people: from when to when, which emotion, how sure, and the words."""
    header = ["start", "end", "emotion", "confidence"]
    with_text = any(segment.text is not None for segment in timeline.segments)
    rows = [header + ["text"] * with_text]
    for segment in timeline.segments:
        row = [_clock(segment.start_seconds), _clock(segment.end_seconds), segment.emotion or "-"]
        rows.append([*row, f"{segment.confidence:.2f}", *[segment.text or ""] * with_text])
    return text_table(rows)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 2), 60)
    return f"{int(minutes)}:{rest:05.2f}"


class _Reader:
    """Segments of a stream, one after the other, read once whatever the format."""

    def __init__(self, blocks: Iterator[Waveform]) -> None:
        self._blocks = blocks
        self._held = np.zeros(0, np.float32)
        self._start = 0  # of what is held

    def between(self, start: int, end: int) -> Iterator[Waveform]:
        """Give the samples from `start` to before `end`; no later call may begin before this one's end."""
        while self._start < end:
            piece = self._held[max(0, start - self._start) : end - self._start]
            if len(piece):
                yield piece
            if self._start + len(self._held) >= end:  # what is left belongs to those that follow
                self._held = self._held[end - self._start :]
                self._start = end
                return
            self._start += len(self._held)
            self._held = next(self._blocks, np.zeros(0, np.float32))
            if not len(self._held):
                return
