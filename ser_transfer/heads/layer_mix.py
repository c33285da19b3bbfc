"""The learned mix of layers: one weight per layer, and a linear head on their weighted sum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight

from ser_transfer.heads.linear import probabilities
from ser_transfer.heads.registry import ClassWeight, HeadError
from ser_transfer.heads.row_space import FloatArray


class LayerMix(ClassifierMixin, BaseEstimator):
    """Softmax-weighted sum of layers, with a multinomial logistic regression on it.

    The head of SUPERB (Yang et al. 2021, https://arxiv.org/abs/2105.01051), on pooled vectors: as the mean
    over frames is linear, mixing the layers' means is pooling the mix. (Standard deviations, where the
    pooling has them, are mixed as features of their own.) Minimises C Σ weight · log-loss + |w|² / 2 over
    the layers' weights and the classifier's at once.

    Args:
        C: Inverse strength of the penalty on the classifier; the mix is not penalised.
        n_layers: Blocks of equal width that the columns consist of; `make_head` sets it.
        tol: Stop when no slope exceeds this, per row.
        max_iter: Stop after so many steps, with a warning.
        class_weight: See `make_head`.

    Attributes:
        classes_: The labels, sorted.
        layer_weights_: What each layer counts, of shape (n_layers,), adding up to 1.
        coef_: Of shape (n_classes, n_features / n_layers).
        intercept_: Of shape (n_classes,).
    """

    def __init__(
        self,
        C: float = 30.0,
        n_layers: int = 1,
        tol: float = 1e-4,
        max_iter: int = 300,
        class_weight: ClassWeight = None,
    ) -> None:
        self.C = C
        self.n_layers = n_layers
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> LayerMix:
        """Fit on features of shape (n_rows, n_layers * dim) and labels of shape (n_rows,)."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        if not self.C > 0:
            raise HeadError(f"layer_mix wants C > 0, not {self.C!r}")
        layers = self._layers(X)
        n_rows, n_layers, dim = layers.shape
        self.classes_, targets = np.unique(np.asarray(y), return_inverse=True)
        n_classes = len(self.classes_)
        weights = compute_sample_weight(self.class_weight, self.classes_[targets])
        truth = np.eye(n_classes)[targets]
        end_of_mix, end_of_weights = n_layers, n_layers + n_classes * dim

        def loss_and_slope(flat: FloatArray) -> tuple[float, FloatArray]:
            mix = _softmax(flat[:end_of_mix])
            coefficients = flat[end_of_mix:end_of_weights].reshape(n_classes, dim)
            mixed = np.tensordot(mix.astype(np.float32), layers, axes=(0, 1)).astype(np.float64)
            predicted = probabilities(mixed @ coefficients.T + flat[end_of_weights:])
            likelihood = np.maximum(predicted[np.arange(n_rows), targets], np.finfo(float).tiny)
            residuals = (predicted - truth) * (self.C * weights)[:, np.newaxis]
            towards = (residuals @ coefficients).astype(np.float32)  # slope with respect to each mixed row
            by_layer = np.einsum("nld,nd->l", layers, towards, optimize=True).astype(np.float64)
            slope = np.concatenate(
                [
                    mix * (by_layer - mix @ by_layer),
                    (residuals.T @ mixed + coefficients).ravel(),
                    residuals.sum(axis=0),
                ]
            )
            loss = -self.C * float(weights @ np.log(likelihood)) + 0.5 * float(
                np.vdot(coefficients, coefficients)
            )
            return loss, slope

        with threadpool_limits(1, user_api="blas"):
            found = minimize(
                loss_and_slope,
                np.zeros(end_of_weights + n_classes),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": self.max_iter, "gtol": self.tol * self.C * n_rows, "ftol": 1e-9},
            )
        if found.nit >= self.max_iter:
            _warn_unconverged(self.max_iter)
        self.layer_weights_ = _softmax(found.x[:end_of_mix])
        self.coef_ = found.x[end_of_mix:end_of_weights].reshape(n_classes, dim)
        self.intercept_ = found.x[end_of_weights:]
        self.n_features_in_ = n_layers * dim
        return self

    def predict_proba(self, X: npt.ArrayLike) -> FloatArray:
        """Return probabilities of shape (n_rows, n_classes), columns in the order of `classes_`."""
        mixed = np.tensordot(self.layer_weights_, self._layers(X), axes=(0, 1))
        return probabilities(mixed @ self.coef_.T + self.intercept_)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Return the most probable label of each row."""
        chosen: npt.NDArray[np.str_] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return chosen

    def _layers(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Lay columns out as (n_rows, n_layers, dim), each layer of variance 1 in all as a head expects."""
        features = np.asarray(X, dtype=np.float32)
        if features.shape[1] % self.n_layers:
            raise HeadError(f"{features.shape[1]} features are not {self.n_layers} layers of one width")
        return features.reshape(len(features), self.n_layers, -1) * np.float32(np.sqrt(self.n_layers))


def _softmax(values: FloatArray) -> FloatArray:
    exponentials = np.exp(values - values.max())
    result: FloatArray = exponentials / exponentials.sum()
    return result


def _warn_unconverged(max_iter: int) -> None:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    message = f"layer_mix had not converged after {max_iter} steps; give a smaller C or a larger max_iter"
    warnings.warn(message, ConvergenceWarning, stacklevel=3)
