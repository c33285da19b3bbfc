"""Across corpora: trained on one, tested on another, on the emotions that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ser_transfer.contest.contest import Contender, run_contest
from ser_transfer.cross_validation import Labels, Predictions, Search, TrainingError
from ser_transfer.metrics import Scores, score
from ser_transfer.pages import Page
from ser_transfer.plots import Drawing, matrix_figure
from ser_transfer.runs import RunError, slug
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings
from ser_transfer.tables import text_table

DIAGONAL = (
    "UAR (95 % interval over speakers); on the diagonal, speakers left out of the corpus's own training"
)


@dataclass(frozen=True)
class Corpus:
    """One corpus of a crossing.

    Attributes:
        name: Its name.
        labels: Of the utterances with an emotion that all corpora have.
        split: Within it, for the diagonal and for choosing on validation speakers.
        embeddings: Per encoder name.
    """

    name: str
    labels: Labels
    split: Split
    embeddings: Mapping[str, Embeddings]


@dataclass(frozen=True)
class Crossing:
    """Scores by training corpus and test corpus, one encoder each.

    Attributes:
        corpora: Names of rows and columns.
        classes: The emotions that all of them have.
        scores: Per system, training corpus and test corpus.
    """

    corpora: tuple[str, ...]
    classes: tuple[str, ...]
    scores: Mapping[str, Mapping[tuple[str, str], Scores]]

    @property
    def title(self) -> str:
        """What stands above the matrix."""
        return (
            f"trained on one corpus, tested on another, {len(self.classes)} emotions that all have: "
            f"{', '.join(self.classes)}"
        )

    def rows(self, system: str) -> list[tuple[str, ...]]:
        """The matrix of one system as text: training corpora in rows, test corpora in columns."""
        rows = [("trained on", *(f"tested on {name}" for name in self.corpora))]
        for train in self.corpora:
            cells = []
            for test in self.corpora:
                found = self.scores[system][train, test]
                interval = (found.intervals or {}).get("uar")
                told = "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"
                cells.append(f"{found.uar:.3f}{told}")
            rows.append((train, *cells))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return what `cross.json` holds: per system, training and test corpus."""
        return {
            "classes": list(self.classes),
            "systems": {
                system: {
                    train: {test: found[train, test].to_dict() for test in self.corpora}
                    for train in self.corpora
                }
                for system, found in self.scores.items()
            },
        }

    def __str__(self) -> str:
        tables = [f"{system}\n{text_table(self.rows(system))}" for system in self.scores]
        return "\n\n".join([self.title, *tables, DIAGONAL])


def common_classes(labels: Sequence[Labels]) -> tuple[str, ...]:
    """Name the emotions that every corpus has, in vocabulary order.

    Raises:
        TrainingError: If there are fewer than two.
    """
    shared = [emotion for emotion in labels[0].classes if all(emotion in each.classes for each in labels)]
    if len(shared) < 2:
        raise TrainingError(
            f"the corpora share {len(shared)} emotions ({', '.join(shared) or 'none'}), and two are needed: "
            "bring them together with --label-map"
        )
    return tuple(shared)


def restricted(labels: Labels, classes: Sequence[str]) -> Labels:
    """Keep the utterances of some emotions."""
    kept = {id_: emotion for id_, emotion in labels.emotions.items() if emotion in classes}
    return replace(labels, emotions=kept, classes=tuple(classes))


def cross_corpora(
    corpora: Sequence[Corpus],
    systems: Mapping[str, Sequence[str]],
    search: Search,
    *,
    cache: Path | None = None,
    n_jobs: int = 1,
    on_fold: Callable[[int, str], None] = lambda n_folds, name: None,
) -> Crossing:
    """Train on each corpus and test on each: the diagonal on speakers left out, the rest on all of the other.

    Off the diagonal everything is chosen on validation speakers of the training corpus. Nothing of the test
    corpus is used but its utterances, scored once.

    Args:
        corpora: Two or more, with distinct names.
        systems: Names of encoders by system; several are fused.
        search: What may be chosen.
        cache: See `run_contest`.
        n_jobs: See `run_contest`.
        on_fold: See `run_contest`.
    """
    scores: dict[str, dict[tuple[str, str], Scores]] = {name: {} for name in systems}
    for train in corpora:
        for test in corpora:
            labels, split = (
                (train.labels, train.split) if train is test else (_both(train, test), _crossed(train, test))
            )
            contenders = [
                Contender(name, "encoder", tuple(_members(train, test, encoders)))
                for name, encoders in systems.items()
            ]
            found = run_contest(
                contenders, labels, split, search, cache=cache, n_jobs=n_jobs, on_fold=on_fold
            )
            for name, predictions in found.items():
                scores[name][train.name, test.name] = _scored(predictions)
    return Crossing(tuple(corpus.name for corpus in corpora), corpora[0].labels.classes, scores)


