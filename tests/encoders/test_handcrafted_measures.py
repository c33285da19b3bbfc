"""The measures against signals whose answer is known, and against librosa."""

import librosa
import numpy as np
import pytest
from scipy.signal import lfilter

from ser_transfer.encoders.handcrafted import pitch as f0
from ser_transfer.encoders.handcrafted import rhythm, spectral, vocal_tract, voice, wavelets
from ser_transfer.encoders.handcrafted.frames import (
    HOP,
    SHORT_FFT,
    SHORT_WINDOW,
    cut_frames,
    delta,
    hann,
    windows,
)

RATE = 16000
RNG = np.random.default_rng(0)


def harmonic(hz, seconds=1.0, n_harmonics=15):
    phase = np.cumsum(np.broadcast_to(hz, round(RATE * seconds))) / RATE
    top = np.max(hz)
    return sum(
        np.sin(2 * np.pi * k * phase) / k for k in range(1, n_harmonics + 1) if k * top < RATE / 2
    ).astype(np.float32)


def pulses(periods, gains):
    """Band-limited pulses without a mean at fractional positions `cumsum(periods)`, scaled by `gains`."""
    at = 200 + np.cumsum(periods)
    time = np.arange(round(at[-1]) + 200)
    wave = np.zeros(len(time))
    for position, gain in zip(at, gains, strict=True):
        squared = ((time - position) / 4.0) ** 2
        wave += gain * (1 - squared) * np.exp(-0.5 * squared)
    return wave.astype(np.float32)


def vowel(resonances, hz=110.0, bandwidth=80.0, seconds=0.6):
    """A pulse train through one pole pair per resonance."""
    source = np.zeros(round(RATE * seconds))
    source[:: round(RATE / hz)] = 1.0
    source = lfilter([1.0], [1.0, -0.97], source)
    for resonance in resonances:
        radius = np.exp(-np.pi * bandwidth / RATE)
        source = lfilter([1.0], [1.0, -2 * radius * np.cos(2 * np.pi * resonance / RATE), radius**2], source)
    return source.astype(np.float32)


def inside(values, edge=8):
    return values[edge:-edge]


@pytest.mark.parametrize("hz", [70.0, 98.3, 120.0, 211.7, 330.0, 440.0, 623.0])
def test_f0_of_a_harmonic_tone_is_within_one_percent(hz):
    pitch = f0.track_pitch(cut_frames(harmonic(hz)))
    assert inside(pitch.voiced).all()
    np.testing.assert_allclose(inside(pitch.f0), hz, rtol=0.01)


def test_f0_follows_a_glide_within_one_percent():
    glide = np.geomspace(110, 440, 2 * RATE)
    pitch = f0.track_pitch(cut_frames(harmonic(glide, 2.0)))
    centres = np.arange(len(pitch.f0)) * HOP + HOP // 2
    np.testing.assert_allclose(inside(pitch.f0), inside(glide[centres]), rtol=0.01)


def test_f0_is_found_without_its_fundamental():
    phase = 2 * np.pi * np.arange(RATE) / RATE * 150
    wave = sum(np.sin(k * phase) for k in range(2, 9)).astype(np.float32)
    np.testing.assert_allclose(inside(f0.track_pitch(cut_frames(wave)).f0), 150, rtol=0.01)


def test_noise_and_silence_are_unvoiced():
    noise = RNG.normal(size=RATE).astype(np.float32)
    assert f0.track_pitch(cut_frames(noise)).voiced.mean() < 0.05
    assert not f0.track_pitch(cut_frames(np.zeros(RATE, np.float32))).voiced.any()


@pytest.mark.parametrize("db", [5.0, 15.0])
def test_hnr_is_the_ratio_that_was_mixed(db):
    tone = harmonic(150.0, 3.0)
    noise = RNG.normal(size=len(tone)) * tone.std() * 10 ** (-db / 20)
    frames = cut_frames((tone + noise).astype(np.float32))
    measured = voice.voice_features(frames, f0.track_pitch(frames))[:, voice.VOICE.index("hnr_db")]
    assert np.median(measured) == pytest.approx(db, abs=1.0)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.01, 0.02])
def test_jitter_is_the_mean_difference_of_neighbouring_periods(share):
    periods = 100.0 * (1 + share * RNG.uniform(-1, 1, size=400))
    frames = cut_frames(pulses(periods, np.ones(400)))
    jitter, shimmer = voice.perturbation(frames, f0.track_pitch(frames))
    assert inside(jitter).mean() == pytest.approx(np.abs(np.diff(periods)).mean() / 100, rel=0.1, abs=1e-4)
    assert np.median(shimmer) < 0.1


@pytest.mark.parametrize("db", [0.0, 0.5, 1.5])
def test_shimmer_of_alternating_peaks_is_their_difference_in_db(db):
    gains = 10 ** (0.5 * db / 20 * (-1.0) ** np.arange(120))
    frames = cut_frames(pulses(np.full(120, 100.0), gains))
    jitter, shimmer = voice.perturbation(frames, f0.track_pitch(frames))
    assert np.median(shimmer) == pytest.approx(db, abs=0.1)
    assert np.median(jitter) < 0.001


def test_h1_h2_is_the_ratio_of_the_first_two_harmonics():
    time = np.arange(RATE) / RATE
    wave = np.sin(2 * np.pi * 200 * time) + 0.5 * np.sin(2 * np.pi * 400 * time)
    frames = cut_frames(wave.astype(np.float32))
    measured = voice.voice_features(frames, f0.track_pitch(frames))[:, voice.VOICE.index("h1_h2_db")]
    assert np.median(measured) == pytest.approx(20 * np.log10(2), abs=0.5)


