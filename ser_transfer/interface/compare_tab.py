"""The tab that compares finished runs: rankings, and one run in detail beside its handcrafted baseline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer import plots
from ser_transfer.interface.illustrated import beside, heading, illustrated, paragraph, remark, warning
from ser_transfer.interface.rankings import rankings
from ser_transfer.interface.saved_runs import FoundRuns, find_runs, reliability_of
from ser_transfer.interface.shown_run import ShownRun, ShownSystem
from ser_transfer.pages.elements import figure_element, list_element, table_element
from ser_transfer.runs import RunError

if TYPE_CHECKING:
    import gradio as gr

PARTED = "\n"  # a run's name from its system's
N_DRAWN = 32  # details that stay drawn: each takes seconds to draw, and about 700 kB

INTRODUCTION = """\
## Compare finished runs
Every run that lies in the folder of runs, best first. UAR, the score, is the mean of the recalls of all \
emotions; its 95 % interval is over speakers, who are what a new recording brings."""

NO_FOLDER = """\
## Compare finished runs
The page was started without a folder of runs. Start it with one to see their scores here:

    python -m ser_transfer.demo --runs outputs/"""

NO_RUNS = """\
No finished run lies in `{folder}` yet. This makes one in about a minute, without any download:

    python -m ser_transfer.quickstart

and this one of your own recordings, one folder per emotion:

    python -m ser_transfer.train --help

Then press “Look again”."""

CHOOSE = "Choose a run to see its figures."
HOW_TO_READ = (
    "Only scores of the same utterances in the same folds stand in one table. The difference is to the "
    "handcrafted baseline of the same run; its p value is corrected for the systems of that run (Holm)."
)
APART = (
    "These scores stand apart: they were got in a way that flatters, and may not be quoted beside those "
    "above."
)


def compare_tab(runs_folder: Path | None) -> None:
    """Place the tab's content; called inside the open tab.

    Args:
        runs_folder: Where runs lie, such as ``outputs/``; None where the page was given none.
    """
    import gradio as gr
    from gradio.events import api

    if runs_folder is None:
        gr.Markdown(NO_FOLDER)
        return
    found = find_runs(runs_folder)
    gr.Markdown(INTRODUCTION)
    with gr.Row():
        look_again = gr.Button("Look again", size="sm", scale=0, min_width=140, elem_id="compare-look-again")
    empty = gr.Markdown(NO_RUNS.format(folder=runs_folder), visible=not found.runs)
    board = illustrated(leaderboard(found), elem_id="compare-leaderboard")
    with gr.Column(visible=bool(found.runs)) as one_run:
        gr.Markdown("## One run in detail\nIts figures stand beside those of its handcrafted baseline.")
        with gr.Row():
            run = gr.Dropdown(
                _run_choices(found), value=None, label="Run", min_width=260, elem_id="compare-run"
            )
            system = gr.Dropdown([], value=None, label="System", min_width=260, elem_id="compare-system")
        detail = illustrated(remark(CHOOSE), elem_id="compare-detail")

    def look() -> tuple[Any, ...]:
        """Read the folder again."""
        now = find_runs(runs_folder)
        return (
            gr.Markdown(visible=not now.runs),
            leaderboard(now),
            gr.Column(visible=bool(now.runs)),
            gr.Dropdown(choices=_run_choices(now), value=None),
        )

    def choose(name: str | None) -> tuple[gr.Dropdown, str]:
        """List the systems of a run, its best first; the list's own change then draws that one."""
        chosen = find_runs(runs_folder).runs.get(name or "")
        if chosen is None:
            return gr.Dropdown(choices=[], value=None), _gone(name)
        # The run's name is in the value: a system of the same name in another run is another value.
        systems = [(each.name, f"{name}{PARTED}{each.name}") for each in chosen.competing]
        return gr.Dropdown(choices=systems, value=systems[0][1]), remark("Drawing the figures …")

    def show(value: str | None) -> str:
        """Draw one system of a run."""
        name, _, system_name = (value or "").partition(PARTED)
        chosen = find_runs(runs_folder).runs.get(name)
        by_name = {} if chosen is None else {each.name: each for each in chosen.competing}
        if chosen is None or system_name not in by_name:
            return _gone(value)
        return run_detail(chosen, by_name[system_name])

    def scores() -> list[dict[str, Any]]:
        """Every row of every ranking, best first, with the warnings that have to be quoted with it."""
        return [
            {"ranking": each.title, "warnings": list(each.warnings), **entry.to_dict()}
            for each in rankings(find_runs(runs_folder).runs.values())
            for entry in each.entries
        ]

    look_again.click(look, None, [empty, board, one_run, run], api_visibility="private")
    # `change`, as `select` is not told of choices made on the keyboard, and `input` is told of all twice.
    run.change(choose, run, [system, detail], api_visibility="private")
    system.change(show, system, detail, api_visibility="private")
    api(scores, api_name="leaderboard")


def leaderboard(found: FoundRuns) -> str:
    """Return all rankings of a folder as HTML: honest ones first, each of the others with its warning."""
    told = rankings(found.runs.values())
    plain = [each for each in told if not each.warnings]
    warned = [each for each in told if each.warnings]
    parts = [remark(HOW_TO_READ)] if told else []
    for each in plain:
        parts += [heading(each.title), table_element(each.rows(), "", {0})]
    if warned:
        parts += [heading("Not to be compared with the above"), remark(APART)]
    for each in warned:
        parts += [heading(each.title), *map(warning, each.warnings), table_element(each.rows(), "", ())]
    if found.refused:
        refusals = [f"{name}: {why}" for name, why in found.refused.items()]
        parts += [heading("Runs that cannot be shown"), list_element(refusals)]
    return "".join(parts)


