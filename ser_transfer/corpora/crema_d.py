"""CREMA-D: 91 actors, twelve sentences, six emotions, and what listeners heard in them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer.corpora._rows import CorpusError, Utterance, corpus_dataset, warn
from ser_transfer.corpora._scan import (
    check_count,
    checked_root,
    find_audio,
    is_file,
    named_utterances,
    read_bytes,
)
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.labels import LabelError
from ser_transfer.places import is_object

if TYPE_CHECKING:
    from datasets import Dataset

CREMA_D = CorpusCard(
    name="crema_d",
    title="CREMA-D",
    n_speakers=91,
    languages=("en",),
    licence="ODbL-1.0",
    citation=(
        "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., & Verma, R. (2014). CREMA-D: "
        "Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4): "
        "377-390."
    ),
    url="https://github.com/CheyneyComputerScience/CREMA-D",
    example_file="AudioWAV/1001_DFA_ANG_XX.wav",
)

N_PUBLISHED = 7442  # clips, same page

# Actor, sentence, emotion, level. One published file, 1040_ITH_SAD_X.wav, lacks its last letter.
_NAME = re.compile(r"(1\d{3})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)", re.IGNORECASE)
_EMOTIONS = {
    "NEU": "neutral",
    "HAP": "happiness",
    "SAD": "sadness",
    "ANG": "anger",
    "FEA": "fear",
    "DIS": "disgust",
}
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}  # XX and X: unspecified
_SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_BALLOT = {
    "N": "neutral",
    "H": "happiness",
    "S": "sadness",
    "A": "anger",
    "F": "fear",
    "D": "disgust",
}
# tabulatedVotes.csv numbers its rows 100000 x stimulus + clip; stimulus 1 was the voice alone.
_ROWS_PER_STIMULUS, _VOICE = 100_000, 1


def load_crema_d(root: str | os.PathLike[str] | None) -> Dataset:
    """Read CREMA-D: intended emotions from the file names, and votes where the tables lie beside.

    `emotion` is what the actor was asked for. `votes` counts the listeners who heard the voice alone, from
    ``processedResults/tabulatedVotes.csv``; `gender` comes from ``VideoDemographics.csv``. Each is looked
    for in the folder and in the one that holds it.
    """
    folder = checked_root(root, CREMA_D)
    genders, votes = _genders(folder), _voice_votes(folder)
    utterances = [
        replace(row, gender=genders.get(str(row.speaker)), votes=votes.get(row.utterance_id))
        for row in named_utterances(find_audio(folder), folder, CREMA_D, _parse)
    ]
    check_count(CREMA_D.name, folder, len(utterances), N_PUBLISHED)
    return corpus_dataset(utterances)


def _parse(path: Path) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, sentence, emotion, level = (group.upper() for group in match.groups())
    if emotion not in _EMOTIONS:
        raise LabelError(f"{path}: CREMA-D has no emotion {emotion}; its codes are {', '.join(_EMOTIONS)}")
    return Utterance(
        utterance_id=f"{speaker}_{sentence}_{emotion}_{'XX' if level == 'X' else level}",
        audio=str(path),
        emotion=_EMOTIONS[emotion],
        speaker=speaker,
        sentence=_SENTENCES.get(sentence, sentence),
        intensity=_INTENSITIES.get(level),
        language="en",
    )


def _genders(folder: Path) -> dict[str, str]:
    """Read actor -> gender, or nothing where the table is not there."""
    table = _beside(folder, "VideoDemographics.csv")
    if table is None:
        return {}
    return {row["ActorID"]: row["Sex"].lower() for row in _read_csv(table, ("ActorID", "Sex"))}


def _voice_votes(folder: Path) -> Mapping[str, dict[str, int]]:
    """Read utterance id -> votes on the voice alone, or nothing where the table is not there."""
    table = _beside(folder, "processedResults/tabulatedVotes.csv", "tabulatedVotes.csv")
    if table is None:
        if _beside(folder, "processedResults/summaryTable.csv", "summaryTable.csv") is not None:
            warn(
                "crema_d: summaryTable.csv names the winners only; for votes put tabulatedVotes.csv, from "
                f"the same folder of {CREMA_D.url}, beside it"
            )
        return {}
    rows = _read_csv(table, ("", "fileName", *_BALLOT))
    return {
        row["fileName"]: {emotion: int(row[letter]) for letter, emotion in _BALLOT.items()}
        for row in rows
        if int(row[""]) // _ROWS_PER_STIMULUS == _VOICE
    }


def _beside(folder: Path, *names: str) -> Path | None:
    """Find a table in the corpus's folder or in the one that holds it (the root may be AudioWAV)."""
    above = folder.parent if is_object(folder) else folder.absolute().parent
    candidates = [base / name for base in dict.fromkeys((folder, above)) for name in names]
    return next((path for path in candidates if is_file(path)), None)


def _read_csv(table: Path, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(read_bytes(table).decode("utf-8-sig"), newline=""))
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise CorpusError(
            f"{table} has no column {', '.join(map(repr, missing))}; take the file from {CREMA_D.url}, "
            "or move this one away"
        )
    return list(reader)
