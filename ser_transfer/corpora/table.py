"""A table of the user's own: CSV, TSV or Parquet, one row per utterance."""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.corpora._columns import ColumnNames, report_unlabelled, text, utterances_of_columns
from ser_transfer.corpora._names import ids_of_paths
from ser_transfer.corpora._rows import CorpusError, corpus_dataset, examples
from ser_transfer.corpora._scan import checked_place, is_file, read_bytes, reading
from ser_transfer.places import found_below, is_object, is_url

if TYPE_CHECKING:
    from datasets import Dataset

_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def load_table(
    root: str | os.PathLike[str] | None,
    *,
    audio_column: str | None = None,
    emotion_column: str | None = None,
    speaker_column: str | None = None,
    id_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    emotion_codes: Mapping[str, str | None] | None = None,
    language: str | None = None,
) -> Dataset:
    """Read a table of recordings, or of segments of recordings.

    A column that already has our name (``audio``, ``emotion``, ``speaker``, ``sentence``, ``gender``,
    ``valence``, ...) needs no setting.

    Args:
        root: A ``.csv``, ``.tsv`` or ``.parquet`` file.
        audio_column: Paths of the recordings, relative to the table's folder or absolute, or URLs.
        emotion_column: Emotions, in words or in codes.
        speaker_column: Speakers; without it they are unknown.
        id_column: Ids of the rows; without it they are named after the paths.
        start_column: Start of the segment, in seconds.
        end_column: End of the segment, in seconds.
        emotion_codes: The table's codes to emotions; None leaves rows out.
        language: ISO 639-1 code of all recordings, where no column tells it.

    Raises:
        CorpusError: If the table, a column or a recording is not there, or ids repeat.
        LabelError: If a cell names no emotion.
    """
    path = _checked_path(root)
    cells = _read(path)
    names = ColumnNames(
        audio_column, emotion_column, speaker_column, id_column, start_column, end_column
    ).resolved(str(path), list(cells))
    columns = {ours: cells[theirs] for ours, theirs in names.items()}
    paths = _checked_paths(path, columns.pop("audio"))
    if "utterance_id" not in columns:
        columns["utterance_id"] = paths
    rows = utterances_of_columns(str(path), columns, len(paths), emotion_codes, language)
    if "utterance_id" not in names:
        if any(is_url(audio) or Path(audio).is_absolute() for audio in paths):
            paths = [_located(path, audio) for audio in paths]
        ids = ids_of_paths(paths, [(row.start_seconds, row.end_seconds) for row in rows])
        rows = [replace(row, utterance_id=name) for row, name in zip(rows, ids, strict=True)]
    report_unlabelled(str(path), rows)
    return corpus_dataset(
        [
            replace(row, audio=_located(path, audio))
            for row, audio in zip(rows, paths, strict=True)
            if row.emotion is not None
        ]
    )


def _checked_path(root: str | os.PathLike[str] | None) -> Path:
    path = None
    if root is not None:
        path = checked_place(root) if is_url(root) else Path(os.path.abspath(root))  # noqa: PTH100
    known = (*_SEPARATORS, ".parquet")
    if path is None or path.suffix.lower() not in known or not is_file(path):
        raise CorpusError(
            f"corpus table needs a file (root, --root FILE) that ends in {', '.join(known)}, not {root}"
        )
    return path


def _read(path: Path) -> dict[str, list[Any]]:
    """Read a table by columns; in CSV and TSV every cell stays text, so that speaker 01 does not become 1."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            source = pa.BufferReader(read_bytes(path)) if is_object(path) else path
            return dict(pq.read_table(source).to_pydict())
        separator = _SEPARATORS[path.suffix.lower()]
        text_of = io.BytesIO(read_bytes(path)) if is_object(path) else path
        cells = pd.read_csv(text_of, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise CorpusError(f"{path} cannot be read as a table: {error}") from None
    return {str(name): cells[name].tolist() for name in cells.columns}


def _checked_paths(table: Path, cells: list[Any]) -> list[str]:
    """Return the paths as the table writes them.

    Raises:
        CorpusError: If a row has none, or a file is not there.
    """
    paths = [text(cell) for cell in cells]
    if not paths:
        raise CorpusError(f"{table} has no rows")
    if None in paths:
        raise CorpusError(f"{table}, row {paths.index(None) + 1}: no path of a recording")
    written = [path for path in paths if path is not None]
    there = _recordings_below(table)
    missing = [
        path
        for path in dict.fromkeys(written)
        if (located := _located(table, path)) not in there and not is_file(checked_place(located))
    ]
    if missing:
        raise CorpusError(
            f"{table} names {len(missing)} recordings that are not there: {examples(missing)}; relative "
            f"paths start at {table.parent}"
        )
    return written


def _located(table: Path, written: str) -> str:
    """Say where a recording lies that a table names: relative paths start at the table's folder."""
    if is_url(written) or not is_object(table):
        return written if is_url(written) else str(table.parent / written)
    if Path(written).is_absolute():
        return written
    scheme, _, folder = str(table.parent).partition("://")
    return f"{scheme}://{posixpath.normpath(posixpath.join(folder, written))}"


def _recordings_below(table: Path) -> set[str]:
    """List what lies below the folder of a table at a URL: one look in place of one at each recording."""
    if not is_object(table):
        return set()
    with reading(table):
        return {_located(table, status.name) for status in found_below(table.parent)}
