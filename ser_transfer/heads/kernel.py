"""The support vector machine with a radial kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from ser_transfer.heads.linear import probabilities
from ser_transfer.heads.registry import ClassWeight
from ser_transfer.heads.row_space import FloatArray


class RBFSVM(ClassifierMixin, BaseEstimator):
    """scikit-learn's `SVC` on a kernel matrix made by one matrix product.

    LIBSVM computes its kernel entry by entry, which on 1200 rows of 8000 features takes seconds.
    Probabilities are the softmax of the decision values: LIBSVM's own come from a
    cross-validation that mixes speakers.

    Args:
        C: Inverse strength of the penalty.
        gamma: The kernel is exp(-gamma |x - z|²).
        class_weight: See `make_head`.

    Attributes:
        classes_: The labels, sorted.
        support_vectors_: The training rows that the decision needs.
    """

    def __init__(self, C: float = 10.0, gamma: float = 1.0, class_weight: ClassWeight = None) -> None:
        self.C = C
        self.gamma = gamma
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> RBFSVM:
        """Fit on features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        return self.fit_prepared(self.prepare(X), y)

    @staticmethod
    def prepare(X: npt.ArrayLike) -> tuple[npt.NDArray[np.floating], FloatArray]:
        """Compute what does not depend on any setting: the rows with their squared distances."""
        rows = np.asarray(X)
        return rows, euclidean_distances(rows, squared=True)

    def fit_prepared(self, prepared: tuple[npt.NDArray[np.floating], FloatArray], y: npt.ArrayLike) -> RBFSVM:
        """Fit on prepared rows, as when only a setting has changed."""
        rows, squared_distances = prepared
        # break_ties makes the prediction the largest decision value, and so the largest probability.
        self.svc_ = SVC(C=self.C, kernel="precomputed", class_weight=self.class_weight, break_ties=True)
        self.svc_.fit(np.exp(-self.gamma * squared_distances), y)
        self.classes_ = self.svc_.classes_
        self.support_vectors_ = rows[self.svc_.support_]
        self.n_features_in_ = rows.shape[1]
        return self

    def decision_function(self, X: npt.ArrayLike) -> FloatArray:
        """Return one value per class, of shape (n_rows, n_classes); (n_rows,) for two classes."""
        decision: FloatArray = self.svc_.decision_function(self._kernel(X))
        return decision

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Return the label of the largest decision value."""
        labels: npt.NDArray[np.generic] = self.svc_.predict(self._kernel(X))
        return labels

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return probabilities of shape (n_rows, n_classes), columns in the order of `classes_`."""
        return probabilities(self.decision_function(X))

    def _kernel(self, X: npt.ArrayLike) -> FloatArray:
        """Return the kernel against all training rows; LIBSVM reads only the support vectors' columns."""
        check_is_fitted(self)
        rows = np.asarray(X)
        kernel = np.zeros((len(rows), self.svc_.shape_fit_[0]))
        kernel[:, self.svc_.support_] = rbf_kernel(rows, self.support_vectors_, gamma=self.gamma)
        return kernel
