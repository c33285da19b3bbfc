from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """Give the folder of a tiny checkpoint by name, written at its first use."""
    from tiny_checkpoints import save_checkpoint

    folders: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in folders:
            folders[name] = save_checkpoint(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return folder


@pytest.fixture(scope="session")
def make_waveform():
    """Give a voice-like waveform of some length: a gliding buzz that fades in and out, in a little noise."""

    def waveform(seconds: float, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        time = np.arange(round(16_000 * seconds)) / 16_000
        buzz = np.tanh(5 * np.sin(2 * np.pi * (120 + 20 * seed) * time * (1 + 0.1 * time)))
        loudness = 0.2 * (1.1 + np.sin(2 * np.pi * 3 * time + seed))
        return (0.05 + loudness * buzz + 0.01 * generator.standard_normal(len(time))).astype(np.float32)

    return waveform
