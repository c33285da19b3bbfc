"""A patch network's input: log-mel patches, masked at random in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser_transfer.encoders import Waveform
from ser_transfer.encoders.log_mel import PATCH, WINDOW
from ser_transfer.encoders.patch_encoder import cut_patches
from ser_transfer.finetuning.errors import FinetuneError

# SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779) with two masks of each kind, as its
# "double" policies have. It masks up to 27 of 80 bands; 12 of 64 and 0.3 s leave enough of a clip of 3 s.
N_FREQUENCY_MASKS, MAX_MASKED_BANDS = 2, 12
N_TIME_MASKS, MAX_MASKED_FRAMES = 2, 30


class PatchInputs:
    """Cuts waveforms into log-mel patches; it can be pickled and holds no weights.

    For evaluation the patches are the frozen encoder's. In training they do not overlap: overlap doubles the
    cost, and a random crop moves the grid anyway.

    Args:
        log_offset: Added to the mel magnitudes before the logarithm.
        patch_hop: Log-mel frames from one patch to the next in evaluation.
        spec_augment: Mask bands and stretches of time in training.
    """

    def __init__(self, log_offset: float, patch_hop: int, spec_augment: bool) -> None:
        self._log_offset, self._patch_hop, self.spec_augment = log_offset, patch_hop, spec_augment

    def prepare(self, waveforms: Sequence[Waveform], *, training: bool = False) -> dict[str, Tensor]:
        """Make ``patches`` of shape (all patches, 96, 64), and ``n_patches`` and ``n_samples`` per clip.

        Raises:
            FinetuneError: If a clip is shorter than one log-mel window.
        """
        shortest = min(len(waveform) for waveform in waveforms)
        if shortest < WINDOW:
            raise FinetuneError(
                f"a clip has {shortest} samples, and one log-mel window {WINDOW}: leave it out"
            )
        hop = PATCH if training else self._patch_hop
        cut = [np.array(cut_patches(waveform, self._log_offset, hop), order="C") for waveform in waveforms]
        if training and self.spec_augment:
            for patches in cut:
                mask_at_random(patches.reshape(-1, patches.shape[2]))
        return {
            "patches": torch.from_numpy(np.concatenate(cut)),
            "n_patches": torch.tensor([len(patches) for patches in cut]),
            "n_samples": torch.tensor([len(waveform) for waveform in waveforms]),
        }


def mask_at_random(spectrogram: npt.NDArray[np.float32]) -> None:
    """Put the mean of a spectrogram in place of some of its bands and some stretches of its time.

    Widths and places are uniform, a width from 0 on, and drawn from torch's generator.

    Args:
        spectrogram: Of shape (frames, bands), changed in place.
    """
    mean = spectrogram.mean()
    n_frames, n_bands = spectrogram.shape
    for _ in range(N_FREQUENCY_MASKS):
        spectrogram[:, _stretch(n_bands, MAX_MASKED_BANDS)] = mean
    for _ in range(N_TIME_MASKS):
        spectrogram[_stretch(n_frames, MAX_MASKED_FRAMES)] = mean


def _stretch(size: int, most: int) -> slice:
    width = int(torch.randint(most + 1, ()))
    start = int(torch.randint(size - width + 1, ()))
    return slice(start, start + width)
