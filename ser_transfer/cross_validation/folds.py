"""A system on one fold, and on all: chosen on validation speakers, scored once on test speakers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.cross_validation.columns import Columns, normalised_by_speaker
from ser_transfer.cross_validation.labels import Labels, TrainingError
from ser_transfer.cross_validation.predictions import Predictions, tested_rows
from ser_transfer.cross_validation.search import (
    Choice,
    FoldData,
    Probabilities,
    Search,
    Trial,
    search_fusion,
    search_one,
)
from ser_transfer.heads import HeadError, make_head
from ser_transfer.metrics import fit_temperature, with_temperature
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one system did on one fold.

    Attributes:
        choice: What was chosen on the validation speakers.
        trials: The winner of each encoder by itself, for fusions.
        validation: Probabilities of the validation rows, shape (rows, n_classes), by a head that saw the
            training rows only.
        test: Probabilities of the test rows.
        temperature: What calibrates them; None without validation rows.
        by_layer: Per layer, probabilities of the test rows by a head on it alone that saw the training rows
            only: a curve to look at, for which nothing is fitted anew.
        n_parameters: Numbers that the head keeps.
        seconds: What it took.
        history: The training curve of what is trained in epochs, one mapping per epoch of numbers and None;
            see `ser_transfer.plots.training_figure`.
    """

    choice: Choice
    trials: tuple[Trial, ...]
    validation: Probabilities
    test: Probabilities
    temperature: float | None
    by_layer: Mapping[str, Probabilities] = field(default_factory=dict)
    n_parameters: int = 0
    seconds: float = 0.0
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def calibrated(self) -> tuple[Probabilities, Probabilities]:
        """Validation and test probabilities under the temperature."""
        if self.temperature is None:
            return self.validation, self.test
        return (
            with_temperature(self.validation, self.temperature),
            with_temperature(self.test, self.temperature),
        )


def run_fold(
    members: Sequence[Embeddings],
    labels: Labels,
    fold: Fold,
    search: Search,
    alone: Sequence[FoldResult] | None = None,
) -> FoldResult:
    """Choose on the validation speakers, fit on training and validation speakers, test once.

    Args:
        members: The encoder's embeddings, or those of several to be fused, rows in the same order.
        labels: From the same corpus.
        fold: Its sides.
        search: What may be chosen.
        alone: For a fusion, the results of its members on this fold; computed where None.

    Raises:
        TrainingError: If the fold cannot be trained on: one emotion, a number that is none, ...
    """
    begun = time.perf_counter()
    data = FoldData(members, labels, fold)
    try:
        if len(members) == 1:
            trial, by_layer = search_one(data, search)
            result = _tested(data, trial, by_layer)
        else:
            alone = alone or [run_fold([member], labels, fold, search) for member in members]
            result = _fused(data, search, alone)
    except HeadError as error:
        names = " + ".join(embeddings.encoder for embeddings in members)
        raise TrainingError(f"{names}, fold {fold.name}: {error}") from error
    return FoldResult(**{**vars(result), "seconds": time.perf_counter() - begun})


def _tested(data: FoldData, trial: Trial, by_layer: Mapping[str, Trial]) -> FoldResult:
    fusion = "features" if len(data.members) > 1 else None
    test, n_parameters = data.tested(trial)
    columns = trial.columns.describe(data.members)
    return FoldResult(
        choice=Choice(columns, trial.head.name, trial.settings, fusion, trial.uar),
        trials=(replace(trial, fitted=None),),
        validation=trial.validation,
        test=test,
        temperature=_temperature(data, trial.validation),
        by_layer={name: data.answers(each) for name, each in by_layer.items() if each.fitted is not None},
        n_parameters=n_parameters,
    )


def _fused(data: FoldData, search: Search, alone: Sequence[FoldResult]) -> FoldResult:
    """Join features, or average calibrated probabilities: whichever the validation speakers prefer."""
    joined = search_fusion(data, search, [trial for result in alone for trial in result.trials])
    validation, test = (np.mean(sides, axis=0) for sides in zip(*(r.calibrated for r in alone), strict=True))
    averaged_uar = data.uar(validation)
    if averaged_uar is None or not data.is_behind(joined.validation, validation):
        return _tested(data, joined, {})
    return FoldResult(
        choice=Choice(
            columns={name: read for result in alone for name, read in result.choice.columns.items()},
            head="+".join(result.choice.head for result in alone),
            settings={name: dict(r.choice.settings) for r in alone for name in r.choice.columns},
            fusion="probabilities",
            validation_uar=averaged_uar,
        ),
        trials=tuple(trial for result in alone for trial in result.trials),
        validation=validation,
        test=test,
        temperature=_temperature(data, validation),
        n_parameters=sum(result.n_parameters for result in alone),
    )


