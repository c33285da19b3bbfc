"""Linear heads, fitted in the span of the training rows.

All three end as one weight vector per class over the features; they differ in the loss.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight

from ser_transfer.heads.registry import ClassWeight, HeadError, priors_only
from ser_transfer.heads.row_space import FloatArray, RowSpace, row_space


def probabilities(decision: FloatArray) -> FloatArray:
    """Turn decision values into rows that add up to 1: the softmax, or for two classes the sigmoid.

    Args:
        decision: Of shape (n_rows, n_classes), or (n_rows,) for two classes: the second one's.
    """
    if decision.ndim == 1:
        decision = np.column_stack([np.zeros_like(decision), decision])
    exponentials = np.exp(decision - decision.max(axis=1, keepdims=True))
    result: FloatArray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


class RowSpaceClassifier(LinearClassifierMixin, BaseEstimator):
    """What the linear heads share: fitting in the row space, probabilities from decision values.

    Attributes:
        classes_: The labels, sorted.
        coef_: Weights of shape (n_classes, n_features); (1, n_features) for two classes.
        intercept_: Of shape (n_classes,), or (1,).
    """

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> RowSpaceClassifier:
        """Fit on features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        return self.fit_prepared(self.prepare(X), y)

    @staticmethod
    def prepare(X: npt.ArrayLike) -> RowSpace:
        """Compute what does not depend on any setting."""
        return row_space(np.asarray(X))

    def fit_prepared(self, space: RowSpace, y: npt.ArrayLike) -> RowSpaceClassifier:
        """Fit on prepared rows, as when only a setting has changed."""
        self.classes_, targets = np.unique(np.asarray(y), return_inverse=True)
        coefficients, self.intercept_ = self._solve(space, targets)
        self.coef_ = space.to_features(coefficients)
        self.n_features_in_ = space.rows.shape[1]
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return probabilities of shape (n_rows, n_classes), columns in the order of `classes_`."""
        return probabilities(self.decision_function(X))

    @abstractmethod
    def _solve(self, space: RowSpace, targets: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Return weights of shape (n_outputs, rank) and intercepts of shape (n_outputs,)."""

    def _row_weights(self, targets: npt.NDArray[np.intp]) -> FloatArray:
        weights: FloatArray = compute_sample_weight(self._class_weight(), self.classes_[targets])
        return weights

    def _class_weight(self) -> ClassWeight:
        weight: ClassWeight = self.class_weight
        return weight


