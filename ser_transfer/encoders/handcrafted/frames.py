"""What all handcrafted features of a clip share: one grid of frames, two spectra, one gate.

The waveform is centred and scaled to a peak of 1 first, and the peak is kept as a level in dB. So
every feature but the level itself is the same for a clip recorded louder or with an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.base import Waveform

Array = npt.NDArray[Any]  # of floats, float32 wherever it lasts
Mask = npt.NDArray[np.bool_]

SAMPLING_RATE = 16000  # Hz
HOP = 160  # samples: a frame every 10 ms
FRAME_RATE = SAMPLING_RATE / HOP  # Hz
SHORT_WINDOW, SHORT_FFT = 400, 512  # samples: 25 ms, the spectrum of MFCC and of the spectral shape
LONG_WINDOW, LONG_FFT = 768, 1024  # samples: 48 ms, three periods of 62.5 Hz, to see single harmonics
FLOOR = 1e-6  # of the clip's loudest frame: 60 dB below it a recording holds its room, not its speaker
ACTIVE_DB = 35.0  # dB below the clip's loud frames (95th percentile) at which speech is taken to end
TINY = 1e-12  # keeps log and division finite where digital silence gives exact zeros


@dataclass(frozen=True)
class Frames:
    """The utterance of a clip, cut into frames every `HOP` samples.

    The silence before and after it is left out: nothing is measured there. Frame i is centred on
    sample (start + i + 1/2) * HOP of the clip.

    Attributes:
        n_clip_frames: Frames of the whole clip.
        start: The first of them that is not silence; the frames go from there to the last such.
        samples: Waveform without its mean, scaled to a peak of 1, zero-padded to whole hops.
        peak_db: The peak it had, in dB of full scale; -120 at least.
        power: Power spectrum of `SHORT_WINDOW`, shape (frames, SHORT_FFT // 2 + 1).
        long_power: Power spectrum of `LONG_WINDOW`, shape (frames, LONG_FFT // 2 + 1).
        level_db: Mean power of each frame in dB, relative to a full-scale constant; floored.
        active: Frames that are not silence, at least one.
    """

    n_clip_frames: int
    start: int
    samples: Array
    peak_db: float
    power: Array
    long_power: Array
    level_db: Array
    active: Mask

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.level_db)


def cut_frames(waveform: Waveform) -> Frames:
    """Cut a waveform at `SAMPLING_RATE` into frames and take both spectra of each."""
    centred = waveform.astype(np.float64)
    centred -= centred.mean()
    peak = float(np.abs(centred).max())
    n_clip_frames = -(-len(waveform) // HOP)
    samples = np.zeros(n_clip_frames * HOP, dtype=np.float32)
    if peak > TINY:
        samples[: len(waveform)] = centred / peak
    energy = _smoothed_energy(samples)
    level_db = 10 * np.log10(energy + np.float32(FLOOR * energy.max() + TINY))
    active = level_db > np.percentile(level_db, 95) - ACTIVE_DB
    start, stop = np.flatnonzero(active)[[0, -1]] + [0, 1]
    samples = samples[start * HOP : stop * HOP]
    return Frames(
        n_clip_frames=n_clip_frames,
        start=int(start),
        samples=samples,
        peak_db=20 * float(np.log10(peak + 1e-6)),
        power=_power_spectrum(samples, SHORT_WINDOW, SHORT_FFT),
        long_power=_power_spectrum(samples, LONG_WINDOW, LONG_FFT),
        level_db=level_db[start:stop],
        active=active[start:stop],
    )


def _smoothed_energy(samples: Array) -> Array:
    """Mean power around every frame: of its hop, and half as much of either neighbour."""
    per_hop = np.pad(np.square(samples).reshape(-1, HOP).mean(axis=1), 1, mode="edge")
    return 0.25 * per_hop[:-2] + 0.5 * per_hop[1:-1] + 0.25 * per_hop[2:]


def windows(samples: Array, length: int) -> Array:
    """Return a view of shape (frames, length): the window around the centre of every frame."""
    before = (length - HOP) // 2
    padded = np.pad(samples, (before, length - HOP - before))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP]


def hann(length: int) -> Array:
    """Periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


def _power_spectrum(samples: Array, length: int, n_fft: int) -> Array:
    from scipy.fft import rfft

    pieces = windows(samples, length)
    padded = np.zeros((len(pieces), n_fft), dtype=np.float32)
    np.multiply(pieces, hann(length), out=padded[:, :length])
    spectrum = rfft(padded, axis=1)
    power: Array = spectrum.real**2 + spectrum.imag**2
    return power


def decibels(power: Array) -> Array:
    """Ten times the decimal logarithm, by way of the natural one: NumPy vectorises that alone."""
    level: Array = np.log(power) * power.dtype.type(10 / np.log(10))
    return level


def delta(frames: Array, reach: int) -> Array:
    """Slope of every column over time, by regression over 2 * reach + 1 frames, per frame.

    Reach 2 (50 ms) answers best to changes near 8 Hz, reach 6 (130 ms) near 3 Hz, the rate of
    syllables: the spread of such a delta over a clip is its modulation energy there.
    """
    n_frames = len(frames)
    padded = frames[np.arange(-reach, n_frames + reach).clip(0, n_frames - 1)]
    slope = np.zeros_like(frames)
    for step in range(1, reach + 1):
        slope += step * (padded[reach + step :][:n_frames] - padded[reach - step :][:n_frames])
    return slope / np.float32(2 * sum(step * step for step in range(1, reach + 1)))
