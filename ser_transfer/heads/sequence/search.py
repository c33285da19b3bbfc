"""A sequence head's settings, chosen on validation speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.heads.registry import ClassWeight, HeadError
from ser_transfer.heads.sequence.registry import make_sequence_head

if TYPE_CHECKING:
    from ser_transfer.heads.sequence.classifier import SequenceHead

# Settings to try for any sequence head, the stronger regularisation first: on equal UAR the first one wins.
SEQUENCE_GRID: dict[str, tuple[Any, ...]] = {"dropout": (0.5, 0.3), "learning_rate": (3e-4, 1e-3, 3e-3)}


@dataclass(frozen=True)
class BestSequenceHead:
    """The settings that did best on validation speakers.

    Attributes:
        settings: For `make_sequence_head`, the fixed ones included.
        uar: The validation UAR of the best epoch.
        head: Fitted with them.
    """

    settings: dict[str, Any]
    uar: float
    head: SequenceHead


def choose_sequence_settings(
    name: str,
    sequences: Sequence[npt.ArrayLike],
    y: npt.ArrayLike,
    validation: tuple[Sequence[npt.ArrayLike], npt.ArrayLike],
    *,
    space: Mapping[str, Any] | None = None,
    n_draws: int | None = None,
    class_weight: ClassWeight = "balanced",
    random_state: int = 0,
    **fixed: Any,
) -> BestSequenceHead:
    """Choose a head's settings by the UAR that its best epoch reaches on validation speakers.

    Args:
        name: A key of `SEQUENCE_HEADS`.
        sequences: Training sequences, see `SequenceHead.fit`.
        y: Their labels.
        validation: Sequences and labels of speakers that are neither trained nor tested on.
        space: See `draw_settings`; `SEQUENCE_GRID` where None.
        n_draws: See `draw_settings`.
        class_weight: See `make_sequence_head`.
        random_state: Seed of the draws, and of every head.
        **fixed: Settings that all candidates share.

    Returns:
        The best candidate; of those with the same UAR, the first.

    Raises:
        HeadError: If the head or a setting is unknown, or a head cannot be fitted.
    """
    best: BestSequenceHead | None = None
    for drawn in draw_settings(SEQUENCE_GRID if space is None else space, n_draws, random_state):
        settings = fixed | drawn
        head = make_sequence_head(name, class_weight=class_weight, random_state=random_state, **settings)
        head.fit(sequences, y, validation)
        reached = head.history_[head.best_epoch_ - 1]["validation_uar"]
        assert reached is not None, "a head fitted with validation says its UAR"
        if best is None or reached > best.uar:
            best = BestSequenceHead(settings, reached, head)
    assert best is not None, "draw_settings gives one candidate at least"
    return best


def draw_settings(
    space: Mapping[str, Any], n_draws: int | None = None, random_state: int = 0
) -> list[dict[str, Any]]:
    """List the settings to try.

    Args:
        space: Per setting a sequence of values, or a distribution of SciPy's, such as
            ``scipy.stats.loguniform(1e-4, 1e-2)``.
        n_draws: How many combinations to draw, none twice where all values are listed; None for every one.
        random_state: Seed of the draws.

    Raises:
        HeadError: If a setting has no value, a distribution has no number of draws, or that is below 1.
    """
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    distributions = [name for name, values in space.items() if hasattr(values, "rvs")]
    for name in space.keys() - set(distributions):
        if not isinstance(space[name], list | tuple) or len(space[name]) == 0:
            raise HeadError(f"{name} wants a list of values to try or a distribution, not {space[name]!r}")
    if n_draws is None and distributions:
        raise HeadError(f"{', '.join(distributions)} has endlessly many values: say n_draws, such as 20")
    if n_draws is not None and n_draws < 1:
        raise HeadError(f"n_draws is {n_draws}, and at least one combination must be tried")
    if not distributions and (n_draws is None or n_draws >= len(ParameterGrid(dict(space)))):
        return list(ParameterGrid(dict(space)))
    drawn = ParameterSampler(dict(space), n_draws, random_state=random_state)
    return [{name: _plain(value) for name, value in settings.items()} for settings in drawn]


def _plain(value: Any) -> Any:
    """Return a drawn NumPy number as Python's own, which JSON can hold."""
    return value.item() if isinstance(value, np.generic) else value
