import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch

from ser_transfer.encoders.base import EncoderError
from ser_transfer.encoders.handcrafted import ANALYSES, ge2e, load_handcrafted, opensmile
from ser_transfer.encoders.handcrafted import encoder as shared_parts
from ser_transfer.encoders.handcrafted.baselines import mfcc_baseline
from ser_transfer.encoders.handcrafted.encoder import HandcraftedEncoder
from ser_transfer.pooling import POOLINGS

RATE = 16000
ALWAYS = ("mfcc", "seed180", "handcrafted")  # what the core dependencies are enough for
RNG = np.random.default_rng(0)


def tone(seconds=1.0, hz=440.0):
    return np.sin(2 * np.pi * hz * np.arange(round(RATE * seconds)) / RATE).astype(np.float32)


def speechlike(seconds=1.5):
    """A gliding pulse train through two resonances, with silence around it and a breath inside."""
    n = round(RATE * seconds)
    f0 = 120 + 60 * np.sin(2 * np.pi * 1.5 * np.arange(n) / RATE)
    phase = np.cumsum(f0) / RATE
    wave = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 20))
    wave[n // 2 : n // 2 + RATE // 10] = RNG.normal(size=RATE // 10)
    wave = 0.1 * wave + 1e-4 * RNG.normal(size=n)
    return np.pad(wave, RATE // 4).astype(np.float32)


def impulse(at, n=RATE):
    wave = np.zeros(n, dtype=np.float32)
    wave[at] = 1.0
    return wave


EDGES = {
    "silence": np.zeros(RATE, dtype=np.float32),
    "constant": np.full(RATE, 0.5, dtype=np.float32),
    "impulse at the start": impulse(0),
    "impulse at the end": impulse(RATE - 1),
    "50 ms of noise": RNG.normal(size=800).astype(np.float32),
    "50 ms of silence": np.zeros(800, dtype=np.float32),
    "an odd number of samples": RNG.normal(size=12347).astype(np.float32),
    "near silence": (1e-7 * RNG.normal(size=RATE)).astype(np.float32),
    "denormals": np.full(RATE, 1e-40, dtype=np.float32) * np.sign(RNG.normal(size=RATE)).astype(np.float32),
    "16-bit integers left unscaled": (20000 * RNG.normal(size=RATE)).astype(np.float32),
    "full scale": (2.0**31 * np.sign(RNG.normal(size=RATE))).astype(np.float32),
    "a tone": tone(),
    "a square wave": np.sign(tone(hz=100.0)),
    "a tone inside digital silence": np.pad(tone(0.1), RATE),
    "alternation": np.tile(np.float32([1, -1]), RATE // 2),
}


@pytest.fixture(scope="module")
def encoders():
    return {name: load_handcrafted(name) for name in ALWAYS}


def pooled(encoder, waveform):
    states = encoder.encode([waveform])
    pool = POOLINGS[encoder.default_pooling]
    return [
        pool(layer, mask)[0].numpy() for layer, mask in zip(states.layers, states.frame_masks, strict=True)
    ]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", ALWAYS)
def test_every_number_is_finite_for_every_finite_waveform(name, edge, encoders):
    states = encoders[name].encode([EDGES[edge]])
    for layer, mask in zip(states.layers, states.frame_masks, strict=True):
        assert mask.any(dim=1).all()
        assert torch.isfinite(layer).all()
    assert all(np.isfinite(vector).all() for vector in pooled(encoders[name], EDGES[edge]))


@pytest.mark.parametrize("name", ALWAYS)
def test_a_clip_is_the_same_alone_and_in_a_batch_and_shaped_as_announced(name, encoders):
    encoder = encoders[name]
    clips = [speechlike(1.0), tone(0.3), speechlike(2.0)]
    together = encoder.encode(clips)
    assert [layer.shape[2] for layer in together.layers] == list(encoder.dims)
    assert len(encoder.layer_names) == len(encoder.feature_names) == len(together.layers)
    for row, clip in enumerate(clips):
        alone = encoder.encode([clip])
        for one, many in zip(alone.layers, together.layers, strict=True):
            torch.testing.assert_close(many[row, : one.shape[1]], one[0], rtol=0, atol=0)
        for one, many in zip(alone.frame_masks, together.frame_masks, strict=True):
            assert not many[row, one.shape[1] :].any()


def test_mfcc_is_librosas(encoders):
    clip = speechlike()
    frames = encoders["mfcc"].encode([clip]).layers[0][0].numpy()
    np.testing.assert_allclose(frames, librosa.feature.mfcc(y=clip, sr=RATE, n_mfcc=40).T, atol=1e-3)


def test_seed180_is_the_vector_of_the_notebooks(encoders):
    clip = speechlike()
    expected = np.concatenate(
        [
            librosa.feature.mfcc(y=clip, sr=RATE, n_mfcc=40).mean(axis=1),
            librosa.feature.chroma_stft(S=np.abs(librosa.stft(clip)), sr=RATE).mean(axis=1),
            librosa.feature.melspectrogram(y=clip, sr=RATE).mean(axis=1),
        ]
    )
    (vector,) = pooled(encoders["seed180"], clip)
    np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-3)


def test_a_gain_moves_only_coefficient_0_of_mfcc(encoders):
    clip = speechlike() + (1e-2 * RNG.normal(size=2 * RATE)).astype(np.float32)
    quiet, loud = (
        encoders["mfcc"].encode([gain * clip]).layers[0][0] for gain in (np.float32(0.1), np.float32(1.0))
    )
    torch.testing.assert_close(quiet[:, 1:], loud[:, 1:], atol=1e-2, rtol=0)
    # 20 dB on each of 128 bands, through an orthonormal cosine transform
    torch.testing.assert_close(
        loud[:, 0] - quiet[:, 0], torch.full((len(loud),), 20 * 128**0.5), atol=0.1, rtol=0
    )


def test_only_energy_depends_on_the_gain_and_nothing_on_an_offset(encoders):
    encoder, clip = encoders["handcrafted"], speechlike()
    plain, other = encoder.encode([clip]), encoder.encode([np.float32(0.25) * clip + np.float32(0.2)])
    for name, before, after, mask in zip(
        encoder.layer_names, plain.layers, other.layers, plain.frame_masks, strict=True
    ):
        moved = float((before - after)[mask].abs().max())
        largest = float(before[mask].abs().max())
        assert moved > 0.1 * largest if name == "energy" else moved < 1e-3 * largest, (name, moved)
    level = encoder.layer_names.index("energy")
    fall = (plain.layers[level] - other.layers[level])[0, plain.frame_masks[level][0], 0]
    torch.testing.assert_close(fall, torch.full_like(fall, 20 * np.log10(4.0)), atol=0.01, rtol=0)


def test_silence_around_an_utterance_does_not_count(encoders):
    clip = speechlike()
    here = pooled(encoders["handcrafted"], clip)
    there = pooled(encoders["handcrafted"], np.pad(clip, 50 * 160))  # whole frames of it
    for name, before, after in zip(encoders["handcrafted"].layer_names, here, there, strict=True):
        scale = np.abs(before).max()
        assert np.abs(before - after).max() < 0.02 * scale, name


def test_the_voice_layers_cover_the_voiced_frames_and_the_active_ones_where_there_are_none(encoders):
    encoder = encoders["handcrafted"]
    voice, energy = encoder.layer_names.index("voice"), encoder.layer_names.index("energy")
    spoken = encoder.encode([speechlike()]).frame_masks
    assert 0 < spoken[voice].sum() < spoken[energy].sum()
    noise = encoder.encode([RNG.normal(size=RATE).astype(np.float32)]).frame_masks
    torch.testing.assert_close(noise[voice], noise[energy])


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (np.zeros(100, np.float32), "at least 0.05 s of audio, not 0.006 s"),
        (np.full(RATE, np.nan, np.float32), "NaN"),
        (np.full(RATE, np.inf, np.float32), "infinity"),
        (np.full(RATE, 1e30, np.float32), "within -1 and 1"),
    ],
)
def test_what_is_no_audio_is_refused(waveform, words, encoders):
    with pytest.raises(EncoderError, match=words):
        encoders["handcrafted"].encode([waveform])


