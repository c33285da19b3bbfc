"""A head on frame sequences, on every fold: stopped early on validation speakers, tested once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.augment import with_copies
from ser_transfer.cross_validation.folds import FoldResult, joined
from ser_transfer.cross_validation.labels import Labels, TrainingError
from ser_transfer.cross_validation.predictions import Predictions
from ser_transfer.cross_validation.search import Choice, HeadChoice
from ser_transfer.heads import HeadError, choose_sequence_settings, make_sequence_head
from ser_transfer.metrics import fit_temperature
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Frames

Labelled = tuple[tuple[npt.NDArray[np.float16], ...], npt.NDArray[np.str_]]


def cross_validate_sequences(
    frames: Frames, labels: Labels, split: Split, head: HeadChoice, *, n_draws: int | None = None
) -> Predictions:
    """Train and test a head on frame sequences on every fold.

    In each fold it trains on the training speakers, and on augmented copies of their utterances where
    `frames` holds some; training stops, and the best weights are kept, by the UAR of the validation speakers.
    Those weights are tested once. A fold without validation speakers trains its ``max_epochs``.

    Args:
        frames: A sequence for every utterance of the split, and for its augmented copies.
        labels: From the same corpus.
        split: From `ser_transfer.splits.make_split`.
        head: A key of `ser_transfer.heads.SEQUENCE_HEADS`, with its fixed settings.
        n_draws: Draw so many combinations of the other settings, and choose one on the validation speakers;
            None keeps the head's own.

    Raises:
        TrainingError: If a fold cannot be trained on, or settings are to be drawn where it has no validation
            speakers to choose them on.
    """
    results = []
    for fold in split.folds:
        try:
            results.append(_run_fold(frames, labels, fold, head, n_draws))
        except HeadError as error:
            raise TrainingError(f"{head.name} on {frames.encoder}, fold {fold.name}: {error}") from error
    return joined(labels, split, results)


def _run_fold(
    frames: Frames, labels: Labels, fold: Fold, choice: HeadChoice, n_draws: int | None
) -> FoldResult:
    begun = time.perf_counter()
    if not fold.validation_ids and n_draws is not None:
        raise TrainingError(
            f"fold {fold.name} has no validation speakers to choose the settings of {choice.name} on: leave "
            "--n-draws out, or use a split with more speakers"
        )
    train = _side(frames, labels, with_copies(fold.train_ids, frames.originals))
    validation, test = (_side(frames, labels, ids) for ids in (fold.validation_ids, fold.test_ids))
    settings = dict(choice.settings)
    if n_draws is None:
        head = make_sequence_head(choice.name, **choice.fixed, **settings)
        head.fit(*train, validation if fold.validation_ids else None)
    else:
        best = choose_sequence_settings(
            choice.name, train[0], train[1], validation, n_draws=n_draws, **choice.fixed, **settings
        )
        head, settings = best.head, best.settings
    reached = head.history_[head.best_epoch_ - 1]["validation_uar"]
    answers, temperature = np.zeros((0, len(labels.classes))), None
    if fold.validation_ids:
        answers = _in_columns(head, validation[0], labels.classes)
        temperature = fit_temperature(answers, list(validation[1]), labels.classes)
    return FoldResult(
        choice=Choice(
            {frames.encoder: {"layers": [frames.layer], "pooling": "frames"}},
            choice.name,
            settings,
            None,
            reached,
        ),
        trials=(),
        validation=answers,
        test=_in_columns(head, test[0], labels.classes),
        temperature=temperature,
        n_parameters=sum(parameter.numel() for parameter in head.network_.parameters()),
        seconds=time.perf_counter() - begun,
        history=tuple(dict(epoch) for epoch in head.history_),
    )


def _side(frames: Frames, labels: Labels, ids: Sequence[str]) -> Labelled:
    chosen = frames.select(ids)
    emotions = [labels.emotions[frames.originals.get(id_, id_)] for id_ in ids]
    return chosen.sequences, np.array(emotions, dtype=np.str_)


def _in_columns(
    head: Any, sequences: Sequence[npt.NDArray[np.float16]], classes: Sequence[str]
) -> npt.NDArray[np.float64]:
    probabilities = np.zeros((len(sequences), len(classes)))
    probabilities[:, [classes.index(emotion) for emotion in head.classes_]] = head.predict_proba(sequences)
    return probabilities
