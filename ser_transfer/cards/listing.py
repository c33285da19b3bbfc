"""The models of a folder of runs, with their scores: what `ser-transfer list` prints.

Only what a run wrote of itself is read, so that a folder of many is listed at once; a card checks more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_transfer.cards.run import RECIPE, is_of_one_model
from ser_transfer.cards.writing import interval, number, plain
from ser_transfer.places import local_folder
from ser_transfer.runs.files import METRICS
from ser_transfer.runs.found import run_folders
from ser_transfer.tables import text_table

LISTED = (f"*{RECIPE}", f"*{METRICS}", "*model/*config.json")


@dataclass(frozen=True)
class ListedRun:
    """A run of one model, as it says of itself.

    Attributes:
        name: Its folder under the root.
        folder: Its folder.
        corpus: That it was trained and tested on.
        encoder: Its encoder's name.
        head: Its head's, or ``"fine-tuned"``.
        split: How it was tested.
        uar: Unweighted average recall; None where it cannot be read.
        interval: Its 95 % interval over speakers; None where there is none.
        speaker_independent: Whether its folds keep speakers apart.
        has_model: Whether it kept a model, of which a card can be made.
        problem: Why it cannot be read; None where it can.
    """

    name: str
    folder: Path
    corpus: str = ""
    encoder: str = ""
    head: str = ""
    split: str = ""
    uar: float | None = None
    interval: tuple[float, float] | None = None
    speaker_independent: bool = False
    has_model: bool = False
    problem: str | None = None


def runs_in(folder: str | Path) -> list[ListedRun]:
    """List the runs of `train` and `finetune` under a folder.

    By corpus, speaker-independent ones first, best first; those that cannot be read at the end. Runs that
    keep no model of emotions (`compare`, `evaluate`, `pretrain`) are not listed.

    Args:
        folder: Such as ``outputs/``, or the folder of one run, here or at a URL. One that is not there has no
            runs.
    """
    root = local_folder(folder, LISTED)
    found = [run for name, path in run_folders(root) if (run := _listed(name, path)) is not None]
    return sorted(
        found,
        key=lambda run: (
            run.problem is not None,
            run.corpus.casefold(),
            not run.speaker_independent,
            -(run.uar or 0.0),
            run.name,
        ),
    )


def list_text(runs: Sequence[ListedRun]) -> str:
    """Lay out runs as a table; a score that is not speaker-independent says so beside itself."""
    rows: list[tuple[str, ...]] = [
        ("run", "corpus", "encoder", "head", "UAR", "95 % interval", "split", "model")
    ]
    problems = []
    for run in runs:
        if run.problem is not None:
            problems.append(f"{plain(run.name)}: {run.problem}")
            continue
        split = run.split if run.speaker_independent else f"NOT SPEAKER-INDEPENDENT: {run.split}"
        told = (run.name, run.corpus, run.encoder, run.head)
        scored = (number(run.uar), interval(run.interval), plain(split), "kept" if run.has_model else "-")
        rows.append((*map(plain, told), *scored))
    return "\n".join([*([text_table(rows)] if len(rows) > 1 else []), *problems])


def _listed(name: str, folder: Path) -> ListedRun | None:
    import yaml

    try:
        recipe = yaml.safe_load((folder / RECIPE).read_text(encoding="utf-8"))
        if not is_of_one_model(recipe):
            return None
        described = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        system = _leading(described["systems"])
        ends = (system["intervals"] or {}).get("uar")
        return ListedRun(
            name=name,
            folder=folder,
            corpus=str(described["corpus"]),
            encoder=str(recipe["encoder"]),
            head="fine-tuned" if "trained" in recipe else str(recipe["head"]),
            split=str(described["split"]["description"]),
            uar=float(system["uar"]),
            interval=None if ends is None else (float(ends[0]), float(ends[1])),
            speaker_independent=described["speaker_independent"] is True,
            has_model=(folder / "model").is_dir(),
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ) as error:
        told = f"no {error}" if isinstance(error, KeyError) else type(error).__name__
        return ListedRun(name, folder, problem=f"cannot be read ({told}): run it again")


def _leading(systems: dict[str, Any]) -> dict[str, Any]:
    """Take what was tested, not what it was held against."""
    tested = [each for each in systems.values() if each["role"] not in ("baseline", "floor")]
    best: dict[str, Any] = max(tested, key=lambda each: each["uar"])
    return best
