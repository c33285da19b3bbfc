"""The figures of a run, each with its name, what it shows, and words for those who cannot see it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer import plots
from ser_transfer.metrics import coverage_curve, reliability
from ser_transfer.metrics.calibration import Abstention
from ser_transfer.plots import Drawing
from ser_transfer.runs.run import Run
from ser_transfer.runs.system import System

if TYPE_CHECKING:
    from ser_transfer.cross_validation import Labels
    from ser_transfer.store import Embeddings

MAX_MAPPED = 600  # utterances of a map: enough to see islands, and t-SNE takes 2 s for them, 10 s for 2000


@dataclass(frozen=True)
class Mapped:
    """What the map of a run is drawn from.

    Attributes:
        embeddings: Of one encoder.
        layers: Its layers, side by side.
        labels: Of the corpus.
    """

    embeddings: Embeddings
    layers: tuple[str, ...]
    labels: Labels


def figures(run: Run, mapped: Mapped | None = None) -> Iterator[Drawing]:
    """Draw a run.

    Args:
        run: Its systems.
        mapped: What to draw the map of emotions and speakers from; None draws none.
    """
    chance = 1 / len(run.systems[0].scores.classes)
    yield _leaderboard(run, chance)
    competing = [system for system in run.systems if system.role != "floor"]
    by_speaker = {system.name: found for system in competing if (found := system.uar_by_speaker())}
    if by_speaker:
        roles = {system.name: system.role for system in competing}
        yield Drawing(
            "speakers",
            "scores",
            plots.speaker_figure(_few(by_speaker, run), roles, run.title),
            "UAR of every speaker, over the emotions that the speaker has, worst first.",
            _speaker_words(run.leading),
        )
    curves = {system.name: curve for system in competing if (curve := _curve(system))}
    if curves:
        chosen = {system.name: _chosen(system) for system in competing if system.name in curves}
        yield Drawing(
            "layers",
            "layers",
            plots.layer_figure(curves, run.title, chance=chance, chosen=chosen),
            "UAR of each layer by itself, with its 95 % interval over speakers. Rings: how many folds chose "
            "the layer by itself on their validation speakers. Heads of the curve are fitted on the training "
            "speakers alone, those of the table on training and validation speakers.",
            _curve_words(curves),
        )
    if mapped is not None:
        yield _map(run, mapped)
    for system in dict.fromkeys((run.leading, *([run.baseline] if run.baseline else []))):
        yield from _of_system(run, system)


def slug(name: str) -> str:
    """Make a part of a file's name of a system's."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_")


def _leaderboard(run: Run, chance: float) -> Drawing:
    leaked = {} if run.leak is None else {each.name: each.scores.uar for each in run.leak.systems}
    rows = [
        plots.LeaderboardRow(each.name, each.role, each.scores.uar, each.interval, leaked.get(each.name))
        for each in run.systems
    ]
    told = "; ".join(f"{each.name} {each.scores.uar:.3f}" for each in run.systems)
    return Drawing(
        "leaderboard",
        "scores",
        plots.leaderboard_figure(rows, run.title, chance),
        "UAR with its 95 % interval over speakers."
        + (" Hollow: the same on a random split." if leaked else ""),
        f"UAR by system: {told}.",
    )


def _few(by_speaker: Mapping[str, Mapping[str, float]], run: Run) -> dict[str, Mapping[str, float]]:
    """Keep the leading system and the baseline: more marks per speaker cannot be told apart."""
    kept = [run.leading.name, *([run.baseline.name] if run.baseline else [])]
    return {name: by_speaker[name] for name in kept if name in by_speaker}


def _speaker_words(system: System) -> str:
    by_speaker = system.uar_by_speaker()
    worst, best = (pick(by_speaker, key=lambda name: by_speaker[name]) for pick in (min, max))
    return (
        f"UAR of {system.name} by speaker, from {by_speaker[worst]:.3f} (speaker {worst}) to "
        f"{by_speaker[best]:.3f} (speaker {best})."
    )


def _curve(system: System) -> dict[str, tuple[float, float, float]]:
    curve = {}
    for layer, scores in system.layer_curve().items():
        low, high = (scores.intervals or {}).get("uar", (scores.uar, scores.uar))
        curve[layer] = (scores.uar, low, high)
    return curve


def _chosen(system: System) -> dict[str, int]:
    """Count the folds that chose a layer by itself."""
    counts: Counter[str] = Counter()
    for choice in system.predictions.choices.values():
        for read in choice.columns.values():
            if len(read["layers"]) == 1:
                counts[read["layers"][0]] += 1
    return dict(counts)


