"""A folder corpus that always lies at hand: the emotion is the pitch, the speaker the loudness."""

from pathlib import Path

import numpy as np
import soundfile

TONE_HZ = {"neutral": 300.0, "anger": 1500.0, "fear": 2700.0}
SPEAKERS = ("p1", "p2", "p3", "p4")


def write_tones(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for emotion, hertz in TONE_HZ.items():
        for loudness, speaker in enumerate(SPEAKERS, 1):
            for take in range(2):
                time = np.arange(rng.integers(3_000, 6_000)) / 16_000
                tone = 0.1 * loudness * np.sin(2 * np.pi * hertz * time) + rng.normal(0, 0.01, time.size)
                path = root / emotion / f"{speaker}_{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone, 16_000)
    return root