@pytest.mark.parametrize(
    "resonances",
    [(700, 1200, 2600, 3500), (300, 2300, 3000, 3700), (350, 800, 2300, 3400)],
    ids=["a", "i", "u"],
)
def test_formants_of_a_synthesised_vowel(resonances):
    frames = cut_frames(vowel(resonances))
    features = vocal_tract.vocal_tract_features(frames.long_power)
    found = np.median(inside(features)[:, :3], axis=0)
    np.testing.assert_allclose(found, resonances[:3], rtol=0.08)


def test_linear_prediction_is_librosas_filter():
    wave = vowel((700, 1200, 2600)).astype(np.float64)
    autocorrelation = np.array([[wave[: len(wave) - lag] @ wave[lag:] for lag in range(9)]])
    reflection, polynomial, _ = vocal_tract.linear_prediction(autocorrelation)
    from scipy.linalg import solve_toeplitz

    normal_equations = solve_toeplitz(autocorrelation[0, :-1], -autocorrelation[0, 1:])
    np.testing.assert_allclose(polynomial[0, 1:], normal_equations, rtol=1e-6)
    assert (np.abs(reflection) < 1).all()


def test_wavelet_energies_add_up_to_the_signals():
    samples = RNG.normal(size=50 * HOP).astype(np.float32)
    energies = wavelets.wavelet_energies(samples)
    assert energies.shape == (50, wavelets.N_LEVELS + 1)
    assert energies.sum() == pytest.approx(np.square(samples).sum(), rel=1e-5)


@pytest.mark.parametrize(("hz", "band"), [(6000, 0), (3000, 1), (1500, 2), (700, 3), (350, 4), (100, 5)])
def test_a_tones_energy_lies_in_its_wavelet_band_and_its_frames(hz, band):
    samples = np.zeros(60 * HOP, np.float32)
    samples[20 * HOP : 40 * HOP] = np.sin(2 * np.pi * hz * np.arange(20 * HOP) / RATE)
    energies = wavelets.wavelet_energies(samples)
    assert energies.sum(axis=0).argmax() == band
    assert energies[20:40].sum() > 0.95 * energies.sum()


def test_spectral_measures_are_librosas():
    frames = cut_frames((harmonic(150.0) + 0.1 * RNG.normal(size=RATE)).astype(np.float32))
    magnitude = np.abs(np.fft.rfft(windows(frames.samples, SHORT_WINDOW) * hann(SHORT_WINDOW), SHORT_FFT)).T
    measured = dict(zip(spectral.SHAPE, spectral.shape_features(frames).T, strict=True))
    oracle = {
        "centroid": librosa.feature.spectral_centroid(S=magnitude, sr=RATE)[0],
        "bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=RATE)[0],
        "flatness_db": 10 * np.log10(librosa.feature.spectral_flatness(S=magnitude)[0]),
        "roll_off_0.85": librosa.feature.spectral_rolloff(S=magnitude**2, sr=RATE)[0],
        "roll_off_0.5": librosa.feature.spectral_rolloff(S=magnitude**2, sr=RATE, roll_percent=0.5)[0],
        "contrast_2": librosa.feature.spectral_contrast(S=magnitude, sr=RATE, fmin=125.0)[2],
    }
    for name, expected in oracle.items():
        np.testing.assert_allclose(measured[name], expected, rtol=0.01, atol=0.1, err_msg=name)
    mfcc = librosa.feature.mfcc(S=spectral.mel_levels(frames).T, n_mfcc=21)[1:].T
    np.testing.assert_allclose(
        spectral.cepstrum_features(spectral.mel_levels(frames))[:, :20], mfcc, atol=1e-3
    )
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=RATE, n_mels=spectral.N_MELS, fmin=50.0)
    np.testing.assert_allclose(spectral.mel_levels(frames), librosa.power_to_db(mel, top_db=None).T, atol=0.1)


def test_chroma_names_the_note():
    chroma = spectral.harmony_features(cut_frames(harmonic(440.0, n_harmonics=1)))[:, :12]
    assert (inside(chroma).argmax(axis=1) == 9).all()  # A, counted from C


def test_delta_is_the_slope_per_frame():
    frames = np.outer(np.arange(30), [2.0, -0.5]).astype(np.float32)
    np.testing.assert_allclose(inside(delta(frames, 2), 3), np.broadcast_to([2.0, -0.5], (24, 2)), rtol=1e-5)


def test_rates_are_per_second():
    burst, pause = harmonic(150.0, 0.15), np.zeros(round(0.1 * RATE), np.float32)
    frames = cut_frames(np.concatenate([np.concatenate([burst, pause])] * 8)[: -len(pause)])
    pitch = f0.track_pitch(frames)
    mean = dict(zip(rhythm.RHYTHM, rhythm.rhythm_features(frames, pitch.voiced).mean(axis=0), strict=True))
    assert mean["voiced_segments_per_second"] == pytest.approx(4.0, rel=0.1)  # one every 0.25 s
    assert mean["level_peaks_per_second"] == pytest.approx(4.0, rel=0.1)


def test_a_peak_of_one_rounding_step_has_a_frequency_within_its_lag():
    """Faint noise and stuck samples make such; the vertex of their parabola used to lie at infinity."""
    n_lags, lag = 280, 100
    flat = np.full((1, n_lags), np.float32(0.5))
    flat[0, lag] = np.nextafter(np.float32(0.5), np.float32(1))
    flat[0, lag - 1] = np.nextafter(flat[0, lag - 1], np.float32(0))
    frequencies, heights = f0._candidates(flat)
    best = heights[0].argmax()
    assert 16_000 / (lag + 0.5) <= frequencies[0, best] <= 16_000 / (lag - 0.5)
    assert np.isfinite(frequencies).all()
    assert (frequencies > 0).all()
