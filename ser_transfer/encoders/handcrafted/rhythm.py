"""When the voice sounds: rates and lengths, told frame by frame so that they pool like all else.

A rate is a frame with the event times the frame rate: its mean over a clip is events per second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.handcrafted.frames import FRAME_RATE, Array, Frames, Mask
from ser_transfer.encoders.handcrafted.voice import runs

SYLLABLE = 0.1  # s: smoothing before peaks of the level are counted; syllables come 3 to 8 a second
RHYTHM = (
    "voiced",
    "voiced_segments_per_second",
    "voiced_seconds",
    "unvoiced_seconds",
    "pause",
    "level_peaks_per_second",
)


def rhythm_features(frames: Frames, voiced: Mask) -> Array:
    """Describe the timing around every frame.

    Returns:
        Array of shape (frames, len(RHYTHM)): 1 in voiced frames; onsets of voicing per second;
        seconds of the voiced, or unvoiced, segment a frame lies in (0 in the other kind); 1 in
        pauses; peaks of the smoothed level per second.
    """
    onset = voiced & ~np.concatenate([[False], voiced[:-1]])
    return np.column_stack(
        [
            voiced,
            FRAME_RATE * onset,
            _segment_seconds(voiced),
            _segment_seconds(~voiced),
            ~frames.active,
            FRAME_RATE * _level_peaks(frames.level_db),
        ]
    ).astype(np.float32)


def _segment_seconds(mask: Mask) -> npt.NDArray[np.float64]:
    seconds = np.zeros(len(mask))
    for start, stop in runs(mask):
        seconds[start:stop] = (stop - start) / FRAME_RATE
    return seconds


def _level_peaks(level_db: Array) -> Mask:
    width = round(SYLLABLE * FRAME_RATE)
    window = np.hanning(2 * width + 1)
    padded = np.pad(level_db, width, mode="edge")
    smooth = np.convolve(padded, window / window.sum(), mode="valid")
    peak = np.zeros(len(level_db), dtype=bool)
    peak[1:-1] = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])
    return peak
