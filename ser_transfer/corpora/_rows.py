"""One row per utterance: what every corpus is turned into."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ser_transfer.errors import SerTransferError
from ser_transfer.labels import EMOTIONS

if TYPE_CHECKING:
    from datasets import Dataset, Features

N_EXAMPLES = 5  # names in one message: enough to recognise a pattern, short enough to read


class CorpusError(SerTransferError):
    """A corpus that cannot be read as what it was said to be."""


class CorpusWarning(UserWarning):
    """What a corpus lacks, or what in it was left out: said, and then gone on."""


@dataclass(frozen=True)
class Utterance:
    """One recording, or one segment of one, with all that its corpus tells.

    Attributes:
        utterance_id: Unique in the corpus, stable under moving its folder.
        audio: Path of the file; None where the rows come from a dataset that holds the audio.
        emotion: A word of `EMOTIONS`; None for a row that has no emotion and will be left out.
        speaker: The corpus's own name of the speaker; None where nobody knows.
        sentence: The words spoken, or the corpus's name for them.
        intensity: How strongly it was to be acted, in the corpus's own word.
        gender: ``"female"`` or ``"male"``.
        language: ISO 639-1 code.
        session: A recording session or another group that the corpus names.
        start_seconds: Start of the segment in the file; None for the file's start.
        end_seconds: End of the segment in the file; None for the file's end.
        votes: How many annotators chose each emotion; an emotion they could not choose is absent.
        arousal: Mean rating, on the corpus's own scale.
        valence: The same.
        dominance: The same.
    """

    utterance_id: str
    audio: str | None
    emotion: str | None
    speaker: str | None = None
    sentence: str | None = None
    intensity: str | None = None
    gender: str | None = None
    language: str | None = None
    session: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    votes: dict[str, int] | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None


COLUMNS: tuple[str, ...] = tuple(item.name for item in fields(Utterance))
NUMBERS: tuple[str, ...] = ("start_seconds", "end_seconds", "arousal", "valence", "dominance")


def features(emotions: Iterable[str]) -> Features:
    """Return the columns of a corpus in which these emotions occur; classes in vocabulary order."""
    from datasets import Audio, ClassLabel, Features, Value

    present = set(emotions)
    special = {
        "audio": Audio(decode=False),
        "emotion": ClassLabel(names=[emotion for emotion in EMOTIONS if emotion in present]),
        "votes": {emotion: Value("int32") for emotion in EMOTIONS},
    } | {name: Value("float64") for name in NUMBERS}
    return Features({name: special.get(name, Value("string")) for name in COLUMNS})


def corpus_dataset(utterances: Sequence[Utterance]) -> Dataset:
    """Build the dataset of a corpus, one row per utterance, in the given order.

    Columns are all those of `Utterance`; `audio` stays undecoded, a dict of ``bytes`` and ``path``.

    Raises:
        CorpusError: If two utterances have the same id.
    """
    import pyarrow as pa
    from datasets import Dataset

    _check_unique([utterance.utterance_id for utterance in utterances])
    schema = features(utterance.emotion for utterance in utterances if utterance.emotion)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in utterances] for name in COLUMNS}
    columns["audio"] = [{"bytes": None, "path": path} for path in columns["audio"]]
    classes = {emotion: index for index, emotion in enumerate(schema["emotion"].names)}
    columns["emotion"] = [classes.get(emotion) for emotion in columns["emotion"]]
    # Straight to Arrow: Dataset.from_dict would ask torchcodec, which nothing here needs, to encode paths.
    return Dataset(pa.table(columns, schema=schema.arrow_schema))


def warn(message: str) -> None:
    """Say what a corpus lacks or what was left out, as a `CorpusWarning`."""
    warnings.warn(message, CorpusWarning, stacklevel=3)


def examples(names: Sequence[str]) -> str:
    """Join the first few names, and say how many more there are."""
    more = len(names) - N_EXAMPLES
    return ", ".join(names[:N_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _check_unique(utterance_ids: list[str]) -> None:
    """Refuse rows that share an id: embeddings and folds are joined by it."""
    twice = [name for name, n_rows in Counter(utterance_ids).items() if n_rows > 1]
    if twice:
        raise CorpusError(
            f"{len(twice)} utterance ids occur more than once: {examples(twice)}; every row needs its own, "
            "so name a column of unique ids (id_column, --id-column)"
        )
