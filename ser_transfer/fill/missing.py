"""What a store should hold of a corpus, and what it lacks of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_transfer.audio import AudioError, duration_seconds
from ser_transfer.augment import AugmentedCopy, Copies
from ser_transfer.encoders.pooled import Recording
from ser_transfer.fill.keys import SOURCE_COLUMNS, audio_keys
from ser_transfer.fill.report import FillReport

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass
class Wanted:
    """One thing that the store should hold: a row of the corpus, or a copy of it, and who asks for it."""

    row: int
    copy: AugmentedCopy | None
    ids: list[str]


def find_wanted(
    corpus: Dataset, copies: Copies | None, report: FillReport, *, skip_bad: bool
) -> dict[str, Wanted]:
    """Find what the store should hold, by key, and note in the report which id asks for which key."""
    wanted: dict[str, Wanted] = {}
    for row, (utterance_id, key) in enumerate(
        zip(corpus["utterance_id"][:], audio_keys(corpus), strict=True)
    ):
        if isinstance(key, AudioError):
            report.count_bad([utterance_id], key, skip_bad=skip_bad)
        elif copies is None:
            report.keys[utterance_id] = key
            wanted.setdefault(key, Wanted(row, None, [])).ids.append(utterance_id)
        else:
            for copy_id, copy in copies.of(utterance_id, key):
                report.keys[copy_id], report.originals[copy_id] = copy.key, utterance_id
                wanted.setdefault(copy.key, Wanted(row, copy, [])).ids.append(copy_id)
    return wanted


class Missing:
    """The recordings that a store lacks, each read from its corpus when it is asked for.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        keys: Of what is missing.
        wanted: What each key stands for.
    """

    def __init__(self, corpus: Dataset, keys: Sequence[str], wanted: Mapping[str, Wanted]) -> None:
        self._sources = corpus.select_columns(list(SOURCE_COLUMNS))
        self.keys, self._wanted = keys, wanted

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Recording]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Recording:
        key = self.keys[number]
        source = self._sources[self._wanted[key].row]
        audio, start, end = (source[name] for name in SOURCE_COLUMNS)
        copy = self._wanted[key].copy
        return Recording(key, audio, start, end, copy, content=key if copy is None else copy.audio_key)

    def only(self, numbers: Iterable[int]) -> Missing:
        """Take some of them."""
        taken = [self.keys[number] for number in numbers]
        return Missing(self._sources, taken, self._wanted)

    def seconds(self) -> list[float]:
        """Look up how long they are, from their headers; one that cannot be read counts as nothing."""
        found = []
        for recording in self:
            try:
                start, end = recording.start_seconds or 0.0, recording.end_seconds
                found.append((duration_seconds(recording.source) if end is None else end) - start)
            except AudioError:
                found.append(0.0)
        return found
