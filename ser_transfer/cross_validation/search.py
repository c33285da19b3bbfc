"""What may be chosen inside a training fold, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.augment import with_copies
from ser_transfer.cross_validation.columns import Columns, options
from ser_transfer.cross_validation.labels import Labels, TrainingError
from ser_transfer.heads import GRIDS, HEADS, SEQUENCE_HEADS, Tuner, make_head
from ser_transfer.metrics import confusion_matrix, uar
from ser_transfer.splits import Fold
from ser_transfer.store import Embeddings

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeadChoice:
    """Which head, and how its settings are found.

    Attributes:
        name: A key of `ser_transfer.heads.HEADS`.
        settings: Fixed settings; what is named here is not tuned.
        tune: Whether the rest of the head's grid is chosen on validation speakers.
        class_weight: ``"balanced"``, or None to weigh every utterance the same.
        random_state: Seed of the heads that draw random numbers.
    """

    name: str = "logistic_regression"
    settings: Mapping[str, Any] = field(default_factory=dict)
    tune: bool = True
    class_weight: Literal["balanced"] | None = "balanced"
    random_state: int = 0

    @property
    def grid(self) -> dict[str, Sequence[Any]]:
        """Values to try per setting, the fixed ones among them."""
        fixed: dict[str, Sequence[Any]] = {name: (value,) for name, value in self.settings.items()}
        return {**GRIDS.get(self.name, {}), **fixed} if self.tune else fixed

    @property
    def fixed(self) -> dict[str, Any]:
        """What `ser_transfer.heads.make_head` and `choose_settings` are told besides the settings."""
        return {"class_weight": self.class_weight, "random_state": self.random_state}


@dataclass(frozen=True)
class Search:
    """What a fold may choose from, on its validation speakers.

    Attributes:
        heads: The heads. Of equals the first wins.
        layers: Names of the layers that are read side by side, of every encoder; None to choose among all
            layers side by side, each single one, and their learned mix where they are of one width.
    """

    heads: tuple[HeadChoice, ...] = (HeadChoice(),)
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        known = (*HEADS, *SEQUENCE_HEADS)
        unknown = [head.name for head in self.heads if head.name not in known]
        if unknown or not self.heads:
            raise TrainingError(f"there is no head {', '.join(unknown)!r}; the heads are {', '.join(known)}")


@dataclass(frozen=True)
class Choice:
    """What one fold chose.

    Attributes:
        columns: Per encoder, its layers and its pooling.
        head: The head; of averaged probabilities the heads, joined by a plus.
        settings: Of the head; of averaged probabilities per encoder.
        fusion: How several encoders were joined: ``"features"`` or ``"probabilities"``; None for one.
        validation_uar: What it reached on the validation speakers; None where there are none.
    """

    columns: Mapping[str, Any]
    head: str
    settings: Mapping[str, Any]
    fusion: str | None
    validation_uar: float | None


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a fold.

    Attributes:
        rows: Rows of the embeddings.
        emotions: Their emotions.
    """

    rows: npt.NDArray[np.intp]
    emotions: npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Trial:
    """A head on some columns, with its settings chosen.

    Attributes:
        columns: What it reads.
        head: The head.
        settings: Chosen on the validation speakers, or the fixed ones where there are none.
        uar: Reached on the validation speakers; None where there are none.
        validation: Probabilities of the validation rows by a head that saw the training rows only.
        fitted: That head; None where there are no validation rows, and in results that are kept.
    """

    columns: Columns
    head: HeadChoice
    settings: Mapping[str, Any]
    uar: float | None
    validation: Probabilities
    fitted: Any = None


