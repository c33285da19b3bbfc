"""What is published of a corpus's rows, and what is kept back: people in recordings of someone's own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ser_transfer.cards.corpus import LANGUAGE
from ser_transfer.cards.kept import is_known_on_hub
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.sharing.pseudonyms import Pseudonyms, numbered

if TYPE_CHECKING:
    from datasets import Dataset

SYNTHETIC = "synthetic"
# Columns that their makers fill with words of their own, in which anything can stand.
TEXTS = ("sentence", "intensity")
RATINGS = ("arousal", "valence", "dominance")
SEGMENT = ("start_seconds", "end_seconds")  # of a file: they tell nothing to those who lack it
GENDERS = ("female", "male")
RECORDING = "recording"  # our column: equal numbers are equal bytes of audio


def names_are_public(corpus_name: str | None) -> bool:
    """Whether speakers and utterances of a corpus may go by their names: published ones, and machines."""
    return corpus_name in CORPUS_CARDS or corpus_name == SYNTHETIC


@dataclass(frozen=True)
class CorpusRows:
    """The label columns of a corpus as they are published.

    Attributes:
        utterance_ids: Of the corpus, in the order in which the rows are published.
        columns: Per column that the corpus tells, its values in that order.
        pseudonyms: None where names are public.
    """

    utterance_ids: tuple[str, ...]
    columns: Mapping[str, list[Any]]
    pseudonyms: Pseudonyms | None

    def speaker(self, name: str) -> str:
        """Give the published name of a speaker."""
        return name if self.pseudonyms is None else self.pseudonyms.speakers[name]


def published_rows(
    corpus: Dataset, keys: Mapping[str, str], content: Mapping[str, bytes], *, with_text: bool = False
) -> CorpusRows:
    """Take from a corpus what may be published: no audio, no path, and no names of people who are not public.

    Of recordings of someone's own, utterances, speakers and sessions are numbered, and the rows laid in the
    order of these numbers. Genders and languages stay where they are words that everybody uses.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        keys: Content of the audio by utterance id.
        content: What is published of each utterance, by which pseudonyms are dealt.
        with_text: Of recordings of someone's own, publish `TEXTS` too.
    """
    ids = list(corpus["utterance_id"][:])
    is_public = names_are_public(corpus.info.dataset_name)
    pseudonyms = None
    if not is_public:
        pseudonyms = Pseudonyms.of(content, dict(zip(ids, corpus["speaker"][:], strict=True)))
    order = ids if pseudonyms is None else list(pseudonyms.utterances)
    row_of = {id_: row for row, id_ in enumerate(ids)}
    rows = [row_of[id_] for id_ in order]

    def values(name: str) -> list[Any]:
        cells = corpus[name][:]
        return [cells[row] for row in rows]

    recordings = numbered("", (keys[id_] for id_ in order))
    columns = {
        "utterance_id": order if pseudonyms is None else [pseudonyms.utterances[id_] for id_ in order],
        "emotion": values("emotion"),  # codes of the classes
        "speaker": values("speaker")
        if pseudonyms is None
        else [pseudonyms.speaker(name) for name in values("speaker")],
        RECORDING: [int(recordings[keys[id_]]) for id_ in order],
    }
    shown = (*TEXTS, *SEGMENT) if is_public else TEXTS if with_text else ()
    for name in (*shown, "gender", "language", "session", "votes", *RATINGS):
        found = values(name)
        if not is_public:
            found = _without_names(name, found)
        if any(value is not None for value in found):
            columns[name] = found
    return CorpusRows(tuple(order), columns, pseudonyms)


def _without_names(name: str, values: list[Any]) -> list[Any]:
    """Number sessions, and keep of genders and languages the words that everybody uses."""
    if name == "session":
        sessions = numbered("session", values)
        return [None if value is None else sessions[value] for value in values]
    if name == "gender":
        return [value if value in GENDERS else None for value in values]
    if name == "language":
        return [value if value is not None and re.fullmatch(LANGUAGE, value) else None for value in values]
    return values


def dataset_id_of(corpus_name: str, root: object) -> str | None:
    """Give the Hub id of the dataset that a corpus was loaded from; None where it is none, or not known."""
    is_id = corpus_name == "dataset" and root is not None and is_known_on_hub(str(root), "dataset")
    return str(root) if is_id else None


def mapped_in_words(label_map: str | Mapping[str, str | None] | None) -> str | None:
    """Say how emotions were mapped, as cards do; the name of a map stays as it is."""
    if label_map is None or isinstance(label_map, str):
        return label_map
    return ", ".join(f"{old} as {new}" if new else f"{old} left out" for old, new in label_map.items())
