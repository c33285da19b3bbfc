"""A corpus as it is, before anything is learned from it: its clips, their numbers, and what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.audio import AudioError
from ser_transfer.errors import SerTransferError
from ser_transfer.exploration.findings import Finding, find
from ser_transfer.exploration.measures import ClipMeasures
from ser_transfer.tables import text_table

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.corpora import CorpusCard
    from ser_transfer.exploration.anatomy import Example

MIN_CLIPS_OF_SPEAKER = 5


class ExplorationError(SerTransferError):
    """What cannot be looked at, or not in the way that was asked for."""


@dataclass(frozen=True)
class Clip:
    """One recording: what its corpus tells of it, and what it measures.

    Attributes:
        utterance_id: Unique in the corpus.
        emotion: Its label.
        speaker: None where the corpus does not tell; so all that follow.
        gender: ``"female"`` or ``"male"``.
        sentence: The words, or the corpus's name for them.
        measures: Its numbers; why there are none; or None where it was left out of a sample.
    """

    utterance_id: str
    emotion: str
    speaker: str | None
    gender: str | None
    sentence: str | None
    measures: ClipMeasures | AudioError | None = None


@dataclass(frozen=True)
class Exploration:
    """All that was seen of a corpus; printing it prints its counts.

    Attributes:
        corpus: Its name.
        card: Licence and citation; None for recordings of one's own.
        classes: Its emotions, in vocabulary order.
        clips: All of them, in the corpus's order.
        examples: One clip per emotion, taken apart.
    """

    corpus: str
    card: CorpusCard | None
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    examples: tuple[Example, ...]

    @cached_property
    def measured(self) -> dict[str, ClipMeasures]:
        """The numbers per utterance id, of all clips that have any."""
        return {
            clip.utterance_id: clip.measures for clip in self.clips if isinstance(clip.measures, ClipMeasures)
        }

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What a reader should look at, one per kind, empty ones included."""
        return find(self.clips)

    @property
    def n_looked_at(self) -> int:
        """How many recordings were opened."""
        return sum(clip.measures is not None for clip in self.clips)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers, in order of their names."""
        return tuple(sorted({clip.speaker for clip in self.clips if clip.speaker is not None}))

    @cached_property
    def semitones(self) -> dict[str, float]:
        """Median F0 per utterance id, in semitones above its speaker's own median.

        A speaker's median is that of the medians of the speaker's clips; with fewer than
        `MIN_CLIPS_OF_SPEAKER` it is a chance of which emotions they are, and there is none.
        """
        f0: dict[str, dict[str, float]] = defaultdict(dict)
        for clip in self.clips:
            told = self.measured.get(clip.utterance_id)
            if clip.speaker is not None and told is not None and told.f0_hz is not None:
                f0[clip.speaker][clip.utterance_id] = told.f0_hz
        return {
            id_: 12 * float(np.log2(hertz / np.median([*own.values()])))
            for own in f0.values()
            if len(own) >= MIN_CLIPS_OF_SPEAKER
            for id_, hertz in own.items()
        }

    def title(self, shown: str, n: int) -> str:
        """Write a figure's title: the corpus, what is shown, and of how many clips and speakers."""
        is_sample = n <= self.n_looked_at < len(self.clips)
        sampled = f" of {len(self.clips)}, a sample" if is_sample else ""
        speakers = f"{len(self.speakers)} speakers" if self.speakers else "speakers unknown"
        return f"{self.corpus} · {shown} · n = {n}{sampled}, {speakers}"

    @property
    def n_usable(self) -> int:
        """Clips that are not known to be unusable."""
        return sum(not isinstance(clip.measures, AudioError) for clip in self.clips)

    def rows(self) -> list[tuple[str, str]]:
        """What there is and what is wrong with it, as a table of counts."""
        minutes = sum(told.seconds for told in self.measured.values()) / 60
        genders = Counter(clip.gender for clip in self.clips)
        rows = [
            ("there are", "count"),
            ("clips", str(len(self.clips))),
            *((f"clips, {gender}", str(n)) for gender, n in sorted(genders.items(), key=str) if gender),
            ("emotions", str(len(self.classes))),
            ("speakers", str(len(self.speakers)) if self.speakers else "n/a"),
            ("clips opened", str(self.n_looked_at)),
            ("duration of these", f"{minutes:.1f} min"),
        ]
        return rows + [(finding.kind, str(finding.n_clips)) for finding in self.findings]

    def emotion_rows(self) -> list[tuple[str, ...]]:
        """Medians per emotion, as a table."""
        rows: list[tuple[str, ...]] = [("emotion", "clips", "measured", "seconds", "level, dB", "F0, Hz")]
        for emotion in self.classes:
            ids = [clip.utterance_id for clip in self.clips if clip.emotion == emotion]
            told = [self.measured[id_] for id_ in ids if id_ in self.measured]
            medians = (
                _median([each.seconds for each in told], ".2f"),
                _median([each.level_db for each in told], ".1f"),
                _median([each.f0_hz for each in told if each.f0_hz is not None], ".0f"),
            )
            rows.append((emotion, str(len(ids)), str(len(told)), *medians))
        if not self.semitones:
            return rows
        semitones = self.by_emotion(self.semitones)[""]
        last = [
            "semitones to the speaker's median",
            *(_median(found, "+.1f") for found in semitones.values()),
        ]
        return [(*row, cell) for row, cell in zip(rows, last, strict=True)]

    def by_emotion(
        self, values: Mapping[str, float], series: str | None = None
    ) -> dict[str, dict[str, list[float]]]:
        """Sort numbers of clips by a column of theirs, and within it by emotion.

        Args:
            values: A number per utterance id; clips without one are left out.
            series: The column, such as ``"gender"``; None for one series.

        Returns:
            Per value of the column, which is ``""`` where it is unknown, per emotion the numbers.
        """
        sorted_: dict[str, dict[str, list[float]]] = {}
        for clip in self.clips:
            if clip.utterance_id in values:
                name = "" if series is None else getattr(clip, series) or ""
                of_series = sorted_.setdefault(name, {emotion: [] for emotion in self.classes})
                of_series[clip.emotion].append(values[clip.utterance_id])
        return {name: sorted_[name] for name in sorted(sorted_)}

    def __str__(self) -> str:
        """Count what there is, and tell the medians of each emotion."""
        return "\n\n".join([self.corpus, text_table(self.rows()), text_table(self.emotion_rows())])


def clips_of(corpus: Dataset) -> list[Clip]:
    """Read what a corpus tells of its recordings, without opening them."""
    names = corpus.features["emotion"].names
    told = (corpus[name][:] for name in ("utterance_id", "emotion", "speaker", "gender", "sentence"))
    return [Clip(id_, names[code], *others) for id_, code, *others in zip(*told, strict=True)]


def _median(values: Sequence[float], form: str) -> str:
    return f"{np.median(values):{form}}" if values else "n/a"
