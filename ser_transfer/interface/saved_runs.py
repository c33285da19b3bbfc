"""The finished runs of a folder, read for showing: their numbers, without the corpus they were scored on.

`ser_transfer.runs.saved_run` scores a run again, and wants the labels of its corpus for that. A page shows
what the run wrote of itself, and only checks that the answers beside its numbers are those they are of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.interface.shown_run import ShownRun, ShownSystem, read_system
from ser_transfer.metrics import Reliability, confusion_matrix, reliability, with_temperature
from ser_transfer.runs import RunError
from ser_transfer.runs.answers import PREDICTIONS, read_table
from ser_transfer.runs.files import LEAK, METRICS
from ser_transfer.runs.found import run_folders
from ser_transfer.runs.run import FORMAT

if TYPE_CHECKING:
    import pyarrow

LEAKED = " (speaker-dependent)"  # follows a run's name where its split that leaks is shown
N_KEPT = 256  # runs that stay in memory between two looks at the folder, about 100 kB each


@dataclass(frozen=True)
class FoundRuns:
    """What a folder of runs holds.

    Attributes:
        runs: Those that can be shown, by name.
        refused: Why others cannot be, by name.
    """

    runs: Mapping[str, ShownRun]
    refused: Mapping[str, str]


def find_runs(root: Path) -> FoundRuns:
    """Read every run under a folder; what cannot be read is told, and costs the others nothing.

    The same systems under the split that leaks, where a run was asked what a leak is worth, are a run of
    their own here.

    Args:
        root: Such as ``outputs/``, or the folder of one run. One that is not there has no runs.
    """
    runs: dict[str, ShownRun] = {}
    refused = {}
    for name, folder in run_folders(root):
        for part in (name, name + LEAKED):
            try:
                run = read_run(folder, part)
            except RunError as error:
                refused[part] = str(error)
                break
            if run is not None:
                runs[part] = run
    return FoundRuns(runs, refused)


def read_run(folder: Path, name: str) -> ShownRun | None:
    """Read a run.

    Args:
        folder: The run's.
        name: What messages and the page call it; where it ends in `LEAKED`, what the run scored under the
            split that leaks is read.

    Returns:
        The run; None where it was not asked what a leak is worth.

    Raises:
        RunError: If its files are damaged, of a newer version, or do not belong together.
    """
    tables = folder / LEAK if name.endswith(LEAKED) else folder
    # A finished run is not read again until one of its files is another.
    return _read(folder, tables, name, _stamp(folder / METRICS), _stamp(tables / PREDICTIONS))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=N_KEPT)
def _read(folder: Path, tables: Path, name: str, *_stamps: object) -> ShownRun | None:
    try:
        described = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{METRICS} cannot be read ({type(error).__name__}): run it again") from error
    number = described.get("format", 0) if isinstance(described, dict) else None
    # Runs older than the first number have the same scores, and less beside them.
    if not isinstance(number, int):
        raise RunError(f"{METRICS} is damaged: run it again")
    if number > FORMAT:
        raise RunError("it was written by a newer ser_transfer: pip install -U ser-transfer")
    if tables != folder:
        described = described.get("speaker_dependent")
    try:
        return None if described is None else _run(described, name, tables)
    except RunError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(
            f"{METRICS} and the tables beside it do not fit together ({told}): run it again"
        ) from error


def _run(described: Mapping[str, Any], name: str, folder: Path) -> ShownRun:
    systems = [read_system(system, told) for system, told in described["systems"].items()]
    if not systems:
        raise ValueError("no system")
    independent, normalised = described["speaker_independent"], described["speaker_normalised"]
    if not (isinstance(independent, bool) and isinstance(normalised, bool)):
        raise TypeError("whether it is speaker-independent is not told")
    return ShownRun(
        name,
        folder,
        str(described["corpus"]),
        str(described["split"]["description"]),
        independent,
        normalised,
        tuple(sorted(systems, key=lambda system: (system.role == "floor", -system.scores.uar))),
        _checked_against_answers(systems, folder),
    )


def _checked_against_answers(systems: Sequence[ShownSystem], folder: Path) -> str:
    """Refuse a run whose tables are not those of its scores; return the digest of what it tested.

    A run that was cut short while it replaced another leaves such tables behind.
    """
    columns = ["system", "fold", "utterance_id", "truth", "predicted"]
    answers = _answers(folder).select(columns).to_pandas().astype(str)
    tested: list[str] = []
    for system in systems:
        rows = answers[answers["system"] == system.name]
        counts = confusion_matrix(rows["truth"].tolist(), rows["predicted"].tolist(), system.scores.classes)
        if not np.array_equal(counts, np.array(system.scores.confusion)):
            raise ValueError(f"{system.name} has other answers than scores")
        if not tested:
            tested = sorted(rows["fold"] + "\x1f" + rows["utterance_id"] + "\x1f" + rows["truth"])
    return hashlib.sha256("\x1e".join(tested).encode()).hexdigest()


def _answers(folder: Path) -> pyarrow.Table:
    try:
        return read_table(folder / PREDICTIONS)
    except FileNotFoundError as error:
        raise RunError(f"{PREDICTIONS} is not there, which belongs to the run: run it again") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{PREDICTIONS} is damaged: run it again") from error


def reliability_of(run: ShownRun, system: ShownSystem) -> tuple[Reliability, Reliability | None]:
    """Hold a system's confidence against how often it is right, on the test speakers.

    Args:
        run: That it belongs to.
        system: One of its systems.

    Returns:
        Of the probabilities as the system gave them, and of the same after temperature scaling; None there
        where not every fold had a temperature.

    Raises:
        RunError: If the table of answers is not there, is damaged, or holds no probabilities.
    """
    table = _answers(run.tables)
    try:
        rows = table.to_pandas().query("system == @system.name")
        classes, truth = system.scores.classes, rows["truth"].tolist()
        given = rows[[f"p_{emotion}" for emotion in classes]].to_numpy(float)
        temperatures = (
            rows["temperature"].to_numpy(float) if "temperature" in rows else np.full(len(rows), np.nan)
        )
        before = reliability(given, truth, classes)
        if np.isnan(temperatures).any():
            return before, None
        scaled = given.copy()
        for temperature in np.unique(temperatures):
            its = temperatures == temperature
            scaled[its] = with_temperature(given[its], float(temperature))
        return before, reliability(scaled, truth, classes)
    except (KeyError, ValueError) as error:
        raise RunError(f"{PREDICTIONS} holds no usable probabilities of {system.name}") from error
