"""How the voice itself sounds: pitch, its small irregularities, and the weight of its harmonics."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.handcrafted.frames import (
    HOP,
    LONG_FFT,
    SAMPLING_RATE,
    TINY,
    Array,
    Frames,
    Mask,
    delta,
)
from ser_transfer.encoders.handcrafted.pitch import Pitch

SEMITONE_REFERENCE = 27.5  # Hz: A0, as in eGeMAPS (Eyben et al. 2016)
MAX_PERIOD_CHANGE = (
    0.26  # neighbours differing by more (a factor of 1.3, Praat's) are a missed period, no jitter
)
VOICE = (
    "f0_semitones",
    "f0_delta",
    "f0_acceleration",
    "hnr_db",
    "jitter",
    "shimmer_db",
    "h1_h2_db",
    "h1_a3_db",
    "harmonic_slope",
)


def voice_features(frames: Frames, pitch: Pitch) -> Array:
    """Measure the voice in every frame; only the voiced ones mean something.

    Returns:
        Array of shape (frames, len(VOICE)): F0 in semitones above `SEMITONE_REFERENCE`, its slope
        and curvature per frame, harmonics-to-noise ratio in dB (Boersma 1993), local jitter
        (relative), local shimmer in dB, level of the first harmonic over the second and over the
        strongest one of the third formant's range, in dB, and the fall of the first ten
        harmonics in dB per octave.
    """
    semitones = 12 * np.log2(pitch.f0 / SEMITONE_REFERENCE)
    slope = delta(semitones[:, None], 2)
    jitter, shimmer = perturbation(frames, pitch)
    return np.column_stack(
        [
            semitones,
            slope,
            delta(slope, 2),
            10 * np.log10(pitch.strength / (1 - pitch.strength)),
            jitter,
            shimmer,
            *_harmonics(frames, pitch.f0),
        ]
    ).astype(np.float32)


def perturbation(frames: Frames, pitch: Pitch) -> tuple[Array, Array]:
    """Local jitter and shimmer of every frame.

    Jitter is the absolute difference of neighbouring periods over their mean, shimmer the absolute
    difference in dB of neighbouring peaks. A frame takes the value of the nearest period in its
    voiced segment; segments with fewer than three periods, and unvoiced frames, take the median.
    """
    jitter, shimmer = np.full(frames.n_frames, np.nan), np.full(frames.n_frames, np.nan)
    for start, stop in runs(pitch.voiced):
        marks, heights = _glottal_marks(frames.samples, pitch.f0, start, stop)
        if len(marks) < 4:
            continue
        periods = np.diff(marks)
        change = 2 * np.abs(np.diff(periods)) / (periods[1:] + periods[:-1])
        level = np.abs(20 * np.diff(np.log10(heights)))[1:]
        regular = change < MAX_PERIOD_CHANGE
        if not regular.any():
            continue
        change, level, middles = change[regular], level[regular], marks[1:-1][regular]
        centres = (np.arange(start, stop) + 0.5) * HOP
        nearest = np.abs(centres[:, None] - middles).argmin(axis=1)
        jitter[start:stop], shimmer[start:stop] = change[nearest], level[nearest]
    return _fill(jitter), _fill(shimmer)


def runs(mask: Mask) -> npt.NDArray[np.intp]:
    """Return start and stop of every run of True, shape (runs, 2)."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return np.column_stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)])


def _fill(values: npt.NDArray[np.float64]) -> Array:
    known = values[~np.isnan(values)]
    return np.nan_to_num(values, nan=float(np.median(known)) if len(known) else 0.0).astype(np.float32)


def _glottal_marks(
    samples: Array, f0: Array, start: int, stop: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Position (samples, fractional) and height of one waveform peak per period of a voiced segment.

    From the segment's highest peak, the next is the highest between 0.8 and 1.2 periods away.
    """
    first, last = start * HOP, stop * HOP
    piece = samples[first:last]
    if piece.max() < -piece.min():  # the glottal pulse points down in this recording
        piece = -piece
    origin = int(piece.argmax())
    period = (SAMPLING_RATE / f0[start:stop]).tolist()  # Python's floats are quicker one by one
    marks = [origin]
    for step in (-1, 1):
        here = origin
        while True:
            length = period[here // HOP]
            low, high = int(here + (step - 0.2) * length), int(here + (step + 0.2) * length) + 1
            if low < 0 or high > len(piece):
                break
            here = low + int(piece[low:high].argmax())
            marks.append(here)
    at = np.clip(np.unique(marks), 1, len(piece) - 2)
    at = at[(piece[at] >= piece[at - 1]) & (piece[at] >= piece[at + 1])]  # not the edge of a search
    left, centre, right = piece[at - 1], piece[at], piece[at + 1]
    curvature = np.maximum(2 * centre - left - right, TINY)
    shift = np.clip(0.5 * (right - left) / curvature, -0.5, 0.5)
    heights = centre + 0.25 * (right - left) * shift
    return first + at + shift.astype(np.float64), np.maximum(heights, 1e-4).astype(np.float64)


def _harmonics(frames: Frames, f0: Array) -> tuple[Array, Array, Array]:
    """H1 - H2 and H1 - A3 in dB, and the slope over the first ten harmonics in dB per octave."""
    power = frames.long_power
    floor = 1e-9 * power.max() + TINY
    number = np.arange(1, 11)
    position = np.minimum(f0[:, None] * number * (LONG_FFT / SAMPLING_RATE), LONG_FFT // 2 - 1.001)
    below = position.astype(np.intp)
    share = position - below
    left, right = (
        10 * np.log10(np.take_along_axis(power, bins, axis=1) + floor) for bins in (below, below + 1)
    )
    harmonic = (1 - share) * left + share * right
    third = slice(round(2200 * LONG_FFT / SAMPLING_RATE), round(3300 * LONG_FFT / SAMPLING_RATE))  # F3 in Hz
    octaves = np.log2(number) - np.log2(number).mean()
    return (
        harmonic[:, 0] - harmonic[:, 1],
        harmonic[:, 0] - 10 * np.log10(power[:, third].max(axis=1) + floor),
        harmonic @ octaves / (octaves @ octaves),
    )
