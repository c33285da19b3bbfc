"""Recordings to try the page with: clips of the corpus it was given, or speech synthesised on the spot."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.audio import read_audio

if TYPE_CHECKING:
    from datasets import Dataset

RATE = 16_000  # Hz
VOICES = ("anger", "happiness", "sadness", "fear")  # of the synthetic corpus
MAX_EXAMPLES = 6
N_JOINED = 3  # clips in the example that is long enough for a timeline
PAUSE_SECONDS = 0.4  # between them


@dataclass(frozen=True)
class Example:
    """One recording to try.

    Attributes:
        label: What it is, on its button.
        make: Gives the file; called when somebody asks for it.
    """

    label: str
    make: Callable[[], Path]


class Examples:
    """The examples of a page; their files lie in a folder of its own, which goes when the page does."""

    def __init__(self, corpus: Dataset | None = None) -> None:
        self._corpus = corpus
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._synthetic: dict[str, Path] | None = None

    @property
    def kind(self) -> str:
        """What they are, in the plural."""
        if self._corpus is None:
            return "synthetic voices"
        return f"clips of {self._corpus.info.dataset_name or 'the corpus'}"

    def all(self) -> list[Example]:
        """List them; nothing is written yet."""
        makers: list[tuple[str, Callable[[], Path]]]
        if self._corpus is None:
            makers = [(emotion.capitalize(), partial(self._voice, emotion)) for emotion in VOICES]
        else:
            chosen = _one_per_emotion(self._corpus)
            makers = [(label, partial(self._clip, number)) for number, label in chosen.items()]
        row = [make for _, make in makers[:N_JOINED]]
        long = [Example(f"{len(row)} in a row", partial(self._joined, row))] if len(row) > 1 else []
        return [Example(label, make) for label, make in makers] + long

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ser_transfer-examples-")
        return Path(self._folder.name)

    def _voice(self, emotion: str) -> Path:
        """A clip of the synthetic corpus, which is written when the first of them is asked for."""
        if self._synthetic is None:
            from ser_transfer.corpora.synthetic import load_synthetic, synthesise_corpus

            root = self._place() / "synthetic"
            synthesise_corpus(root, n_speakers=1)
            corpus = load_synthetic(root)
            names = corpus.features["emotion"].names
            found: dict[str, Path] = {}
            for row in corpus:
                found.setdefault(names[row["emotion"]], Path(row["audio"]["path"]))
            self._synthetic = found
        return self._synthetic[emotion]

    def _clip(self, number: int) -> Path:
        """A copy of a clip of the corpus: the page serves its own folder, and not the corpus's."""
        assert self._corpus is not None
        row = self._corpus[number]
        target = self._place() / f"{_safe(row['utterance_id'])}.wav"
        if not target.exists():
            segment = (row.get("start_seconds"), row.get("end_seconds"))
            path = row["audio"].get("path")
            if segment == (None, None) and path and Path(path).is_file():
                target = target.with_suffix(Path(path).suffix)
                shutil.copyfile(path, target)
            else:
                _write(
                    target,
                    read_audio(row["audio"], RATE, start_seconds=segment[0], end_seconds=segment[1]),
                )
        return target

    def _joined(self, clips: Sequence[Callable[[], Path]]) -> Path:
        """Clips one behind the other, with a pause between them."""
        target = self._place() / "clips_in_a_row.wav"
        if not target.exists():
            pause = np.zeros(round(PAUSE_SECONDS * RATE), np.float32)
            parts = [part for clip in clips for part in (read_audio(clip(), RATE), pause)]
            _write(target, np.concatenate(parts[:-1]))
        return target


def _one_per_emotion(corpus: Dataset) -> dict[int, str]:
    """Choose a clip of every emotion, of another speaker each time where there are as many.

    Returns:
        Labels, by the number of the row.
    """
    names = corpus.features["emotion"].names
    emotions, speakers = list(corpus["emotion"]), list(corpus["speaker"])
    chosen: dict[int, str] = {}
    heard: set[Any] = set()
    for code, name in enumerate(names[:MAX_EXAMPLES]):
        numbers = [number for number, emotion in enumerate(emotions) if emotion == code]
        if numbers:
            number = next((each for each in numbers if speakers[each] not in heard), numbers[0])
            heard.add(speakers[number])
            who = "" if speakers[number] is None else f", {speakers[number]}"
            chosen[number] = f"{name}{who}".capitalize()
    return chosen


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _write(path: Path, waveform: Any) -> None:
    import soundfile

    soundfile.write(path, waveform, RATE, subtype="PCM_16")
