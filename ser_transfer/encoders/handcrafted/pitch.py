"""Fundamental frequency and voicing, by autocorrelation and the cheapest path through its peaks.

The method is Boersma's (1993, "Accurate short-term analysis of the fundamental frequency and the
harmonics-to-noise ratio of a sampled sound"), written over all frames at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.handcrafted.frames import (
    LONG_FFT,
    LONG_WINDOW,
    SAMPLING_RATE,
    Array,
    Frames,
    Mask,
    hann,
)

MIN_F0, MAX_F0 = 62.5, 800.0  # Hz: three periods fill the long window; a shouting woman or a child
N_CANDIDATES = 5  # peaks of the autocorrelation kept per frame, beside "unvoiced"
VOICING_THRESHOLD = 0.45  # autocorrelation above which a frame is voiced
SILENCE_THRESHOLD = 0.03  # amplitude relative to the clip's peak, below which it is likely not
OCTAVE_COST = 0.01  # per octave, in favour of the higher of two equal peaks
OCTAVE_JUMP_COST = 0.35  # per octave, between neighbouring frames
VOICING_CHANGE_COST = 0.14  # between a voiced and an unvoiced frame


@dataclass(frozen=True)
class Pitch:
    """The course of the voice.

    Attributes:
        f0: Hz, shape (frames,); in an unvoiced frame its strongest candidate.
        strength: Autocorrelation at that period, in (0, 1).
        voiced: Frames that the cheapest path calls voiced.
    """

    f0: Array
    strength: Array
    voiced: Mask


def track_pitch(frames: Frames) -> Pitch:
    """Follow the fundamental frequency through a clip."""
    f0, strength = _candidates(_autocorrelation(frames))
    score = np.where(strength > 0, strength - OCTAVE_COST * np.log2(MAX_F0 / f0), -1.0)
    peak = 10 ** ((frames.level_db - frames.level_db.max()) / 20)
    silence = np.maximum(0.0, 2.0 - peak * (1 + VOICING_THRESHOLD) / SILENCE_THRESHOLD)
    score = np.column_stack([score, VOICING_THRESHOLD + silence])
    path = _cheapest_path(score, np.log2(f0))
    voiced = path < N_CANDIDATES
    chosen = np.where(voiced, path, score[:, :N_CANDIDATES].argmax(axis=1))[:, None]
    return Pitch(
        f0=np.take_along_axis(f0, chosen, 1)[:, 0],
        strength=np.clip(np.take_along_axis(strength, chosen, 1)[:, 0], 1e-3, 1 - 1e-3),
        voiced=voiced,
    )


def _autocorrelation(frames: Frames) -> Array:
    """Autocorrelation of every frame over that of the window, 1 at lag 0; shape (frames, lags)."""
    from scipy.fft import irfft, rfft

    n_lags = int(SAMPLING_RATE / MIN_F0) + 2  # + 2: a peak needs a neighbour on either side
    of_window = irfft(np.abs(rfft(hann(LONG_WINDOW), LONG_FFT)) ** 2)[:n_lags]
    of_frames: Array = irfft(frames.long_power, axis=1)[:, :n_lags]
    of_frames = of_frames / (of_frames[:, :1] + np.float32(1e-9))
    return np.asarray(of_frames * (of_window[0] / of_window))


def _candidates(autocorrelation: Array) -> tuple[Array, Array]:
    """Frequency and height of the `N_CANDIDATES` best peaks per frame; height 0 where there are fewer."""
    first = int(SAMPLING_RATE / MAX_F0)
    left, centre, right = (
        autocorrelation[:, first + shift : autocorrelation.shape[1] - 2 + shift] for shift in (0, 1, 2)
    )
    lags = np.arange(first + 1, first + 1 + centre.shape[1], dtype=np.float32)
    is_peak = (centre > left) & (centre >= right) & (centre > 0)
    ranked = np.where(is_peak, centre + OCTAVE_COST * np.log2(lags[0] / lags), -1.0)
    best = _largest(ranked, N_CANDIDATES)
    left, centre, right = (np.take_along_axis(values, best, 1) for values in (left, centre, right))
    found = np.take_along_axis(is_peak, best, 1)
    # Where samples stand still, as those of a stuck recorder or in a faint noise do, a peak may be no higher
    # than rounding; its vertex lies within half a lag all the same.
    curvature = 2 * centre - left - right
    curved = found & (curvature > 0)
    slope = np.where(curved, 0.5 * (right - left), 0.0)
    shift = np.clip(slope / np.where(curved, curvature, 1.0), -0.5, 0.5)  # vertex of the parabola
    height = np.where(found, np.minimum(centre + 0.25 * (right - left) * shift, 1.0), 0.0)
    return (SAMPLING_RATE / (lags[best] + shift)).astype(np.float32), height.astype(np.float32)


def _largest(values: Array, n: int) -> npt.NDArray[np.intp]:
    """Columns of the n largest values per row, in order; `values` is used up."""
    columns = np.empty((len(values), n), dtype=np.intp)
    for rank in range(n):  # for so few, quicker than a partition
        columns[:, rank] = values.argmax(axis=1)
        np.put_along_axis(values, columns[:, rank : rank + 1], -np.inf, axis=1)
    return columns


def _cheapest_path(score: npt.NDArray[np.floating], octaves: Array) -> npt.NDArray[np.intp]:
    """Viterbi: the candidate per frame, the last one being "unvoiced", that maximises scores less jumps."""
    n_frames, n_states = score.shape
    # routes[frame, to, from]: first the cost of the jump, then the score of the best path that ends with it.
    routes = np.full((n_frames - 1, n_states, n_states), -VOICING_CHANGE_COST)
    routes[:, :-1, :-1] = -OCTAVE_JUMP_COST * np.abs(octaves[1:, :, None] - octaves[:-1, None, :])
    routes[:, -1, -1] = 0.0
    total = score[0]
    for frame in range(1, n_frames):
        route = routes[frame - 1]
        np.add(route, total, out=route)
        total = np.maximum.reduce(route, axis=1) + score[frame]
    path = [int(total.argmax())]
    for came_from in reversed(routes.argmax(axis=2).tolist()):
        path.append(came_from[path[-1]])
    return np.array(path[::-1], dtype=np.intp)
