"""Rows that must stay on one side, dealt into balanced parts.

Order comes from hashes of names, not from a random generator: the same on every machine and
NumPy, and whatever the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.splits.folds import SplitError

if TYPE_CHECKING:
    from datasets import Dataset

# Columns whose values are names of groups. By speaker is a kind of its own.
GROUP_COLUMNS = ("session", "sentence", "language", "gender", "intensity")
N_VALIDATION_PARTS = 5  # validation gets one part in five of what is not tested


@dataclass(frozen=True)
class Rows:
    """What a split needs of a corpus.

    Attributes:
        ids: One per row.
        emotions: Class index per row, of shape (n_rows,).
        classes: The corpus's emotions.
        corpus: For the other columns.
    """

    ids: tuple[str, ...]
    emotions: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    corpus: Dataset

    @classmethod
    def of(cls, corpus: Dataset) -> Rows:
        """Read ids and emotions.

        Raises:
            SplitError: If there are no rows, or an utterance has no emotion.
        """
        ids, emotions = tuple(corpus["utterance_id"][:]), corpus["emotion"][:]
        if not ids:
            raise SplitError("the corpus has no utterances: there is nothing to split")
        if None in emotions:
            raise SplitError(
                f"{emotions.count(None)} utterances have no emotion, the first {ids[emotions.index(None)]}: "
                "leave them out of the corpus, or map their codes to emotions"
            )
        return cls(ids, np.array(emotions), tuple(corpus.features["emotion"].names), corpus)

    def column(self, name: str) -> list[Any]:
        """Return one column as a list."""
        return list(self.corpus[name][:])


@dataclass(frozen=True)
class Groups:
    """Rows by speaker, session, or another column.

    Attributes:
        column: The column.
        members: Row numbers by group, groups sorted by name.
        counts: Utterances per class by group, each of shape (n_classes,).
        genders: Gender by group; None where it is unknown or mixed.
    """

    column: str
    members: Mapping[str, list[int]]
    counts: Mapping[str, npt.NDArray[np.int64]]
    genders: Mapping[str, str | None]

    def n_missing(self, names: Iterable[str]) -> int:
        """Count the corpus's classes that these groups lack."""
        everything = np.sum(list(self.counts.values()), axis=0)
        present = np.sum([self.counts[name] for name in names], axis=0)
        return int(np.count_nonzero((everything > 0) & (present == 0)))


def known_groups(rows: Rows, column: str) -> Groups:
    """Group by a column; refuse rows where it is unknown."""
    values = rows.column(column)
    n_unknown = values.count(None)
    if n_unknown:
        which = (
            "no utterance has"
            if n_unknown == len(values)
            else f"{n_unknown} of {len(values)} utterances lack"
        )
        first = rows.ids[values.index(None)]
        raise SplitError(
            f"{which} a known {column} (the first: {first}), so nobody can say that sides share none. "
            f"{_way_out(rows, column)}"
        )
    return _group_rows(rows, column)


def _way_out(rows: Rows, column: str) -> str:
    known = [name for name in GROUP_COLUMNS if name != column and None not in rows.column(name)]
    grouped = f"--split grouped-by:{known[0] if known else 'COLUMN'}"
    if column == "speaker":
        return (
            "Say who speaks (--speaker-pattern for folders, --speaker-column for tables), or state a split "
            f"that is not speaker-independent: {grouped}, or --split speaker-dependent"
        )
    return f"Use --split speaker-folds, or {grouped}"


def check_nested(rows: Rows, groups: Groups) -> None:
    """Refuse groups that share a speaker: they would not make a speaker-independent split."""
    if groups.column == "speaker":
        return
    known_groups(rows, "speaker")  # refuses unknown ones
    speaker = rows.column("speaker")
    home: dict[str, str] = {}
    for group, members in groups.members.items():
        for name in {speaker[row] for row in members}:
            if home.setdefault(name, group) != group:
                raise SplitError(
                    f"speaker {name} is in {groups.column} {home[name]} and in {group}: this split would not "
                    "be speaker-independent; use --split speaker-folds, or state "
                    f"--split grouped-by:{groups.column}"
                )


def balanced_parts(groups: Groups, names: Sequence[str], n_parts: int, salt: str) -> list[list[str]]:
    """Deal groups into parts with like shares of every class, of each gender, and of the groups.

    Greedy: large groups first, each to the part where it raises the sum of squared shares least.
    Every part gets a group if there are as many groups as parts.

    Args:
        groups: All groups.
        names: Those to deal.
        n_parts: How many parts.
        salt: What the order among groups of like size hangs on.
    """
    shares = _shares(groups, names)
    # Powers of two, so that the salt still decides between 35 and 60 utterances.
    size = {name: int(np.log2(len(groups.members[name]))) for name in names}
    parts: list[list[str]] = [[] for _ in range(n_parts)]
    totals = np.zeros((n_parts, len(next(iter(shares.values())))))
    for name in sorted(names, key=lambda name: (-size[name], digest(salt, name))):
        # (t + s)² - t² = 2 t s + s²; the last is the same for every part.
        part = int(np.argmin(np.round(totals @ shares[name], 12)))
        parts[part].append(name)
        totals[part] += shares[name]
    return parts


def validation_groups(groups: Groups, names: Sequence[str], salt: str) -> list[str]:
    """Choose a fifth of the groups that are not tested, and leave at least one to train on.

    Of five balanced parts it is the one that takes no class away from training, has most classes
    itself, and is largest. With fewer than two groups there is none.
    """
    if len(names) < 2:
        return []
    parts = balanced_parts(groups, names, min(N_VALIDATION_PARTS, len(names)), salt)

    def loss(part: list[str]) -> tuple[int, int, int]:
        left = groups.n_missing(name for name in names if name not in part)
        return left, groups.n_missing(part), -len(part)

    return min(parts, key=loss)


def digest(*words: object) -> bytes:
    """Hash words, to put names into an order that looks random and never changes."""
    return hashlib.sha256("\0".join(map(str, words)).encode()).digest()


def _shares(groups: Groups, names: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Return each group's share of every class, gender, and of the groups; each kind weighs the same."""
    counts = np.array([groups.counts[name] for name in names], dtype=float)
    known = sorted({gender for name in names if (gender := groups.genders[name]) is not None})
    genders = np.array([[groups.genders[name] == gender for gender in known] for name in names], dtype=float)
    kinds = [counts, np.ones((len(names), 1)), genders.reshape(len(names), len(known))]
    columns = [
        kind / np.maximum(kind.sum(axis=0), 1.0) / np.sqrt(kind.shape[1]) for kind in kinds if kind.shape[1]
    ]
    return dict(zip(names, np.hstack(columns), strict=True))


def _group_rows(rows: Rows, column: str) -> Groups:
    """Group rows by a column whose every value is known."""
    members: dict[str, list[int]] = {}
    for row, value in enumerate(rows.column(column)):
        members.setdefault(str(value), []).append(row)
    members = dict(sorted(members.items()))
    gender_of = rows.column("gender")
    n_classes = len(rows.classes)
    genders: dict[str, str | None] = {}
    for name, numbers in members.items():
        found = {gender_of[row] for row in numbers}
        genders[name] = found.pop() if len(found) == 1 else None
    counts = {
        name: np.bincount(rows.emotions[numbers], minlength=n_classes) for name, numbers in members.items()
    }
    return Groups(column, members, counts, genders)
