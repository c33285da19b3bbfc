"""The answers about many files as rows: for the page, for a download, and counted by emotion."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import AudioError, read_blocks
from ser_transfer.encoders.pooled import Recording
from ser_transfer.interface.batch_files import BatchFile
from ser_transfer.interface.limits import InterfaceError, Limits

if TYPE_CHECKING:
    from ser_transfer.model import EmotionModel

FORMULA = ("=", "+", "-", "@")  # begin what a spreadsheet takes for a formula, and would run
HEARD_RATE = 16_000  # Hz, at which a recording's length is counted
BLOCK_SECONDS = 30.0


@dataclass(frozen=True)
class BatchRow:
    """What a model says of one file, or why it says nothing.

    Attributes:
        file: Its name.
        seconds: Of audio; None with an error.
        probabilities: Float64 of shape (n_classes,); None with an error.
        error: Why there is no answer; None where there is one.
    """

    file: str
    seconds: float | None = None
    probabilities: npt.NDArray[np.float64] | None = None
    error: str | None = None

    def cells(self, classes: Sequence[str], decimals: int | None = None) -> list[Any]:
        """Return one value per column of `header`, None where there is none.

        Args:
            classes: Columns of `probabilities`.
            decimals: To round probabilities and seconds to; None for all digits.
        """
        if self.probabilities is None:
            return [self.file, None, None, None, *(None for _ in classes), self.error]
        numbers = [float(value) for value in self.probabilities]
        best = int(np.argmax(self.probabilities))
        told: list[Any] = [self.file, self.seconds, classes[best], numbers[best], *numbers, None]
        if decimals is None:
            return told
        return [round(value, decimals) if isinstance(value, float) else value for value in told]


def header(classes: Sequence[str]) -> list[str]:
    """Name the columns: file, seconds, emotion, confidence, the probability of each emotion, error."""
    return ["file", "seconds", "emotion", "confidence", *classes, "error"]


def answer(model: EmotionModel, files: Sequence[BatchFile], limits: Limits) -> Iterator[tuple[int, BatchRow]]:
    """Ask a model about every file.

    Args:
        model: Who answers.
        files: From `batch_files.collect`.
        limits: Of each file's duration; its size was looked at before.

    Yields:
        The place of a file and its row, as they are done.
    """
    refused: list[tuple[int, BatchRow]] = []

    def taken() -> Iterator[Recording]:
        """Look at a file when it is its turn: of many, the first are answered before the last are opened."""
        for place, file in enumerate(files):
            refusal = file.refusal if file.path is None else _refused_duration(file.path, limits)
            if refusal is None:
                yield Recording(str(place), str(file.path))
            else:
                refused.append((place, BatchRow(file.name, error=refusal)))

    for found in model.answers(taken()):
        while refused:
            yield refused.pop()
        name = files[int(found.key)].name
        if found.error is None:
            yield int(found.key), BatchRow(name, found.seconds, found.probabilities)
        else:
            yield int(found.key), BatchRow(name, error=_in_words(found.error))
    yield from refused


def _refused_duration(path: Path, limits: Limits) -> str | None:
    """Say why a file is not asked about; its header is not trusted, and no more than the limit is decoded."""
    seconds = 0.0
    try:
        for block in read_blocks(path, HEARD_RATE, block_seconds=BLOCK_SECONDS):
            seconds += len(block) / HEARD_RATE
            limits.refuse_duration(seconds, path.name)
    except InterfaceError as error:
        return str(error).removeprefix(f"{path.name}: ")
    except AudioError as error:
        return _in_words(error)
    return None


def _in_words(error: AudioError) -> str:
    """Write an error without the file's name, which stands beside it, and without the place it lies here."""
    return str(AudioError(error.reason, "", error.found)).removeprefix(": ")


def counts(rows: Sequence[BatchRow], classes: Sequence[str]) -> dict[str, int]:
    """Count the files by their emotion, emotions without one included."""
    found = [int(np.argmax(row.probabilities)) for row in rows if row.probabilities is not None]
    return {emotion: found.count(column) for column, emotion in enumerate(classes)}


def summary(rows: Sequence[BatchRow], classes: Sequence[str]) -> str:
    """Say in a sentence what was heard."""
    by_emotion = counts(rows, classes)
    n_answered = sum(by_emotion.values())
    heard = sorted(filter(by_emotion.get, classes), key=lambda emotion: -by_emotion[emotion])
    told = f"{n_answered:,} of {len(rows):,} files answered"
    if heard:
        told += ": " + ", ".join(f"{emotion} {by_emotion[emotion]:,}" for emotion in heard)
    n_failed = len(rows) - n_answered
    return f"{told}. {n_failed:,} could not be used; the table says why." if n_failed else f"{told}."


def csv_text(rows: Sequence[BatchRow], classes: Sequence[str]) -> str:
    """Return the table as CSV, numbers in full; no cell is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(classes))
    for row in rows:
        writer.writerow([_harmless(cell) for cell in row.cells(classes)])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    # A line break or a tab would begin another cell for some readers, whatever stands in quotes.
    text = "".join(letter if letter.isprintable() else " " for letter in cell)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