@lru_cache(maxsize=N_DRAWN)
def run_detail(run: ShownRun, system: ShownSystem) -> str:
    """Return the figures of a system beside those of its run's baseline, as HTML."""
    baseline = run.baseline
    shown = [system] if baseline is None or baseline is system else [system, baseline]
    title = "\n".join([run.title, *run.warnings])
    parts = [heading(f"{system.name} in {run.name}"), paragraph(run.title), *map(warning, run.warnings)]
    if baseline is None:
        parts.append(remark("This run has no handcrafted baseline to stand beside."))
    parts += [heading("What is taken for what"), beside(_confusion(each, title) for each in shown)]
    parts += [heading("Each emotion"), table_element(_recalls(shown), "Recall by emotion", ())]
    parts.append(beside(_per_class(each, title) for each in shown))
    parts += [heading("Layers"), _layers(run, title)]
    parts += [heading("How far to trust the probabilities")]
    parts.append(beside(_reliability(run, each, title) for each in shown))
    return "".join(parts)


def _run_choices(found: FoundRuns) -> list[tuple[str, str]]:
    return [(f"{name} · {run.corpus}", name) for name, run in sorted(found.runs.items())]


def _gone(name: str | None) -> str:
    if name is None:
        return remark(CHOOSE)
    return paragraph("This run is not in the folder any more: press “Look again” and choose another.")


def _confusion(system: ShownSystem, title: str) -> str:
    classes = system.scores.classes
    figure = plots.confusion_figure(np.array(system.scores.confusion), classes, f"{system.name}\n{title}")
    recalls = ", ".join(f"{emotion} {_two(share)}" for emotion, share in system.recall_by_emotion().items())
    mistakes = "; ".join(_mistakes(system))
    return figure_element(
        figure,
        f"{system.name}: what each true emotion was taken for, as shares of it."
        + (f" Most often mistaken: {mistakes}." if mistakes else ""),
        f"Confusion matrix of {system.name}. Recall: {recalls}.",
    )


def _mistakes(system: ShownSystem) -> Iterator[str]:
    """Name the three largest shares off the diagonal."""
    counts, classes = np.array(system.scores.confusion, float), system.scores.classes
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0.0)
    for place in np.argsort(-shares, axis=None, kind="stable")[:3]:
        truth, answer = np.unravel_index(place, shares.shape)
        if shares[truth, answer] > 0:
            yield f"{classes[truth]} for {classes[answer]} ({shares[truth, answer]:.0%})"


def _recalls(shown: list[ShownSystem]) -> list[tuple[str, ...]]:
    by_system = [system.recall_by_emotion() for system in shown]
    rows = [("emotion", *(system.name for system in shown), *(["difference"] if len(shown) > 1 else []))]
    for emotion in by_system[0]:
        recalls = [recall.get(emotion) for recall in by_system]
        cells = [emotion, *map(_two, recalls)]
        if len(shown) > 1:
            known = recalls[0] is not None and recalls[1] is not None
            cells.append(f"{recalls[0] - recalls[1]:+.2f}" if known else "n/a")  # type: ignore[operator]
        rows.append(tuple(cells))
    return rows


def _per_class(system: ShownSystem, title: str) -> str:
    scores = system.scores
    precision, recall, f1 = (
        dict(zip(scores.classes, values, strict=True))
        for values in (scores.precision, scores.recall, scores.f1)
    )
    told = "; ".join(
        f"{emotion}: {_two(precision[emotion])}, {_two(recall[emotion])}, {_two(f1[emotion])}"
        for emotion in scores.classes
    )
    return figure_element(
        plots.per_class_figure(precision, recall, f1, f"{system.name}\n{title}"),
        f"{system.name}: precision, recall and F1 of each emotion.",
        f"Precision, recall and F1 of {system.name} by emotion. {told}.",
    )


def _layers(run: ShownRun, title: str) -> str:
    """Draw every curve of the run: layers are compared across encoders, the untrained one included."""
    curves = {each.name: each.layers for each in run.competing if each.layers}
    if not curves:
        return remark("No layer of this run was scored by itself.")
    best = {name: max(curve, key=lambda layer: curve[layer][0]) for name, curve in curves.items()}
    told = "; ".join(f"{name}: best {layer} at {curves[name][layer][0]:.3f}" for name, layer in best.items())
    chosen = {
        each.name: {layer: n for layer, n in each.chosen.items() if layer in each.layers}
        for each in run.competing
        if each.layers
    }
    chance = 1 / len(run.systems[0].scores.classes)
    return figure_element(
        plots.layer_figure(curves, title, chance=chance, chosen=chosen),
        "UAR of each layer by itself, with its 95 % interval over speakers. Rings: how many folds chose the "
        f"layer by itself on their validation speakers. {told}.",
        f"UAR by layer. {told}.",
    )


def _reliability(run: ShownRun, system: ShownSystem, title: str) -> str:
    try:
        before, after = reliability_of(run, system)
    except RunError as error:
        return paragraph(f"{system.name}: {error}.")
    if system.ece is None:
        told = "its probabilities as it gave them; they were not calibrated."
    else:
        told = f"expected calibration error {system.ece[0]:.3f} before, {system.ece[1]:.3f} after scaling."
    return figure_element(
        plots.reliability_figure(before, after, f"{system.name}\n{title}"),
        f"{system.name}: how often it is right at each confidence, on test speakers; {told}",
        f"Reliability of {system.name}: {told}",
    )


def _two(share: float | None) -> str:
    return "n/a" if share is None else f"{share:.2f}"
