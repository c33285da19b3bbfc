"""The synthetic corpus: emotional speech that nobody spoke, for the quickstart and for tests.

Six emotions differ in what the literature measures in real ones (Murray & Arnott 1993, JASA 93(2), table
I; Banse & Scherer 1996, JPSP 70(3); Burkhardt & Sendlmeier 2000, ISCA Workshop on Speech and Emotion):
level and range of the fundamental frequency, rate, loudness, voice quality. As in real speech, speakers
differ more than emotions do, each shows emotions in a way and to a degree of their own, and no two
utterances are alike. A score on it says that the pipeline works, and nothing about real speech.
"""

from __future__ import annotations

import os
import re
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.corpora._rows import CorpusError, Utterance, corpus_dataset
from ser_transfer.corpora._scan import checked_place, find_files
from ser_transfer.corpora._speech_synthesis import (
    RATE,
    Manner,
    Samples,
    Voice,
    articulate,
    room_response,
    speak,
)
from ser_transfer.places import is_url

if TYPE_CHECKING:
    from datasets import Dataset

# How a speaker of average expressiveness differs from their neutral speech. The directions, and their
# order between emotions, are those of the papers above; the sizes are ours.
MANNERS = {
    "neutral": Manner(),
    "happiness": Manner(
        f0_semitones=3.0, range_octaves=0.7, rate_octaves=0.10, level_db=3.0, brightness=0.3, formants=0.045
    ),
    "sadness": Manner(
        f0_semitones=-1.5, range_octaves=-0.8, rate_octaves=-0.35, level_db=-4.0, brightness=-0.4, breath=0.15
    ),
    "anger": Manner(
        f0_semitones=2.0, range_octaves=0.5, rate_octaves=0.15, level_db=5.0, brightness=0.5, fall=2.0
    ),
    "fear": Manner(
        f0_semitones=4.5, range_octaves=-0.2, rate_octaves=0.30, level_db=-1.0, breath=0.10, jitter=0.012
    ),
    "disgust": Manner(
        f0_semitones=-1.5, rate_octaves=-0.30, level_db=0.5, jitter=0.008, formants=-0.05, fall=2.0
    ),
}
# One unit of each field of Manner: how far speakers differ in it from what MANNERS says (times STYLE), and
# utterances of one speaker from each other (times WHIM).
SPREAD = Manner(1.6, 0.35, 0.15, 2.0, 0.25, 0.08, 0.005, 0.02, 1.0)
STYLE, WHIM = 0.5, 0.35

# Sentences of no language, and the syllables that carry an accent.
SENTENCES = {
    "s1": (("ma", "do", "gi", "su", "la"), (1, 3)),
    "s2": (("be", "ki", "na", "to", "fi", "mu"), (0, 3)),
    "s3": (("da", "li", "po", "se", "ga"), (2,)),
    "s4": (("ti", "no", "ba", "le", "ku", "sa", "mi"), (1, 5)),
    "s5": (("fo", "ga", "mi", "de", "tu", "na"), (0, 4)),
}
_NAME = re.compile(r"synthetic-(v\d\d)([fm])-([a-z]+)-(s\d+)")
_GENDERS = {"f": "female", "m": "male"}


def synthesise_corpus(root: str | os.PathLike[str], *, n_speakers: int = 8, seed: int = 0) -> int:
    """Write the synthetic corpus: each voice says each sentence once in each emotion.

    The same arguments give the same samples: every voice and every utterance has a random generator of its
    own, so a corpus of more voices holds that of fewer. 8 voices are 240 clips, WAV, 16 kHz, 16 bit, in one
    folder per emotion.

    Args:
        root: The folder to write; other files in it are left alone.
        n_speakers: Voices, women and men in turn.
        seed: Of the voices and of all that varies.

    Returns:
        The number of clips.

    Raises:
        CorpusError: If there is no speaker to speak.
    """
    import soundfile

    if n_speakers < 1:
        raise CorpusError(f"the synthetic corpus needs at least 1 speaker (n_speakers), not {n_speakers}")
    clips = 0
    for speaker in range(n_speakers):
        gender = "fm"[speaker % 2]
        voice = _voice(gender, _generator(seed, speaker))
        for number, emotion in enumerate(MANNERS):
            folder = Path(root) / emotion
            folder.mkdir(parents=True, exist_ok=True)
            style = _style(emotion, _generator(seed, speaker, number))
            for index, sentence in enumerate(SENTENCES):
                rng = _generator(seed, speaker, number, index)
                name = f"synthetic-v{speaker + 1:02d}{gender}-{emotion}-{sentence}.wav"
                clip = synthesise(sentence, voice, style, rng)
                soundfile.write(folder / name, clip, RATE, subtype="PCM_16")
                clips += 1
    return clips


