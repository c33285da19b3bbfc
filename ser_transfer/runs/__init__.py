"""Runs: systems scored on the same folds, as a table, as figures, as a page and as a folder."""

from ser_transfer.runs.figures import Mapped, slug
from ser_transfer.runs.files import RunError, retire_run, save_run
from ser_transfer.runs.run import Run
from ser_transfer.runs.saved import SavedRun, saved_run
from ser_transfer.runs.system import MAJORITY, WANTED_ACCURACY, Role, System, provenance, ranked

__all__ = [
    "MAJORITY",
    "WANTED_ACCURACY",
    "Mapped",
    "Role",
    "Run",
    "RunError",
    "SavedRun",
    "System",
    "provenance",
    "ranked",
    "retire_run",
    "save_run",
    "saved_run",
    "slug",
]
