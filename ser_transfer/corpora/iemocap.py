"""IEMOCAP: five sessions of a woman and a man in dialogue, with evaluators' categories and ratings."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer.corpora._rows import CorpusError, Utterance, corpus_dataset, warn
from ser_transfer.corpora._scan import (
    AUDIO_SUFFIXES,
    check_choice,
    check_count,
    checked_root,
    find_files,
    named_utterances,
    read_bytes,
)
from ser_transfer.corpora.card import CorpusCard
from ser_transfer.labels import LabelError, parse_emotion

if TYPE_CHECKING:
    from datasets import Dataset

IEMOCAP = CorpusCard(
    name="iemocap",
    title="IEMOCAP",
    n_speakers=10,
    languages=("en",),
    licence="IEMOCAP release agreement of the University of Southern California, for research, on request",
    citation=(
        "Busso, C., Bulut, M., Lee, C.-C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N., Lee, S., & "
        "Narayanan, S. S. (2008). IEMOCAP: interactive emotional dyadic motion capture database. Language "
        "Resources and Evaluation 42: 335-359."
    ),
    url="https://sail.usc.edu/iemocap",
    example_file="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
)

# Utterances with audio; Busso et al. 2008 count 10039, of which 4784 improvised.
N_PUBLISHED = {"all": 10039, "improvised": 4784, "scripted": 5255}

_MARKS = {"all": "_", "improvised": "_impro", "scripted": "_script"}
# Session, who wore the markers, dialogue, who speaks: in Ses01F_impro01_M003 the man of session 1.
_NAME = re.compile(r"(Ses\d\d)[FM]_(?:impro|script)\w+_([FM])\w*\d")
_DIALOGUE = re.compile(r"Ses\d\d[FM]_(impro|script)[a-z\d]+(_\d[a-z]?)?")  # dialog/wav: whole dialogues
_GENDERS = {"F": "female", "M": "male"}
_EMOTIONS: dict[str, str | None] = {
    "neu": "neutral",
    "hap": "happiness",
    "exc": "excitement",
    "sad": "sadness",
    "ang": "anger",
    "fru": "frustration",
    "fea": "fear",
    "dis": "disgust",
    "sur": "surprise",
    "oth": "other",
    "xxx": None,  # no majority among the evaluators
}

# [6.2901 - 8.2357] Ses01F_impro01_F000 neu [2.5000, 2.0000, 3.0000], with tabs: the times are those in
# the dialogue's recording; the ratings are valence, activation, dominance.
_TURN = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\S+)\s+(\w+)\s+\[([\d.]+), ([\d.]+), ([\d.]+)\]")
# C-E2: Neutral; Anger; (comment). C-F1 and C-M1 are the speakers themselves, whom the majority and
# the mean ratings leave out, and so do the votes here.
_CATEGORIES = re.compile(r"C-E\d+:\s*([^(]*)")
_TRANSCRIPT = re.compile(r"(\S+) \[[\d.]+-[\d.]+\]: (.*)")


@dataclass(frozen=True)
class _Evaluation:
    """What an evaluation file says of one turn: majority, mean ratings from 1 to 5, votes."""

    emotion: str | None
    valence: float
    arousal: float
    dominance: float
    votes: Counter[str] = field(default_factory=Counter)


def load_iemocap(root: str | os.PathLike[str] | None, *, part: str = "all") -> Dataset:
    """Read IEMOCAP's utterances with their evaluations.

    `emotion` is the evaluators' majority; utterances without one are left out and counted. `votes` counts
    the evaluators' categories (one evaluator may name several), `valence`, `arousal` (IEMOCAP says
    activation) and `dominance` are mean ratings from 1 to 5. The usual four classes are
    `label_map="four_classes"`.

    Args:
        root: The folder of the sessions, or of one of them.
        part: ``"all"``, ``"improvised"`` or ``"scripted"``.
    """
    check_choice("part", part, tuple(_MARKS))
    folder = checked_root(root, IEMOCAP)
    files = find_files(folder)
    evaluations = _evaluations(folder, files)
    sentences = _sentences(files)
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    utterances = named_utterances(
        [path for path in recordings if not _DIALOGUE.fullmatch(path.stem)],
        folder,
        IEMOCAP,
        lambda path: _parse(path, evaluations, sentences),
    )
    wanted = [row for row in utterances if _MARKS[part] in row.utterance_id]
    check_count(f"{IEMOCAP.name} ({part})", folder, len(wanted), N_PUBLISHED[part])
    return corpus_dataset(_with_emotion(wanted, evaluations))


def _parse(path: Path, evaluations: dict[str, _Evaluation], sentences: dict[str, str]) -> Utterance | None:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    session, speaker = match.groups()
    utterance = Utterance(
        utterance_id=path.stem,
        audio=str(path),
        emotion=None,
        speaker=session + speaker,
        sentence=sentences.get(path.stem),
        gender=_GENDERS[speaker],
        language="en",
        session=session,
    )
    evaluation = evaluations.get(path.stem)
    if evaluation is None:
        return utterance
    return replace(utterance, **(vars(evaluation) | {"votes": dict(evaluation.votes)}))


def _with_emotion(utterances: list[Utterance], evaluations: dict[str, _Evaluation]) -> list[Utterance]:
    """Leave out, and report, the utterances without a majority and those without an evaluation."""
    kept = [row for row in utterances if row.emotion is not None]
    n_unevaluated = sum(row.utterance_id not in evaluations for row in utterances)
    n_divided = len(utterances) - len(kept) - n_unevaluated
    if n_divided:
        warn(
            f"iemocap: left out {n_divided} utterances on whose emotion the evaluators have no majority (xxx)"
        )
    if n_unevaluated:
        warn(f"iemocap: left out {n_unevaluated} utterances that no file in EmoEvaluation mentions")
    if not kept:
        raise CorpusError(f"iemocap: none of {len(utterances)} utterances has an emotion in EmoEvaluation")
    return kept


def _evaluations(root: Path, files: list[Path]) -> dict[str, _Evaluation]:
    """Read turn -> evaluation from every ``EmoEvaluation/Ses*.txt``."""
    summaries = [path for path in files if _is_text_in(path, "EmoEvaluation")]
    if not summaries:
        raise CorpusError(
            f"{root}: no Session?/dialog/EmoEvaluation/Ses*.txt, which name the emotions of IEMOCAP; the "
            f"corpus is at {IEMOCAP.url}"
        )
    return {turn: evaluation for path in summaries for turn, evaluation in _turns(path)}


def _turns(summary: Path) -> Iterator[tuple[str, _Evaluation]]:
    evaluation = None
    for line in _lines(summary):
        if match := _TURN.match(line):
            turn, code, valence, arousal, dominance = match.groups()
            if code not in _EMOTIONS:
                raise LabelError(
                    f"{summary}: IEMOCAP has no emotion {code} ({turn}); its codes are {', '.join(_EMOTIONS)}"
                )
            evaluation = _Evaluation(_EMOTIONS[code], float(valence), float(arousal), float(dominance))
            yield turn, evaluation
        elif evaluation is not None and (match := _CATEGORIES.match(line)):
            names = [name.strip() for name in match[1].split(";") if name.strip()]
            try:
                evaluation.votes.update(map(parse_emotion, names))
            except LabelError as error:
                raise LabelError(f"{summary}: {error}") from None


def _sentences(files: list[Path]) -> dict[str, str]:
    """Read turn -> words from ``transcriptions/Ses*.txt``, where they are."""
    texts = [path for path in files if _is_text_in(path, "transcriptions")]
    matches = (_TRANSCRIPT.match(line) for path in texts for line in _lines(path))
    return {match[1]: match[2].strip() for match in matches if match}


def _is_text_in(path: Path, folder: str) -> bool:
    """Tell a dialogue's text file in a folder; its subfolders hold each evaluator's own sheets."""
    return path.parent.name.lower() == folder.lower() and fnmatch(path.name, "Ses*.txt")


def _lines(path: Path) -> list[str]:
    return read_bytes(path).decode("latin-1").splitlines()  # every byte is a character in it
