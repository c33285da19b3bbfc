"""A head's settings, chosen on validation speakers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.heads.registry import ClassWeight, HeadError, make_head
from ser_transfer.metrics import confusion_matrix, uar

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
}


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
) -> dict[str, Any]:
    """Choose a head's settings by UAR on validation speakers.

    What all settings share is computed once: the scaling, a linear head's row space, a kernel's distances.

    Args:
        name: A key of `HEADS`.
        X_train: Training features of shape (n_rows, n_features).
        y_train: Their labels.
        X_validation: Features of speakers that are neither trained nor tested on.
        y_validation: Their labels.
        grid: Values to try per setting, the stronger regularisation first; `GRIDS[name]` where None.
        block_sizes: See `make_head`.
        class_weight: See `make_head`.
        random_state: See `make_head`.

    Returns:
        Settings for `make_head`. Of those with the same UAR, the first in the order of the grid.

    Raises:
        HeadError: If the head or a setting is unknown, or there are no validation rows.
    """
    if len(np.asarray(y_validation)) == 0:
        raise HeadError("settings are chosen on validation speakers, and there are none: keep the defaults")
    candidates = list(_combinations(GRIDS.get(name, {}) if grid is None else grid))
    heads = [
        make_head(
            name, block_sizes=block_sizes, class_weight=class_weight, random_state=random_state, **settings
        )
        for settings in candidates
    ]
    scaler = heads[0]["scaler"].fit(X_train, y_train)
    train, validation = scaler.transform(X_train), scaler.transform(X_validation)
    y_validation = np.asarray(y_validation)
    classes = np.unique(np.concatenate([np.asarray(y_train), y_validation]))

    scores = [
        uar(confusion_matrix(y_validation, fitted.predict(validation), classes))
        for fitted in _fit_all([head["classifier"] for head in heads], train, y_train)
    ]
    return candidates[int(np.argmax(scores))]


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _fit_all(classifiers: Sequence[Any], X: npt.NDArray[np.float32], y: npt.ArrayLike) -> Iterator[Any]:
    """Fit one after the other, so that only one set of weights is held at a time."""
    if not hasattr(classifiers[0], "prepare"):
        yield from (classifier.fit(X, y) for classifier in classifiers)
        return
    prepared = classifiers[0].prepare(X)
    yield from (classifier.fit_prepared(prepared, y) for classifier in classifiers)
