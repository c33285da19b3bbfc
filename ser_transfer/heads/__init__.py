"""Classifiers on embeddings, under scikit-learn's contract.

Importing this imports NumPy only; `make_head` imports the part of scikit-learn that the named
head needs.
"""

from ser_transfer.heads.registry import HEADS, HeadError, make_head
from ser_transfer.heads.selection import GRIDS, choose_settings

__all__ = ["GRIDS", "HEADS", "HeadError", "choose_settings", "make_head"]
