"""The folder that keeps a run.

Every table and plot is made from a run folder:

    outputs/<name>/
      recipe.yaml            the settings, defaults included
      metrics.json           scores of every system, their intervals, choices and calibration; the protocol
      predictions.parquet    one row per system and utterance: fold, truth, probabilities, temperature
      validation.parquet     the same of the validation sides, calibrated: what thresholds are found on
      speaker_dependent/     the same two tables under the split that leaks, where it was asked for
      leaderboard.md, .csv   the table
      report.html            all of it on one page, which opens from disk
      *.png, *.svg           the figures
      model/                 after a run of all folds: see `ser_transfer.model`; or a fine-tuned network
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ser_transfer._files import written_together
from ser_transfer.errors import SerTransferError
from ser_transfer.runs.answers import PREDICTIONS, VALIDATION, write_answers
from ser_transfer.runs.figures import Mapped, figures
from ser_transfer.runs.report import report
from ser_transfer.runs.run import Run
from ser_transfer.tables import markdown_table

METRICS = "metrics.json"
RETIRED = f".{METRICS}.retired"  # that of a run which is being replaced: it counts no more
MODEL = "model"
LEAK = "speaker_dependent"  # the folder of the tables of `Run.leak`

# What figures are called; what an earlier run left of them is cleared by these names.
FIGURES = (
    "leaderboard",
    "speakers",
    "layers",
    "map",
    "confusion_*",
    "counts_*",
    "per_class_*",
    "roc_*",
    "precision_recall_*",
    "reliability_*",
    "coverage_*",
    "groups_*",
    "training_*",
)


# What scores follow from, as patterns of a shell; and what only a training that goes on reads.
TABLES = (METRICS, PREDICTIONS, VALIDATION, f"{LEAK}/*.parquet")
NOT_READ = ("folds/*", "logs/*")

# Files by which a folder called model/ is known for one that a run has left.
MODELS = (
    ("head.skops",),
    ("config.json", "model.safetensors"),
    ("adapter_config.json", "adapter_model.safetensors"),
)


class RunError(SerTransferError):
    """A run folder that cannot be written or read."""


def save_run(
    run: Run,
    folder: Path,
    recipe: Mapping[str, Any],
    *,
    plots: bool = True,
    mapped: Mapped | None = None,
    keep_model: bool = False,
    write_model: Callable[[Path], None] | None = None,
) -> None:
    """Write the run folder; what an earlier run of the same name left in it is replaced.

    All of it is written beside the earlier run first, and takes its place once it is whole: until then the
    earlier one stays as it was, on a full disk too. From then on `METRICS` is there only if all the rest is.

    Args:
        run: What to keep.
        folder: Made if it is not there.
        recipe: The settings that led here.
        plots: Whether to draw the figures and the report too.
        mapped: What to draw the map of emotions and speakers from; None draws none.
        keep_model: Leave ``model/`` as it is: it is this run's already, not an earlier one's.
        write_model: Writes the model that belongs to the run into the folder that it is given; None where
            there is none.

    Raises:
        RunError: If the folder cannot be written.
    """
    try:
        with written_together(folder, last=METRICS) as part:
            _write(run, part, recipe, mapped, plots=plots)
            if write_model is not None:
                write_model(part / MODEL)
            _clear(folder, keep_model=keep_model)
        (folder / RETIRED).unlink(missing_ok=True)
    except (OSError, SerTransferError) as error:
        refused = error.__cause__ if isinstance(error, SerTransferError) else error
        number = getattr(refused, "errno", None)  # its words, and not those of a library around it
        told = os.strerror(number) if number else " ".join(str(error).split())
        raise RunError(f"cannot write the run to {folder}: {told}; name another with --out") from error


def _write(run: Run, folder: Path, recipe: Mapping[str, Any], mapped: Mapped | None, *, plots: bool) -> None:
    import yaml

    (folder / "recipe.yaml").write_text(yaml.safe_dump(dict(recipe), sort_keys=False), encoding="utf-8")
    write_answers(run.systems, folder)
    if run.leak is not None:
        (folder / LEAK).mkdir()
        write_answers(run.leak.systems, folder / LEAK)
    (folder / "leaderboard.md").write_text(_markdown(run), encoding="utf-8")
    (folder / "leaderboard.csv").write_text(_csv(run), encoding="utf-8")
    if plots:
        drawn = list(figures(run, mapped))
        for drawing in drawn:
            drawing.save(folder)
        report(run, drawn).save(folder / "report.html")
    text = json.dumps(run.metrics(), indent=2, ensure_ascii=False)
    (folder / METRICS).write_text(text + "\n", encoding="utf-8")


def retire_run(folder: Path) -> None:
    """Let an earlier run no longer count as whole, since another one begins to replace it.

    Raises:
        RunError: If the folder may not be written.
    """
    try:
        if (folder / METRICS).is_file():
            (folder / METRICS).replace(folder / RETIRED)
    except OSError as error:
        raise RunError(f"{folder} may not be written ({error.strerror}); name another with --out") from error


def _clear(folder: Path, *, keep_model: bool) -> None:
    """Remove what an earlier run left: its plots and its model would pass for this one's.

    Only in a folder that holds a run, and only what runs write: `--out` may name any folder. What a run
    resumes from, such as the folds of a fine-tuning, stays.
    """
    retire_run(folder)
    if not (folder / RETIRED).is_file():
        return
    for name in FIGURES:
        for path in (*folder.glob(f"{name}.png"), *folder.glob(f"{name}.svg")):
            path.unlink()
    for name in ("report.html", VALIDATION, f"{LEAK}/{PREDICTIONS}", f"{LEAK}/{VALIDATION}"):
        (folder / name).unlink(missing_ok=True)
    if (folder / LEAK).is_dir() and not any((folder / LEAK).iterdir()):
        (folder / LEAK).rmdir()
    model = folder / MODEL
    if not keep_model and any(all((model / name).is_file() for name in names) for names in MODELS):
        shutil.rmtree(model)


CSV_COLUMNS = (
    *("system", "role", "uar", "uar_low", "uar_high", "wa", "macro_f1"),
    *("above_baseline", "above_low", "above_high", "p_holm", "seconds", "n_parameters"),
    "speaker_independent",
)


def _markdown(run: Run) -> str:
    title = run.title.replace("\n", "  \n")
    return f"{title}\n\n{markdown_table(run.rows())}\n"


def _csv(run: Run) -> str:
    """The numbers in full, one row per system."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for system in run.systems:
        found = run.differences.get(system.name)
        above = (None,) * 4
        if found is not None:
            above = (found.uar, *(found.interval or (None, None)), found.p_value)
        scores, spent = system.scores, system.predictions
        row: list[Any] = [system.name, system.role, scores.uar, *(system.interval or (None, None))]
        row += [scores.wa, scores.macro_f1, *above, spent.seconds, spent.n_parameters]
        writer.writerow([*row, run.split.speaker_independent])
    return text.getvalue()
