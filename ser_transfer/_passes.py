"""What the embed command does with a corpus: each encoder over all of it, or all of them as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from ser_transfer._bars import progress_bar
from ser_transfer._ranks import Ranks
from ser_transfer._together import Together
from ser_transfer.audio import AudioError
from ser_transfer.augment import Copies
from ser_transfer.encoders import Encoder
from ser_transfer.fill import Encode, FillReport, encode_here, fill_store
from ser_transfer.store import EmbeddingStore, Part
from ser_transfer.store.errors import explaining
from ser_transfer.store.files import make_folder, write_whole

if TYPE_CHECKING:
    from datasets import Dataset

    from ser_transfer.corpora.streamed import StreamedDataset

BAD_FILES = "bad_files.tsv"


@dataclass(frozen=True)
class Pass:
    """One encoder over a corpus.

    Attributes:
        encoder: Which.
        parts: What is wanted of it: pooled embeddings, then frames of layers.
        encode: What encodes: this process, or actors of a cluster.
    """

    encoder: Encoder
    parts: Sequence[Part]
    encode: Encode = encode_here


@dataclass(frozen=True)
class Passes:
    """Passes over one corpus into one store; each tells in a line what it did.

    Attributes:
        corpus: Its name, for the bar.
        store: Where to.
        skip_bad: Go on after recordings that cannot be used.
        batch_seconds: See `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: See there.
        ranks: The processes that share the work; None for this one alone.
    """

    corpus: str
    store: EmbeddingStore
    skip_bad: bool
    batch_seconds: float | None
    n_workers: int | None
    ranks: Ranks | None = None

    def over(self, corpus: Dataset, passes: Sequence[Pass], copies: Copies | None) -> dict[str, AudioError]:
        """Encode the recordings, then their copies where there are to be any; return what is bad."""
        bad: dict[str, AudioError] = {}
        for each in passes:
            bad |= self._one(corpus, each, copies)
        return bad

    def as_it_comes(self, streamed: StreamedDataset, passes: Sequence[Pass]) -> dict[str, AudioError]:
        """Encode a dataset as it comes, each window by all encoders before the next; return what is bad."""
        reports = [FillReport() for _ in passes]
        n_seen = 0
        with progress_bar(f"{self.corpus}: {', '.join(each.encoder.name for each in passes)}") as advance:
            for window in streamed.windows():
                n_seen += len(window)
                advance_by = partial(_advance, advance, streamed.n_rows or n_seen)
                for number, (each, report) in enumerate(zip(passes, reports, strict=True)):
                    # Recordings are counted by the first encoder; those that were in the store at once.
                    found = self._filled(window, each, advance_by if number == 0 else _nothing)
                    report.add(found)
                    for _ in range(len(window) - found.n_encoded if number == 0 else 0):
                        advance_by(0, 0.0)
        bad: dict[str, AudioError] = {}
        for each, report in zip(passes, reports, strict=True):
            print(report.summary(each.encoder.name, str(self.store.root)))
            bad |= report.bad
        names = streamed.finish({id_: key for id_, key in reports[0].keys.items() if id_ not in bad})
        return {names[id_]: error for id_, error in bad.items()}

    def report_bad(self, bad: Mapping[str, AudioError]) -> int:
        """List recordings that could not be used; return the exit code."""
        if not bad:
            return 0
        path = self.store.root / BAD_FILES
        lines = ["utterance_id\treason\tmessage"]
        lines += [f"{id_}\t{error.reason}\t{error}" for id_, error in bad.items()]

        def fill(file: BinaryIO) -> None:
            file.write(("\n".join(lines) + "\n").encode("utf-8"))

        with explaining(path):
            make_folder(path.parent)
            write_whole(path.parent, fill, lambda _: path.name)
        print(f"error: {len(bad)} recordings could not be used; they are listed in {path}", file=sys.stderr)
        return 1

    def _one(self, corpus: Dataset, each: Pass, copies: Copies | None) -> dict[str, AudioError]:
        bad: dict[str, AudioError] = {}
        for of_these in (None,) if copies is None else (None, copies):
            with progress_bar(f"{self.corpus}: {each.encoder.name}") as advance:
                together = None if self.ranks is None else Together(self.ranks, advance)
                on_recording = advance if together is None else together.on_recording
                report = self._filled(corpus, each, on_recording, copies=of_these, together=together)
                if together is not None:
                    report = together.report(report)
            if self.ranks is None or self.ranks.is_first:
                print(report.summary(each.encoder.name, str(self.store.root)))
            bad |= report.bad
            if report.bad:  # and so are its copies
                usable = [row for row, id_ in enumerate(corpus["utterance_id"]) if id_ not in bad]
                corpus = corpus.select(usable)
        return bad

    def _filled(
        self,
        corpus: Dataset,
        each: Pass,
        on_recording: Callable[[int, float], None],
        *,
        copies: Copies | None = None,
        together: Together | None = None,
    ) -> FillReport:
        return fill_store(
            corpus,
            each.encoder,
            self.store,
            each.parts[0],
            frames=each.parts[1:],
            copies=copies,
            skip_bad=self.skip_bad,
            batch_seconds=self.batch_seconds,
            n_workers=self.n_workers,
            on_recording=on_recording,
            share=None if together is None else together.share,
            encode=each.encode,
        )


def _advance(advance: Callable[[int, float], None], n_rows: int, n_missing: int, seconds: float) -> None:
    advance(n_rows, seconds)


def _nothing(n_missing: int, seconds: float) -> None:
    return
