"""Asking a model, or a speech recognition, what a journal does not know yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from ser_transfer.audio import AudioError, read_blocks
from ser_transfer.encoders.pooled import Recording
from ser_transfer.results.journal import Journal
from ser_transfer.results.table import MODEL, TEXT

if TYPE_CHECKING:
    from ser_transfer.model import Answer
    from ser_transfer.transcription import Transcriber


class Answering(Protocol):
    """Whoever answers recordings as `EmotionModel.answers` does: a model, or one on a cluster."""

    def answers(self, recordings: Iterable[Recording], *, n_workers: int | None = None) -> Iterator[Answer]:
        """Answer recordings; see `EmotionModel.answers`."""
        ...


OnRecording = Callable[[int, float], object]


def ask_model(
    journal: Journal,
    part: str,
    model: Answering,
    files: Iterable[str],
    *,
    n_workers: int | None = None,
    on_recording: OnRecording = lambda n_recordings, seconds: None,
) -> int:
    """Let a model answer the files that it did not answer yet; one bad file does not cost the others.

    Args:
        journal: Where each answer is kept as it comes.
        part: The name that the model's answers have in it.
        model: Whom to ask.
        files: Paths.
        n_workers: See `EmotionModel.answers`.
        on_recording: Called after each, with how many there are to be asked and its seconds of audio.

    Returns:
        How many were asked.
    """
    missing = journal.missing(part, files)

    def recordings() -> Iterator[Recording]:
        for file in missing:
            journal.begin(file)
            yield Recording(file, file)

    for answer in model.answers(recordings(), n_workers=n_workers):
        if answer.error is not None:
            journal.add_error(part, answer.key, answer.error)
        else:
            assert answer.probabilities is not None
            probabilities = list(map(float, answer.probabilities))
            journal.add(part, answer.key, seconds=answer.seconds, probabilities=probabilities)
        on_recording(len(missing), answer.seconds)
    return len(missing)


def ask_words(
    journal: Journal,
    transcriber: Transcriber,
    files: Iterable[str],
    *,
    on_recording: OnRecording = lambda n_recordings, seconds: None,
) -> int:
    """Let the words of files be written that were not yet; see `ask_model`."""
    missing = journal.missing(TEXT, files)
    for file in missing:
        journal.begin(file)
        try:
            text = transcriber.transcribe_blocks(read_blocks(file, transcriber.sampling_rate))
            journal.add(TEXT, file, text=text)
        except AudioError as error:
            journal.add_error(TEXT, file, error)
        on_recording(len(missing), (journal.get(MODEL, file) or {}).get("seconds", 0.0))
    return len(missing)


def usable(journal: Journal, files: Iterable[str]) -> list[str]:
    """Name the files that the model could use: no one else needs to open the others."""
    return [file for file in files if "probabilities" in (journal.get(MODEL, file) or {})]