def _curve_words(curves: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> str:
    best = {name: max(curve, key=lambda layer: curve[layer][0]) for name, curve in curves.items()}
    told = "; ".join(f"{name}: best {layer} at {curves[name][layer][0]:.3f}" for name, layer in best.items())
    return f"UAR by layer. {told}."


def _map(run: Run, mapped: Mapped) -> Drawing:
    embeddings, labels = mapped.embeddings, mapped.labels
    ids = [id_ for id_ in embeddings.utterance_ids if id_ in labels.emotions]
    if len(ids) > MAX_MAPPED:
        ids = sorted(np.random.default_rng(0).choice(ids, MAX_MAPPED, replace=False).tolist())
    order = {emotion: place for place, emotion in enumerate(labels.classes)}
    ids.sort(key=lambda id_: order[labels.emotions[id_]])
    features = embeddings.select(ids).concatenate(mapped.layers)[0]
    deviation = features.std(axis=0)
    points = plots.map_of((features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))
    title = f"{embeddings.encoder} on {run.corpus}, {len(ids)} utterances"
    return Drawing(
        "map",
        "layers",
        plots.map_figure(
            points, [labels.emotions[id_] for id_ in ids], [labels.speakers[id_] for id_ in ids], title
        ),
        "The embeddings laid out in two dimensions (t-SNE), coloured by emotion and by speaker: whichever "
        "colour falls into islands is what the encoder hears first. Distances between islands mean nothing.",
        f"Two scatter plots of the same {len(ids)} points, one coloured by emotion, one by speaker.",
    )


def _of_system(run: Run, system: System) -> Iterator[Drawing]:
    """Draw what is told of one system: classes, calibration, groups."""
    predictions, scores, name = system.predictions, system.scores, slug(system.name)
    title = f"{system.name}\n{run.title}"
    counts = np.array(scores.confusion)
    recalls = ", ".join(
        f"{emotion} {'n/a' if recall is None else f'{recall:.2f}'}"
        for emotion, recall in zip(scores.classes, scores.recall, strict=True)
    )
    yield Drawing(
        f"confusion_{name}",
        "classes",
        plots.confusion_figure(counts, scores.classes, title),
        f"{system.name}: what each true emotion was taken for, as shares of it.",
        f"Confusion matrix of {system.name}. Recall: {recalls}.",
    )
    yield Drawing(
        f"counts_{name}",
        "classes",
        plots.confusion_figure(counts, scores.classes, title, emphasis="counts"),
        f"{system.name}: the same in counts.",
        f"Confusion matrix of {system.name} in counts of utterances.",
    )
    by_class = [
        dict(zip(scores.classes, v, strict=True)) for v in (scores.precision, scores.recall, scores.f1)
    ]
    yield Drawing(
        f"per_class_{name}",
        "classes",
        plots.per_class_figure(by_class[0], by_class[1], by_class[2], title),
        f"{system.name}: precision, recall and F1 of each emotion.",
        f"Recall of {system.name}: {recalls}.",
    )
    shown = (predictions.probabilities, predictions.truth, predictions.classes)
    yield Drawing(
        f"roc_{name}",
        "classes",
        plots.roc_figure(*shown, title),
        f"{system.name}: ROC of each emotion against the rest, from probabilities of folds that had not "
        "trained on the utterance.",
        f"ROC curves of {system.name} by emotion; the areas stand in the legend.",
    )
    yield Drawing(
        f"precision_recall_{name}",
        "classes",
        plots.precision_recall_figure(*shown, title),
        f"{system.name}: precision against recall of each emotion; dotted, what guessing reaches.",
        f"Precision-recall curves of {system.name} by emotion; average precision stands in the legend.",
    )
    if predictions.histories:
        n_epochs = [len(history) for history in predictions.histories.values()]
        kept = {fold: choice.settings.get("best_epoch") for fold, choice in predictions.choices.items()}
        yield Drawing(
            f"training_{name}",
            "layers",
            plots.training_figure(predictions.histories, title, kept),
            f"{system.name}: loss and validation UAR by epoch, a line per fold. Marked is the epoch that was "
            "kept: of the highest UAR on the validation speakers.",
            f"Training curves of {system.name}, {min(n_epochs)} to {max(n_epochs)} epochs in "
            f"{len(n_epochs)} folds.",
        )
    yield from _calibration(system, title)
    if system.groups:
        yield Drawing(
            f"groups_{name}",
            "groups",
            plots.group_figure(system.groups, title),
            f"{system.name}: UAR by what the corpus tells of speaker and utterance, with 95 % intervals.",
            _worst_words(system),
        )


def _calibration(system: System, title: str) -> Iterator[Drawing]:
    predictions, told = system.predictions, system.calibration
    if told is None:
        return
    bins = [
        reliability(probabilities, predictions.truth, predictions.classes)
        for probabilities in (predictions.probabilities, predictions.calibrated)
    ]
    before, after = told["before"]["ece"], told["after"]["ece"]
    yield Drawing(
        f"reliability_{slug(system.name)}",
        "calibration",
        plots.reliability_figure(bins[0], bins[1], title),
        f"{system.name}: how often it is right at each confidence, before and after temperature scaling; the "
        "temperature was fitted on validation speakers, the curve is of test speakers.",
        f"Reliability of {system.name}: expected calibration error {before:.3f} before, {after:.3f} after.",
    )
    curve = coverage_curve(predictions.calibrated, predictions.truth, predictions.classes)
    kept = told["abstention"]
    marked = None
    if kept["threshold"] is not None:
        marked = Abstention(kept["threshold"], kept["coverage"], kept["accuracy"])
    yield Drawing(
        f"coverage_{slug(system.name)}",
        "calibration",
        plots.coverage_figure(
            [point.coverage for point in curve], [point.accuracy for point in curve], marked, title
        ),
        f"{system.name}: accuracy if only the most confident share is answered. Marked: the threshold that "
        f"reached an accuracy of {kept['wanted_accuracy']:.0%} on validation speakers.",
        f"Accuracy of {system.name} against the share answered.",
    )


def _worst_words(system: System) -> str:
    if system.worst is None:
        return f"UAR of {system.name} by group."
    column, value = system.worst
    return (
        f"UAR of {system.name} by group; lowest for {column} {value}: {system.groups[column][value].uar:.3f}."
    )
