"""TESS: two actresses, 200 words in one carrier phrase, seven emotions."""

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

TESS = CorpusCard(
    name="tess",
    title="TESS",
    n_speakers=2,
    languages=("en",),
    licence="CC-BY-NC-ND-4.0",
    citation="Pichora-Fuller, M. K., & Dupuis, K. (2020). Toronto emotional speech set (TESS). Borealis.",
    url="https://doi.org/10.5683/SP2/E8H2MF",
    example_file="OAF_angry/OAF_back_angry.wav",
)

N_PUBLISHED = 2800  # 2 speakers x 200 words x 7 emotions, same page

# Speaker, word, emotion. The published archive misspells one file, OA_bite_neutral.wav. Folders are
# spelt more freely still (OAF_Pleasant_surprise, YAF_pleasant_surprised), so only files are read.
_NAME = re.compile(r"(oaf|yaf|oa)_([a-z]+)_([a-z_]+)", re.IGNORECASE)
_SPEAKERS = {"OAF": "OAF", "YAF": "YAF", "OA": "OAF"}
_EMOTIONS = {
    "neutral": "neutral",
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "fear": "fear",
    "disgust": "disgust",
    "ps": "surprise",  # pleasant surprise
}


def load_tess(root: str | os.PathLike[str] | None) -> Dataset:
    """Read TESS from a folder, nested however it is."""
    folder = checked_root(root, TESS)
    utterances = named_utterances(find_audio(folder), folder, TESS, _parse)
    check_count(TESS.name, folder, len(utterances), N_PUBLISHED)
    return corpus_dataset(utterances)


def _parse(path: Path) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, word, emotion = _SPEAKERS[match[1].upper()], match[2].lower(), match[3].lower()
    if emotion not in _EMOTIONS:
        raise LabelError(f"{path}: TESS has no emotion {emotion!r}; it has {', '.join(_EMOTIONS)}")
    return Utterance(
        utterance_id=f"{speaker}_{word}_{emotion}",
        audio=str(path),
        emotion=_EMOTIONS[emotion],
        speaker=speaker,
        sentence=f"Say the word {word}",
        gender="female",
        language="en",
    )
