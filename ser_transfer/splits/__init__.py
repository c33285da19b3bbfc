"""Which utterances are trained on, chosen on, and tested on: rows of a corpus in, folds of ids out."""

from ser_transfer.splits.folds import Fold, Split, SplitError
from ser_transfer.splits.make import KINDS, make_split

__all__ = ["KINDS", "Fold", "Split", "SplitError", "make_split"]
