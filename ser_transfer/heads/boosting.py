"""Gradient boosted trees on principal components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

from ser_transfer.heads.registry import ClassWeight
from ser_transfer.heads.row_space import FloatArray, row_space


class BoostedTrees(ClassifierMixin, BaseEstimator):
    """scikit-learn's histogram boosting on the training rows' leading principal components.

    A tree asks about one feature at a time. Thousands of features that each say little would take
    minutes and mostly fit noise; the leading components say the same in few.

    Args:
        n_components: How many components, at most.
        learning_rate: Weight of each new tree.
        max_iter: Trees per class.
        max_leaf_nodes: Leaves per tree.
        class_weight: See `make_head`.
        random_state: Seed of the binning's subsample, on more than 200 000 rows.
    """

    def __init__(
        self,
        n_components: int = 64,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int = 8,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> BoostedTrees:
        """Fit on features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        rows = np.asarray(X)
        space = row_space(rows)
        # Energies ascend: the last coordinates are the leading components.
        self.components_ = space.to_features(np.eye(len(space.energies))[-self.n_components :])
        self.trees_ = HistGradientBoostingClassifier(
            learning_rate=self.learning_rate,
            max_iter=self.max_iter,
            max_leaf_nodes=self.max_leaf_nodes,
            class_weight=self.class_weight,
            random_state=self.random_state,
            early_stopping=False,  # it would hold out random rows, and share their speakers
        )
        self.trees_.fit(rows @ self.components_.T, y)
        self.classes_ = self.trees_.classes_
        self.n_features_in_ = rows.shape[1]
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Return the most probable label."""
        labels: npt.NDArray[np.generic] = self.trees_.predict(np.asarray(X) @ self.components_.T)
        return labels

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return probabilities of shape (n_rows, n_classes), columns in the order of `classes_`."""
        shares: FloatArray = self.trees_.predict_proba(np.asarray(X) @ self.components_.T)
        return shares
