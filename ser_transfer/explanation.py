"""What a model listened to: how much of its answer goes when a moment of the recording is hidden.

The method is occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks",
section 4.2, there for patches of images). It asks the model and looks at nothing inside it, so it means the
same for every model: for a linear head on handcrafted features as for a fine-tuned network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform
    from ser_transfer.model import EmotionModel

Array = npt.NDArray[np.float64]

# Half a cosine on either side of what is hidden. Without it the edges would click, and the model hear that.
FADE_SECONDS = 0.01
BATCH = 8  # waveforms that the model is asked about at once


class ExplanationError(SerTransferError):
    """A stretch to hide that is none."""


@dataclass(frozen=True)
class Occlusion:
    """How much of an answer hangs on each moment.

    Attributes:
        emotion: What the model answered to the whole recording.
        probability: Of that emotion, with nothing hidden.
        times: Middle of what was hidden, in seconds, of shape (n,).
        drop: By how much the emotion's probability fell, of shape (n,). Below 0 where the emotion became more
            probable: that moment spoke against it.
        hide_seconds: How much was hidden at a time.
    """

    emotion: str
    probability: float
    times: Array
    drop: Array
    hide_seconds: float


def occlusion(
    model: EmotionModel, waveform: Waveform, *, hide_seconds: float = 0.25, hop_seconds: float = 0.125
) -> Occlusion:
    """Hide one stretch of a recording after the other, and note how much less sure the model is.

    A hidden stretch is silent; the rest, and the length, stay as they are. At least half of the recording is
    always left. It takes one answer about the whole recording per hop.

    Args:
        model: Whose answer is explained.
        waveform: Mono, float32, at the model's rate.
        hide_seconds: How much is hidden at a time: about a syllable.
        hop_seconds: From one hidden stretch to the next.

    Raises:
        ExplanationError: If a stretch or a hop is not above 0.
    """
    if not (hide_seconds > 0 and hop_seconds > 0):
        raise ExplanationError(
            f"hide_seconds and hop_seconds must be above 0, not {hide_seconds} and {hop_seconds}; 0.25 and "
            "0.125 are a syllable and half of one"
        )
    rate = model.sampling_rate
    size = max(1, min(round(hide_seconds * rate), len(waveform) // 2))
    hop = max(1, round(hop_seconds * rate))
    starts = range(0, len(waveform) - size + 1, hop)
    (whole,) = model.probabilities_of_waveforms([waveform])
    column = int(whole.argmax())
    hidden = []
    for first in range(0, len(starts), BATCH):
        batch = [_without(waveform, start, size, rate) for start in starts[first : first + BATCH]]
        hidden.append(model.probabilities_of_waveforms(batch)[:, column])
    return Occlusion(
        emotion=model.classes[column],
        probability=float(whole[column]),
        times=(np.array(starts, np.float64) + size / 2) / rate,
        drop=whole[column] - np.concatenate(hidden),
        hide_seconds=size / rate,
    )


def _without(waveform: Waveform, start: int, size: int, rate: int) -> Waveform:
    """Silence a stretch, faded out before it and in behind it."""
    fade = round(FADE_SECONDS * rate)
    slope = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))
    gain = np.ones(len(waveform) + 2 * fade, np.float32)  # a margin on either side, cut off again below
    inside = start + fade
    gain[inside - fade : inside] = slope
    gain[inside : inside + size] = 0.0
    gain[inside + size : inside + size + fade] = slope[::-1]
    return waveform * gain[fade : fade + len(waveform)]
