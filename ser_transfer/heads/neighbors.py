"""Heads that compare distances, with the class weights that scikit-learn's lack."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.utils.class_weight import compute_class_weight

from ser_transfer.heads.registry import ClassWeight, priors_only
from ser_transfer.heads.row_space import FloatArray


class WeightedKNN(KNeighborsClassifier):
    """The nearest training rows vote, each with the weight of its class.

    Args:
        n_neighbors: How many vote; all rows where there are fewer.
        weights: ``"uniform"``, or ``"distance"`` for votes that fall with distance.
        class_weight: See `make_head`.
    """

    n_neighbors: int

    def __init__(
        self,
        n_neighbors: int = 15,
        weights: Literal["uniform", "distance"] = "distance",
        class_weight: ClassWeight = None,
    ) -> None:
        super().__init__(n_neighbors=n_neighbors, weights=weights)
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> WeightedKNN:
        """Keep features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        super().fit(X, y)
        self.class_weight_ = compute_class_weight(self.class_weight, classes=self.classes_, y=np.asarray(y))
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return each class's share of the votes, of shape (n_rows, n_classes)."""
        asked = self.n_neighbors
        self.n_neighbors = min(asked, self.n_samples_fit_)
        try:
            votes = super().predict_proba(X) * self.class_weight_
        finally:
            self.n_neighbors = asked
        shares: FloatArray = votes / votes.sum(axis=1, keepdims=True)
        return shares

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Return the label with the largest share."""
        labels: npt.NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


class WeightedNearestCentroid(NearestCentroid):
    """The class whose mean is nearest, distances measured in within-class deviations.

    Args:
        shrink_threshold: How far class means are pulled towards the common mean; None for not at all.
        class_weight: ``"balanced"`` for equal priors, None for the training rows' own.
    """

    def __init__(self, shrink_threshold: float | None = None, class_weight: ClassWeight = None) -> None:
        super().__init__(shrink_threshold=shrink_threshold)
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> WeightedNearestCentroid:
        """Fit on features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        if self.class_weight not in ("balanced", None):
            raise priors_only("nearest_centroid", self.class_weight)
        self.priors = "uniform" if self.class_weight == "balanced" else "empirical"
        with warnings.catch_warnings():
            # A feature that is constant within every class, as a scaled constant is, does no harm.
            warnings.filterwarnings("ignore", message="self.within_class_std_dev_ has at least 1 zero")
            super().fit(X, y)
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Return the most probable label; with equal priors scikit-learn's would forget the deviations."""
        labels: npt.NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels
