"""Recordings spread over processes."""

import os
from pathlib import Path

import numpy as np
import torch

from ser_transfer.encoders import Encoder, HiddenStates
from ser_transfer.encoders.pooled import FEW, Recording, encode_pooled


class Loudness(Encoder):
    """The energy of a recording, and a line in a file about who measured it."""

    name = "loudness"
    fingerprint = "0" * 64
    sampling_rate = 16_000
    frame_rate = 100.0
    layer_names = ("energy",)
    dims = (1,)
    min_seconds = 0.01
    runs_on = "processes"

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def encode(self, waveforms):
        with self.notes.open("a") as notes:
            notes.writelines(f"{os.getpid()}\n" for _ in waveforms)
        energy = torch.tensor([[[float(np.square(each).mean())]] for each in waveforms])
        return HiddenStates((energy,), (torch.ones(len(waveforms), 1, dtype=torch.bool),))


def test_what_is_compiled_at_its_first_use_is_compiled_before_other_processes_start(tmp_path, tones):
    files = sorted(tones.rglob("*.wav"))
    recordings = [Recording(str(number), str(files[number % len(files)])) for number in range(FEW)]
    encoder = Loudness(tmp_path / "notes")
    found = {each.recording.key: each for each in encode_pooled(recordings, encoder, "mean", n_workers=2)}
    assert sorted(found, key=int) == [recording.key for recording in recordings]
    first, *others = encoder.notes.read_text().split()
    assert int(first) == os.getpid()
    assert len(others) == FEW
    assert str(os.getpid()) not in others
