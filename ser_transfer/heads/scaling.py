"""Standardised features, every block weighing the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ser_transfer.heads.registry import HeadError

# Below this share of its mean a float32 feature's deviation is rounding: 8 times float32's epsilon.
CONSTANT_TOLERANCE = 1e-6


class BlockScaler(TransformerMixin, BaseEstimator):
    """Standardise features on the training rows, then give each block the same total variance.

    A block is a layer, or an encoder. Without this a 4352-dimensional block drowns one of 40
    dimensions. A feature that is constant over the training rows becomes 0 everywhere.

    As the first step of every head it also refuses what no head can learn from.

    Args:
        block_sizes: Number of features per block, in column order; None for a single block.
        block_weights: Share of the total variance that each block gets, of any sum; None for equal ones.
        unit: ``"row"``: the variances of all features add up to 1, so `C` and `gamma` do not depend
            on the number of features, and gamma=1 is scikit-learn's "scale". ``"feature"``: they
            average 1.

    Attributes:
        mean_: Training mean per feature, float32 of shape (n_features,).
        scale_: What the centred feature is multiplied by, float32 of shape (n_features,).
    """

    def __init__(
        self,
        block_sizes: Sequence[int] | None = None,
        unit: Literal["row", "feature"] = "row",
        block_weights: Sequence[float] | None = None,
    ) -> None:
        self.block_sizes = block_sizes
        self.unit = unit
        self.block_weights = block_weights

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> BlockScaler:
        """Measure the training rows.

        Args:
            X: Features of shape (n_rows, n_features).
            y: Labels of shape (n_rows,), only checked: a head needs two classes at least.

        Raises:
            HeadError: If a feature is not finite, the blocks do not add up to the features, or all
                labels are the same.
        """
        features = _finite(X)
        if y is not None and len(classes := np.unique(np.asarray(y))) < 2:
            raise HeadError(
                f"all {len(features)} training rows are {classes[0]!s}: a head needs at least two classes; "
                "train on more speakers or more emotions"
            )
        sizes = self._checked_sizes(features.shape[1])
        mean = features.mean(axis=0, dtype=np.float64)
        # One pass without a copy of the deviations, where np.std makes two; float32 products, float64 mean.
        centred = features - mean.astype(np.float32)
        deviation = np.sqrt(np.einsum("ij,ij->j", centred, centred).astype(np.float64) / len(features))
        varies = deviation > CONSTANT_TOLERANCE * np.abs(mean)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)

        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        n_varying = np.add.reduceat(varies.astype(np.int64), starts)
        weights = np.where(n_varying > 0, self._checked_weights(len(sizes)), 0.0)
        shares = weights / max(weights.sum(), np.finfo(float).tiny)
        # A standardised block has a total variance of n_varying; this makes it the block's share.
        scale *= np.repeat(np.sqrt(shares / np.maximum(n_varying, 1)), sizes)
        if self.unit == "feature":
            scale *= np.sqrt(max(1, n_varying.sum()))

        self.mean_ = mean.astype(np.float32)
        self.scale_ = scale.astype(np.float32)
        self.n_features_in_ = features.shape[1]
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Scale rows by the training rows' statistics; returns float32 of the same shape."""
        check_is_fitted(self)
        features = _finite(X)
        if features.shape[1] != self.n_features_in_:
            raise HeadError(
                f"this head was trained on {self.n_features_in_} features and was given {features.shape[1]}: "
                "use the encoder, layers and pooling it was trained with"
            )
        scaled: npt.NDArray[np.float32] = (features - self.mean_) * self.scale_
        return scaled

    def _checked_sizes(self, n_features: int) -> list[int]:
        sizes = [n_features] if self.block_sizes is None else [int(size) for size in self.block_sizes]
        if sum(sizes) != n_features or min(sizes) < 1:
            raise HeadError(
                f"block_sizes must be positive and add up to the number of features: they are {sizes}, "
                f"in all {sum(sizes)}, and there are {n_features} features"
            )
        return sizes

    def _checked_weights(self, n_blocks: int) -> npt.NDArray[np.float64]:
        weights = np.ones(n_blocks) if self.block_weights is None else np.asarray(self.block_weights, float)
        if weights.shape != (n_blocks,) or not (weights > 0).all():
            raise HeadError(f"block_weights must be {n_blocks} positive numbers, not {self.block_weights}")
        return weights


def _finite(X: Any) -> npt.NDArray[np.float32]:
    """Return `X` as a float32 matrix; refuse a NaN or infinity by its place."""
    features = np.asarray(X, dtype=np.float32)
    if features.ndim != 2 or features.size == 0:
        raise HeadError(f"a head wants features of shape (n_rows, n_features), not {features.shape}")
    # A finite sum means finite terms: one pass, no mask of the whole matrix.
    if not np.isfinite(features.sum(dtype=np.float64)):
        row, column = np.argwhere(~np.isfinite(features))[0]
        raise HeadError(
            f"feature {column} of row {row} is {features[row, column]}: the encoder gave no number there; "
            "embed again, in float32 or without the recording"
        )
    return features
