"""Emotion over the time of one recording: a curve of probabilities, and the segments found in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ser_transfer.timeline import formats
from ser_transfer.timeline.segments import Segment
from ser_transfer.timeline.settings import TimelineError
from ser_transfer.timeline.smoothing import FloatArray


@dataclass(frozen=True, eq=False)
class Timeline:
    """How emotion goes through a recording.

    Attributes:
        classes: The emotions, in the order of the columns of `probabilities`.
        seconds: Duration of the recording.
        hop_seconds: Length of its cells; the last takes what is left over, less than a hop.
        probabilities: Of shape (n_cells, n_classes), smoothed: what the windows over each cell say together.
            NaN in cells that were not answered, because nobody speaks there or they are silent.
        segments: In order of time, without overlap. Together they are the time that was answered: where
            there is none, nobody speaks, or all is silent.
    """

    classes: tuple[str, ...]
    seconds: float
    hop_seconds: float
    probabilities: FloatArray
    segments: tuple[Segment, ...]

    @property
    def edges(self) -> FloatArray:
        """Where the cells begin and end, in seconds, of shape (n_cells + 1,)."""
        edges = np.arange(len(self.probabilities) + 1, dtype=np.float64) * self.hop_seconds
        edges[-1] = self.seconds
        return np.asarray(edges)

    @property
    def times(self) -> FloatArray:
        """The middles of the cells, in seconds, of shape (n_cells,)."""
        return np.asarray((self.edges[:-1] + self.edges[1:]) / 2)

    @property
    def mean_probabilities(self) -> dict[str, float]:
        """The mean over the time that was answered, by emotion: the label of the recording as a whole.

        Raises:
            TimelineError: If nothing was answered.
        """
        if not self.segments:
            raise TimelineError(
                f"in {self.seconds:.1f} s nobody was heard to speak, so there is no mean; "
                "leave the recording out, or set speech_only to false"
            )
        return self._means(self.segments)

    def probabilities_of(self, segment: Segment) -> dict[str, float]:
        """The mean over one of `segments`, by emotion."""
        return self._means([segment])

    def with_texts(self, texts: Sequence[str | None]) -> Timeline:
        """The same with what is said in each segment, given in their order."""
        pairs = zip(self.segments, texts, strict=True)
        return replace(self, segments=tuple(replace(segment, text=text) for segment, text in pairs))

    def to_csv(self) -> str:
        """One row per segment: start and end in seconds, emotion, confidence, text, each mean probability."""
        return formats.to_csv(self)

    def to_json(self) -> str:
        """Everything, the curve too."""
        return formats.to_json(self)

    def to_labels(self) -> str:
        """A label track of Audacity: File, Import, Labels."""
        return formats.to_labels(self)

    def to_webvtt(self) -> str:
        """Subtitles, which browsers and players show under the recording."""
        return formats.to_webvtt(self)

    def save(self, path: str | Path) -> None:
        """Write it in the format that the extension names: one of .csv, .json, .txt (Audacity) and .vtt.

        Raises:
            TimelineError: If the extension names none, or the file cannot be written.
        """
        path = Path(path)
        write = FORMATS.get(path.suffix.lower())
        if write is None:
            raise TimelineError(
                f"{path} has the extension {path.suffix or '(none)'}; a timeline is written as "
                f"{', '.join(FORMATS)}"
            )
        try:
            path.write_text(write(self), encoding="utf-8", newline="")
        except OSError as error:
            raise TimelineError(f"{path} cannot be written ({error}); give another path") from error

    def _means(self, segments: Sequence[Segment]) -> dict[str, float]:
        starts, ends = self.edges[:-1], self.edges[1:]
        seconds = np.zeros(len(starts))
        for segment in segments:
            common = np.minimum(ends, segment.end_seconds) - np.maximum(starts, segment.start_seconds)
            seconds += np.maximum(common, 0.0)
        weights = np.where(np.isnan(self.probabilities[:, 0]), 0.0, seconds)
        means = weights @ np.nan_to_num(self.probabilities) / weights.sum()
        return dict(zip(self.classes, means.tolist(), strict=True))


# By extension.
FORMATS: dict[str, Callable[[Timeline], str]] = {
    ".csv": Timeline.to_csv,
    ".json": Timeline.to_json,
    ".txt": Timeline.to_labels,
    ".vtt": Timeline.to_webvtt,
}
