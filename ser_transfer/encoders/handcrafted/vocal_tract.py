"""The filter of speech: linear prediction, and the formants in its envelope."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.handcrafted.frames import LONG_FFT, SAMPLING_RATE, TINY, Array

TOP = 5000.0  # Hz: five formants of an adult lie below, so ten poles describe them
ORDER = 10
PRE_EMPHASIS = 0.97  # 1 - 0.97 / z, takes out the fall of the glottal source
ENVELOPE_FFT = 512  # points of the envelope around the circle: 9.8 Hz apart
RADIUS = 0.97  # evaluating inside the unit circle sharpens peaks and parts merged ones (McCandless 1974)
N_FORMANTS = 4
TUBE = TOP / ORDER * np.array([1.0, 3.0, 5.0, 7.0])  # Hz: 500, 1500, ...: the uniform 17 cm tube

VOCAL_TRACT = (
    *(f"f{k}_hz" for k in range(1, N_FORMANTS + 1)),
    *(f"f{k}_bandwidth" for k in range(1, 4)),
    *(f"f{k}_level_db" for k in range(1, 4)),
    *(f"reflection_{k}" for k in range(1, ORDER + 1)),
    "prediction_gain_db",
)


def vocal_tract_features(long_power: Array) -> Array:
    """Describe the vocal tract in the given frames, the voiced ones of a clip.

    The coefficients of linear prediction are given as reflection coefficients: the same
    information, but each in (-1, 1), and any mean of them is again a stable filter.

    Args:
        long_power: Power spectra of `LONG_WINDOW`, shape (frames, LONG_FFT // 2 + 1).

    Returns:
        Array of shape (frames, len(VOCAL_TRACT)): formants in Hz, log2 of the bandwidths in Hz,
        levels in dB, reflection coefficients, and the gain of prediction in dB.
    """
    reflection, polynomial, error = linear_prediction(_autocorrelation(long_power))
    frequency, bandwidth, level = formants(polynomial)
    return np.column_stack(
        [
            frequency,
            np.log2(bandwidth[:, :3]),
            level[:, :3],
            reflection,
            -10 * np.log10(np.maximum(error, 1e-6)),
        ]
    ).astype(np.float32)


def _autocorrelation(long_power: Array) -> npt.NDArray[np.float64]:
    """Autocorrelation of the pre-emphasised band below `TOP` (selective prediction, Makhoul 1975)."""
    n_bins = round(TOP * LONG_FFT / SAMPLING_RATE) + 1
    angle = 2 * np.pi * np.arange(n_bins) / LONG_FFT
    emphasis = 1 + PRE_EMPHASIS**2 - 2 * PRE_EMPHASIS * np.cos(angle)
    # The inverse transform of a real, even spectrum of which only the first lags are wanted.
    share = np.full(n_bins, 1.0 / (n_bins - 1))
    share[[0, -1]] /= 2
    lag = np.arange(ORDER + 1)
    cosines = np.cos(np.pi * np.outer(np.arange(n_bins), lag) / (n_bins - 1))
    autocorrelation = long_power[:, :n_bins].astype(np.float64) @ ((emphasis * share)[:, None] * cosines)
    # A floor of white noise 50 dB down keeps the recursion stable, and exact silence defined.
    autocorrelation[:, 0] = autocorrelation[:, 0] * (1 + 1e-5) + TINY
    return np.asarray(autocorrelation)


def linear_prediction(
    autocorrelation: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Levinson-Durbin over all frames at once.

    Args:
        autocorrelation: Lags 0 to p, shape (frames, p + 1).

    Returns:
        Reflection coefficients (frames, p), the polynomial 1 + a1 / z + ... (frames, p + 1), and
        the error left, relative to lag 0 (frames,).
    """
    n_frames, order = len(autocorrelation), autocorrelation.shape[1] - 1
    polynomial = np.zeros((n_frames, order + 1))
    polynomial[:, 0] = 1.0
    reflection = np.zeros((n_frames, order))
    error = autocorrelation[:, 0].copy()
    for step in range(1, order + 1):
        mismatch = np.einsum("tk,tk->t", polynomial[:, :step], autocorrelation[:, step:0:-1])
        k = -mismatch / error
        polynomial[:, : step + 1] += k[:, None] * polynomial[:, step::-1]
        reflection[:, step - 1] = k
        error *= 1 - k * k
    return reflection, polynomial, error / autocorrelation[:, 0]


def formants(
    polynomial: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Frequency and bandwidth in Hz and level in dB of the first peaks of the envelope.

    Each has shape (frames, N_FORMANTS). A formant without a peak in a frame takes its median over
    the others; where it never has one, that of a uniform tube.
    """
    from scipy.fft import rfft

    order = polynomial.shape[1] - 1
    inside = polynomial * RADIUS ** -np.arange(order + 1.0)
    spectrum = rfft(inside, ENVELOPE_FFT, axis=1)
    inverse = spectrum.real**2 + spectrum.imag**2 + TINY  # of the envelope's power
    is_peak = np.zeros(inverse.shape, dtype=bool)
    is_peak[:, 1:-1] = (inverse[:, 1:-1] < inverse[:, :-2]) & (inverse[:, 1:-1] <= inverse[:, 2:])
    is_peak[:, : round(150 * ENVELOPE_FFT / (2 * TOP))] = False  # below 150 Hz: the source, not the tract
    rank = np.cumsum(is_peak, axis=1)
    frame, bin_ = np.nonzero(is_peak & (rank <= N_FORMANTS))
    which = rank[frame, bin_] - 1
    left, centre, right = (-10 * np.log10(inverse[frame, bin_ + step]) for step in (-1, 0, 1))
    curvature = 2 * centre - left - right  # dB per bin², > 0 at a peak
    vertex = 0.5 * (right - left) / curvature
    spacing = 2 * TOP / ENVELOPE_FFT  # Hz per bin
    values = np.full((3, len(polynomial), N_FORMANTS), np.nan)
    values[0, frame, which] = (bin_ + vertex) * spacing
    # One pole pair: power ∝ 1 / (1 + (2 d / B)²), whose curvature in dB is 80 / (ln 10 B²) per Hz².
    values[1, frame, which] = np.clip(spacing * np.sqrt(80 / np.log(10) / curvature), 10.0, 2000.0)
    values[2, frame, which] = centre
    for k in range(N_FORMANTS):
        missing = np.isnan(values[0, :, k])
        if missing.all():
            values[:, :, k] = [[TUBE[k]], [300.0], [0.0]]
        else:
            values[:, missing, k] = np.median(values[:, ~missing, k], axis=1, keepdims=True)
    return values[0], values[1], values[2]
