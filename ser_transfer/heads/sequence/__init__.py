"""Classifiers on sequences of frames, under scikit-learn's contract.

Importing this imports NumPy only; `make_sequence_head` imports torch.
"""

from ser_transfer.heads.sequence.registry import SEQUENCE_HEADS, make_sequence_head
from ser_transfer.heads.sequence.search import SEQUENCE_GRID, choose_sequence_settings
from ser_transfer.heads.sequence.storage import load_sequence_head

__all__ = [
    "SEQUENCE_GRID",
    "SEQUENCE_HEADS",
    "choose_sequence_settings",
    "load_sequence_head",
    "make_sequence_head",
]
