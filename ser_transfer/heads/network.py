"""The multilayer perceptron, with the class weights that scikit-learn's lacks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.neural_network import MLPClassifier
from sklearn.utils.class_weight import compute_sample_weight

from ser_transfer.heads.registry import ClassWeight


class WeightedMLP(MLPClassifier):
    """One or more hidden layers of rectified units, trained with Adam on weighted rows.

    It trains until the training loss stands still: scikit-learn's early stopping would hold out random
    rows, and so share speakers with the rows it trains on.

    Args:
        hidden_layer_sizes: Units per hidden layer.
        alpha: Strength of the L2 penalty.
        learning_rate_init: Adam's step size.
        max_iter: Stop after so many epochs, with a warning.
        class_weight: See `make_head`.
        random_state: Seed of the first weights and of the order of the rows.
    """

    def __init__(
        self,
        hidden_layer_sizes: tuple[int, ...] = (64,),
        alpha: float = 1.0,
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        class_weight: ClassWeight = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            alpha=alpha,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> WeightedMLP:
        """Fit on features of shape (n_rows, n_features) and labels of shape (n_rows,)."""
        labels = np.asarray(y)
        super().fit(X, labels, sample_weight=compute_sample_weight(self.class_weight, labels))
        return self
