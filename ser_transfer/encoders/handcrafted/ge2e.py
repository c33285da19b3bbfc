"""``ge2e``: a speaker encoder (Wan et al. 2018), through the extra ``ge2e``, which brings Resemblyzer.

It was trained to tell speakers apart, not emotions: what it says of an emotion is what the
manner of speaking changes in a voice.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import files
from typing import Any

import numpy as np

from ser_transfer.encoders.base import Waveform
from ser_transfer.encoders.handcrafted.encoder import Analysis, Layers, require

DIM = 256
PARTIALS_PER_SECOND = 1.3  # Resemblyzer's default: windows of 1.6 s, overlapping by half
TARGET_DBFS = -30.0  # Resemblyzer's level; quieter clips are raised to it, louder ones left


def ge2e_set() -> Analysis:
    """``ge2e``: one 256-dimensional d-vector per window of 1.6 s, silence left in."""
    require("Resemblyzer", "ge2e", "ge2e", "Apache-2.0")
    return Analysis(
        layers={"d_vector": [f"d_vector_{k}" for k in range(DIM)]},
        analyse=_analyse,
        frame_rate=PARTIALS_PER_SECOND,
        pooling="mean",
        settings={"rate": PARTIALS_PER_SECOND, "target_dbfs": TARGET_DBFS, "weights": _weights_hash()},
        libraries=("Resemblyzer", "librosa"),
    )


def _analyse(waveform: Waveform) -> Layers:
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    gain = max(1.0, 10 ** (TARGET_DBFS / 20) / max(rms, 1e-9))
    _, partials, _ = _voice_encoder().embed_utterance(
        (waveform * gain).astype(np.float32), return_partials=True, rate=PARTIALS_PER_SECOND
    )
    return [(np.nan_to_num(partials), np.ones(len(partials), dtype=bool))]


@cache
def _voice_encoder() -> Any:
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False).eval()


def _weights_hash() -> str:
    weights = next(path for path in files("Resemblyzer") or () if path.name == "pretrained.pt")
    return hashlib.sha256(weights.read_binary()).hexdigest()