def test_the_fingerprint_tells_encoders_settings_versions_and_libraries_apart(monkeypatch):
    prints = {load_handcrafted(name).fingerprint for name in ALWAYS}
    assert len(prints) == len(ALWAYS)
    assert all(len(fingerprint) == 64 for fingerprint in prints)
    plain = mfcc_baseline()
    before = HandcraftedEncoder("mfcc", plain).fingerprint
    assert HandcraftedEncoder("mfcc", plain).fingerprint == before
    changed = shared_parts.Analysis(
        plain.layers, plain.analyse, 31.25, "mean", {**plain.settings, "hop": 256}
    )
    assert HandcraftedEncoder("mfcc", changed).fingerprint != before
    monkeypatch.setattr(shared_parts, "FEATURES_VERSION", 99)
    assert HandcraftedEncoder("mfcc", plain).fingerprint != before
    monkeypatch.undo()
    monkeypatch.setattr(shared_parts, "version", lambda library: "77.1")
    assert HandcraftedEncoder("mfcc", plain).fingerprint != before


def test_every_setting_of_the_complete_set_is_in_its_fingerprint():
    settings = ANALYSES["handcrafted"]().settings
    assert settings["frames.HOP"] == 160
    assert settings["pitch.VOICING_THRESHOLD"] == 0.45
    assert settings["vocal_tract.ORDER"] == 10


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(EncoderError, match="'plp'; known are mfcc, seed180, handcrafted, egemaps"):
        load_handcrafted("plp")


@pytest.mark.parametrize(
    ("name", "extra", "licence"),
    [("egemaps", "opensmile", "research"), ("compare", "opensmile", "research"), ("ge2e", "ge2e", "Apache")],
)
def test_a_missing_extra_is_named_with_its_licence(name, extra, licence, monkeypatch):
    def missing(distribution):
        raise shared_parts.PackageNotFoundError(distribution)

    monkeypatch.setattr(shared_parts, "version", missing)
    with pytest.raises(EncoderError, match=rf"ser-transfer\[{extra}\].*{licence}"):
        load_handcrafted(name)


@pytest.mark.parametrize("name", ["egemaps", "compare", "ge2e"])
def test_an_extra_that_is_there_gives_what_it_announces(name):
    pytest.importorskip("resemblyzer" if name == "ge2e" else "opensmile")
    encoder = load_handcrafted(name)
    states = encoder.encode([speechlike(2.0), EDGES["silence"], EDGES["50 ms of noise"].repeat(2)])
    assert (
        states.layers[0].shape[2]
        == encoder.dims[0]
        == (opensmile.N_FUNCTIONALS | {"ge2e": ge2e.DIM})[
            {"egemaps": "eGeMAPSv02", "compare": "ComParE_2016"}.get(name, name)
        ]
    )
    assert torch.isfinite(states.layers[0]).all()
    assert len(encoder.fingerprint) == 64


def test_making_one_imports_neither_librosa_nor_torch():
    code = (
        "import sys; from ser_transfer.encoders.handcrafted import load_handcrafted as load; "
        "load('handcrafted'); "
        "assert not {'librosa', 'torch', 'scipy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
