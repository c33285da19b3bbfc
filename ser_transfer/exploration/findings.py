"""Clips that a person should look at before a machine learns from them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from ser_transfer.audio import AudioError
from ser_transfer.exploration.measures import ClipMeasures

if TYPE_CHECKING:
    from ser_transfer.exploration.exploration import Clip

# Recordings scaled to a peak of 1 have a few samples there: of EmoDB's 535 clips 291 have, at most 0.02 %.
CLIPPED_SHARE = 0.001
SHORT_SECONDS = 0.5  # one or two syllables

ADVICE = {
    "unreadable": "Fetch or export them again, or leave them out. Until then embed stops at the first, or "
    "goes on with --skip-bad.",
    "silent": "Nothing in them lies above one step of 16 bits. Listen to the originals, or leave them out.",
    "clipped": f"More than {100 * CLIPPED_SHARE:.1f} % of their samples stand at full scale. Clipping adds "
    "high frequencies that pass for a raised voice: where one emotion has most of these clips, a head may "
    "learn the clipping. Take the originals at a lower gain if there are any.",
    "duplicate": "They hold the same samples. Keep one of each: two that are labelled differently are one "
    "labelling error at least, and two on both sides of a split are a leak, which "
    "python -m ser_transfer.audit looks for, in other formats and at other gains too.",
    "very short": f"They last less than {SHORT_SECONDS} s. Listen to whether the utterance is whole; some "
    "encoders refuse such clips.",
    "without voice": "No frame of theirs has a fundamental frequency: a whisper, noise, or a cut before the "
    "voice. Listen to them.",
}


@dataclass(frozen=True)
class Finding:
    """What is wrong with some clips.

    Attributes:
        kind: A key of `ADVICE`.
        items: Per clip its id, and what about it; per set of duplicates all their ids.
        n_clips: How many clips these are.
        emotions: How many of them each emotion has, most first.
    """

    kind: str
    items: tuple[str, ...]
    n_clips: int
    emotions: tuple[tuple[str, int], ...]

    @property
    def advice(self) -> str:
        """What they are, and what to do."""
        return ADVICE[self.kind]


def find(clips: Sequence[Clip]) -> tuple[Finding, ...]:
    """Look through the measures of clips, for one `Finding` per key of `ADVICE`; empty ones included."""
    told: dict[str, list[tuple[Clip, str]]] = {kind: [] for kind in ADVICE}
    for clip in clips:
        for kind, words in _wrong_with(clip.measures):
            told[kind].append((clip, words))
    singles = {
        kind: _finding(
            kind, (clip for clip, _ in found), [f"{clip.utterance_id}: {words}" for clip, words in found]
        )
        for kind, found in told.items()
    }
    copies = duplicates(clips)
    same = [" = ".join(_labelled(clip, group) for clip in group) for group in copies]
    return tuple((singles | {"duplicate": _finding("duplicate", chain.from_iterable(copies), same)}).values())


def duplicates(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Group clips that hold the same samples, in the order of the first of each."""
    by_digest: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if isinstance(clip.measures, ClipMeasures):
            by_digest[clip.measures.digest].append(clip)
    return [group for group in by_digest.values() if len(group) > 1]


def _wrong_with(measures: ClipMeasures | AudioError | None) -> list[tuple[str, str]]:
    """Name the kinds that one clip falls under by itself, and in which way."""
    if measures is None:
        return []
    if isinstance(measures, AudioError):
        return [
            (
                "silent" if measures.reason == "silent" else "unreadable",
                f"{measures.reason}, {measures.found}",
            )
        ]
    found = []
    if measures.clipped_share is not None and measures.clipped_share > CLIPPED_SHARE:
        found.append(("clipped", f"{100 * measures.clipped_share:.2f} % of its samples"))
    if measures.seconds < SHORT_SECONDS:
        found.append(("very short", f"{measures.seconds:.3f} s"))
    if measures.f0_hz is None:
        found.append(("without voice", f"{measures.seconds:.2f} s at {measures.level_db:.0f} dB"))
    return found


def _finding(kind: str, clips: Iterable[Clip], items: Sequence[str]) -> Finding:
    counts = Counter(clip.emotion for clip in clips)
    return Finding(kind, tuple(items), counts.total(), tuple(counts.most_common()))


def _labelled(clip: Clip, group: Sequence[Clip]) -> str:
    """Name a duplicate, with its emotion where that of another differs."""
    differs = len({each.emotion for each in group}) > 1
    return f"{clip.utterance_id} ({clip.emotion})" if differs else clip.utterance_id
