"""Every figure, each a function from data to a matplotlib `Figure`.

Colours are Okabe and Ito's, which colour-blind readers tell apart; where series are many, marker or dashes
tell them apart too. `Figure` is made directly: no global state of pyplot, no window, safe in threads. The
title is the caller's: it says corpus, split and n. Importing this imports NumPy only.
"""

from ser_transfer.plots.calibration import coverage_figure, reliability_figure
from ser_transfer.plots.classes import per_class_figure
from ser_transfer.plots.curves import precision_recall_figure, roc_figure
from ser_transfer.plots.drawing import Drawing
from ser_transfer.plots.groups import group_figure
from ser_transfer.plots.layers import layer_figure
from ser_transfer.plots.maps import map_figure, map_of
from ser_transfer.plots.matrices import confusion_figure, matrix_figure
from ser_transfer.plots.speakers import speaker_figure
from ser_transfer.plots.style import PlotError, save_figure
from ser_transfer.plots.systems import LeaderboardRow, leaderboard_figure, score_figure
from ser_transfer.plots.training import training_figure

__all__ = [
    "Drawing",
    "LeaderboardRow",
    "PlotError",
    "confusion_figure",
    "coverage_figure",
    "group_figure",
    "layer_figure",
    "leaderboard_figure",
    "map_figure",
    "map_of",
    "matrix_figure",
    "per_class_figure",
    "precision_recall_figure",
    "reliability_figure",
    "roc_figure",
    "save_figure",
    "score_figure",
    "speaker_figure",
    "training_figure",
]
