import numpy as np
import pytest
from scipy.signal import stft
from transformers.audio_utils import mel_filter_bank

from ser_transfer.encoders.log_mel import log_mel, patches


def oracle(waveform, offset):
    """The same spectrogram by scipy's windows and transformers' mel triangles."""
    n_frames = (len(waveform) - 400) // 160 + 1
    _, _, spectrum = stft(
        np.concatenate([waveform, np.zeros(112)]),  # frames of 512, of which the window covers 400
        window=np.concatenate([np.hanning(401)[:-1], np.zeros(112)]),
        nperseg=512,
        noverlap=512 - 160,
        boundary=None,
        padded=False,
    )
    magnitudes = np.abs(spectrum[:, :n_frames]).T * np.hanning(401)[:-1].sum()  # undo scipy's scaling
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=64,
        min_frequency=125.0,
        max_frequency=7500.0,
        sampling_rate=16000,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return np.log(magnitudes @ filters + offset)


@pytest.mark.parametrize(("n_samples", "offset"), [(400, 0.001), (559, 0.01), (560, 0.01), (16123, 0.001)])
def test_the_spectrogram_is_that_of_scipy_and_transformers(n_samples, offset):
    waveform = np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)
    ours = log_mel(waveform, offset)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, oracle(waveform, offset), atol=1e-5)


def test_silence_is_the_logarithm_of_the_offset():
    np.testing.assert_allclose(log_mel(np.zeros(800, np.float32), 0.01), np.log(0.01))


@pytest.mark.parametrize(("n_frames", "starts"), [(96, [0]), (143, [0]), (144, [0, 48]), (200, [0, 48, 96])])
def test_patches_start_every_48_frames_while_they_are_whole(n_frames, starts):
    spectrogram = np.arange(n_frames * 64, dtype=np.float32).reshape(n_frames, 64)
    cut = patches(spectrogram, 48)
    np.testing.assert_array_equal(cut, [spectrogram[start : start + 96] for start in starts])
