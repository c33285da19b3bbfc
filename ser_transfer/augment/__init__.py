"""Recordings changed at random, so that a head learns from more voices than there are. For training only.

    augmentation = Augmentation.parse("noise:10..20,pitch:-2..2,stretch:0.9..1.1")

Each draw depends on a seed, the recording's content and the number of the copy, and on nothing else: so a
copy is the same on every machine and in any order, and its embedding can be kept like any other.
"""

from ser_transfer.augment.augmentation import Augmentation, AugmentationError, Effect
from ser_transfer.augment.copies import AugmentedCopy, Copies, with_copies
from ser_transfer.augment.effects import KINDS

__all__ = [
    "KINDS",
    "Augmentation",
    "AugmentationError",
    "AugmentedCopy",
    "Copies",
    "Effect",
    "with_copies",
]
