"""What the tests share: where the real corpora and weights lie, and a small corpus that always does."""

import os
import subprocess
import sys
from pathlib import Path

# Tests that run side by side have a core each: set before torch and NumPy start their threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import soundfile
import torch

from ser_transfer.encoders import Encoder, HiddenStates

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", Path(__file__).parents[2] / "shared"))

TONE_HZ = {"neutral": 300.0, "anger": 1500.0, "fear": 2700.0}
SPEAKERS = ("p1", "p2", "p3", "p4")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora and weights; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(
            f"needs the real corpora and weights, and {SHARED} is not there (SER_TRANSFER_SHARED names it)"
        )
    return SHARED


class ZeroCrossings(Encoder):
    """An encoder that a reader can check by hand: per 10 ms, energy and zero-crossing rate."""

    name = "zero_crossings"
    fingerprint = "0" * 64
    sampling_rate = 16_000
    frame_rate = 100.0
    layer_names = ("energy", "crossings")
    dims = (1, 2)
    min_seconds = 0.01

    def __init__(self) -> None:
        self.n_encoded = 0

    def encode(self, waveforms):
        self.n_encoded += len(waveforms)
        n_frames = [len(waveform) // 160 for waveform in waveforms]
        mask = torch.arange(max(n_frames)) < torch.tensor(n_frames).unsqueeze(1)
        frames = torch.zeros(len(waveforms), max(n_frames), 160)
        for row, (waveform, n) in enumerate(zip(waveforms, n_frames, strict=True)):
            frames[row, :n] = torch.from_numpy(waveform[: n * 160]).reshape(n, 160)
        energy = frames.square().mean(-1, keepdim=True)
        crossings = (frames[..., 1:] * frames[..., :-1] < 0).float().mean(-1, keepdim=True)
        return HiddenStates((energy, torch.cat([crossings, energy], -1)), (mask, mask))


@pytest.fixture
def encoder() -> ZeroCrossings:
    return ZeroCrossings()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder corpus of 24 clips: the emotion is the pitch, the speaker the loudness."""
    rng = np.random.default_rng(0)
    root = tmp_path / "tones"
    for emotion, hertz in TONE_HZ.items():
        for loudness, speaker in enumerate(SPEAKERS, 1):
            for take in range(2):
                time = np.arange(rng.integers(3_000, 6_000)) / 16_000
                tone = 0.1 * loudness * np.sin(2 * np.pi * hertz * time) + rng.normal(0, 0.01, time.size)
                path = root / emotion / f"{speaker}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone, 16_000)
    return root


@pytest.fixture
def corpus(tones: Path):
    from ser_transfer import load_corpus

    return load_corpus("folder", tones, speaker_pattern="(?P<speaker>p[0-9])_")


COMPILED = """
import numpy as np
from ser_transfer.encoders import load_encoder
noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
for name in ("seed180", "handcrafted"):
    encoder = load_encoder(name)
    list(encoder.encode([noise]))
"""


def pytest_configure(config):
    """Let one process compile what librosa compiles at its first use.

    Numba keeps that beside librosa. In a fresh environment several test processes would write it at the same
    time, and what one reads while another writes ends in a segmentation fault (seen twice in one run).
    """
    if not hasattr(config, "workerinput") and getattr(config.option, "numprocesses", None):
        subprocess.run([sys.executable, "-c", COMPILED], check=False)
