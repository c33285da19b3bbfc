"""EmoDB, the Berlin database of emotional speech: ten speakers, ten German sentences."""

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

EMODB = CorpusCard(
    name="emodb",
    title="EmoDB",
    n_speakers=10,
    languages=("de",),
    licence="CC0-1.0",
    citation=(
        "Burkhardt, F., Paeschke, A., Rolfes, M., Sendlmeier, W., & Weiss, B. (2005). A database of German "
        "emotional speech. Interspeech 2005."
    ),
    url="http://emodb.bilderbar.info",
    example_file="wav/03a01Fa.wav",
)

N_PUBLISHED = 535  # the recordings that listeners recognised and found natural, same page

# Speaker, text, first letter of the German word for the emotion, version.
_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z])", re.IGNORECASE)
_EMOTIONS = {
    "N": "neutral",
    "W": "anger",  # Wut, or Ärger
    "L": "boredom",  # Langeweile
    "E": "disgust",  # Ekel
    "A": "fear",  # Angst; the authors write anxiety/fear
    "F": "happiness",  # Freude
    "T": "sadness",  # Trauer
}
_FEMALE = frozenset({"08", "09", "13", "14", "16"})
_TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def load_emodb(root: str | os.PathLike[str] | None) -> Dataset:
    """Read EmoDB from a folder, nested however it is."""
    folder = checked_root(root, EMODB)
    utterances = named_utterances(find_audio(folder), folder, EMODB, _parse)
    check_count(EMODB.name, folder, len(utterances), N_PUBLISHED)
    return corpus_dataset(utterances)


def _parse(path: Path) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, text, emotion, version = match.groups()
    text, emotion = text.lower(), emotion.upper()
    if emotion not in _EMOTIONS:
        raise LabelError(f"{path}: EmoDB has no emotion {emotion}; its letters are {', '.join(_EMOTIONS)}")
    return Utterance(
        utterance_id=f"{speaker}{text}{emotion}{version.lower()}",
        audio=str(path),
        emotion=_EMOTIONS[emotion],
        speaker=speaker,
        sentence=_TEXTS.get(text, text),
        gender="female" if speaker in _FEMALE else "male",
        language="de",
    )
