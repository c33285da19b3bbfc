"""A head's settings, chosen on validation speakers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.heads.registry import ClassWeight, HeadError, make_head
from ser_transfer.metrics import confusion_matrix, uar

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Settings to try, the stronger regularisation first: on equal validation UAR the first one wins.
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "logistic_regression": {"C": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)},
    "linear_svm": {"C": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)},
    "rbf_svm": {"gamma": (0.1, 0.3, 1.0), "C": (1.0, 3.0, 10.0, 30.0)},
    "knn": {"n_neighbors": (40, 25, 15, 9, 5)},
    "lda": {"shrinkage": (0.9, 0.6, 0.3, 0.1, 0.03)},
    "mlp": {"alpha": (10.0, 1.0, 0.1)},
    "nearest_centroid": {"shrink_threshold": (2.0, 1.0, 0.5, None)},
    "gradient_boosting": {"max_leaf_nodes": (4, 8, 16)},
    "layer_mix": {"C": (3.0, 30.0, 300.0)},
}


@dataclass(frozen=True)
class Best:
    """The settings that did best on validation speakers.

    Attributes:
        settings: For `make_head`.
        uar: What they reach on the validation rows.
        head: Fitted on the training rows with them, for the validation rows' probabilities.
    """

    settings: dict[str, Any]
    uar: float
    head: Pipeline


class Tuner:
    """Chooses the settings of one head after another, on the same rows.

    What heads and settings share is computed once: the scaling, a linear head's row space, a kernel's
    distances.

    Args:
        X_train: Training features of shape (n_rows, n_features).
        y_train: Their labels.
        X_validation: Features of speakers that are neither trained nor tested on.
        y_validation: Their labels.
        block_sizes: See `make_head`.
        block_weights: See `make_head`.

    Raises:
        HeadError: If there are no validation rows.
    """

    def __init__(
        self,
        X_train: npt.ArrayLike,
        y_train: npt.ArrayLike,
        X_validation: npt.ArrayLike,
        y_validation: npt.ArrayLike,
        *,
        block_sizes: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
    ) -> None:
        if len(np.asarray(y_validation)) == 0:
            raise HeadError(
                "settings are chosen on validation speakers, and there are none: keep the defaults"
            )
        self._train, self._validation = (X_train, y_train), (X_validation, np.asarray(y_validation))
        self._blocks: dict[str, Any] = {"block_sizes": block_sizes, "block_weights": block_weights}
        self._classes = np.unique(np.concatenate([np.asarray(y_train), self._validation[1]]))
        self._scaled: dict[str, tuple[Any, Any, Any]] = {}
        self._prepared: dict[tuple[str, Any], Any] = {}

    def choose(
        self,
        name: str,
        *,
        grid: Mapping[str, Sequence[Any]] | None = None,
        class_weight: ClassWeight = "balanced",
        random_state: int = 0,
    ) -> Best:
        """Choose a head's settings by UAR on the validation rows.

        Args:
            name: A key of `HEADS`.
            grid: Values to try per setting, the stronger regularisation first; `GRIDS[name]` where None.
            class_weight: See `make_head`.
            random_state: See `make_head`.

        Returns:
            The best settings. Of those with the same UAR, the first in the order of the grid.

        Raises:
            HeadError: If the head or a setting is unknown, or the rows cannot be learned from.
        """
        best: Best | None = None
        for settings in _combinations(GRIDS.get(name, {}) if grid is None else grid):
            head = make_head(
                name, **self._blocks, class_weight=class_weight, random_state=random_state, **settings
            )
            scaler, train, validation = self._scale(head["scaler"])
            fitted = self._fit(head["classifier"], scaler.unit, train)
            predicted = fitted.predict(validation)
            reached = float(uar(confusion_matrix(self._validation[1], predicted, self._classes)))
            if best is None or reached > best.uar:
                head.steps = [("scaler", scaler), ("classifier", fitted)]
                best = Best(settings, reached, head)
        if best is None:
            raise HeadError(f"there is no value to try in the grid of {name}: {grid}")
        return best

    def _scale(self, scaler: Any) -> tuple[Any, Any, Any]:
        if scaler.unit not in self._scaled:
            scaler.fit(*self._train)
            sides = (scaler.transform(self._train[0]), scaler.transform(self._validation[0]))
            self._scaled[scaler.unit] = (scaler, *sides)
        return self._scaled[scaler.unit]

    def _fit(self, classifier: Any, unit: str, train: npt.NDArray[np.float32]) -> Any:
        if not hasattr(classifier, "prepare"):
            return classifier.fit(train, self._train[1])
        key = (unit, classifier.prepare)
        if key not in self._prepared:
            self._prepared[key] = classifier.prepare(train)
        return classifier.fit_prepared(self._prepared[key], self._train[1])


def choose_settings(
    name: str,
    X_train: npt.ArrayLike,
    y_train: npt.ArrayLike,
    X_validation: npt.ArrayLike,
    y_validation: npt.ArrayLike,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    block_sizes: Sequence[int] | None = None,
    class_weight: ClassWeight = "balanced",
    random_state: int = 0,
) -> Best:
    """Choose one head's settings by UAR on validation speakers; see `Tuner`."""
    tuner = Tuner(X_train, y_train, X_validation, y_validation, block_sizes=block_sizes)
    return tuner.choose(name, grid=grid, class_weight=class_weight, random_state=random_state)


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))
