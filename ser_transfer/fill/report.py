"""What one pass over a corpus found and did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from ser_transfer.audio import AudioError


@dataclass
class FillReport:
    """What one pass over a corpus found and did.

    Attributes:
        keys: Store key per utterance id, of every recording that could be used, in the corpus's order; where
            copies were asked for, per id of a copy.
        originals: Utterance id per id of a copy; empty where none were asked for.
        bad: Why a recording could not be used, per id.
        n_encoded: Recordings that went through the encoder now; the others were in the store.
        audio_seconds: Their duration.
        wall_seconds: What that took.
        start_seconds: What it took before, until the machines of a cluster were ready.
        kept: What the embeddings are kept in, if not in float32.
        cosine_cost: 1 less the cosine of an embedding and what is kept of it, the largest found.
    """

    keys: dict[str, str] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    bad: dict[str, AudioError] = field(default_factory=dict)
    n_encoded: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    start_seconds: float = 0.0
    kept: str | None = None
    cosine_cost: float = 0.0

    def count_bad(self, ids: Iterable[str], error: AudioError, *, skip_bad: bool) -> None:
        """Note recordings that cannot be used, or stop there."""
        if not skip_bad:
            raise error
        for id_ in ids:
            self.bad[id_] = error
            self.keys.pop(id_, None)
            self.originals.pop(id_, None)

    def add(self, other: FillReport) -> None:
        """Take in what another pass found and did."""
        self.keys |= other.keys
        self.bad |= other.bad
        self.n_encoded += other.n_encoded
        self.audio_seconds += other.audio_seconds
        self.wall_seconds += other.wall_seconds
        self.kept = other.kept or self.kept
        self.cosine_cost = max(self.cosine_cost, other.cosine_cost)

    def summary(self, encoder: str, store: str) -> str:
        """Say in a line what an encoder had to do, and how quickly it did."""
        things = "augmented copies" if self.originals else "utterances"
        if not self.n_encoded:
            return f"{encoder}: all {len(self.keys)} {things} were in {store}"
        n_found = len(self.keys) - self.n_encoded
        clips, seconds = self.n_encoded / self.wall_seconds, self.audio_seconds / self.wall_seconds
        duration = timedelta(seconds=round(self.audio_seconds))
        more = f"; ready after {self.start_seconds:.1f} s" if self.start_seconds else ""
        more += f"; those of {n_found} more {things} were in {store}" if n_found else ""
        encoded = "augmented copies" if self.originals else "recordings"
        if self.kept:
            more += (
                f"; kept in {self.kept}, at a cosine to float32 of no less than 1 - {self.cosine_cost:.1e}"
            )
        return (
            f"{encoder}: {self.n_encoded} {encoded} ({duration} of audio) in {self.wall_seconds:.1f} s "
            f"({clips:.1f} clips/s, {seconds:.0f}x real time){more}"
        )
