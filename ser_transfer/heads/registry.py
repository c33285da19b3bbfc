"""Every head by name, and the one way to make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ClassWeight = Mapping[Any, float] | Literal["balanced"] | None


class HeadError(SerTransferError):
    """A head that does not exist, or that cannot be made or fitted from what it was given."""


def priors_only(head: str, class_weight: Any) -> HeadError:
    """Say that a head weighs classes by their priors, and so knows two ways only."""
    return HeadError(f"{head} takes class_weight 'balanced' or None, not {class_weight!r}")


def make_head(
    name: str,
    *,
    block_sizes: Sequence[int] | None = None,
    block_weights: Sequence[float] | None = None,
    class_weight: ClassWeight = "balanced",
    random_state: int = 0,
    **settings: Any,
) -> Pipeline:
    """Make an unfitted head: a scaler fitted on the training rows, then a classifier.

    Features reach the classifier standardised, with every block weighing the same and a total
    variance of 1 per row, so that one value of `C` or `gamma` means the same for every encoder and
    any number of layers.

    Args:
        name: A key of `HEADS`.
        block_sizes: Number of features per block (an encoder's layer, or a whole encoder), in
            column order; None for a single block.
        block_weights: Share of the variance that each block gets; None for equal ones.
        class_weight: ``"balanced"`` gives each class the same total weight, which is what UAR
            rewards; None weighs every row the same; a dict gives weights by class (``lda`` and
            ``nearest_centroid`` know only the first two).
        random_state: Seed of the heads that draw random numbers.
        **settings: Settings of the classifier, such as ``C``; the others keep our defaults.

    Returns:
        A `sklearn.pipeline.Pipeline` with the steps ``scaler`` and ``classifier``, and `fit`,
        `predict`, `predict_proba` and `classes_`. Probabilities of ``linear_svm`` and ``rbf_svm`` are
        the softmax of their decision values, and so uncalibrated.

    Raises:
        HeadError: If the name or a setting is unknown.
    """
    if name not in HEADS:
        raise HeadError(f"there is no head named {name!r}; the heads are {', '.join(HEADS)}")
    classifier = HEADS[name]()
    known = sorted(classifier.get_params(deep=False).keys() - {"class_weight", "random_state", "n_layers"})
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise HeadError(f"{name} has no setting {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    classifier.set_params(class_weight=class_weight, **settings)
    if "random_state" in classifier.get_params(deep=False):
        classifier.set_params(random_state=random_state)
    if name == "layer_mix" and block_sizes is not None:
        if len(set(block_sizes)) > 1:
            raise HeadError(f"layer_mix adds layers up, so they must be of one width, not {set(block_sizes)}")
        classifier.set_params(n_layers=len(block_sizes))

    from sklearn.pipeline import Pipeline

    from ser_transfer.heads.scaling import BlockScaler

    # A network's first weights are drawn for inputs of variance 1 per feature.
    scaler = BlockScaler(block_sizes, "feature" if name == "mlp" else "row", block_weights)
    return Pipeline([("scaler", scaler), ("classifier", classifier)])


def _logistic_regression() -> Any:
    from ser_transfer.heads.linear import LogisticRegression

    return LogisticRegression()


def _linear_svm() -> Any:
    from ser_transfer.heads.linear import LinearSVM

    return LinearSVM()


def _lda() -> Any:
    from ser_transfer.heads.linear import ShrinkageLDA

    return ShrinkageLDA()


def _rbf_svm() -> Any:
    from ser_transfer.heads.kernel import RBFSVM

    return RBFSVM()


def _knn() -> Any:
    from ser_transfer.heads.neighbors import WeightedKNN

    return WeightedKNN()


def _nearest_centroid() -> Any:
    from ser_transfer.heads.neighbors import WeightedNearestCentroid

    return WeightedNearestCentroid()


def _layer_mix() -> Any:
    from ser_transfer.heads.layer_mix import LayerMix

    return LayerMix()


def _mlp() -> Any:
    from ser_transfer.heads.network import WeightedMLP

    return WeightedMLP()


def _gradient_boosting() -> Any:
    from ser_transfer.heads.boosting import BoostedTrees

    return BoostedTrees()


HEADS: dict[str, Callable[[], Any]] = {
    "logistic_regression": _logistic_regression,
    "linear_svm": _linear_svm,
    "rbf_svm": _rbf_svm,
    "knn": _knn,
    "lda": _lda,
    "mlp": _mlp,
    "nearest_centroid": _nearest_centroid,
    "gradient_boosting": _gradient_boosting,
    "layer_mix": _layer_mix,
}
