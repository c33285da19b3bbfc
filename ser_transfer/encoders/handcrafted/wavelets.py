"""Energies of a wavelet transform: sharp in time where the Fourier transform is sharp in frequency."""

from __future__ import annotations

import numpy as np

from ser_transfer.encoders.handcrafted.frames import FLOOR, HOP, TINY, Array, Frames

N_LEVELS = 5  # 160 samples of a hop are 5 * 2^5: every level has whole coefficients in a frame
# Low-pass filter of Daubechies' wavelet with four vanishing moments (Daubechies 1992, table 6.1).
DB4 = np.array(
    [
        0.23037781330885523,
        0.7148465705525415,
        0.6308807679295904,
        -0.02798376941698385,
        -0.18703481171888114,
        0.030841381835986965,
        0.032883011666982945,
        -0.010597401784997278,
    ]
)
WAVELETS = (
    *(f"detail_{8 / 2**level:g}_khz" for level in range(N_LEVELS)),
    "approximation",
    "wavelet_entropy",
)


def wavelet_features(frames: Frames) -> Array:
    """Log share of every band in the energy of each frame, and the entropy of the shares.

    Returns:
        Array of shape (frames, len(WAVELETS)): dB for the bands, highest first, then bits.
    """
    energy = wavelet_energies(frames.samples)
    energy = energy + FLOOR * energy.max() + TINY
    share = energy / energy.sum(axis=1, keepdims=True)
    entropy = -(share * np.log2(share)).sum(axis=1)
    return np.column_stack([10 * np.log10(share), entropy]).astype(np.float32)


def wavelet_energies(samples: Array) -> Array:
    """Energy per frame and band of the periodic orthogonal transform; all together, the signal's.

    Args:
        samples: Waveform of whole hops, shape (frames * HOP,).

    Returns:
        Array of shape (frames, N_LEVELS + 1): details from high to low frequency, then the rest.
    """
    n_frames = len(samples) // HOP
    energies = []
    approximation = samples
    for _ in range(N_LEVELS):
        approximation, detail = _split(approximation)
        energies.append(np.square(detail).reshape(n_frames, -1).sum(axis=1))
    energies.append(np.square(approximation).reshape(n_frames, -1).sum(axis=1))
    return np.column_stack(energies)


def _split(signal: Array) -> tuple[Array, Array]:
    """One level: low and high half of the band, each at half the rate."""
    low_pass = DB4.astype(np.float32)
    high_pass = low_pass[::-1] * np.tile(np.array([1, -1], dtype=np.float32), len(DB4) // 2)
    # Centred on the pair it stands for, so that an energy belongs to its own frame.
    shift = len(DB4) // 2 - 1
    wrapped = np.concatenate([signal[-shift:], signal, signal[: len(DB4) - 2 - shift]])
    return np.correlate(wrapped, low_pass)[::2], np.correlate(wrapped, high_pass)[::2]
