"""Names that users chose: emotions of folders and columns, ids of rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from ser_transfer.corpora._rows import CorpusError, examples
from ser_transfer.labels import LabelError, parse_emotion
from ser_transfer.places import is_url

CODES_ADVICE = (
    'or give its meaning: emotion_codes, --emotion-codes \'{"NAME": "anger"}\', null to leave it out'
)


def checked_codes(emotion_codes: Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Return the user's codes -> emotions of the vocabulary, None for "left out".

    Raises:
        LabelError: If a code stands for a word that names no emotion.
    """
    codes = emotion_codes or {}
    return {str(code): emotion and parse_emotion(emotion) for code, emotion in codes.items()}


def emotion_of(name: str, codes: Mapping[str, str | None]) -> str | None:
    """Return the emotion that a user's word means: by the codes, else by the vocabulary.

    Raises:
        LabelError: If it means none; the message says how to give it a meaning.
    """
    if name in codes:
        return codes[name]
    try:
        return parse_emotion(name)
    except LabelError as error:
        raise LabelError(f"{error}; {CODES_ADVICE}") from None


def ids_of_paths(paths: Sequence[str], segments: Sequence[tuple[float | None, float | None]]) -> list[str]:
    """Name rows after their files: the path without extension, stable under moving the folder.

    Absolute paths, and URLs, are taken from the folder that holds them all. Files that differ only in the
    extension keep it; rows that are segments of one file get their seconds.
    """
    paths = ["/" + path.replace("://", "/", 1) if is_url(path) else path for path in paths]
    if all(map(os.path.isabs, paths)):
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
        paths = [os.path.relpath(path, folder) for path in paths]
    pure = [PurePath(path) for path in paths]
    n_files = Counter(path.with_suffix("") for path in set(pure))
    names = [
        (path if n_files[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix() for path in pure
    ]
    n_rows = Counter(names)
    return [
        f"{name}#{_seconds(start)}-{_seconds(end)}"
        if n_rows[name] > 1 and (start, end) != (None, None)
        else name
        for name, (start, end) in zip(names, segments, strict=True)
    ]


def check_columns(where: str, wanted: Mapping[str, str | None], known: Sequence[str]) -> None:
    """Refuse settings that name a column which is not there.

    Args:
        where: The table or dataset, for the message.
        wanted: Setting -> column that the user named, None where the user named none.
        known: The columns that are there.

    Raises:
        CorpusError: Naming the setting and the columns.
    """
    for setting, column in wanted.items():
        if column is not None and column not in known:
            flag = "--" + setting.replace("_", "-")
            raise CorpusError(
                f"{where} has no column {column!r} for {setting} ({flag}); it has {examples(list(known))}"
            )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
