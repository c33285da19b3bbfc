"""The AudioSet front end, which VGGish and YAMNet share: waveform to log-mel patches.

Written in NumPy, so a recording gets the same numbers whichever device the network runs on.
Source of every number: `mel_features.py` and `features.py` of Google's AudioSet models
(https://github.com/tensorflow/models/tree/master/research/audioset).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SAMPLING_RATE = 16000  # Hz
WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
N_FFT = 512  # samples: the next power of two above the window
N_MELS = 64
MIN_HZ, MAX_HZ = 125.0, 7500.0
PATCH = 96  # log-mel frames: 0.96 s
PATCH_SAMPLES = (PATCH - 1) * HOP + WINDOW  # what one whole patch is computed from: 0.975 s


def log_mel(waveform: Array, offset: float) -> Array:
    """Compute the log-mel spectrogram of a waveform at 16 kHz.

    Args:
        waveform: Shape (samples,), at least `WINDOW` of them. What follows the last whole window is left.
        offset: Added to each mel magnitude before the logarithm: 0.001 for YAMNet, 0.01 for VGGish.

    Returns:
        Float32 array of shape (frames, 64), one frame each 10 ms: the natural logarithm of 64 mel bands of
        the magnitude (not power) spectrum under a periodic Hann window.
    """
    windows = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)[::HOP]
    magnitudes = np.abs(np.fft.rfft(windows * _hann(), N_FFT))
    result: Array = np.log(magnitudes @ _mel_matrix() + np.float32(offset))
    return result


def patches(spectrogram: Array, hop: int) -> Array:
    """Cut a spectrogram of at least 96 frames into whole patches of 96, one each `hop` frames.

    Returns:
        View of shape (patches, 96, 64). Frames after the last whole patch are in none.
    """
    windows = np.lib.stride_tricks.sliding_window_view(spectrogram, PATCH, axis=0)[::hop]
    return windows.transpose(0, 2, 1)


@cache
def _hann() -> Array:
    """Periodic Hann window: one period of a raised cosine, whose last zero is left to the next period."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _mel_matrix() -> Array:
    """Weights of shape (257 bins, 64 bands): triangles that are straight over mel, not over Hz.

    The triangles overlap by half and have a peak of 1. None reaches down to 0 Hz, which the original sets
    to zero for itself.
    """
    bins = _mel(np.linspace(0.0, SAMPLING_RATE / 2, N_FFT // 2 + 1))[:, np.newaxis]
    edges = np.linspace(_mel(MIN_HZ), _mel(MAX_HZ), N_MELS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.maximum(0.0, triangles).astype(np.float32)


def _mel(hertz: float | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convert to mel by HTK's formula."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
