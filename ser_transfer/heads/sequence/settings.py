"""What each setting of a sequence head may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ser_transfer.heads.registry import HeadError
from ser_transfer.heads.sequence.masks import checked_masks
from ser_transfer.heads.sequence.training import OPTIMIZERS

if TYPE_CHECKING:
    from ser_transfer.heads.sequence.classifier import SequenceHead

Rule = tuple[str, Callable[[Any], bool]]

LOSSES = ("cross_entropy", "focal")


def _number(text: str, holds: Callable[[float], bool]) -> Rule:
    return text, lambda value: isinstance(value, int | float) and not isinstance(value, bool) and holds(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _or_none(rule: Rule) -> Rule:
    text, holds = rule
    return f"None or {text}", lambda value: value is None or holds(value)


def _one_of(names: tuple[str, ...]) -> Rule:
    return " or ".join(map(repr, names)), lambda value: value in names


COUNT: Rule = "a whole number from 1 on", _count
COUNTS: Rule = (
    "a tuple of whole numbers from 1 on",
    lambda value: isinstance(value, tuple) and all(map(_count, value)),
)
SHARE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)
POSITIVE = _number("a number above 0", lambda value: 0 < value < float("inf"))
NOT_NEGATIVE = _number("a number from 0 on", lambda value: 0 <= value < float("inf"))
SWITCH: Rule = "True or False", lambda value: isinstance(value, bool)

RULES: Mapping[str, Rule] = {
    "optimizer": _one_of(tuple(OPTIMIZERS)),
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "clip_norm": _or_none(POSITIVE),
    "batch_size": COUNT,
    "max_epochs": COUNT,
    "patience": _or_none(COUNT),
    "plateau_patience": _or_none(COUNT),
    "plateau_factor": _number("a number above 0 and below 1", lambda value: 0 < value < 1),
    "dropout": SHARE,
    "loss": _one_of(LOSSES),
    "gamma": NOT_NEGATIVE,
    "label_smoothing": SHARE,
    "oversample": SWITCH,
    "hidden_units": COUNTS,
    "attention_units": COUNT,
    "units": (f"{COUNTS[0]}, one per layer", lambda value: COUNTS[1](value) and len(value) > 0),
    "bidirectional": SWITCH,
    "n_frames": COUNT,
}


def check_settings(head: SequenceHead) -> None:
    """Refuse a setting that is out of range, by its name.

    Raises:
        HeadError: If one is.
    """
    settings = head.get_params(deep=False)
    for name, (text, holds) in RULES.items():
        if name in settings and not holds(settings[name]):
            raise HeadError(f"{head.name} wants {name} to be {text}, not {settings[name]!r}")
    checked_masks(head.masks)
