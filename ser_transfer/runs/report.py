"""A run on one page: the table, what was chosen, and every figure with its words."""

from __future__ import annotations

from collections.abc import Sequence

from ser_transfer.pages import Page
from ser_transfer.plots import Drawing
from ser_transfer.runs.run import Run
from ser_transfer.runs.system import System

HOW_TO_READ = """\
UAR, the main score, is the mean of the recalls of all emotions: guessing reaches 1 / emotions, however \
frequent they are. Its 95 % interval is over speakers, who are what a new recording brings. What is chosen \
(layers, pooling, head, settings, fusion, temperature) is chosen on validation speakers inside each training \
fold; test speakers are scored once."""

MANY = 4  # layers beyond which their number says more than their names

SECTIONS = {
    "layers": ("Layers", "What each layer knows by itself, and what the embeddings look like."),
    "classes": ("Emotions", "What is taken for what. Probabilities come from folds without the speaker."),
    "calibration": (
        "How far to trust the probabilities",
        "Temperature scaling is fitted on validation speakers and shown on test speakers.",
    ),
    "groups": ("Who and what", "The same score by what the corpus tells of speakers and utterances."),
}


def report(run: Run, drawings: Sequence[Drawing]) -> Page:
    """Lay a run out as a page that opens from disk.

    Args:
        run: Its systems.
        drawings: Its figures.
    """
    page = Page(f"Emotion recognition on {run.corpus}", run.title.splitlines()[0])
    for warning in run.warnings:
        page.warning(warning)
    page.section("Scores", HOW_TO_READ)
    best = [each.name for each in run.systems].index(run.best.name)
    page.table(run.rows(), emphasised={best})
    if run.split.notes:
        page.list([*run.split.notes])
    _draw(page, drawings, "scores")
    if run.leak is not None:
        _leak(page, run)
    _choices(page, run)
    for section, (heading, text) in SECTIONS.items():
        if any(drawing.section == section for drawing in drawings):
            page.section(heading, text)
            _draw(page, drawings, section)
            if section == "calibration":
                page.table(_calibration_rows(run), "Before and after temperature scaling")
            if section == "groups":
                page.table(_group_rows(run.leading), f"{run.leading.name}, by group")
    if run.audit:
        page.section("What the split shares", "Looked for before anything was trained.")
        page.text(run.audit)
    return page


def _draw(page: Page, drawings: Sequence[Drawing], section: str) -> None:
    for drawing in drawings:
        if drawing.section == section:
            page.figure(drawing.figure, drawing.caption, drawing.alt, svg=drawing.svg)


def _leak(page: Page, run: Run) -> None:
    assert run.leak is not None
    page.section(
        "What a leak would add",
        "The same systems on a random split, with the same speakers on both sides. These are the numbers "
        "that most tutorials print; they say how well known voices are recognised.",
    )
    leaked = {system.name: system for system in run.leak.systems}
    rows = [("system", "honest UAR", "speaker-dependent UAR", "gap")]
    for system in run.systems:
        if system.name not in leaked:  # read back from a run that was not asked for it
            rows.append((system.name, f"{system.scores.uar:.3f}", "", ""))
            continue
        other = leaked[system.name].scores.uar
        gap = f"{other - system.scores.uar:+.3f}"
        rows.append((system.name, f"{system.scores.uar:.3f}", f"{other:.3f}", gap))
    page.table(rows)


def _choices(page: Page, run: Run) -> None:
    """Tell what each fold chose, where there was a choice."""
    page.section("What the folds chose", "On their validation speakers, whose UAR is the last column.")
    rows = [("system", "fold", "layers", "pooling", "head", "settings", "fusion", "validation UAR")]
    for system in run.systems:
        for fold, choice in system.predictions.choices.items():
            layers = "; ".join(
                f"{name}: " + (f"{len(read['layers'])} layers" if len(read["layers"]) > MANY else names)
                for name, read in choice.columns.items()
                for names in [", ".join(read["layers"])]
            )
            poolings = ", ".join(dict.fromkeys(read["pooling"] for read in choice.columns.values()))
            settings = ", ".join(f"{name} {_plain(value)}" for name, value in choice.settings.items())
            reached = "n/a" if choice.validation_uar is None else f"{choice.validation_uar:.3f}"
            rows.append(
                (system.name, fold, layers, poolings, choice.head, settings, choice.fusion or "", reached)
            )
    page.table(rows)


def _plain(value: object) -> str:
    """Write the settings of one member of a fusion as words, not as a dict."""
    if isinstance(value, dict):
        return " ".join(f"{name} {setting}" for name, setting in value.items())
    return str(value)


def _calibration_rows(run: Run) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("system", "ECE", "ECE scaled", "Brier", "Brier scaled", "wanted accuracy", "answered", "accuracy")
    ]
    for system in run.systems:
        told = system.calibration
        if told is None:
            continue
        kept = told["abstention"]
        reached = "n/a" if kept["accuracy"] is None else f"{kept['accuracy']:.3f}"
        rows.append(
            (
                system.name,
                *(f"{told[when]['ece']:.3f}" for when in ("before", "after")),
                *(f"{told[when]['brier']:.3f}" for when in ("before", "after")),
                f"{kept['wanted_accuracy']:.2f}",
                f"{kept['coverage']:.3f}",
                reached,
            )
        )
    return rows


def _group_rows(system: System) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("by", "group", "n", "speakers", "emotions", "UAR", "95 % interval", "")]
    for column, scores in system.groups.items():
        for name, found in scores.items():
            interval = (
                "n/a" if found.interval is None else f"{found.interval[0]:.3f} to {found.interval[1]:.3f}"
            )
            rows.append(
                (
                    column,
                    name,
                    str(found.n),
                    "n/a" if found.n_speakers is None else str(found.n_speakers),
                    str(len(found.classes)),
                    f"{found.uar:.3f}",
                    interval,
                    "lowest" if system.worst == (column, name) else "",
                )
            )
    return rows
