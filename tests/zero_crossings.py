"""An encoder for tests, small enough to be checked by hand."""

import torch

from ser_transfer.encoders import Encoder, HiddenStates


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
