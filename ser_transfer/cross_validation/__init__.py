"""A head on every fold: chosen on validation speakers, test speakers scored once."""

from ser_transfer.cross_validation.columns import Columns, normalised_by_speaker, standardised_by_speaker
from ser_transfer.cross_validation.folds import (
    FoldResult,
    aligned,
    cross_validate,
    fit_on_all,
    joined,
    mean_temperature,
    run_fold,
)
from ser_transfer.cross_validation.kept import keep_result, kept_result
from ser_transfer.cross_validation.labels import GROUP_COLUMNS, Labels, TrainingError
from ser_transfer.cross_validation.predictions import Predictions, majority_floor
from ser_transfer.cross_validation.search import Choice, HeadChoice, Search, Trial
from ser_transfer.cross_validation.sequences import cross_validate_sequences

__all__ = [
    "GROUP_COLUMNS",
    "Choice",
    "Columns",
    "FoldResult",
    "HeadChoice",
    "Labels",
    "Predictions",
    "Search",
    "TrainingError",
    "Trial",
    "aligned",
    "cross_validate",
    "cross_validate_sequences",
    "fit_on_all",
    "joined",
    "keep_result",
    "kept_result",
    "majority_floor",
    "mean_temperature",
    "normalised_by_speaker",
    "run_fold",
    "standardised_by_speaker",
]
