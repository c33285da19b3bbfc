"""The kinds of split, each a function from rows to folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ser_transfer.splits.folds import Fold, Split, SplitError
from ser_transfer.splits.groups import (
    GROUP_COLUMNS,
    N_VALIDATION_PARTS,
    Groups,
    Rows,
    balanced_parts,
    check_nested,
    digest,
    known_groups,
    validation_groups,
)
from ser_transfer.splits.published import find_protocol

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Request:
    """What `make_split` was asked.

    Attributes:
        rows: The corpus.
        kind: The kind, without its argument.
        argument: What stood behind the colon, or None.
        n_folds: For the kinds that have a choice.
        seed: What the dealing hangs on.
        corpus_name: For the published folds.
    """

    rows: Rows
    kind: str
    argument: str | None
    n_folds: int
    seed: int
    corpus_name: str | None


@dataclass(frozen=True)
class Plan:
    """Names of the groups that one fold tests, and where it is prescribed, validates and trains on."""

    name: str
    test: Sequence[str]
    validation: Sequence[str] | None = None
    train: Sequence[str] | None = None


def make_split(
    corpus: Dataset, kind: str, *, n_folds: int = 5, seed: int = 0, corpus_name: str | None = None
) -> Split:
    """Split a corpus into folds.

    The folds do not depend on the order of the rows. Validation gets about a fifth of the speakers that are
    not tested, so every speaker-independent fold has three sides without a common speaker.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        kind: One of

            - ``leave-one-speaker-out``, or ``loso``: as many folds as speakers;
            - ``speaker-folds``: `n_folds`, with like shares of every class and gender;
            - ``by-session``: one fold per session, whose speakers are in no other;
            - ``emobox``, ``serab``, ``evar``, ``audeering``, ``pepino``: published folds of the corpus,
              or with ``emobox:ravdess`` of the one named; ``published`` for the first that has it;
            - ``grouped-by:session``, or another column: `n_folds` that share no session. Not called
              speaker-independent;
            - ``speaker-dependent``: `n_folds` at random, speakers shared.
        n_folds: Folds, where the kind has a choice.
        seed: Deals groups, or rows, in another order.
        corpus_name: Such as ``ravdess``, to find published folds by.

    Raises:
        SplitError: If the kind is unknown, the corpus lacks what it needs, speakers above all, or a class
            is missing from a fold's training side.
    """
    name, _, argument = kind.partition(":")
    name = {"loso": "leave-one-speaker-out"}.get(name, name)
    if name not in KINDS or (name == "grouped-by") > bool(argument):
        raise SplitError(
            f"there is no split {kind!r}; the splits are {', '.join(KINDS)}; "
            "grouped-by takes a column, as in --split grouped-by:session"
        )
    if argument and name not in TAKES_ARGUMENT:
        raise SplitError(f"the split {name} takes nothing behind a colon, and was given {argument!r}")
    return KINDS[name](Request(Rows.of(corpus), name, argument or None, n_folds, seed, corpus_name))


def _leave_one_speaker_out(request: Request) -> Split:
    groups = known_groups(request.rows, "speaker")
    plans = [Plan(name, [name]) for name in groups.members]
    return _split(request, groups, plans, f"leave one of {len(plans)} speakers out")


def _speaker_folds(request: Request) -> Split:
    groups = known_groups(request.rows, "speaker")
    return _split(request, groups, _dealt(request, groups), f"{request.n_folds} speaker-disjoint folds")


def _by_session(request: Request) -> Split:
    groups = known_groups(request.rows, "session")
    check_nested(request.rows, groups)
    plans = [Plan(name, [name]) for name in groups.members]
    return _split(request, groups, plans, f"leave one of {len(plans)} sessions out")


def _published(request: Request) -> Split:
    protocol = find_protocol(request.kind, request.argument or request.corpus_name)
    groups = known_groups(request.rows, protocol.column)
    check_nested(request.rows, groups)
    for problem, names in (
        ("are not in the corpus", protocol.groups - groups.members.keys()),
        ("are not in the published folds", groups.members.keys() - protocol.groups),
    ):
        if names:
            raise SplitError(
                f"{protocol.name}: these {protocol.column}s {problem}: {', '.join(sorted(names))}. "
                "Published folds want the published corpus, whole; use --split speaker-folds for another one"
            )
    plans = [
        Plan(name, fold["test"], fold.get("validation"), fold.get("train"))
        for name, fold in protocol.folds.items()
    ]
    n_test = sum(len(plan.test) for plan in plans)
    whole = (
        f"{len(plans)} folds" if len(plans) > 1 else f"{n_test} of {len(groups.members)} {protocol.column}s"
    )
    return _split(request, groups, plans, f"{protocol.name}, {whole} as published", name=protocol.name)


def _grouped_by(request: Request) -> Split:
    column = str(request.argument)
    if column not in GROUP_COLUMNS:
        hint = "; by speaker is --split speaker-folds" if column == "speaker" else ""
        raise SplitError(f"grouped-by takes one of {', '.join(GROUP_COLUMNS)}, not {column!r}{hint}")
    groups = known_groups(request.rows, column)
    description = f"{request.n_folds} folds that share no {column}, but may share speakers"
    return _split(
        request,
        groups,
        _dealt(request, groups),
        description,
        name=f"grouped-by:{column}",
        speaker_independent=False,
    )


def _speaker_dependent(request: Request) -> Split:
    rows, seed = request.rows, request.seed
    everyone = range(len(rows.ids))
    if not 2 <= request.n_folds <= len(rows.ids) // 2:
        raise SplitError(
            f"{len(rows.ids)} utterances cannot be dealt into {request.n_folds} folds: "
            f"give --n-folds from 2 to {len(rows.ids) // 2}"
        )
    folds = []
    for number, test in enumerate(_random_parts(rows, everyone, request.n_folds, str(seed)), 1):
        name = str(number)
        rest = sorted(set(everyone) - set(test))
        validation = _random_parts(rows, rest, N_VALIDATION_PARTS, f"{seed} {name}")[0]
        folds.append(_fold(rows, name, sorted(set(rest) - set(validation)), validation, test))
    return Split(
        request.kind,
        tuple(folds),
        speaker_independent=False,
        description=f"{request.n_folds} random folds that share speakers",
        notes=_notes(rows, folds),
    )


KINDS: dict[str, Callable[[Request], Split]] = {
    "leave-one-speaker-out": _leave_one_speaker_out,
    "speaker-folds": _speaker_folds,
    "by-session": _by_session,
    "emobox": _published,
    "serab": _published,
    "evar": _published,
    "audeering": _published,
    "pepino": _published,
    "published": _published,
    "grouped-by": _grouped_by,
    "speaker-dependent": _speaker_dependent,
}
TAKES_ARGUMENT = {name for name, make in KINDS.items() if make in (_published, _grouped_by)}


def _split(
    request: Request,
    groups: Groups,
    plans: Sequence[Plan],
    description: str,
    *,
    name: str | None = None,
    speaker_independent: bool = True,
) -> Split:
    """Fill in what the plans leave open, and turn groups into ids."""
    rows, folds = request.rows, []
    _refuse_one(groups)
    for plan in plans:
        rest = [group for group in groups.members if group not in plan.test]
        validation = plan.validation
        if validation is None:
            validation = validation_groups(groups, rest, f"{request.seed} {plan.name}")
        train = [group for group in rest if group not in validation]
        sides = [
            [row for group in side for row in groups.members[group]]
            for side in (train, validation, plan.test)
        ]
        folds.append(_fold(rows, plan.name, *sides))
    return Split(
        name or request.kind,
        tuple(folds),
        speaker_independent,
        description,
        _notes(rows, folds, groups.column),
    )


def _fold(rows: Rows, name: str, *sides: Iterable[int]) -> Fold:
    """Name the rows of three sides; refuse a training side that lacks a class."""
    train, validation, test = (tuple(sorted(rows.ids[row] for row in side)) for side in sides)
    lacking = set(rows.emotions.tolist()) - {int(rows.emotions[row]) for row in sides[0]}
    if lacking:
        emotions = ", ".join(rows.classes[code] for code in sorted(lacking))
        raise SplitError(
            f"fold {name}: no utterance of {emotions} is left to train on: too few speakers have it. "
            "Leave the emotion out of the corpus, or use a split with smaller test sides"
        )
    return Fold(name, train, validation, test)


def _notes(rows: Rows, folds: Sequence[Fold], column: str = "utterance") -> tuple[str, ...]:
    """Say which folds lack something that a reader would take for granted."""
    code = dict(zip(rows.ids, rows.emotions.tolist(), strict=True))
    everything = set(code.values())
    notes = []
    for fold in folds:
        lacking = everything - {code[id_] for id_ in fold.test_ids}
        if lacking:
            notes.append(
                f"fold {fold.name} does not test {', '.join(rows.classes[c] for c in sorted(lacking))}"
            )
    empty = [fold.name for fold in folds if not fold.validation_ids]
    if empty:
        notes.append(
            f"no {column} is left to choose settings on in {', '.join(empty)}: "
            "the head's default settings are used"
        )
    return tuple(notes)


def _refuse_one(groups: Groups) -> None:
    if len(groups.members) < 2:
        raise SplitError(
            f"the corpus has one {groups.column} only, and a test needs another than training: "
            "add recordings, or state --split speaker-dependent"
        )


def _dealt(request: Request, groups: Groups) -> list[Plan]:
    """Deal groups into `n_folds` test sides."""
    _refuse_one(groups)
    n_groups, n_folds = len(groups.members), request.n_folds
    if not 2 <= n_folds <= n_groups:
        raise SplitError(
            f"{n_groups} {groups.column}s cannot be dealt into {n_folds} folds: "
            f"give --n-folds from 2 to {n_groups}"
        )
    parts = balanced_parts(groups, list(groups.members), n_folds, str(request.seed))
    return [Plan(str(number), part) for number, part in enumerate(parts, 1)]


def _random_parts(rows: Rows, members: Sequence[int], n_parts: int, salt: str) -> list[list[int]]:
    """Deal rows in a random order, class after class, so that parts have like shares of every class."""
    order = sorted(members, key=lambda row: (rows.emotions[row], digest(salt, rows.ids[row])))
    return [order[part::n_parts] for part in range(n_parts)]
