"""A run: systems scored on the same folds of one corpus."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from importlib.metadata import version
from typing import Any

from ser_transfer import __version__
from ser_transfer.cross_validation import Search
from ser_transfer.metrics import Difference, difference, holm
from ser_transfer.runs.system import System, ranked
from ser_transfer.splits import Split
from ser_transfer.tables import text_table

FORMAT = 1  # of metrics.json and the tables beside it; a reader refuses what is newer

# Libraries whose version can move a score.
LIBRARIES = ("numpy", "scikit-learn", "scipy", "librosa", "torch", "transformers", "soxr")


@dataclass(frozen=True, eq=False)
class Run:
    """Systems scored on the same folds of one corpus.

    Attributes:
        corpus: Its name.
        split: The folds, and whether speakers stand on one side only.
        search: What each fold could choose from; None where nothing was searched.
        speaker_normalised: Whether features were standardised within each speaker.
        systems: Best first; the baseline where there is one, and the floor at the end.
        leak: The systems under the speaker-dependent split, where it was asked what a leak is worth; those of
            runs that were read back may be missing there.
        audit: What the split shares between its sides, in words.
    """

    corpus: str
    split: Split
    search: Search | None
    speaker_normalised: bool
    systems: tuple[System, ...]
    leak: Run | None = None
    audit: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What anyone who quotes the score has to quote with it."""
        found = []
        if not self.split.speaker_independent:
            found.append(f"NOT SPEAKER-INDEPENDENT: {self.split.description}")
        if self.speaker_normalised:
            found.append("SPEAKER-NORMALISED: uses unlabelled statistics of the test speakers")
        return tuple(found)

    @property
    def title(self) -> str:
        """Corpus, split, n: what stands above every table and plot."""
        scores = self.systems[0].scores
        n_utterances = sum(map(sum, scores.confusion))
        speakers = "speakers unknown" if scores.n_speakers is None else f"{scores.n_speakers} speakers"
        stamped = "".join(f"\n{warning}" for warning in self.warnings)
        return f"{self.corpus} · {self.split.description} · n = {n_utterances}, {speakers}{stamped}"

    @property
    def baseline(self) -> System | None:
        """The handcrafted system that differences are taken to."""
        return next((system for system in self.systems if system.role == "baseline"), None)

    @property
    def best(self) -> System:
        """The system with the highest UAR."""
        return ranked(self.systems)[0]

    @property
    def leading(self) -> System:
        """The best of what is tested: of encoders and fusions, where there is one."""
        tested = [system for system in self.systems if system.role in ("encoder", "fusion")]
        return ranked(tested or self.systems)[0]

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """UAR above the baseline's, by system; p values corrected for the number of comparisons (Holm)."""
        baseline = self.baseline
        if baseline is None:
            return {}
        found = {
            system.name: difference(
                system.predictions.truth,
                system.predictions.predicted,
                baseline.predictions.predicted,
                system.predictions.classes,
                system.predictions.speakers,
            )
            for system in self.systems
            if system.role not in ("baseline", "floor")
        }
        corrected = holm([each.p_value for each in found.values()])
        return {
            name: replace(each, p_value=p_value)
            for (name, each), p_value in zip(found.items(), corrected, strict=True)
        }

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, header first.

        ``fit s`` is what choosing, fitting and testing took in all folds; ``fitted`` how many numbers were
        fitted, the mean over folds. Columns of the leak are empty for systems that were not run on it.
        """
        header: tuple[str, ...] = ("system", "UAR", "95 % interval", "WA", "macro-F1")
        if self.baseline is not None:
            header += (f"above {self.baseline.name}", "95 % interval", "p")
        if self.leak is not None:
            header += ("speaker-dependent", "gap")
        rows = [(*header, "fit s", "fitted")]
        leaked = {} if self.leak is None else {system.name: system.scores.uar for system in self.leak.systems}
        for system in self.systems:
            row: tuple[str, ...] = (
                system.name + {"baseline": " (baseline)"}.get(system.role, ""),
                f"{system.scores.uar:.3f}",
                _interval(system.interval),
                f"{system.scores.wa:.3f}",
                f"{system.scores.macro_f1:.3f}",
            )
            if self.baseline is not None:
                row += _difference(self.differences.get(system.name))
            if self.leak is not None:
                row += _leak(leaked.get(system.name), system.scores.uar)
            is_floor = system.role == "floor"
            seconds = "" if is_floor else f"{system.predictions.seconds:.1f}"
            rows.append((*row, seconds, "" if is_floor else f"{system.predictions.n_parameters:,}"))
        return rows

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            "format": FORMAT,
            "corpus": self.corpus,
            "split": {
                "name": self.split.name,
                "description": self.split.description,
                "folds": [fold.name for fold in self.split.folds],
                "notes": list(self.split.notes),
            },
            "speaker_independent": self.split.speaker_independent,
            "speaker_normalised": self.speaker_normalised,
            "warnings": list(self.warnings),
            "audit": self.audit.splitlines(),
            "search": None if self.search is None else asdict(self.search),
            "systems": {
                system.name: {**system.to_dict(), **self._against_baseline(system)} for system in self.systems
            },
            "speaker_dependent": None if self.leak is None else self.leak.metrics(),
            "versions": {"ser_transfer": __version__, "python": platform.python_version()}
            | {library: version(library) for library in LIBRARIES},
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def _against_baseline(self, system: System) -> dict[str, Any]:
        found = self.differences.get(system.name)
        return {} if found is None else {"above_baseline": asdict(found)}

    @classmethod
    def joined(cls, runs: Sequence[Run]) -> Run:
        """Join runs of several encoders on the same folds, best first."""
        systems: Mapping[str, System] = {system.name: system for run in runs for system in run.systems}
        return replace(runs[0], systems=tuple(ranked(list(systems.values()))))

    def _of_leading(self) -> Iterator[str]:
        """Name the group that the leading system understands least, and say how often it can answer."""
        leading = self.leading
        if leading.worst is not None:
            column, value = leading.worst
            found = leading.groups[column][value]
            told = f"{column} {value}, UAR {found.uar:.3f} (n = {found.n})"
            yield f"lowest group of {leading.name}: {told}"
        if leading.calibration is not None:
            kept = leading.calibration["abstention"]
            right = "" if kept["accuracy"] is None else f"; {kept['accuracy']:.1%} of them are"
            yield (
                f"with {kept['wanted_accuracy']:.0%} of its answers to be right, {leading.name} answers "
                f"{kept['coverage']:.0%} of the test recordings{right} (threshold from validation speakers)"
            )

    def __str__(self) -> str:
        notes = "".join(f"\nnote: {note}" for note in self.split.notes)
        told = [self.title, "", text_table(self.rows()) + notes]
        told += self._of_leading()
        if self.leak is not None:
            told.append(
                "speaker-dependent: the same on a random split, speakers on both sides; the gap is what that "
                "leak adds. Never quote that column as recognition of new speakers."
            )
        return "\n".join(told)


def _interval(interval: tuple[float, float] | None) -> str:
    return "n/a" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _leak(leaked: float | None, uar: float) -> tuple[str, str]:
    return ("", "") if leaked is None else (f"{leaked:.3f}", f"{leaked - uar:+.3f}")


def _difference(found: Difference | None) -> tuple[str, str, str]:
    if found is None:
        return "", "", ""
    interval = "n/a" if found.interval is None else f"{found.interval[0]:+.3f} to {found.interval[1]:+.3f}"
    p_value = "n/a" if found.p_value is None else f"{found.p_value:.4f}"
    return f"{found.uar:+.3f}", interval, p_value