class LogisticRegression(RowSpaceClassifier):
    """Multinomial logistic regression with an L2 penalty; its minimum is scikit-learn's.

    Minimises C Σ weight · log-loss + |w|² / 2. In the row space's basis the curvature is close to
    diagonal, and dividing by its root leaves L-BFGS a fifth of the steps it takes otherwise.

    Args:
        C: Inverse strength of the penalty.
        tol: Stop when no slope, per root of a row and in units of the curvature, exceeds this.
        max_iter: Stop after so many steps, with a warning.
        class_weight: See `make_head`.
    """

    def __init__(
        self, C: float = 30.0, tol: float = 1e-4, max_iter: int = 500, class_weight: ClassWeight = None
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    def _solve(self, space: RowSpace, targets: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        if not self.C > 0:
            raise HeadError(f"logistic_regression wants C > 0, not {self.C!r}")
        n_classes, n_rows = len(self.classes_), len(targets)
        n_outputs = 1 if n_classes == 2 else n_classes
        weights = self._row_weights(targets)
        # The penalty spares the intercept, the last column.
        penalty = np.append(np.full(len(space.energies), 1.0 / self.C), 0.0)
        # Where all classes are equally likely, a log-loss has the curvature p (1 - p), p = 1 / n_classes.
        curvature = (n_classes - 1) / n_classes**2 * np.append(space.energies, n_rows) + penalty
        unit = 1.0 / np.sqrt(curvature)
        design = np.column_stack([space.coordinates, np.ones(n_rows)]) * unit
        ridge = (penalty * unit**2)[:, np.newaxis]

        def loss_and_slope(flat: FloatArray) -> tuple[float, FloatArray]:
            parameters = flat.reshape(-1, n_outputs)
            losses, residuals = _log_loss(design @ parameters, targets)
            shrunk = ridge * parameters
            slope = design.T @ (weights[:, np.newaxis] * residuals) + shrunk
            return float(weights @ losses + 0.5 * np.vdot(parameters, shrunk)), slope.ravel()

        # The products are too small to share: two BLAS threads spend ten times longer waiting for each other.
        with threadpool_limits(1, user_api="blas"):
            found = minimize(
                loss_and_slope,
                np.zeros(design.shape[1] * n_outputs),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": self.max_iter, "gtol": self.tol * np.sqrt(n_rows), "ftol": 0.0},
            )
        self.n_iter_ = int(found.nit)
        if self.n_iter_ >= self.max_iter:
            _warn_unconverged("logistic_regression", self.max_iter)
        parameters = found.x.reshape(-1, n_outputs) * unit[:, np.newaxis]
        return parameters[:-1].T, parameters[-1]


class LinearSVM(RowSpaceClassifier):
    """Linear SVM, one class against the rest, squared hinge loss: scikit-learn's `LinearSVC`.

    Class weights are given as row weights: LIBLINEAR's own weigh a class against the rest, but leave
    the rest's rows at 1.

    Args:
        C: Inverse strength of the penalty.
        tol: LIBLINEAR's stopping tolerance.
        max_iter: Stop after so many passes over the rows, with a warning.
        class_weight: See `make_head`.
        random_state: Seed of the order in which rows are visited.
    """

    def __init__(
        self,
        C: float = 1.0,
        tol: float = 1e-4,
        max_iter: int = 2000,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        self.C = C
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.random_state = random_state

    def _solve(self, space: RowSpace, targets: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        from sklearn.svm import LinearSVC

        # The dual is LIBLINEAR's fast way as long as rows do not far outnumber their rank.
        svm = LinearSVC(
            C=self.C, dual=True, tol=self.tol, max_iter=self.max_iter, random_state=self.random_state
        )
        svm.fit(space.coordinates, targets, sample_weight=self._row_weights(targets))
        return svm.coef_, svm.intercept_


class ShrinkageLDA(RowSpaceClassifier):
    """Linear discriminant analysis, its covariance shrunk towards the average variance.

    In the row space, so that it exists for more features than rows. There it is scikit-learn's
    ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)``.

    Args:
        shrinkage: Above 0 (the covariance as measured) and at most 1 (a multiple of the identity).
        class_weight: ``"balanced"`` for equal priors, None for the training rows' own.
    """

    def __init__(self, shrinkage: float = 0.3, class_weight: ClassWeight = None) -> None:
        self.shrinkage = shrinkage
        self.class_weight = class_weight

    def _solve(self, space: RowSpace, targets: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        from scipy.linalg import solve

        if not 0 < self.shrinkage <= 1:
            raise HeadError(f"lda wants 0 < shrinkage <= 1, not {self.shrinkage!r}")
        counts = np.bincount(targets)
        priors = self._priors(counts)
        members = np.eye(len(counts))[targets]
        means = (members / counts).T @ space.coordinates
        deviations = (space.coordinates - means[targets]) * np.sqrt(priors / counts)[targets, np.newaxis]
        covariance = deviations.T @ deviations
        target = self.shrinkage * np.trace(covariance) / len(covariance)
        covariance *= 1.0 - self.shrinkage
        covariance[np.diag_indices_from(covariance)] += target
        coefficients = solve(covariance, means.T, assume_a="pos").T
        intercepts = np.log(priors) - 0.5 * np.einsum("ij,ij->i", means, coefficients)
        if len(counts) == 2:
            return coefficients[1:] - coefficients[:1], intercepts[1:] - intercepts[:1]
        return coefficients, intercepts

    def _priors(self, counts: npt.NDArray[np.intp]) -> FloatArray:
        if self.class_weight not in ("balanced", None):
            raise priors_only("lda", self.class_weight)
        votes = np.ones_like(counts) if self.class_weight == "balanced" else counts
        priors: FloatArray = votes / votes.sum()
        return priors


def _log_loss(scores: FloatArray, targets: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Return each row's log-loss and its slope with respect to that row's scores."""
    n_outputs = scores.shape[1]
    if n_outputs == 1:
        scores = np.column_stack([np.zeros(len(scores)), scores])
    rows = np.arange(len(targets))
    shifted = scores - scores.max(axis=1, keepdims=True)
    residuals = np.exp(shifted)
    totals = residuals.sum(axis=1)
    losses = np.log(totals) - shifted[rows, targets]
    residuals /= totals[:, np.newaxis]
    residuals[rows, targets] -= 1.0
    return losses, residuals[:, -n_outputs:]


def _warn_unconverged(head: str, max_iter: int) -> None:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    message = f"{head} had not converged after {max_iter} steps; give a smaller C or a larger max_iter"
    warnings.warn(message, ConvergenceWarning, stacklevel=4)
