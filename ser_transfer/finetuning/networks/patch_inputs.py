"""A patch network's input: log-mel patches or whole spectrograms, masked at random in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ser_transfer.augment.effects import change_speed
from ser_transfer.encoders import Waveform
from ser_transfer.encoders.log_mel import HOP, PATCH, SAMPLING_RATE, WINDOW, log_mel
from ser_transfer.encoders.patch_encoder import cut_patches
from ser_transfer.finetuning.errors import FinetuneError

# SpecAugment (Park et al. 2019, https://arxiv.org/abs/1904.08779) with two masks of each kind, as its
# "double" policies have. It masks up to 27 of 80 bands; 12 of 64 and 0.3 s leave enough of a clip of 3 s.
N_FREQUENCY_MASKS, MAX_MASKED_BANDS = 2, 12
N_TIME_MASKS, MAX_MASKED_FRAMES = 2, 30

STEP = 32  # log-mel frames of YAMNet's last layers' step in time: five strides of two


class PatchInputs:
    """Makes waveforms into log-mel patches or spectrograms; it can be pickled and holds no weights.

    For evaluation the patches are the frozen encoder's. In training they do not overlap: overlap doubles the
    cost, and a random crop moves the grid anyway. A whole clip is filled up with silence to a multiple of
    `STEP` frames.

    Args:
        log_offset: Added to the mel magnitudes before the logarithm.
        patch_hop: Log-mel frames from one patch to the next in evaluation.
        spec_augment: Mask bands and stretches of time in training.
        whole: Keep a clip in one piece rather than cut it into patches.
        speeds: In evaluation, give every clip so many times, each time so many times as fast.
    """

    def __init__(
        self,
        log_offset: float,
        patch_hop: int,
        spec_augment: bool,
        *,
        whole: bool = False,
        speeds: Sequence[float] = (1.0,),
    ) -> None:
        self._log_offset, self._patch_hop, self.spec_augment = log_offset, patch_hop, spec_augment
        self._whole, self._speeds = whole, tuple(speeds)

    def prepare(self, waveforms: Sequence[Waveform], *, training: bool = False) -> dict[str, Tensor]:
        """Make what a patch network takes.

        Returns:
            ``patches`` of shape (all patches, 96, 64) and ``n_patches``, or, of whole clips, ``frames`` of
            shape (all frames, 64) and ``n_frames``, clip after clip and within a clip speed after speed; and
            ``n_samples`` per clip.

        Raises:
            FinetuneError: If a clip is shorter than one log-mel window.
        """
        heard = list(waveforms)
        if not training and self._speeds != (1.0,):
            heard = [_at_speed(waveform, speed) for waveform in waveforms for speed in self._speeds]
        shortest = min(len(waveform) for waveform in heard)
        if shortest < WINDOW:
            raise FinetuneError(
                f"a clip has {shortest} samples, and one log-mel window {WINDOW}: leave it out"
            )
        made = [self._spectrogram(each) if self._whole else self._cut(each, training) for each in heard]
        if training and self.spec_augment:
            for one in made:
                mask_at_random(one.reshape(-1, one.shape[-1]))
        name = "frames" if self._whole else "patches"
        return {
            name: torch.from_numpy(np.concatenate(made)),
            f"n_{name}": torch.tensor([len(one) for one in made]),
            "n_samples": torch.tensor([len(waveform) for waveform in waveforms]),
        }

    def _cut(self, waveform: Waveform, training: bool) -> npt.NDArray[np.float32]:
        hop = PATCH if training else self._patch_hop
        return np.array(cut_patches(waveform, self._log_offset, hop), order="C")

    def _spectrogram(self, waveform: Waveform) -> npt.NDArray[np.float32]:
        n_frames = 1 + (len(waveform) - WINDOW) // HOP
        n_samples = WINDOW + HOP * (-(-n_frames // STEP) * STEP - 1)
        filled = np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))
        return log_mel(filled, self._log_offset)


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


def _at_speed(waveform: Waveform, speed: float) -> Waveform:
    return waveform if speed == 1 else change_speed(waveform, SAMPLING_RATE, speed)
