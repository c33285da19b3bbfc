"""A corpus to leaf through: by emotion, speaker and sentence, and from one recording to its counterparts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ser_transfer.exploration.measures import read_beginning

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.encoders import Waveform

MAX_HEARD_SECONDS = 30.0  # of one recording: a longer one is no utterance, and its pictures are a smear

Contrast = Literal["emotion", "speaker"]


@dataclass(frozen=True)
class Clip:
    """What a corpus tells of one recording.

    Attributes:
        row: Where it stands in the corpus.
        utterance_id: Its name, unique in the corpus.
        emotion: As the corpus labels it.
        speaker: None where the corpus does not tell, as in all below.
        sentence: What is said.
        intensity: How strongly it was to be acted.
        gender: Of the speaker.
    """

    row: int
    utterance_id: str
    emotion: str
    speaker: str | None = None
    sentence: str | None = None
    intensity: str | None = None
    gender: str | None = None

    @property
    def told(self) -> str:
        """Whose it is, how it was acted, and its name."""
        person = None if self.speaker is None else f"speaker {self.speaker}"
        if person and self.gender:
            person += f" ({self.gender})"
        intensity = self.intensity and f"{self.intensity} intensity"
        return " · ".join(filter(None, (person, intensity, self.utterance_id)))

    def __str__(self) -> str:
        return f"{self.emotion} · {self.told}"


@dataclass(frozen=True, eq=False)
class CorpusBrowser:
    """All recordings of a corpus by what it tells of them.

    Attributes:
        corpus: From `ser_transfer.load_corpus`.
        name: Of the corpus.
        emotions: In vocabulary order.
        clips: One per row.
    """

    corpus: Dataset = field(repr=False)
    name: str
    emotions: tuple[str, ...]
    clips: tuple[Clip, ...] = field(repr=False)

    @classmethod
    def of(cls, corpus: Dataset) -> CorpusBrowser:
        """Read all that a corpus tells, and no audio."""
        emotions = tuple(corpus.features["emotion"].names)
        columns = ("utterance_id", "emotion", "speaker", "sentence", "intensity", "gender")
        rows = zip(*(corpus[column] for column in columns), strict=True)
        clips = (Clip(row, id_, emotions[code], *rest) for row, (id_, code, *rest) in enumerate(rows))
        return cls(corpus, corpus.info.dataset_name or "corpus", emotions, tuple(clips))

    @cached_property
    def speakers(self) -> tuple[str, ...]:
        """All speakers, numbers in their order; none where the corpus does not tell them."""
        return _sorted(clip.speaker for clip in self.clips)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """All sentences; none where the corpus does not tell them."""
        return _sorted(clip.sentence for clip in self.clips)

    def clip(self, utterance_id: str | None) -> Clip | None:
        """Return the recording of that name; None where there is none."""
        return self._by_id.get(utterance_id or "")

    def matching(
        self, emotion: str | None = None, speaker: str | None = None, sentence: str | None = None
    ) -> list[Clip]:
        """Return the recordings with all that is asked for; None asks for nothing."""
        return [
            clip
            for clip in self.clips
            if emotion in (None, clip.emotion)
            and speaker in (None, clip.speaker)
            and sentence in (None, clip.sentence)
        ]

    def counterparts(self, clip: Clip, contrast: Contrast) -> list[Clip]:
        """Return the recordings that can be held against one: they differ from it in one thing that is told.

        Args:
            clip: One of this corpus.
            contrast: ``"emotion"``: the same speaker says the same sentence in another emotion.
                ``"speaker"``: another speaker says the same sentence in the same emotion.

        Returns:
            Those of the same intensity first, then by emotion in vocabulary order, then by speaker and name;
            none where the corpus does not tell the sentence, or does not tell the speaker.
        """
        if clip.sentence is None or clip.speaker is None:
            return []
        found = [
            other
            for other in self._by_sentence[clip.sentence]
            if other.speaker is not None
            and (other.emotion != clip.emotion, other.speaker != clip.speaker)
            == (contrast == "emotion", contrast == "speaker")
        ]
        return sorted(
            found,
            key=lambda other: (
                other.intensity != clip.intensity,
                self.emotions.index(other.emotion),
                _natural(other.speaker or ""),
                other.utterance_id,
            ),
        )

    def first(self) -> Clip | None:
        """Return a recording to begin with: of the speaker and sentence that are there in most emotions."""
        heard: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
        for clip in self.clips:
            heard[clip.speaker, clip.sentence].add(clip.emotion)
        if not heard:
            return None
        speaker, sentence = max(heard, key=lambda pair: (None not in pair, len(heard[pair])))
        return next(clip for clip in self.clips if (clip.speaker, clip.sentence) == (speaker, sentence))

    def sound(self, clip: Clip) -> tuple[Waveform, float]:
        """Decode a recording as models hear it: mono, 16 kHz, at most its first `MAX_HEARD_SECONDS`.

        Returns:
            The waveform, and the duration of the whole recording in seconds.

        Raises:
            AudioError: If it cannot be read, or holds no sound.
        """
        row = self.corpus[clip.row]
        return read_beginning(row["audio"], row["start_seconds"], row["end_seconds"], MAX_HEARD_SECONDS)

    @cached_property
    def _by_id(self) -> dict[str, Clip]:
        return {clip.utterance_id: clip for clip in self.clips}

    @cached_property
    def _by_sentence(self) -> dict[str, list[Clip]]:
        found: dict[str, list[Clip]] = defaultdict(list)
        for clip in self.clips:
            if clip.sentence is not None:
                found[clip.sentence].append(clip)
        return found


def _sorted(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name is not None}, key=_natural))


def _natural(name: str) -> tuple[int, str]:
    """Sort numbers by their size: 2 before 10."""
    return (len(name) if name.isdecimal() else 0, name)
