"""Every sequence head by name, and the one way to make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ser_transfer.heads.registry import ClassWeight, HeadError

if TYPE_CHECKING:
    from ser_transfer.heads.sequence.classifier import SequenceHead


def make_sequence_head(
    name: str, *, class_weight: ClassWeight = "balanced", random_state: int | None = 0, **settings: Any
) -> SequenceHead:
    """Make an unfitted head on sequences of frames; it standardises them by itself.

    Args:
        name: A key of `SEQUENCE_HEADS`.
        class_weight: ``"balanced"`` gives each class the same total weight, which is what UAR
            rewards; None weighs every sequence the same; a dict gives weights by class.
        random_state: Seed of all that is drawn; None for a different one each time.
        **settings: Settings of the head, such as ``learning_rate``; the others keep its defaults.

    Raises:
        HeadError: If the name or a setting is unknown.
    """
    if name not in SEQUENCE_HEADS:
        raise HeadError(
            f"there is no sequence head named {name!r}; the sequence heads are {', '.join(SEQUENCE_HEADS)}"
        )
    head: SequenceHead = SEQUENCE_HEADS[name]()
    known = sorted(head.get_params(deep=False).keys() - {"class_weight", "random_state"})
    unknown = sorted(settings.keys() - set(known))
    if unknown:
        raise HeadError(f"{name} has no setting {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    head.set_params(class_weight=class_weight, random_state=random_state, **settings)
    return head


def _mean_mlp() -> Any:
    from ser_transfer.heads.sequence.architectures import MeanMLP

    return MeanMLP()


def _attentive() -> Any:
    from ser_transfer.heads.sequence.architectures import AttentivePooling

    return AttentivePooling()


def _lstm() -> Any:
    from ser_transfer.heads.sequence.architectures import StackedLSTM

    return StackedLSTM()


def _cnn() -> Any:
    from ser_transfer.heads.sequence.architectures import ConvolutionBlocks

    return ConvolutionBlocks()


SEQUENCE_HEADS: dict[str, Callable[[], Any]] = {
    "mean_mlp": _mean_mlp,
    "attentive": _attentive,
    "lstm": _lstm,
    "cnn": _cnn,
}
