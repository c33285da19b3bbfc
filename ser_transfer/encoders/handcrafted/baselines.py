"""The two vectors that every emotion tutorial starts from, exactly as librosa gives them."""

from __future__ import annotations

import numpy as np

from ser_transfer.encoders.base import Waveform
from ser_transfer.encoders.handcrafted.encoder import Analysis, Layers
from ser_transfer.encoders.handcrafted.frames import SAMPLING_RATE, Array

N_FFT, HOP = 2048, 512  # samples: librosa's defaults, 128 and 32 ms at 16 kHz
N_MELS, N_MFCC, N_CHROMA = 128, 40, 12
SETTINGS = {"n_fft": N_FFT, "hop": HOP, "n_mels": N_MELS, "n_mfcc": N_MFCC, "sampling_rate": SAMPLING_RATE}
MFCC = tuple(f"mfcc_{k}" for k in range(N_MFCC))


def mfcc_baseline() -> Analysis:
    """``mfcc``: 40 coefficients of `librosa.feature.mfcc` with its defaults, at 16 kHz.

    A gain moves coefficient 0 alone, as long as no band falls 80 dB below the loudest or under
    librosa's floor of -100 dB.
    """
    return Analysis({"mfcc": MFCC}, _mfcc_frames, SAMPLING_RATE / HOP, "mean_std", SETTINGS)


def seed180_baseline() -> Analysis:
    """``seed180``: 40 MFCC, 12 chroma of the magnitude spectrum, and 128 mel powers, averaged.

    The calls are those of the notebooks that spread this vector, at 16 kHz: librosa's defaults,
    chroma from the magnitude (not the power) spectrum with the tuning estimated per clip, mel as
    powers (not dB), then the mean over the clip, silence included.
    """
    names = (*MFCC, *(f"chroma_{k}" for k in range(N_CHROMA)), *(f"mel_{k}" for k in range(N_MELS)))
    return Analysis({"seed180": names}, _seed180_frames, SAMPLING_RATE / HOP, "mean", SETTINGS)


def _mfcc_frames(waveform: Waveform) -> Layers:
    return _all_valid(_mfcc(_mel(_magnitude(waveform))))


def _seed180_frames(waveform: Waveform) -> Layers:
    import librosa

    magnitude = _magnitude(waveform)
    mel = _mel(magnitude)
    chroma = librosa.feature.chroma_stft(S=magnitude, sr=SAMPLING_RATE)
    return _all_valid(np.vstack([_mfcc(mel), chroma, mel]))


def _magnitude(waveform: Waveform) -> Array:
    import librosa

    # Padded here as librosa.stft(center=True) pads, which would warn of every clip under 128 ms.
    spectrum = librosa.stft(np.pad(waveform, N_FFT // 2), n_fft=N_FFT, hop_length=HOP, center=False)
    return np.asarray(np.abs(spectrum))


def _mel(magnitude: Array) -> Array:
    import librosa

    return np.asarray(librosa.feature.melspectrogram(S=magnitude**2, sr=SAMPLING_RATE, n_mels=N_MELS))


def _mfcc(mel: Array) -> Array:
    import librosa

    return np.asarray(librosa.feature.mfcc(S=librosa.power_to_db(mel), sr=SAMPLING_RATE, n_mfcc=N_MFCC))


def _all_valid(features: Array) -> Layers:
    return [(features.T.astype(np.float32), np.ones(features.shape[1], dtype=bool))]
