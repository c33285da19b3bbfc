"""SAVEE: four English men, seven emotions."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer.corpora._rows import Utterance, corpus_dataset
from ser_transfer.corpora._scan import check_count, checked_root, find_audio, named_utterances
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.labels import LabelError

if TYPE_CHECKING:
    from datasets import Dataset

SAVEE = CorpusCard(
    name="savee",
    title="SAVEE",
    n_speakers=4,
    languages=("en",),
    licence="free for research, on registration with the University of Surrey",
    citation=(
        "Haq, S., & Jackson, P. J. B. (2010). Multimodal emotion recognition. In Machine Audition: "
        "Principles, Algorithms and Systems, 398-423. IGI Global."
    ),
    url="http://kahlan.eps.surrey.ac.uk/savee",
    example_file="DC/a01.wav or DC_a01.wav",
)

N_PUBLISHED = 480  # 4 speakers x (30 neutral + 6 emotions x 15), same page

_SPEAKERS = ("DC", "JE", "JK", "KL")
# The speaker stands before the name, in the flat copies, or is the folder.
_NAME = re.compile(rf"(?:({'|'.join(_SPEAKERS)})_)?([a-z]+)(\d\d)", re.IGNORECASE)
_EMOTIONS = {
    "n": "neutral",
    "h": "happiness",
    "sa": "sadness",
    "a": "anger",
    "f": "fear",
    "d": "disgust",
    "su": "surprise",
}


def load_savee(root: str | os.PathLike[str] | None) -> Dataset:
    """Read SAVEE from a folder, with a folder per speaker or flat."""
    folder = checked_root(root, SAVEE)
    utterances = named_utterances(find_audio(folder), folder, SAVEE, _parse)
    check_count(SAVEE.name, folder, len(utterances), N_PUBLISHED)
    return corpus_dataset(utterances)


def _parse(path: Path) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, emotion = (match[1] or path.parent.name).upper(), match[2].lower()
    if speaker not in _SPEAKERS:
        return None
    if emotion not in _EMOTIONS:
        raise LabelError(f"{path}: SAVEE has no emotion {emotion!r}; its letters are {', '.join(_EMOTIONS)}")
    return Utterance(
        utterance_id=f"{speaker}_{emotion}{match[3]}",
        audio=str(path),
        emotion=_EMOTIONS[emotion],
        speaker=speaker,
        gender="male",
        language="en",
    )
