"""Effects in a row, as recipes and flags write them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from ser_transfer.augment.effects import KINDS, Waveform
from ser_transfer.errors import SerTransferError

TURNED_DOWN = (
    "an augmented copy went beyond full scale and was turned down to peak there, so that nothing is cut off: "
    "its gain is lower than drawn. Ask for less gain to keep the draw"
)


class AugmentationError(SerTransferError):
    """An augmentation that does not exist, or that cannot be applied to what was given."""


@dataclass(frozen=True)
class Effect:
    """One change, with the range that its value is drawn from, evenly."""

    kind: str
    low: float
    high: float

    def __str__(self) -> str:
        low, high = (repr(float(value)).removesuffix(".0") for value in (self.low, self.high))
        return f"{self.kind}:{low}" if low == high else f"{self.kind}:{low}..{high}"


@dataclass(frozen=True)
class Augmentation:
    """Changes that follow one another, in the order they were written. Printing it gives its text."""

    effects: tuple[Effect, ...]

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Read the text that recipes and flags use.

        Args:
            text: ``kind:low..high`` or ``kind:value``, one or more, with commas between them. The kinds are
                those of `KINDS`: ``noise`` (dB SNR), ``pitch`` (semitones), ``stretch`` (times as fast at
                the same pitch), ``speed`` (times as fast, pitch and all), ``shift`` (share of the clip,
                circular), ``crop`` (seconds kept) and ``gain`` (dB).

        Raises:
            AugmentationError: If the text is none, a kind is unknown or there twice, or a range is empty or
                beyond what its kind allows.
        """
        effects = tuple(_effect(item.strip(), text) for item in text.split(","))
        kinds = [effect.kind for effect in effects]
        if len(set(kinds)) < len(kinds):
            twice = next(kind for kind in kinds if kinds.count(kind) > 1)
            raise AugmentationError(f"augmentation {text!r} names {twice} twice; give it one range")
        return cls(effects)

    def __str__(self) -> str:
        return ",".join(map(str, self.effects))

    def __call__(self, waveform: Waveform, sampling_rate: int, rng: np.random.Generator) -> Waveform:
        """Apply one draw of every change.

        Nothing is ever cut off: where the result would go beyond full scale, and the waveform did not, it is
        turned down as a whole to peak at full scale, and a warning says so.

        Args:
            waveform: Mono array of shape (samples,), finite, full scale 1.
            sampling_rate: Hz.
            rng: Where the draws come from.

        Returns:
            A new float32 array; another length after ``stretch``, ``speed`` and ``crop``.

        Raises:
            AugmentationError: If the waveform is not a finite mono waveform with samples.
        """
        changed = _checked(waveform)
        full_scale = max(1.0, float(np.abs(changed).max()))
        for effect in self.effects:
            value = float(rng.uniform(effect.low, effect.high))
            changed = KINDS[effect.kind].apply(changed, sampling_rate, value, rng)
        peak = float(np.abs(changed).max())
        if peak > full_scale:
            warnings.warn(TURNED_DOWN, stacklevel=2)
            changed = changed * np.float32(full_scale / peak)
            changed = np.clip(changed, -full_scale, full_scale)  # the last bit may be rounded up
        return np.array(changed, np.float32)


def _effect(item: str, text: str) -> Effect:
    name, _, range_ = item.partition(":")
    if name not in KINDS:
        known = ", ".join(f"{kind} ({KINDS[kind].unit})" for kind in KINDS)
        raise AugmentationError(
            f"augmentation {text!r} has no known kind in {item!r}; known are {known}. Write kind:low..high "
            "or kind:value, with commas between them, such as noise:10..20,pitch:-2..2"
        )
    low, dots, high = range_.partition("..")
    kind = KINDS[name]
    try:
        effect = Effect(name, float(low), float(high if dots else low))
    except ValueError:
        effect = Effect(name, math.nan, math.nan)
    if not kind.lowest <= effect.low <= effect.high <= kind.highest:  # NaN fails as well
        raise AugmentationError(
            f"augmentation {text!r}: {item!r} is no range of {name}; write {name}:low..high in {kind.unit}, "
            f"low before high, from {kind.lowest:g} to {kind.highest:g}"
        )
    return effect


def _checked(waveform: Waveform) -> Waveform:
    if waveform.ndim != 1 or not len(waveform) or not np.issubdtype(waveform.dtype, np.floating):
        raise AugmentationError(
            f"augmentation wants a mono waveform of shape (samples,), not {waveform.dtype} of shape "
            f"{waveform.shape}; ser_transfer.audio.read_audio returns one"
        )
    if not np.isfinite(waveform).all():
        raise AugmentationError("augmentation wants finite samples, and some are NaN or infinite")
    return waveform.astype(np.float32, copy=False)