class FoldData:
    """One encoder, or several, and one fold.

    Args:
        members: Embeddings with the same utterances in the same rows.
        labels: From the corpus.
        fold: Which utterances are on which side.

    Raises:
        TrainingError: If an utterance of the fold has no embedding.
    """

    def __init__(self, members: Sequence[Embeddings], labels: Labels, fold: Fold) -> None:
        self.members, self.labels, self.fold = members, labels, fold
        self._row_of = {id_: row for row, id_ in enumerate(members[0].utterance_ids)}
        self._originals = members[0].originals
        self.train = self._side(with_copies(fold.train_ids, self._originals))
        self.validation, self.test = self._side(fold.validation_ids), self._side(fold.test_ids)
        self._tuner: tuple[Columns, Tuner] | None = None
        if len(np.unique(self.train.emotions)) < 2:
            there = "one emotion" if len(self.train.emotions) else "no utterance"
            raise TrainingError(
                f"fold {fold.name}: its training side has {there}; a head needs two or more. Use a split "
                "with larger training sides, or a corpus with more emotions"
            )

    @property
    def fitted_on(self) -> Side:
        """What the tested head is fitted on: training and validation rows, with copies of both."""
        ids = (*self.fold.train_ids, *self.fold.validation_ids)
        return self._side(with_copies(ids, self._originals))

    def _side(self, ids: Sequence[str]) -> Side:
        absent = [id_ for id_ in ids if id_ not in self._row_of]
        if absent:
            raise TrainingError(
                f"{len(absent)} utterances of the split have no embedding by {self.members[0].encoder}, the "
                f"first {absent[0]}: embed the corpus, or leave them out of it"
            )
        return Side(
            np.array([self._row_of[id_] for id_ in ids], dtype=np.intp),
            np.array([self.labels.emotions[self._originals.get(id_, id_)] for id_ in ids], dtype=np.str_),
        )

    def trial(self, columns: Columns, head: HeadChoice, *, coarse: bool = False) -> Trial:
        """Choose a head's settings on the validation rows; coarsely, take the middle of its grid."""
        if not len(self.validation.rows):
            return Trial(columns, head, head.settings, None, np.zeros((0, len(self.labels.classes))))
        grid = head.grid
        if coarse:
            grid = {name: [values[len(values) // 2]] for name, values in grid.items()}
        best = self._tuner_of(columns).choose(head.name, grid=grid, **head.fixed)
        validation = columns.of(self.members).matrix[self.validation.rows]
        answers = self._in_columns(best.head, validation)
        return Trial(columns, head, best.settings, best.uar, answers, best.head)

    def _tuner_of(self, columns: Columns) -> Tuner:
        """Keep what the heads on the same columns share; the last columns alone, to bound memory."""
        if self._tuner is None or self._tuner[0] != columns:
            features = columns.of(self.members)
            self._tuner = (
                columns,
                Tuner(
                    features.matrix[self.train.rows],
                    self.train.emotions,
                    features.matrix[self.validation.rows],
                    self.validation.emotions,
                    **features.blocks,
                ),
            )
        return self._tuner[1]

    def tested(self, trial: Trial) -> tuple[Probabilities, int]:
        """Fit on training and validation rows; return the test rows' probabilities, and n_parameters."""
        features = trial.columns.of(self.members)
        both = self.fitted_on
        head = make_head(trial.head.name, **features.blocks, **trial.head.fixed, **trial.settings)
        head.fit(features.matrix[both.rows], both.emotions)
        return self._in_columns(head, features.matrix[self.test.rows]), n_parameters(head["classifier"])

    def answers(self, trial: Trial) -> Probabilities:
        """Return the test rows' probabilities by the head that saw the training rows only."""
        return self._in_columns(trial.fitted, trial.columns.of(self.members).matrix[self.test.rows])

    def uar(self, validation: Probabilities) -> float | None:
        """Score probabilities of the validation rows."""
        if not len(validation):
            return None
        predicted = np.array(self.labels.classes)[validation.argmax(axis=1)]
        return float(uar(confusion_matrix(self.validation.emotions, predicted, self.labels.classes)))

    def _in_columns(self, head: Any, rows: npt.NDArray[np.float32]) -> Probabilities:
        """Give probabilities in the columns of the corpus's classes; a class never trained on gets 0."""
        probabilities = np.zeros((len(rows), len(self.labels.classes)))
        columns = [self.labels.classes.index(emotion) for emotion in head.classes_]
        probabilities[:, columns] = head.predict_proba(rows)
        return probabilities

    def plainest(self, trials: Sequence[Trial]) -> Trial:
        """Take the first trial that is no more than one standard error behind the best.

        Validation speakers are few, and the best of twenty trials on them is the luckiest as much as the
        best. So the trials come plainest first, and a later one must be clearly better (Breiman et al. 1984,
        "Classification and Regression Trees", section 3.4.3). The error is that of the paired difference.
        """
        best = max(trials, key=lambda trial: -1.0 if trial.uar is None else trial.uar)
        return next(trial for trial in trials if not self.is_behind(trial.validation, best.validation))

    def is_behind(self, ours: Probabilities, best: Probabilities) -> bool:
        """Whether the UAR of one is more than a standard error below the other's, on the same rows."""
        classes = np.array(self.labels.classes)
        right = [classes[side.argmax(axis=1)] == self.validation.emotions for side in (best, ours)]
        gain = right[0].astype(float) - right[1].astype(float)
        members = [
            gain[self.validation.emotions == emotion] for emotion in np.unique(self.validation.emotions)
        ]
        mean = float(np.mean([each.mean() for each in members])) if members else 0.0
        variance = sum(each.var(ddof=1) / len(each) for each in members if len(each) > 1)
        return mean > 1e-9 + float(np.sqrt(variance)) / max(1, len(members))


def search_one(data: FoldData, search: Search) -> tuple[Trial, dict[str, Trial]]:
    """Choose layers, pooling, head and settings for one encoder.

    Layers are ranked by the first head with the middle of its grid; then all layers side by side, the best
    single one, and the learned mix compete with every head, pooling and setting.

    Returns:
        The winner, and the trial of each layer by itself for the layer curve.
    """
    if search.layers is not None:
        columns = [Columns((search.layers,))]
        return data.plainest([data.trial(each, head) for each in columns for head in search.heads]), {}
    every, *singles = options(data.members)
    by_layer = {each.layers[0][0]: data.trial(each, search.heads[0], coarse=True) for each in singles}
    finalists = [every]
    if by_layer:
        finalists.append(max(by_layer.values(), key=lambda trial: trial.uar or 0.0).columns)
    if data.members[0].pooling == "mean_std":
        finalists += [Columns(each.layers, means_only=True) for each in finalists]
    trials = [data.trial(each, head) for each in finalists for head in search.heads]
    widths = {layer.shape[1] for layer in data.members[0].layers.values()}
    if singles and len(widths) == 1:
        trials.append(data.trial(every, HeadChoice("layer_mix", **search.heads[0].fixed)))
    return data.plainest(trials), by_layer


def search_fusion(data: FoldData, search: Search, alone: Sequence[Trial]) -> Trial:
    """Choose how the features of several encoders are joined, given what was chosen for each of them."""
    every = tuple(tuple(embeddings.layers) for embeddings in data.members)
    chosen = tuple(trial.columns.layers[0] for trial in alone)
    finalists = dict.fromkeys((Columns(every), Columns(chosen)))
    return data.plainest([data.trial(each, head) for each in finalists for head in search.heads])


def n_parameters(classifier: Any) -> int:
    """Count the numbers that a fitted classifier keeps in its arrays."""
    kept = 0
    for value in vars(classifier).values():
        arrays = value if isinstance(value, list) else [value]
        kept += sum(
            array.size for array in arrays if isinstance(array, np.ndarray) and array.dtype.kind == "f"
        )
    return kept
