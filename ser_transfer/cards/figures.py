"""The figures of a card, drawn from the very numbers that stand in it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ser_transfer.cards.run import CardRun
from ser_transfer.cards.writing import plain
from ser_transfer.metrics import reliability
from ser_transfer.plots import confusion_figure, reliability_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFUSION, RELIABILITY = "confusion_matrix.png", "reliability.png"


def card_figures(run: CardRun, title: str) -> dict[str, bytes]:
    """Draw the confusion matrix and, where the run could calibrate, the reliability of its probabilities.

    Args:
        run: As it was read.
        title: What was trained on what.

    Returns:
        PNG files by name.
    """
    scores, predictions = run.system.scores, run.system.predictions
    speakers = "" if scores.n_speakers is None else f", {scores.n_speakers} speakers"
    stamp = "" if run.is_speaker_independent else "\nNOT SPEAKER-INDEPENDENT"
    heading = (
        f"{_words(title)}\n{_words(run.saved.description)} · n = {len(predictions.truth)}{speakers}{stamp}"
    )
    classes = [_words(emotion) for emotion in scores.classes]
    found = {CONFUSION: _png(confusion_figure(np.array(scores.confusion), classes, heading))}
    if predictions.is_calibrated:
        shown = predictions
        before, after = (
            reliability(each, shown.truth, shown.classes) for each in (shown.probabilities, shown.calibrated)
        )
        found[RELIABILITY] = _png(reliability_figure(before, after, heading))
    return found


def _words(text: str) -> str:
    """Keep a dollar from opening a formula, which may not even be one."""
    return plain(text).replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(
        file, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": None}
    )  # no release of matplotlib in it: the same run gives the same file
    return file.getvalue()
