"""Handcrafted encoders: what emotion recognition measured before networks learned to.

They keep the encoder's contract, frames in and layers with masks out, so that a pretrained
network and its baseline are cached, pooled, trained and scored by the same code.
"""

from __future__ import annotations

from collections.abc import Callable

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.handcrafted.baselines import mfcc_baseline, seed180_baseline
from ser_transfer.encoders.handcrafted.complete import complete_set
from ser_transfer.encoders.handcrafted.encoder import Analysis, HandcraftedEncoder
from ser_transfer.encoders.handcrafted.ge2e import ge2e_set
from ser_transfer.encoders.handcrafted.opensmile import compare_set, egemaps_set

__all__ = ["ANALYSES", "HandcraftedEncoder", "load_handcrafted"]

ANALYSES: dict[str, Callable[[], Analysis]] = {
    "mfcc": mfcc_baseline,
    "seed180": seed180_baseline,
    "handcrafted": complete_set,
    "egemaps": egemaps_set,
    "compare": compare_set,
    "ge2e": ge2e_set,
}


def load_handcrafted(name: str) -> HandcraftedEncoder:
    """Make a handcrafted encoder; librosa is imported at its first `encode`.

    Args:
        name: A key of `ANALYSES`. ``egemaps`` and ``compare`` need the extra ``opensmile``, ``ge2e``
            the extra of its name.

    Raises:
        EncoderError: If there is no such encoder, or its extra is not installed.
    """
    if name not in ANALYSES:
        raise EncoderError(f"there is no handcrafted encoder {name!r}; known are {', '.join(ANALYSES)}")
    return HandcraftedEncoder(name, ANALYSES[name]())
