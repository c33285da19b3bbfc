"""Classifiers on embeddings, under scikit-learn's contract.

Importing this imports NumPy only; `make_head` imports the part of scikit-learn that the named
head needs, `make_sequence_head` torch.
"""

from ser_transfer.heads.registry import HEADS, HeadError, make_head
from ser_transfer.heads.selection import GRIDS, Tuner, choose_settings
from ser_transfer.heads.sequence import (
    SEQUENCE_GRID,
    SEQUENCE_HEADS,
    choose_sequence_settings,
    load_sequence_head,
    make_sequence_head,
)

__all__ = [
    "GRIDS",
    "HEADS",
    "SEQUENCE_GRID",
    "SEQUENCE_HEADS",
    "HeadError",
    "Tuner",
    "choose_sequence_settings",
    "choose_settings",
    "load_sequence_head",
    "make_head",
    "make_sequence_head",
]
