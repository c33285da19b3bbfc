"""The answers to many recordings as one table, for a program or for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ser_transfer.results.journal import Journal, ResultsError, printable, write_whole
from ser_transfer.tables import text_table

if TYPE_CHECKING:
    from pandas import DataFrame

# Parts of a journal.
MODEL, BASELINE, TEXT = "model", "baseline", "text"
TABLE_EXTENSIONS = (".csv", ".jsonl", ".parquet")
Kind = Literal["text", "number", "truth"]


@dataclass(frozen=True)
class ResultTable:
    """One row per recording.

    Attributes:
        columns: What each column holds: text, a number, or a truth. Every cell may be None.
        rows: Cells in the order of the columns.
        n_abstained: Recordings that were answered, and whose emotion is left empty.
    """

    columns: Mapping[str, Kind]
    rows: Sequence[Sequence[Any]]
    n_abstained: int

    @classmethod
    def of(
        cls,
        journal: Journal,
        files: Sequence[str],
        classes: Sequence[str],
        *,
        min_confidence: float | None = None,
        baseline_classes: Sequence[str] | None = None,
        text: bool = False,
    ) -> ResultTable:
        """Lay out what a journal holds of recordings.

        ``agree`` compares the most probable emotions; it is empty where the model abstains.

        Args:
            journal: Asked for `MODEL`, and for `BASELINE` and `TEXT` where those are wanted.
            files: The recordings, in the order of the rows.
            classes: The model's emotions.
            min_confidence: The emotion is left empty where its probability is less.
            baseline_classes: The emotions of the baseline, where there is one.
            text: Whether the words are a column.
        """
        columns: dict[str, Kind] = {"file": "text", "seconds": "number", "emotion": "text"}
        for name in ("confidence", *classes):
            columns[name] = "number"
        if baseline_classes is not None:
            columns |= {"baseline_emotion": "text", "baseline_confidence": "number", "agree": "truth"}
        if text:
            columns["text"] = "text"
        columns["error"] = "text"
        rows, n_abstained = [], 0
        failures = journal.failures((MODEL, BASELINE, TEXT), files)
        for file in files:
            row: dict[str, Any] = {**dict.fromkeys(columns), "file": printable(file)}
            top = _answer(row, journal.get(MODEL, file), classes, "")
            row |= {} if top is None else dict(zip(classes, top.probabilities, strict=True))
            if baseline_classes is not None:
                baseline = _answer(row, journal.get(BASELINE, file), baseline_classes, "baseline_")
                if top is not None and baseline is not None:
                    row["agree"] = top.emotion == baseline.emotion
            if text:
                row["text"] = (journal.get(TEXT, file) or {}).get("text")
            if top is not None and min_confidence is not None and top.confidence < min_confidence:
                n_abstained += 1
                row |= {name: None for name in ("emotion", "agree") if name in columns}
            if file in failures:
                part, error = failures[file]
                whose = "" if part == MODEL else f"{part}: "
                row["error"] = printable(f"{whose}{error.reason}: {error.found}")
            rows.append([row[name] for name in columns])
        return cls(columns, rows, n_abstained)

    def count(self, column: str, value: Any) -> int:
        """Count the rows that have a value in a column."""
        place = list(self.columns).index(column)
        return sum(row[place] == value for row in self.rows)

    def frame(self) -> DataFrame:
        """Give the table as pandas has it."""
        import pandas as pd

        types = {"text": "object", "number": "float64", "truth": "boolean"}
        cells = zip(*self.rows, strict=True) if self.rows else ([] for _ in self.columns)
        pairs = zip(self.columns.items(), cells, strict=True)
        return pd.DataFrame(
            {name: pd.Series(list(column), dtype=types[kind]) for (name, kind), column in pairs}
        )

    def __str__(self) -> str:
        """For people: rounded, and of an error its reason alone."""
        shown = [list(self.columns)]
        for row in self.rows:
            *cells, error = row
            reason = (
                "" if error is None else ": ".join(word for word in error.split(": ")[:2] if " " not in word)
            )
            shown.append([*map(_shown, cells), reason])
        return text_table(shown)


@dataclass(frozen=True)
class _Top:
    """The most probable emotion of an answer."""

    emotion: str
    confidence: float
    probabilities: Sequence[float]


def _answer(
    row: dict[str, Any], entry: Mapping[str, Any] | None, classes: Sequence[str], prefix: str
) -> _Top | None:
    """Fill the cells of one who was asked; None where there is no answer."""
    if entry is None or "reason" in entry:
        return None
    probabilities = entry["probabilities"]
    best = int(np.argmax(probabilities))
    if not prefix:
        row["seconds"] = entry["seconds"]
    row[f"{prefix}emotion"], row[f"{prefix}confidence"] = classes[best], probabilities[best]
    return _Top(classes[best], probabilities[best], probabilities)


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def check_table(path: Path) -> None:
    """Refuse a name that no table can be written under.

    Raises:
        ResultsError: If its extension is none of `TABLE_EXTENSIONS`.
    """
    if path.suffix.lower() not in TABLE_EXTENSIONS:
        raise ResultsError(f"{path} is no table: name it {', '.join(f'x{e}' for e in TABLE_EXTENSIONS)}")


def write_table(path: Path, table: ResultTable) -> None:
    """Write a table, by its extension as CSV, as a JSON object per line, or as Parquet; whole or not at all.

    Numbers keep all their digits. A cell without a value is empty, null in JSON and Parquet.

    Raises:
        ResultsError: If it cannot be written, or its extension is another.
    """
    check_table(path)
    if path.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        for row in table.rows:
            writer.writerow(["" if cell is None else _truth(cell) for cell in row])
        write_whole(path, text.getvalue().encode("utf-8"))
    elif path.suffix.lower() == ".jsonl":
        lines = [
            json.dumps(dict(zip(table.columns, row, strict=True)), ensure_ascii=False) for row in table.rows
        ]
        write_whole(path, "".join(line + "\n" for line in lines).encode("utf-8"))
    else:
        write_whole(path, _parquet(table))


def _truth(cell: Any) -> Any:
    return str(cell).lower() if isinstance(cell, bool) else cell


def _parquet(table: ResultTable) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    columns = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.columns)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    file = io.BytesIO()
    pq.write_table(pa.table(arrays, schema=schema), file)
    return file.getvalue()
