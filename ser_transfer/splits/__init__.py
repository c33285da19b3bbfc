"""Which utterances are trained on, chosen on, and tested on: rows of a corpus in, folds of ids out."""

from ser_transfer.splits.audit import audit_split
from ser_transfer.splits.folds import Fold, Split, SplitError
from ser_transfer.splits.leaks import Audit, LeakError, allowed_leaks, refuse_leaks
from ser_transfer.splits.make import KINDS, make_split

__all__ = [
    "KINDS",
    "Audit",
    "Fold",
    "LeakError",
    "Split",
    "SplitError",
    "allowed_leaks",
    "audit_split",
    "make_split",
    "refuse_leaks",
]
