"""Log-mel spectrograms that a graph can hold: the Fourier transform is a convolution with its sines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_transfer.encoders.log_mel import HOP, N_FFT, PATCH, PATCH_SAMPLES, WINDOW, _hann, _mel_matrix
from ser_transfer.exporting.tracing import ceiled, counted, floored, length

FloatArray = npt.NDArray[np.float64]


class PowerSpectrum(nn.Module):
    """Squared magnitudes of the discrete Fourier transform of windows of a signal.

    The sines are computed in float64 and kept, with the window multiplied in, in float32.

    Args:
        window: Of shape (samples of a window,).
        n_fft: Up to which a window is filled with zeros.
        hop: Samples from one window to the next.
    """

    basis: Tensor

    def __init__(self, window: npt.NDArray[np.floating], n_fft: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        angles = 2 * np.pi / n_fft * np.outer(np.arange(n_fft // 2 + 1), np.arange(len(window)))
        basis = np.concatenate([np.cos(angles), np.sin(angles)]) * window.astype(np.float64)
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32)).unsqueeze(1))

    def forward(self, signal: Tensor) -> Tensor:
        """Bring (1, samples) to (1, windows, n_fft / 2 + 1)."""
        cosines, sines = functional.conv1d(signal.unsqueeze(1), self.basis, stride=self.hop).chunk(2, dim=1)
        return (cosines * cosines + sines * sines).transpose(1, 2)


class AudioSetLogMel(nn.Module):
    """`ser_transfer.encoders.log_mel.log_mel` in torch.

    Args:
        offset: Added to the mel magnitudes before the logarithm.
    """

    mel: Tensor

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset
        self.spectrum = PowerSpectrum(_hann(), N_FFT, HOP)
        self.register_buffer("mel", torch.from_numpy(_mel_matrix()))

    def forward(self, signal: Tensor) -> Tensor:
        """Bring (1, samples) to (frames, 64)."""
        spectrogram: Tensor = (self.spectrum(signal)[0].sqrt() @ self.mel + self.offset).log()
        return spectrogram


class Patches(nn.Module):
    """`ser_transfer.encoders.patch_encoder.cut_patches` in torch, for a length that the graph does not know.

    Args:
        log_offset: See `AudioSetLogMel`.
        patch_hop: Log-mel frames from one patch to the next.
    """

    def __init__(self, log_offset: float, patch_hop: int) -> None:
        super().__init__()
        self.log_mel = AudioSetLogMel(log_offset)
        self.patch_hop = patch_hop

    def forward(self, waveform: Tensor) -> Tensor:
        """Bring (1, samples) to (patches, 96, 64)."""
        n_samples, hop = length(waveform), self.patch_hop * HOP
        to_cover = ceiled((n_samples - PATCH_SAMPLES).clamp(min=0), hop)
        half_real = floored((2 * n_samples - PATCH_SAMPLES).clamp(min=0), 2 * hop)
        starts = counted(1 + torch.minimum(to_cover, half_real)) * self.patch_hop
        frames: Tensor = self.log_mel(_with_silence(waveform, PATCH_SAMPLES))
        return frames[starts.unsqueeze(1) + counted(PATCH)]


class WholeSpectrogram(nn.Module):
    """The spectrogram that `PatchInputs` makes of a whole clip, in torch.

    Args:
        log_offset: See `AudioSetLogMel`.
        step: The number of frames is a multiple of this.
    """

    def __init__(self, log_offset: float, step: int) -> None:
        super().__init__()
        self.log_mel = AudioSetLogMel(log_offset)
        self.step = step

    def forward(self, waveform: Tensor) -> Tensor:
        """Bring (1, samples) to (1, frames, 64)."""
        n_frames = 1 + floored(length(waveform) - WINDOW, HOP)
        wanted = ceiled(n_frames, self.step) * self.step
        frames: Tensor = self.log_mel(_with_silence(waveform, self.step * HOP))
        return frames[counted(wanted)].unsqueeze(0)


class WhisperLogMel(nn.Module):
    """What transformers' ``WhisperFeatureExtractor`` computes, in torch.

    Args:
        extractor: A ``WhisperFeatureExtractor``.
    """

    mel: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.n_samples, self.margin = extractor.n_samples, extractor.n_fft // 2
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(extractor.n_fft) / extractor.n_fft)
        self.spectrum = PowerSpectrum(hann, extractor.n_fft, extractor.hop_length)
        self.register_buffer("mel", torch.from_numpy(np.asarray(extractor.mel_filters, np.float32)))

    def forward(self, waveform: Tensor) -> Tensor:
        """Bring (1, samples) to (1, bands, frames), filled up to the extractor's window with silence."""
        filled = _with_silence(waveform, self.n_samples)[:, : self.n_samples]
        # Its transform is centred: the signal is mirrored at both ends, and the last frame left out.
        before, after = filled[:, 1 : self.margin + 1], filled[:, -self.margin - 1 : -1]
        centred = torch.cat([before.flip(1), filled, after.flip(1)], dim=1)
        bands = (self.spectrum(centred)[:, :-1] @ self.mel).clamp(min=1e-10).log10().transpose(1, 2)
        return (torch.maximum(bands, bands.max() - 8.0) + 4.0) / 4.0


def _with_silence(waveform: Tensor, n_samples: int) -> Tensor:
    return torch.cat([waveform, torch.zeros(1, n_samples)], dim=1)
