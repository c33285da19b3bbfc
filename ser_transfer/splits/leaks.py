"""What an audit found, as values and as words; and which of it stops a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from ser_transfer.splits.folds import SplitError
from ser_transfer.tables import text_table

Kind = Literal["speakers", "identical-audio", "near-identical-audio", "sentences"]
Allowed = Literal["identical-audio", "near-identical-audio"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ALLOWED: tuple[Allowed, ...] = get_args(Allowed)
AUDIO: frozenset[Kind] = frozenset(ALLOWED)
SIDES = ("train", "validation", "test")
N_SHOWN = 3  # findings, and ids of each, that the text names


class LeakError(SplitError):
    """A split whose sides share what nobody asked them to share."""


@dataclass(frozen=True)
class Finding:
    """What two sides of a fold share; or, in no fold, recordings that stay on one side.

    Attributes:
        kind: What kind of thing.
        fold: Name of the fold; None for copies within one side of every fold.
        sides: The two sides; empty where `fold` is None.
        groups: Utterance ids, those on the first side first, by what they share: the speaker, the sentence,
            the audio key, or the first id of a take.
    """

    kind: Kind
    fold: str | None
    sides: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """Name the fold, its sides, and the first of what they share."""
        where = "on one side" if self.fold is None else f"fold {self.fold}, {' and '.join(self.sides)}"
        if self.kind in AUDIO:
            shown = [_shortened(ids, " = ") for ids in self.groups.values()]
        else:
            shown = list(self.groups)
        return f"{where}: {_shortened(shown, '; ')}"


@dataclass(frozen=True)
class Audit:
    """All that the folds of a split share; printing it prints a short text.

    Attributes:
        split: Name of the split.
        description: A few words on it.
        asked_for: What the split shares because it was asked to, by its name.
        looked_for: The kinds that could be looked for; what a corpus does not tell is not among them.
        findings: By kind, then by fold.
        notes: What a reader should know of the search.
    """

    split: str
    description: str
    asked_for: frozenset[Kind]
    looked_for: tuple[Kind, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """What makes a score on this split another thing than the split's name says.

        Sentences are never a leak: actors say the same few in every emotion, so they tell none.
        """
        harmless = self.asked_for | {"sentences"}
        return tuple(each for each in self.findings if each.fold is not None and each.kind not in harmless)

    def of(self, kind: Kind) -> list[Finding]:
        """What was found of one kind, copies within one side last."""
        return [finding for finding in self.findings if finding.kind == kind]

    def __str__(self) -> str:
        """Count what each two sides share, and name the first of it."""
        pairs = list(combinations(SIDES, 2))
        rows = [["shared", *(" and ".join(pair) for pair in pairs)]]
        rows += [[_words(kind), *(self._cell(kind, pair) for pair in pairs)] for kind in KINDS]
        lines = [f"what is shared in {self.description}:", "", text_table(rows), ""]
        for kind in KINDS:
            found = self.of(kind) if kind != "sentences" else []
            lines += [f"{_words(kind)}, {finding}" for finding in found[:N_SHOWN]]
            if len(found) > N_SHOWN:
                lines.append(
                    f"{_words(kind)}: and {len(found) - N_SHOWN} more times, in other folds and sides"
                )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), self._verdict()])

    def _cell(self, kind: Kind, sides: tuple[str, str]) -> str:
        found = [finding for finding in self.of(kind) if finding.sides == sides]
        if kind not in self.looked_for:
            return "unknown"
        if not found:
            return "none"
        n_things = len({name for finding in found for name in finding.groups})
        where = f"fold {found[0].fold}" if len(found) == 1 else f"{len(found)} folds"
        return f"{n_things} in {where}"

    def _verdict(self) -> str:
        leaks = list(dict.fromkeys(_words(leak.kind) for leak in self.leaks))
        if leaks:
            return f"LEAK: {' and '.join(leaks)} on two sides of a fold"
        asked = [_words(kind) for kind in KINDS if kind in self.asked_for and self._crosses(kind)]
        if asked:
            return f"{' and '.join(asked)} on two sides of a fold, as the split {self.split} asks for by name"
        clean = [_words(kind) for kind in self.looked_for if kind != "sentences"]
        return f"no {' and no '.join(clean)} on two sides of a fold"

    def _crosses(self, kind: Kind) -> bool:
        return any(finding.fold is not None for finding in self.of(kind))


def refuse_leaks(audit: Audit, allowed: Collection[str] = ()) -> None:
    """Stop at what a split shares, unless it was asked for by name.

    Args:
        audit: From `audit_split`.
        allowed: Kinds of audio that may be shared, from `allowed_leaks`. Shared speakers are asked for by the
            split's name instead, since they change what its score means.

    Raises:
        LeakError: If it leaks.
        SplitError: If `allowed` names what nobody can allow.
    """
    _check_allowed(allowed)
    leaks = [leak for leak in audit.leaks if leak.kind not in allowed]
    if not leaks:
        return
    lines, kinds = [], list(dict.fromkeys(leak.kind for leak in leaks))
    flag = ",".join(kind for kind in ALLOWED if kind in kinds or kind in allowed)
    for kind in kinds:
        found = [leak for leak in leaks if leak.kind == kind]
        more = f" (and {len(found) - 1} more times, in other folds and sides)" if len(found) > 1 else ""
        lines.append(f"{_words(kind)} on two sides of a fold: {found[0]}{more}. {_advice(kind, flag)}")
    raise LeakError(f"the split {audit.split} shares " + "\nIt also shares ".join(lines))


def allowed_leaks(text: str | None) -> tuple[str, ...]:
    """Read the value of ``--allow``: names, with commas between them.

    Raises:
        SplitError: If one names what nobody can allow.
    """
    names = () if text is None else tuple(text.split(","))
    _check_allowed(names)
    return names


def _check_allowed(names: Collection[str]) -> None:
    unknown = [name for name in names if name not in ALLOWED]
    if unknown:
        hint = "; " + _advice("speakers", "") if unknown[0].startswith("speaker") else ""
        raise SplitError(f"--allow takes {' or '.join(ALLOWED)}, or both, not {unknown[0]!r}{hint}")


def _advice(kind: Kind, flag: str) -> str:
    if kind in AUDIO:
        return f"Leave all but one copy out of the corpus, or state that it may be so: --allow {flag}"
    return "A split that shares speakers is asked for by name: --split speaker-dependent"


def _words(kind: Kind) -> str:
    return kind.replace("-audio", " audio")


def _shortened(texts: Sequence[str], between: str) -> str:
    more = f"{between}{len(texts) - N_SHOWN} more" if len(texts) > N_SHOWN else ""
    return between.join(texts[:N_SHOWN]) + more
