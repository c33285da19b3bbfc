"""The shape of the spectrum and the level of every frame."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from ser_transfer.encoders.handcrafted.frames import (
    FLOOR,
    HOP,
    LONG_FFT,
    SAMPLING_RATE,
    SHORT_FFT,
    TINY,
    Array,
    Frames,
    decibels,
    delta,
)

N_MELS = 26
N_MFCC = 20
LOUDNESS_EXPONENT = 0.3  # Stevens' power law over power, as in eGeMAPS
CONTRAST_EDGES = (0.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)  # Hz
CONTRAST_SHARE = 0.02  # of a band's bins: its peak, and as many its valley; one at least
ROLL_OFFS = (0.25, 0.5, 0.85, 0.95)

CEPSTRUM = (
    *(f"mfcc_{k}" for k in range(1, N_MFCC + 1)),
    *(f"mfcc_{k}_delta" for k in range(1, N_MFCC + 1)),
)
MEL = tuple(f"mel_{k}" for k in range(N_MELS))
SHAPE = (
    "centroid",
    "bandwidth",
    "flatness_db",
    "entropy",
    "flux",
    *(f"roll_off_{share:g}" for share in ROLL_OFFS),
    *(f"contrast_{k}" for k in range(7)),
    "slope_0_500",
    "slope_500_1500",
    "alpha_ratio_db",
    "hammarberg_db",
    "zero_crossing_rate",
)
HARMONY = (*(f"chroma_{k}" for k in range(12)), *(f"tonnetz_{k}" for k in range(6)))
ENERGY = ("level_db", "loudness", "level_delta", "level_delta_slow", "loudness_delta")


def mel_levels(frames: Frames) -> Array:
    """Log mel spectrum in dB, shape (frames, N_MELS), floored relative to the clip's loudest band."""
    mel = frames.power @ _mel_filters().T
    return decibels(mel + FLOOR * mel.max() + TINY)


def cepstrum_features(mel_db: Array) -> Array:
    """MFCC 1 to `N_MFCC` (without 0, the level) and their deltas over 50 ms."""
    from scipy.fft import dct

    mfcc = dct(mel_db, norm="ortho", axis=1)[:, 1 : N_MFCC + 1]
    return np.hstack([mfcc, delta(mfcc, 2)])


def mel_features(mel_db: Array) -> Array:
    """Mel bands relative to the mean of their frame, in dB."""
    relative: Array = mel_db - mel_db.mean(axis=1, keepdims=True)
    return relative


def energy_features(frames: Frames, mel_db: Array) -> Array:
    """Level in dB of full scale, loudness, and their changes: all that depends on the gain."""
    level = frames.level_db + np.float32(frames.peak_db)
    loudness = (10 ** (0.1 * LOUDNESS_EXPONENT * (mel_db + frames.peak_db))).sum(axis=1)
    both = np.column_stack([level, loudness])
    fast, slow = delta(both, 2), delta(both, 6)
    return np.column_stack([both, fast[:, 0], slow[:, 0], fast[:, 1]]).astype(np.float32)


def shape_features(frames: Frames) -> Array:
    """Moments, edges and slopes of the power spectrum."""
    power = frames.power + np.float32(FLOOR * frames.power.max() / SHORT_FFT + TINY)
    magnitude = np.sqrt(power)
    db = decibels(power)
    hz = np.fft.rfftfreq(SHORT_FFT, 1 / SAMPLING_RATE)
    total = power.sum(axis=1)
    share = power / total[:, None]
    # In float64, as the bandwidth is a difference of these.
    centroid, square = (magnitude @ np.column_stack([hz, hz**2])).T / magnitude.sum(axis=1, dtype=np.float64)
    flux = np.square(np.diff(magnitude / np.sqrt(total)[:, None], axis=0)).sum(axis=1)
    return np.column_stack(
        [
            centroid,
            np.sqrt(square - centroid**2),
            db.mean(axis=1) - decibels(power.mean(axis=1)),
            (decibels(total) - np.einsum("tk,tk->t", share, db)) / (10 * np.log10(2)),  # bits
            np.concatenate([[0.0], flux]),
            _roll_off(share, hz),
            _contrast(magnitude, hz),
            _slope(db, hz, 0, 500),
            _slope(db, hz, 500, 1500),
            _band_db(power, hz, 50, 1000) - _band_db(power, hz, 1000, 5000),
            _peak_db(db, hz, 0, 2000) - _peak_db(db, hz, 2000, 5000),
            _zero_crossings(frames),
        ]
    ).astype(np.float32)


def harmony_features(frames: Frames) -> Array:
    """Chroma of the long spectrum (A440, no tuning estimated) and its tonal centroid."""
    import librosa

    chroma = librosa.util.normalize(_chroma_filters() @ frames.long_power.T, axis=0)
    tonnetz = librosa.feature.tonnetz(chroma=chroma, sr=SAMPLING_RATE)
    return np.vstack([chroma, tonnetz]).T.astype(np.float32)


@cache
def _mel_filters() -> Array:
    from librosa.filters import mel

    return np.asarray(mel(sr=SAMPLING_RATE, n_fft=SHORT_FFT, n_mels=N_MELS, fmin=50.0, fmax=8000.0))


@cache
def _chroma_filters() -> Array:
    from librosa.filters import chroma

    return np.asarray(chroma(sr=SAMPLING_RATE, n_fft=LONG_FFT))


def _roll_off(share: Array, hz: Array) -> Array:
    up_to = np.cumsum(share, axis=1)
    return np.column_stack([hz[(up_to >= edge).argmax(axis=1)] for edge in ROLL_OFFS])


def _contrast(magnitude: Array, hz: Array) -> Array:
    """Peak over valley in dB, below 125 Hz and in each octave above (Jiang et al. 2002).

    As librosa's, a band begins one bin below its edge.
    """
    contrast = []
    edges = [*np.searchsorted(hz, CONTRAST_EDGES).tolist(), len(hz)]
    for low, high in itertools.pairwise(edges):
        ordered = np.sort(magnitude[:, max(low - 1, 0) : high], axis=1)
        n_bins = max(1, round(CONTRAST_SHARE * ordered.shape[1]))
        peak, valley = ordered[:, -n_bins:].mean(axis=1), ordered[:, :n_bins].mean(axis=1)
        contrast.append(decibels(peak / valley))
    return np.column_stack(contrast)


def _band(hz: Array, low: float, high: float) -> slice:
    return slice(*np.searchsorted(hz, (low, high)).tolist())


def _band_db(power: Array, hz: Array, low: float, high: float) -> Array:
    return decibels(power[:, _band(hz, low, high)].sum(axis=1))


def _peak_db(db: Array, hz: Array, low: float, high: float) -> Array:
    return np.asarray(db[:, _band(hz, low, high)].max(axis=1))


def _slope(db: Array, hz: Array, low: float, high: float) -> Array:
    """Regression slope in dB per kHz."""
    band = _band(hz, low, high)
    centred = (hz[band] - hz[band].mean()) / 1000
    return np.asarray(db[:, band] @ centred / (centred @ centred))


def _zero_crossings(frames: Frames) -> Array:
    """Sign changes per second in each hop."""
    negative = np.signbit(frames.samples)
    crossing = np.concatenate([[False], negative[1:] != negative[:-1]])
    return np.asarray(crossing.reshape(-1, HOP).mean(axis=1) * SAMPLING_RATE)
