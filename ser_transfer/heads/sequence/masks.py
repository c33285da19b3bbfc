"""Time and frequency masks on training batches."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from torch import Tensor

from ser_transfer.heads.registry import HeadError

MAX_SHARE = 0.2  # of a sequence's frames under one time mask: p of the policies SM and SS of the paper


@dataclass(frozen=True)
class Masks:
    """SpecAugment's masks (Park et al. 2019, https://arxiv.org/abs/1904.08779): blocks set to the mean.

    Each mask has a width drawn from 0 to its greatest, and a place drawn from all where it fits.

    Attributes:
        n_time: Time masks per sequence.
        time_width: Greatest width of a time mask in frames, and no more than a fifth of the sequence.
        n_frequency: Frequency masks per sequence.
        frequency_width: Greatest width of a frequency mask, in features.
    """

    n_time: int = 0
    time_width: int = 0
    n_frequency: int = 0
    frequency_width: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or value < 0:
                raise HeadError(f"masks want {field.name} to be a whole number from 0 on, not {value!r}")

    def apply(self, frames: Tensor, n_frames: Tensor, rng: np.random.Generator) -> None:
        """Mask a standardised batch in place.

        Args:
            frames: Of shape (batch, frames, dim).
            n_frames: Valid frames, of shape (batch,); a time mask lies within them.
            rng: Draws widths and places.

        Raises:
            HeadError: If a frequency mask may be wider than there are features.
        """
        n_features = frames.shape[2]
        if self.frequency_width > n_features:
            raise HeadError(
                f"masks want frequency_width {self.frequency_width}, and a frame has {n_features} features"
            )
        for row, n in enumerate(n_frames.tolist()):
            for _ in range(self.n_time):
                frames[row, _drawn_block(min(self.time_width, int(MAX_SHARE * n)), n, rng)] = 0.0
            for _ in range(self.n_frequency):
                frames[row, :, _drawn_block(self.frequency_width, n_features, rng)] = 0.0


def checked_masks(settings: object) -> Masks:
    """Read masks from a mapping of settings, as a recipe gives them; None for no masks.

    Raises:
        HeadError: If it is no mapping, or a setting is unknown or no whole number.
    """
    known = [field.name for field in fields(Masks)]
    if settings is None:
        return Masks()
    if not isinstance(settings, dict) or settings.keys() - set(known):
        raise HeadError(f"masks are None or a dict with {', '.join(known)}, not {settings!r}")
    return Masks(**settings)


def _drawn_block(greatest_width: int, size: int, rng: np.random.Generator) -> slice:
    width = int(rng.integers(greatest_width, endpoint=True))
    start = int(rng.integers(size - width, endpoint=True))
    return slice(start, start + width)
