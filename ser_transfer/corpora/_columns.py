"""Rows from named columns, as a table or a dataset has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ser_transfer.corpora._names import check_columns, checked_codes, emotion_of
from ser_transfer.corpora._rows import COLUMNS, NUMBERS, CorpusError, Utterance, warn
from ser_transfer.labels import LabelError

_GENDERS = {"f": "female", "w": "female", "female": "female", "m": "male", "male": "male"}


@dataclass(frozen=True)
class ColumnNames:
    """Which columns of the user's hold what; None where the user named none."""

    audio_column: str | None = None
    emotion_column: str | None = None
    speaker_column: str | None = None
    id_column: str | None = None
    start_column: str | None = None
    end_column: str | None = None

    def resolved(self, where: str, known: Sequence[str]) -> dict[str, str]:
        """Return our column -> the user's column.

        Columns that already have our name, such as ``speaker`` or ``arousal``, need no setting.

        Raises:
            CorpusError: If a named column is not there, or no column holds the audio or the emotion.
        """
        check_columns(where, asdict(self), known)
        ours = {name: name for name in COLUMNS if name in known and name != "votes"}
        given = {
            "audio": self.audio_column,
            "emotion": self.emotion_column,
            "speaker": self.speaker_column,
            "utterance_id": self.id_column,
            "start_seconds": self.start_column,
            "end_seconds": self.end_column,
        }
        names = ours | {ours_: theirs for ours_, theirs in given.items() if theirs is not None}
        for name in ("audio", "emotion"):
            if name not in names:
                raise CorpusError(
                    f"{where} has no column {name!r}; name the one that holds it ({name}_column, "
                    f"--{name}-column): {', '.join(known)}"
                )
        return names


def utterances_of_columns(
    where: str,
    columns: Mapping[str, Sequence[Any]],
    n_rows: int,
    emotion_codes: Mapping[str, str | None] | None,
    language: str | None,
) -> list[Utterance]:
    """Turn columns into utterances, one per row, without audio; `emotion` is None where the cell is empty.

    Args:
        where: The table or dataset, for messages.
        columns: Our column names to cells; an utterance id is needed.
        n_rows: How many rows there are.
        emotion_codes: The user's words for emotions; None leaves rows out.
        language: ISO 639-1 code where no column tells it.

    Raises:
        LabelError: If a cell names no emotion; the message says the row.
        CorpusError: If a cell that should be a number is none, or an id is empty.
    """
    codes = checked_codes(emotion_codes)
    cells: dict[str, list[Any]] = {"language": [language] * n_rows}
    for name, values in columns.items():
        if name == "emotion":
            cells[name] = [_emotion(where, row, text(value), codes) for row, value in enumerate(values)]
        elif name in NUMBERS:
            cells[name] = [_number(where, name, row, value) for row, value in enumerate(values)]
        elif name == "gender":
            cells[name] = [_GENDERS.get((text(value) or "").lower(), text(value)) for value in values]
        else:
            cells[name] = [text(value) for value in values]
    if None in cells["utterance_id"]:
        raise CorpusError(f"{where}, row {cells['utterance_id'].index(None) + 1}: no utterance id")
    names = tuple(cells)
    return [
        Utterance(**{"audio": None, **dict(zip(names, row, strict=True))})
        for row in zip(*cells.values(), strict=True)
    ]


def report_unlabelled(where: str, utterances: Sequence[Utterance]) -> None:
    """Say how many rows are left out because they have no emotion.

    Raises:
        CorpusError: If no row has one.
    """
    n_labelled = sum(row.emotion is not None for row in utterances)
    if n_labelled == 0:
        raise CorpusError(f"{where}: none of {len(utterances)} rows has an emotion")
    if n_labelled < len(utterances):
        warn(
            f"{where}: left out {len(utterances) - n_labelled} of {len(utterances)} rows, which have no "
            "emotion or one that emotion_codes leaves out"
        )


def text(value: Any) -> str | None:
    """Return a cell as text: None where it is empty, 3 for 3.0 (a column of numbers with gaps)."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _emotion(where: str, row: int, name: str | None, codes: Mapping[str, str | None]) -> str | None:
    if name is None:
        return None
    try:
        return emotion_of(name, codes)
    except LabelError as error:
        raise LabelError(f"{where}, row {row + 1}: {error}") from None


def _number(where: str, name: str, row: int, value: Any) -> float | None:
    written = text(value)
    if written is None:
        return None
    try:
        return float(written)
    except ValueError:
        raise CorpusError(f"{where}, row {row + 1}: {name} is {written!r}, which is no number") from None
