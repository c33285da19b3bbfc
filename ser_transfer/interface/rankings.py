"""Which scores may stand in one table: those of the same utterances, in the same folds, by one protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ser_transfer.interface.shown_run import ShownRun, ShownSystem

ABOVE = ("above its baseline", "95 % interval", "p")
HEADER = ("system", "UAR", "95 % interval", "WA", *ABOVE, "run")


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a ranking.

    Attributes:
        system: Its scores.
        runs: Names of the runs that have it with the same answers; several for a baseline or a floor only.
    """

    system: ShownSystem
    runs: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return its numbers in full; None where something was not measured."""
        system, above = self.system, self.system.above
        low, high = system.interval or (None, None)
        above_low, above_high = (above and above.interval) or (None, None)
        return {
            "system": system.name,
            "role": system.role,
            "runs": list(self.runs),
            "uar": system.scores.uar,
            "uar_low": low,
            "uar_high": high,
            "wa": system.scores.wa,
            "above_baseline": above and above.uar,
            "above_low": above_low,
            "above_high": above_high,
            "p_value": above and above.p_value,
        }


@dataclass(frozen=True, eq=False)
class Ranking:
    """Systems of all runs of one corpus, one split and one protocol, best first.

    Attributes:
        title: Corpus, split, n.
        warnings: What has to be quoted with every score of it.
        entries: By UAR.
    """

    title: str
    warnings: tuple[str, ...]
    entries: tuple[Entry, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, header first; without columns of differences where none was measured."""
        rows = [HEADER, *(_row(entry) for entry in self.entries)]
        if any(entry.system.above for entry in self.entries):
            return rows
        first = HEADER.index(ABOVE[0])
        return [(*row[:first], *row[first + len(ABOVE) :]) for row in rows]


def rankings(runs: Iterable[ShownRun]) -> list[Ranking]:
    """Part runs into rankings: those without a warning first, then the longest.

    Two runs share one only if corpus, split, emotions, protocol and every tested utterance with its fold and
    its true emotion are the same.
    """
    groups: dict[tuple[Any, ...], list[ShownRun]] = {}
    for run in runs:
        classes = run.systems[0].scores.classes
        # One corpus may be called by its name in a command and by its title in another.
        key = (run.warnings, run.corpus.casefold(), run.description, classes, run.tested)
        groups.setdefault(key, []).append(run)
    found: list[Ranking] = []
    n_of_title: dict[str, int] = {}
    for key in sorted(groups):
        first = groups[key][0]
        n_of_title[first.title] = number = n_of_title.get(first.title, 0) + 1
        title = first.title if number == 1 else f"{first.title} · other folds or labels ({number})"
        found.append(Ranking(title, first.warnings, _entries(groups[key])))
    return sorted(found, key=lambda each: (len(each.warnings), -len(each.entries)))


def _entries(runs: list[ShownRun]) -> tuple[Entry, ...]:
    """Sort by UAR; a baseline or floor that several runs share is one row."""
    shared: dict[tuple[object, ...], list[str]] = {}
    systems: dict[tuple[object, ...], ShownSystem] = {}
    for run in runs:
        for system in run.systems:
            is_reference = system.role in ("baseline", "floor")
            key = (system.role, system.name, system.scores.confusion, None if is_reference else run.name)
            shared.setdefault(key, []).append(run.name)
            systems.setdefault(key, system)
    entries = [Entry(system, tuple(shared[key])) for key, system in systems.items()]
    return tuple(
        sorted(entries, key=lambda each: (-each.system.scores.uar, each.system.role == "floor", each.runs))
    )


def _row(entry: Entry) -> tuple[str, ...]:
    system, (first, *others) = entry.system, entry.runs
    marked = {"baseline": " (baseline)", "floor": " (floor)"}.get(system.role, "")
    return (
        system.name + marked,
        f"{system.scores.uar:.3f}",
        "n/a" if system.interval is None else "{:.3f} to {:.3f}".format(*system.interval),
        f"{system.scores.wa:.3f}",
        *_difference(system),
        first + (f" and {len(others)} more" if others else ""),
    )


def _difference(system: ShownSystem) -> tuple[str, str, str]:
    if system.role in ("baseline", "floor"):
        return "", "", ""
    above = system.above
    if above is None:
        return "n/a", "n/a", "n/a"
    return (
        f"{above.uar:+.3f}",
        "n/a" if above.interval is None else "{:+.3f} to {:+.3f}".format(*above.interval),
        "n/a" if above.p_value is None else f"{above.p_value:.4f}",
    )