def load_synthetic(root: str | os.PathLike[str] | None) -> Dataset:
    """Read what `synthesise_corpus` wrote.

    Args:
        root: Its folder.

    Raises:
        CorpusError: If no folder is given, or it holds no clip of the synthetic corpus.
    """
    if root is None:
        raise CorpusError(
            "the synthetic corpus needs the folder that synthesise_corpus wrote (root, --root DIR)"
        )
    rows = []
    folder = checked_place(root)
    for path in find_files(folder) if is_url(root) else sorted(folder.rglob("synthetic-*.wav")):
        match = _NAME.fullmatch(path.stem)
        if match is None or match[3] not in MANNERS:
            continue
        voice, gender, emotion, sentence = match.groups()
        rows.append(
            Utterance(
                utterance_id=path.stem,
                audio=str(path) if is_url(root) else os.path.abspath(path),  # noqa: PTH100 - not through links
                emotion=emotion,
                speaker=f"synthetic-{voice}",
                sentence=f"synthetic: {' '.join(SENTENCES[sentence][0])}"
                if sentence in SENTENCES
                else sentence,
                gender=_GENDERS[gender],
            )
        )
    if not rows:
        raise CorpusError(f"{root} holds no synthetic clips; synthesise_corpus({str(root)!r}) writes them")
    return corpus_dataset(rows)


def synthesise(sentence: str, voice: Voice, style: Manner, rng: np.random.Generator) -> Samples:
    """Speak one of `SENTENCES` in a manner near `style`.

    Returns:
        Array of shape (samples,) at 16 kHz, about 1 to 3 s, peak at most 0.95.
    """
    syllables, accents = SENTENCES[sentence]
    manner = _varied(style, WHIM, rng)
    track = articulate(syllables, accents, voice, manner, rng)
    return speak(track, voice, manner, rng)


def _generator(seed: int, *place: int) -> np.random.Generator:
    """The generator of one voice, style or utterance, by its place in the corpus."""
    # From 1, because NumPy takes seeds that differ in trailing zeros for the same.
    return np.random.Generator(np.random.PCG64([seed, *(number + 1 for number in place)]))


def _voice(gender: str, rng: np.random.Generator) -> Voice:
    is_female = gender == "f"
    return Voice(
        # Averages 210 and 120 Hz; women's tracts are shorter by 15 % (Fant 1966; Peterson & Barney 1952).
        f0_hz=(210.0 if is_female else 120.0) * 2.0 ** rng.normal(0, 0.15),
        tract=(1 / 0.85 if is_female else 1.0) * rng.normal(1.0, 0.03),
        syllables_per_second=rng.normal(4.6, 0.35),
        brightness=rng.normal(0.0, 0.2),
        breath=rng.uniform(0.05, 0.2),
        jitter=rng.uniform(0.004, 0.012),  # a healthy voice: below 1.04 % (Praat's manual, after MDVP)
        room=room_response(rng.uniform(0.1, 0.3), rng.uniform(-4, 6), rng),
        noise=10 ** (rng.uniform(-72, -60) / 20),
        gain_db=rng.normal(0, 2),
    )


def _style(emotion: str, rng: np.random.Generator) -> Manner:
    """One speaker's way with one emotion: more or less of the average, and something of their own."""
    expressiveness = rng.uniform(0.8, 1.5)
    average = Manner(*(expressiveness * value for value in astuple(MANNERS[emotion])))
    return _varied(average, STYLE, rng)


def _varied(manner: Manner, size: float, rng: np.random.Generator) -> Manner:
    units = rng.standard_normal(len(astuple(SPREAD))).clip(-2, 2)
    pairs = zip(astuple(manner), astuple(SPREAD), units, strict=True)
    return Manner(*(value + size * spread * unit for value, spread, unit in pairs))
