"""Scores of predicted emotions, how sure they are, and whether probabilities can be believed.

Importing this imports NumPy only.
"""

from ser_transfer.metrics.calibration import (
    Abstention,
    Reliability,
    abstention,
    abstention_at,
    brier,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)
from ser_transfer.metrics.comparison import Difference, difference, holm
from ser_transfer.metrics.groups import MIN_ROWS, GroupScore, scores_by_group, worst_group
from ser_transfer.metrics.intervals import (
    N_RESAMPLES,
    Interval,
    difference_interval,
    resample_speakers,
    t_interval,
)
from ser_transfer.metrics.scores import (
    METRICS,
    MetricError,
    Scores,
    confusion_by_speaker,
    confusion_matrix,
    macro_f1,
    majority_class,
    score,
    uar,
    wa,
)

__all__ = [
    "METRICS",
    "MIN_ROWS",
    "N_RESAMPLES",
    "Abstention",
    "Difference",
    "GroupScore",
    "Interval",
    "MetricError",
    "Reliability",
    "Scores",
    "abstention",
    "abstention_at",
    "brier",
    "confusion_by_speaker",
    "confusion_matrix",
    "coverage_curve",
    "difference",
    "difference_interval",
    "expected_calibration_error",
    "fit_temperature",
    "holm",
    "macro_f1",
    "majority_class",
    "reliability",
    "resample_speakers",
    "score",
    "scores_by_group",
    "t_interval",
    "uar",
    "wa",
    "with_temperature",
    "worst_group",
]
