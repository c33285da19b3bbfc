"""The few directions in which training rows differ.

A penalty on the length of a weight vector does not see a rotation, and a direction in which no
training row points only adds length. So an L2-penalised linear classifier on n rows of d features
has its solution in the rows' span: min(n, d) coordinates hold the whole problem, and fitting on
1200 rows costs the same with 1200 features or 11000 (Hastie & Tibshirani 2004, "Efficient
quadratic regularization for expression arrays", doi:10.1093/biostatistics/kxh010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Directions whose share of the largest variance is below this are rounding of float32 features.
RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class RowSpace:
    """Training rows in an orthonormal basis of their span.

    Attributes:
        coordinates: The rows in that basis, float64 of shape (n_rows, rank).
        energies: Sum of squares of each coordinate over the rows, ascending, of shape (rank,).
        rows: The rows as given, of shape (n_rows, n_features).
        mixing: With more features than rows, `rows.T @ mixing` is the basis, and `mixing` has shape
            (n_rows, rank); otherwise it is the basis itself, of shape (n_features, rank).
    """

    coordinates: FloatArray
    energies: FloatArray
    rows: npt.NDArray[np.floating]
    mixing: FloatArray

    def to_features(self, coefficients: FloatArray) -> FloatArray:
        """Carry weights of shape (n_outputs, rank) back to shape (n_outputs, n_features)."""
        weights = coefficients @ self.mixing.T
        n_rows, n_features = self.rows.shape
        # `rows` in their own type: a float64 copy of them would cost more than all the rest.
        return (
            weights if n_features <= n_rows else (weights.astype(self.rows.dtype) @ self.rows).astype(float)
        )


def row_space(rows: npt.NDArray[np.floating]) -> RowSpace:
    """Find the basis by an eigendecomposition of the smaller of the two Gram matrices.

    Args:
        rows: Training rows of shape (n_rows, n_features).
    """
    n_rows, n_features = rows.shape
    exact = rows.astype(np.float64)
    gram = exact @ exact.T if n_features > n_rows else exact.T @ exact
    energies, vectors = np.linalg.eigh(gram)
    kept = energies > RANK_TOLERANCE * max(energies[-1], np.finfo(float).tiny)
    energies, vectors = energies[kept], vectors[:, kept]
    if n_features > n_rows:
        lengths = np.sqrt(energies)
        return RowSpace(vectors * lengths, energies, rows, vectors / lengths)
    return RowSpace(exact @ vectors, energies, rows, vectors)
