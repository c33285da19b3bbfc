"""What the sides of a split share: speakers, recordings, sentences; said before anything is trained.

Nothing that is tested may have been trained on, or chosen on. `make_split` sees to the speakers; a recording
that lies in a corpus twice, under two speakers or in two formats, is beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.audio import read_audio
from ser_transfer.splits.folds import Fold, Split, SplitError
from ser_transfer.splits.leaks import AUDIO, KINDS, SIDES, Audit, Finding, Kind
from ser_transfer.splits.takes import RATE, SAME_TAKE, correlation, similar_pairs, sketch

if TYPE_CHECKING:
    from datasets import Dataset

TOLD_IN: dict[Kind, str] = {"speakers": "speaker", "sentences": "sentence"}  # columns of the corpus
# Decoding and correlating a pair takes 10 ms: ten seconds for a corpus of clips that all sound alike.
MOST_PAIRS = 1_000


def audit_split(
    corpus: Dataset,
    split: Split,
    keys: Mapping[str, str],
    mfcc: Mapping[str, npt.NDArray[np.floating]] | None = None,
    *,
    within_sides: bool = False,
) -> Audit:
    """Say what the sides of every fold share, without training anything.

    Recordings are the same if their bytes are, and nearly the same if they are one take; see
    `ser_transfer.splits.takes`. The second costs next to nothing where sides share no speaker: different
    speakers are rarely close enough for a pair to be decoded.

    What a split is asked for by name is reported, and is no leak. ``speaker-dependent`` is the random split
    of the tutorials, copies and all, and is scored to be compared with that. Any other split that does not
    call itself speaker-independent, such as ``grouped-by:sentence``, shares speakers because it was asked to
    keep something else apart; nobody asked it to test what it trained on, so shared audio is a leak there.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        split: From `make_split` on that corpus.
        keys: Content of the audio by utterance id; see `ser_transfer.audio.audio_key`.
        mfcc: The `mfcc` baseline's embedding by utterance id, each of shape (80,); None where there is none,
            and then near-identical audio is not looked for, which the audit says.
        within_sides: Look for near-identical audio among utterances that no fold parts, too. Takes of one
            speaker are close more often, and each such pair is decoded.

    Raises:
        SplitError: If an utterance of the split is not in the corpus, or has no key or no embedding.
        AudioError: If a recording that has to be decoded cannot be.
    """
    ids = list(corpus["utterance_id"][:])
    used = sorted({id_ for fold in split.folds for side in _sides(fold) for id_ in side})
    _refuse_absent(used, {"row in the corpus": set(ids), "audio key": keys, "mfcc embedding": mfcc})
    told: dict[Kind, dict[str, str | None]] = {
        kind: dict(zip(ids, corpus[column][:], strict=True)) for kind, column in TOLD_IN.items()
    }
    labels: dict[Kind, Mapping[str, str | None]] = {"identical-audio": keys}
    labels |= {kind: values for kind, values in told.items() if any(values[id_] is not None for id_ in used)}
    notes = []
    n_unknown = sum(told["speakers"][id_] is None for id_ in used)
    if n_unknown:
        notes.append(f"{n_unknown} of {len(used)} utterances have no known speaker: they may share one")
    if mfcc is None:
        notes.append("near-identical audio was not looked for, since that takes the mfcc baseline")
    else:
        labels["near-identical-audio"], n_left = _takes(corpus, split, used, keys, mfcc, within_sides)
        if n_left:
            notes.append(
                f"of the pairs that sound alike the nearest {MOST_PAIRS} were compared, and {n_left} were not"
            )
    looked_for = tuple(kind for kind in KINDS if kind in labels)
    return Audit(
        split=split.name,
        description=split.description,
        asked_for=_asked_for(split),
        looked_for=looked_for,
        findings=tuple(each for kind in looked_for for each in _findings(kind, labels[kind], split, keys)),
        notes=tuple(notes),
    )


def _sides(fold: Fold) -> tuple[tuple[str, ...], ...]:
    """The ids of a fold in the order of `SIDES`."""
    return fold.train_ids, fold.validation_ids, fold.test_ids


def _asked_for(split: Split) -> frozenset[Kind]:
    """What a split shares because its name says so."""
    if split.speaker_independent:
        return frozenset()
    speakers: frozenset[Kind] = frozenset({"speakers"})
    return speakers | AUDIO if split.name == "speaker-dependent" else speakers


def _refuse_absent(ids: Iterable[str], known: Mapping[str, Collection[str] | None]) -> None:
    for what, there in known.items():
        absent = [] if there is None else [id_ for id_ in ids if id_ not in there]
        if absent:
            raise SplitError(
                f"{len(absent)} utterances of the split have no {what}, the first {absent[0]}: audit a split "
                "with the corpus it was made of, and the keys and embeddings of that corpus"
            )


def _findings(
    kind: Kind, labels: Mapping[str, str | None], split: Split, keys: Mapping[str, str]
) -> list[Finding]:
    """Find the labels that stand on two sides of a fold, and the copies that never do."""
    found: list[Finding] = []
    crossing: set[str] = set()
    for fold in split.folds:
        sides = {name: _by_label(labels, ids) for name, ids in zip(SIDES, _sides(fold), strict=True)}
        for first, second in combinations(SIDES, 2):
            both = sorted(sides[first].keys() & sides[second].keys())
            groups = {name: (*sides[first][name], *sides[second][name]) for name in both}
            if kind == "near-identical-audio":  # a take may hold files of equal bytes; those are identical
                groups = {name: ids for name, ids in groups.items() if len({keys[id_] for id_ in ids}) > 1}
            if groups:
                found.append(Finding(kind, fold.name, (first, second), groups))
                crossing |= groups.keys()
    if kind in AUDIO:
        used = sorted({id_ for fold in split.folds for side in _sides(fold) for id_ in side})
        rest = {
            name: tuple(ids)
            for name, ids in _by_label(labels, used).items()
            if len(ids) > 1 and name not in crossing
        }
        found += [Finding(kind, None, (), rest)] if rest else []
    return found


def _by_label(labels: Mapping[str, str | None], ids: Iterable[str]) -> dict[str, list[str]]:
    """Group ids by their label; those without one are in no group."""
    groups: dict[str, list[str]] = {}
    for id_ in ids:
        label = labels.get(id_)
        if label is not None:
            groups.setdefault(label, []).append(id_)
    return groups


def _takes(
    corpus: Dataset,
    split: Split,
    ids: Sequence[str],
    keys: Mapping[str, str],
    mfcc: Mapping[str, npt.NDArray[np.floating]],
    within_sides: bool,
) -> tuple[dict[str, str | None], int]:
    """Name the take of each utterance that is near-identical to another; count the pairs not compared."""
    wanted = _parted(split, ids, keys, within_sides)
    pairs, n_pairs = similar_pairs(sketch(np.array([mfcc[id_] for id_ in ids])), wanted, MOST_PAIRS)
    row_of = {id_: row for row, id_ in enumerate(corpus["utterance_id"][:])}
    sources = corpus.select_columns(["audio", "start_seconds", "end_seconds"])
    take: dict[str, str | None] = {}
    for pair in pairs:
        first, second = (ids[number] for number in pair)
        waveforms = []
        for id_ in (first, second):
            row = sources[row_of[id_]]
            start, end = row["start_seconds"], row["end_seconds"]
            waveforms.append(read_audio(row["audio"], RATE, start_seconds=start, end_seconds=end))
        if correlation(*waveforms) >= SAME_TAKE:
            _join(take, first, second)
    return take, n_pairs - len(pairs)


def _join(take: dict[str, str | None], first: str, second: str) -> None:
    """Note that two utterances are one take, and with them all that either was one with."""
    names = {take.setdefault(id_, id_) for id_ in (first, second)}
    name = min(str(name) for name in names)
    for id_ in [id_ for id_, of in take.items() if of in names]:
        take[id_] = name


def _parted(
    split: Split, ids: Sequence[str], keys: Mapping[str, str], within_sides: bool
) -> Callable[[npt.NDArray[np.intp], npt.NDArray[np.intp]], npt.NDArray[np.bool_]]:
    """Make the test for pairs of different files that some fold puts on two sides."""
    number_of = {id_: number for number, id_ in enumerate(ids)}
    side_of = np.full((len(ids), len(split.folds)), -1, np.int8)
    for column, fold in enumerate(split.folds):
        for code, side in enumerate(_sides(fold)):
            side_of[[number_of[id_] for id_ in side], column] = code
    key_of = np.unique([keys[id_] for id_ in ids], return_inverse=True)[1]

    def is_wanted(first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        differ = np.asarray(key_of[first] != key_of[second])
        if within_sides:
            return differ
        there = (side_of[first] >= 0) & (side_of[second] >= 0)
        parted = ((side_of[first] != side_of[second]) & there).any(axis=1)
        return np.asarray(differ & parted)

    return is_wanted
