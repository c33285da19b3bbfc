"""A head on every fold: settings chosen on validation speakers, test speakers scored once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.errors import SerTransferError
from ser_transfer.heads import GRIDS, choose_settings, make_head
from ser_transfer.metrics import majority_class
from ser_transfer.splits import Fold, Split
from ser_transfer.store import Embeddings

if TYPE_CHECKING:
    from datasets import Dataset
    from sklearn.pipeline import Pipeline


class TrainingError(SerTransferError):
    """Folds, labels and embeddings that do not fit together."""


@dataclass(frozen=True)
class Labels:
    """Who said what, by utterance id: all that training needs of a corpus.

    Attributes:
        emotions: Emotion per utterance id.
        speakers: Speaker per utterance id, None where the corpus does not tell.
        classes: The corpus's emotions in vocabulary order.
    """

    emotions: Mapping[str, str]
    speakers: Mapping[str, str | None]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, corpus: Dataset) -> Labels:
        """Read the label columns of a corpus."""
        ids, names = corpus["utterance_id"][:], corpus.features["emotion"].names
        return cls(
            emotions={id_: names[code] for id_, code in zip(ids, corpus["emotion"][:], strict=True)},
            speakers=dict(zip(ids, corpus["speaker"][:], strict=True)),
            classes=tuple(names),
        )


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


@dataclass(frozen=True)
class Predictions:
    """One system's answers on the test side of every fold.

    Attributes:
        utterance_ids: One id per row.
        folds: Name of the fold that tested it.
        speakers: Its speaker, None where unknown.
        truth: Its emotion.
        probabilities: Float64 array of shape (rows, n_classes).
        classes: The columns of `probabilities`.
        settings: Per fold, the settings of the head that was tested.
    """

    utterance_ids: tuple[str, ...]
    folds: tuple[str, ...]
    speakers: tuple[str | None, ...]
    truth: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def predicted(self) -> tuple[str, ...]:
        """The most probable emotion of each row."""
        return tuple(self.classes[column] for column in self.probabilities.argmax(axis=1))


def cross_validate(
    embeddings: Embeddings,
    labels: Labels,
    split: Split,
    head: HeadChoice,
    *,
    layers: Sequence[str] | None = None,
    speaker_normalise: bool = False,
) -> Predictions:
    """Train and test a head on every fold.

    In each fold the settings are chosen on the validation speakers, by a head that saw the training
    speakers only; then a head with those settings is fitted on both, and tested once.

    Args:
        embeddings: A row for every utterance of the split.
        labels: From the same corpus.
        split: From `ser_transfer.splits.make_split`.
        head: Which head.
        layers: Names of the layers to lay side by side; None for all.
        speaker_normalise: Standardise every feature within each speaker. It uses statistics of the
            test speakers' (unlabelled) recordings, and is a setting of its own, to be reported as such.

    Raises:
        TrainingError: If an utterance of the split has no embedding, a fold's training side has a
            single emotion, or `speaker_normalise` meets an unknown speaker.
    """
    features, block_sizes = embeddings.concatenate(layers)
    row_of = {id_: row for row, id_ in enumerate(embeddings.utterance_ids)}
    if speaker_normalise:
        features = standardised_by_speaker(
            features, [labels.speakers[id_] for id_ in embeddings.utterance_ids]
        )

    def side(ids: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.str_]]:
        absent = [id_ for id_ in ids if id_ not in row_of]
        if absent:
            raise TrainingError(
                f"{len(absent)} utterances of the split have no embedding by {embeddings.encoder}, the first "
                f"{absent[0]}: embed the corpus, or leave them out of it"
            )
        return features[[row_of[id_] for id_ in ids]], np.array([labels.emotions[id_] for id_ in ids])

    settings, probabilities = {}, []
    for fold in split.folds:
        train, validation = side(fold.train_ids), side(fold.validation_ids)
        _check_fold(fold, train[1])
        settings[fold.name] = _settings_for(head, train, validation, block_sizes)
        both = tuple(np.concatenate(pair) for pair in zip(train, validation, strict=True))
        probabilities.append(
            _fitted_probabilities(
                head, settings[fold.name], both, side(fold.test_ids)[0], block_sizes, labels.classes
            )
        )
    return _predictions(labels, split, np.concatenate(probabilities), settings)


def fit_on_all(
    embeddings: Embeddings, labels: Labels, head: HeadChoice, predictions: Predictions, layers: Sequence[str]
) -> Pipeline:
    """Fit a head on every utterance, with the settings that most folds chose: the model to keep.

    Nothing is left to test it on; what its settings reach on unheard speakers is what `predictions` scored.
    """
    chosen = [json.dumps(settings, sort_keys=True) for settings in predictions.settings.values()]
    settings = json.loads(max(chosen, key=chosen.count))
    features, block_sizes = embeddings.concatenate(layers)
    fitted = make_head(
        head.name,
        block_sizes=block_sizes,
        class_weight=head.class_weight,
        random_state=head.random_state,
        **settings,
    )
    return fitted.fit(features, np.array([labels.emotions[id_] for id_ in embeddings.utterance_ids]))


def majority_floor(labels: Labels, split: Split) -> Predictions:
    """Answer the most frequent emotion of each fold's training side, whatever the recording.

    Its UAR is 1 / n_classes by construction: the floor that a score has to clear.
    """
    probabilities = []
    for fold in split.folds:
        majority = majority_class([labels.emotions[id_] for id_ in (*fold.train_ids, *fold.validation_ids)])
        answer = np.array([emotion == majority for emotion in labels.classes], dtype=np.float64)
        probabilities.append(np.tile(answer, (len(fold.test_ids), 1)))
    return _predictions(labels, split, np.concatenate(probabilities), {fold.name: {} for fold in split.folds})


def standardised_by_speaker(
    features: npt.NDArray[np.float32], speakers: Sequence[str | None]
) -> npt.NDArray[np.float32]:
    """Give every feature mean 0 and standard deviation 1 within each speaker.

    Args:
        features: Float32 array of shape (n_utterances, n_features).
        speakers: One per row.

    Returns:
        An array of the same shape; a feature that is constant within a speaker becomes 0 there.

    Raises:
        TrainingError: If a speaker is unknown.
    """
    if None in speakers:
        raise TrainingError("--speaker-normalise needs the speaker of every utterance, and some are unknown")
    names = np.array(speakers)
    out = np.empty_like(features)
    for speaker in np.unique(names):
        rows = features[names == speaker]
        deviation = rows.std(axis=0)
        out[names == speaker] = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return out


def _check_fold(fold: Fold, emotions: npt.NDArray[np.str_]) -> None:
    if len(np.unique(emotions)) < 2:
        raise TrainingError(
            f"fold {fold.name}: its training side has {'one emotion' if len(emotions) else 'no utterance'}; "
            "a head needs two or more. Use a split with larger training sides, or a corpus with more emotions"
        )


def _settings_for(
    head: HeadChoice, train: tuple[Any, Any], validation: tuple[Any, Any], block_sizes: Sequence[int]
) -> dict[str, Any]:
    """The fixed settings, and the rest of the grid chosen on validation speakers where there are any."""
    fixed = {name: (value,) for name, value in head.settings.items()}
    grid = {**GRIDS.get(head.name, {}), **fixed} if head.tune else fixed
    if not head.tune or len(validation[1]) == 0:
        return dict(head.settings)
    return choose_settings(
        head.name,
        *train,
        *validation,
        grid=grid,
        block_sizes=block_sizes,
        class_weight=head.class_weight,
        random_state=head.random_state,
    )


def _fitted_probabilities(
    head: HeadChoice,
    settings: Mapping[str, Any],
    train: tuple[Any, ...],
    test: npt.NDArray[np.float32],
    block_sizes: Sequence[int],
    classes: Sequence[str],
) -> npt.NDArray[np.float64]:
    """Fit on one side, and give the other's probabilities in the columns of `classes`."""
    fitted = make_head(
        head.name,
        block_sizes=block_sizes,
        class_weight=head.class_weight,
        random_state=head.random_state,
        **settings,
    ).fit(*train)
    probabilities = np.zeros((len(test), len(classes)))
    probabilities[:, [classes.index(emotion) for emotion in fitted.classes_]] = fitted.predict_proba(test)
    return probabilities


def _predictions(
    labels: Labels,
    split: Split,
    probabilities: npt.NDArray[np.float64],
    settings: Mapping[str, Mapping[str, Any]],
) -> Predictions:
    ids = [id_ for fold in split.folds for id_ in fold.test_ids]
    return Predictions(
        utterance_ids=tuple(ids),
        folds=tuple(fold.name for fold in split.folds for _ in fold.test_ids),
        speakers=tuple(labels.speakers[id_] for id_ in ids),
        truth=tuple(labels.emotions[id_] for id_ in ids),
        probabilities=probabilities,
        classes=labels.classes,
        settings=settings,
    )
