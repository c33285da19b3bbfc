"""What can be done to a waveform, each with a value in a unit that people use."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Waveform = npt.NDArray[np.float32]
Apply = Callable[[Waveform, int, float, np.random.Generator], Waveform]

FFT_SECONDS = 0.064  # window of the phase vocoder: 1024 samples at 16 kHz, four periods of a low voice


def add_noise(waveform: Waveform, snr_db: float, rng: np.random.Generator) -> Waveform:
    """Add white noise at exactly this ratio of the whole clip's power to the noise's, in dB.

    Silence stays silent: there is nothing that noise could be measured against.
    """
    noise = rng.standard_normal(len(waveform))
    ratio = np.sqrt(_power(waveform) / _power(noise) / 10 ** (snr_db / 10))
    return np.asarray(waveform + ratio * noise, np.float32)


def shift_pitch(waveform: Waveform, sampling_rate: int, semitones: float) -> Waveform:
    """Move the pitch and keep the duration (`librosa.effects.pitch_shift`)."""
    from librosa.effects import pitch_shift

    n_fft = _n_fft(waveform, sampling_rate)
    shifted = pitch_shift(waveform, sr=sampling_rate, n_steps=semitones, n_fft=n_fft)
    return np.asarray(shifted, np.float32)


def stretch_time(waveform: Waveform, sampling_rate: int, rate: float) -> Waveform:
    """Play at `rate` times the speed and keep the pitch (`librosa.effects.time_stretch`)."""
    from librosa.effects import time_stretch

    stretched = time_stretch(waveform, rate=rate, n_fft=_n_fft(waveform, sampling_rate))
    return np.asarray(stretched, np.float32)


def change_speed(waveform: Waveform, sampling_rate: int, factor: float) -> Waveform:
    """Play at `factor` times the speed, as a tape does: the pitch moves along."""
    import soxr

    resampled = soxr.resample(waveform, sampling_rate * factor, sampling_rate, quality="HQ")
    return np.asarray(resampled, np.float32)


def shift_circularly(waveform: Waveform, share: float) -> Waveform:
    """Move the clip later by a share of its length; what leaves at the end comes back at the beginning."""
    return np.roll(waveform, round(share * len(waveform)))


def crop(waveform: Waveform, sampling_rate: int, seconds: float, rng: np.random.Generator) -> Waveform:
    """Keep so many seconds from anywhere; a clip that is no longer than that is kept whole."""
    n_samples = max(1, round(seconds * sampling_rate))
    start = rng.integers(max(0, len(waveform) - n_samples) + 1)
    return waveform[start : start + n_samples]


def change_gain(waveform: Waveform, gain_db: float) -> Waveform:
    """Multiply by a gain in dB."""
    return np.asarray(waveform * 10 ** (gain_db / 20), np.float32)


@dataclass(frozen=True)
class Kind:
    """One way to change a waveform.

    Attributes:
        apply: From waveform, sampling rate, drawn value and generator to the changed waveform.
        unit: Of its value.
        lowest: The least value that is meant in earnest.
        highest: The greatest.
    """

    apply: Apply
    unit: str
    lowest: float
    highest: float


KINDS: dict[str, Kind] = {
    "noise": Kind(lambda wave, rate, value, rng: add_noise(wave, value, rng), "dB SNR", -20, 100),
    "pitch": Kind(lambda wave, rate, value, rng: shift_pitch(wave, rate, value), "semitones", -24, 24),
    "stretch": Kind(lambda wave, rate, value, rng: stretch_time(wave, rate, value), "times as fast", 0.25, 4),
    "speed": Kind(lambda wave, rate, value, rng: change_speed(wave, rate, value), "times as fast", 0.25, 4),
    "shift": Kind(lambda wave, rate, value, rng: shift_circularly(wave, value), "of the clip", -1, 1),
    "crop": Kind(crop, "seconds", 0.05, 3600),
    "gain": Kind(lambda wave, rate, value, rng: change_gain(wave, value), "dB", -60, 60),
}


def _power(waveform: npt.NDArray[np.floating]) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def _n_fft(waveform: Waveform, sampling_rate: int) -> int:
    """The power of two next to `FFT_SECONDS`, and no longer than the clip."""
    return int(2 ** min(round(math.log2(FFT_SECONDS * sampling_rate)), int(math.log2(max(2, len(waveform))))))
