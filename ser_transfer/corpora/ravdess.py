"""RAVDESS: 24 actors, two sentences, speech and song, everything in the file name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer.corpora._rows import Utterance, corpus_dataset
from ser_transfer.corpora._scan import check_choice, check_count, checked_root, find_audio, named_utterances
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.labels import LabelError

if TYPE_CHECKING:
    from datasets import Dataset

RAVDESS = CorpusCard(
    name="ravdess",
    title="RAVDESS",
    n_speakers=24,
    languages=("en",),
    licence="CC-BY-NC-SA-4.0",
    citation=(
        "Livingstone, S. R., & Russo, F. A. (2018). The Ryerson Audio-Visual Database of Emotional Speech "
        "and Song (RAVDESS). PLoS ONE 13(5): e0196391."
    ),
    url="https://doi.org/10.5281/zenodo.1188976",
    example_file="Actor_12/03-01-06-01-02-01-12.wav",
)

# Audio-only files, from the same page. Speech: 24 actors x 60. Song: 23 actors x 44, actor 18 has none.
N_PUBLISHED = {"speech": 1440, "song": 1012, "all": 2452}

# Modality-channel-emotion-intensity-statement-repetition-actor, each two digits; modality 03 is
# audio only, 01 and 02 are the films of the same performances.
_NAME = re.compile(r"03-(0[12])-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
_CHANNELS = {"01": "speech", "02": "song"}
_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


def load_ravdess(root: str | os.PathLike[str] | None, *, part: str = "speech") -> Dataset:
    """Read RAVDESS's audio-only files from a folder, nested however it is.

    Args:
        root: The folder.
        part: ``"speech"``, ``"song"`` or ``"all"``.
    """
    check_choice("part", part, tuple(N_PUBLISHED))
    folder = checked_root(root, RAVDESS)
    utterances = named_utterances(find_audio(folder), folder, RAVDESS, _parse)
    wanted = [row for row in utterances if part in ("all", _CHANNELS[row.utterance_id[3:5]])]
    check_count(f"{RAVDESS.name} ({part})", folder, len(wanted), N_PUBLISHED[part])
    return corpus_dataset(wanted)


def _parse(path: Path) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    _, emotion, intensity, statement, _, actor = match.groups()
    if not 1 <= int(actor) <= RAVDESS.n_speakers:
        return None
    if emotion not in _EMOTIONS:
        raise LabelError(f"{path}: RAVDESS has no emotion {emotion}; its codes are {', '.join(_EMOTIONS)}")
    return Utterance(
        utterance_id=path.stem,
        audio=str(path),
        emotion=_EMOTIONS[emotion],
        speaker=actor,
        sentence=_STATEMENTS.get(statement),
        intensity=_INTENSITIES.get(intensity),
        gender="male" if int(actor) % 2 else "female",
        language="en",
    )