def _temperature(data: FoldData, validation: Probabilities) -> float | None:
    if not len(validation):
        return None
    return fit_temperature(validation, list(data.validation.emotions), data.labels.classes)


def cross_validate(
    members: Embeddings | Sequence[Embeddings],
    labels: Labels,
    split: Split,
    search: Search | None = None,
    *,
    speaker_normalise: bool = False,
) -> Predictions:
    """Train and test a system on every fold.

    In each fold everything is chosen on the validation speakers, by heads that saw the training speakers
    only; then a head with that choice is fitted on both, and tested once.

    Args:
        members: A row for every utterance of the split; several encoders for a fusion.
        labels: From the same corpus.
        split: From `ser_transfer.splits.make_split`.
        search: What may be chosen; the default is a logistic regression on the layer or layers that do best.
        speaker_normalise: Standardise every feature within each speaker. It uses statistics of the
            test speakers' (unlabelled) recordings, and is a setting of its own, to be reported as such.

    Raises:
        TrainingError: If an utterance of the split has no embedding, a fold's training side has a
            single emotion, or `speaker_normalise` meets an unknown speaker.
    """
    group = aligned([members] if isinstance(members, Embeddings) else members)
    if speaker_normalise:
        speakers = [labels.speakers[id_] for id_ in group[0].utterance_ids]
        group = [normalised_by_speaker(embeddings, speakers) for embeddings in group]
    search = search or Search()
    return joined(labels, split, [run_fold(group, labels, fold, search) for fold in split.folds])


def aligned(members: Sequence[Embeddings]) -> list[Embeddings]:
    """Bring the rows of several encoders into one order, joined by id."""
    first, *others = members
    if all(other.utterance_ids == first.utterance_ids for other in others):
        return [first, *others]
    return [first, *(other.select(first.utterance_ids) for other in others)]


def joined(labels: Labels, split: Split, results: Sequence[FoldResult]) -> Predictions:
    """Lay the results of all folds end to end."""
    names = [fold.name for fold in split.folds]
    classes = np.array(labels.classes)
    layers = list(results[0].by_layer)
    return Predictions(
        **tested_rows(labels, split),
        probabilities=np.concatenate([result.test for result in results]),
        choices=dict(zip(names, (result.choice for result in results), strict=True)),
        temperatures=dict(zip(names, (result.temperature for result in results), strict=True)),
        validation_ids=tuple(id_ for fold in split.folds for id_ in fold.validation_ids),
        validation_folds=tuple(fold.name for fold in split.folds for _ in fold.validation_ids),
        validation_truth=tuple(labels.emotions[id_] for fold in split.folds for id_ in fold.validation_ids),
        validation=np.concatenate([result.calibrated[0] for result in results]),
        by_layer={
            layer: tuple(
                classes[
                    np.concatenate([result.by_layer[layer].argmax(axis=1) for result in results])
                ].tolist()
            )
            for layer in layers
        },
        histories={
            name: result.history for name, result in zip(names, results, strict=True) if result.history
        },
        n_parameters=round(float(np.mean([result.n_parameters for result in results]))),
        seconds=sum(result.seconds for result in results),
    )


def fit_on_all(
    embeddings: Embeddings, labels: Labels, search: Search, predictions: Predictions
) -> tuple[Pipeline, Columns]:
    """Fit a head on every utterance, as most folds chose it: the model to keep.

    Nothing is left to test it on; what its settings reach on unheard speakers is what `predictions` scored.

    Returns:
        The fitted head, and what it reads.
    """
    chosen = [
        json.dumps([choice.columns[embeddings.encoder], choice.head, dict(choice.settings)], sort_keys=True)
        for choice in predictions.choices.values()
    ]
    read, name, settings = json.loads(max(chosen, key=chosen.count))
    columns = Columns((tuple(read["layers"]),), means_only=read["pooling"] != embeddings.pooling)
    features = columns.of([embeddings])
    fixed: dict[str, Any] = search.heads[0].fixed
    head = make_head(name, **features.blocks, **fixed, **settings)
    originals = embeddings.originals
    emotions = np.array([labels.emotions[originals.get(id_, id_)] for id_ in embeddings.utterance_ids])
    return head.fit(features.matrix, emotions), columns


def mean_temperature(predictions: Predictions) -> float:
    """Average the folds' temperatures, geometrically: the model to keep has no validation speakers left."""
    fitted = [value for value in predictions.temperatures.values() if value is not None]
    return float(np.exp(np.mean(np.log(fitted)))) if fitted else 1.0