def _scored(predictions: Predictions) -> Scores:
    return score(predictions.truth, predictions.predicted, predictions.classes, predictions.speakers)


def _prefixed(corpus: Corpus, ids: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{corpus.name}:{id_}" for id_ in ids)


def _both(train: Corpus, test: Corpus) -> Labels:
    """Merge the labels of two corpora; ids and speakers carry their corpus's name."""
    emotions, speakers = {}, {}
    for corpus in (train, test):
        for id_, emotion in corpus.labels.emotions.items():
            [name] = _prefixed(corpus, [id_])
            speaker = corpus.labels.speakers[id_]
            emotions[name] = emotion
            speakers[name] = None if speaker is None else f"{corpus.name}:{speaker}"
    return Labels(emotions, speakers, train.labels.classes)


def _crossed(train: Corpus, test: Corpus) -> Split:
    """One fold: the first fold's validation speakers of one corpus to choose on, all of the other to test."""
    validation = set(train.split.folds[0].validation_ids)
    rest = [id_ for id_ in train.labels.emotions if id_ not in validation]
    fold = Fold(
        f"{train.name} to {test.name}",
        tuple(sorted(_prefixed(train, rest))),
        tuple(sorted(_prefixed(train, list(validation)))),
        tuple(sorted(_prefixed(test, list(test.labels.emotions)))),
    )
    return Split("across corpora", (fold,), True, f"trained on {train.name}, tested on {test.name}")


def _members(train: Corpus, test: Corpus, encoders: Sequence[str]) -> Iterator[Embeddings]:
    for encoder in encoders:
        first = train.embeddings[encoder]
        if train is test:
            yield first.select(train.labels.emotions)
            continue
        sides = [corpus.embeddings[encoder].select(corpus.labels.emotions) for corpus in (train, test)]
        ids = [
            id_
            for corpus, side in zip((train, test), sides, strict=True)
            for id_ in _prefixed(corpus, side.utterance_ids)
        ]
        layers = {name: np.concatenate([side.layers[name] for side in sides]) for name in first.layers}
        yield replace(first, utterance_ids=tuple(ids), layers=layers)


def save_crossing(crossing: Crossing, folder: Path, recipe: Mapping[str, Any], *, plots: bool = True) -> None:
    """Write ``cross.json``, the recipe, one figure per system, and ``report.html``.

    Raises:
        RunError: If the folder cannot be written.
    """
    import yaml

    page = Page("Across corpora", f"{crossing.title}. {DIAGONAL}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(dict(recipe), sort_keys=False), encoding="utf-8")
        for system in crossing.scores if plots else ():
            drawing = _drawing(crossing, system)
            drawing.save(folder)
            page.section(system)
            page.figure(drawing.figure, drawing.caption, drawing.alt, svg=drawing.svg)
            page.table(crossing.rows(system))
        if plots:
            page.save(folder / "report.html")
        text = json.dumps(crossing.to_dict(), indent=2, ensure_ascii=False)
        (folder / "cross.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; name another with --out") from error


def _drawing(crossing: Crossing, system: str) -> Drawing:
    names, found = crossing.corpora, crossing.scores[system]
    matrix = np.array([[found[train, test].uar for test in names] for train in names])
    told = [f"{train} to {test} {found[train, test].uar:.3f}" for train in names for test in names]
    return Drawing(
        f"cross_{slug(system)}",
        "cross",
        matrix_figure(matrix, names, names, f"{system}\n{crossing.title}"),
        "UAR by the corpus trained on and the corpus tested on.",
        f"UAR of {system}, trained on one corpus and tested on another: {'; '.join(told)}.",
    )
