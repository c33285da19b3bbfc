"""Clips as a network is trained on them: changed at random, cropped, mixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from ser_transfer.augment import Augmentation
from ser_transfer.encoders import Waveform
from ser_transfer.finetuning.batches import Draw
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.recordings import Clips


@dataclass(frozen=True)
class TrainingExample:
    """One clip of one step.

    Attributes:
        waveform: Of shape (samples,).
        truth: Share of each class, float32 of shape (n_classes,).
        n_in_step: Clips of the whole optimiser step.
        seed: Of what the front end draws for the batch that this clip is the first of.
    """

    waveform: Waveform
    truth: npt.NDArray[np.float32]
    n_in_step: int
    seed: int = 0


class TrainingClips(Dataset[TrainingExample]):
    """Clips as they are trained on: changed at random, cropped, mixed.

    What a draw gives follows from the seed, its epoch and repeat, the utterance id and the audio: it is the
    same in any order, in any worker or process, and after a training was resumed.

    Args:
        clips: The training side.
        n_classes: Length of the truth.
        crop_seconds: Keep so much from anywhere in a clip; None for the whole clip. It comes after the
            augmentation, and no clip becomes longer than it was.
        augmentation: What changes. A draw that would leave less than the network takes is not applied.
        augment_share: Chance that a clip is augmented.
        mixup: The a of Beta(a, a), from which a clip's own share is drawn; 0 for no mixing. The rest is
            another training clip, brought to the same loudness, and so is the truth (Zhang et al. 2018,
            https://arxiv.org/abs/1710.09412). A shorter one lies somewhere in it, of a longer one a part.
        seed: Of all draws.

    Attributes:
        seconds: Length of each clip at most, for `StepPlan`, of shape (n_clips,).

    Raises:
        FinetuneError: If a setting is out of range.
    """

    def __init__(
        self,
        clips: Clips,
        *,
        n_classes: int,
        crop_seconds: float | None = None,
        augmentation: Augmentation | None = None,
        augment_share: float = 1.0,
        mixup: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.clips = clips
        self._n_classes, self._seed = n_classes, seed
        self._augmentation, self._augment_share, self._mixup = augmentation, augment_share, mixup
        self._crop_samples: int | None = None
        self.seconds = clips.seconds
        if crop_seconds is not None:
            self._crop_samples = clips.crop_samples(crop_seconds, "the network")
            self.seconds = np.minimum(clips.seconds, crop_seconds)
        if not 0 <= augment_share <= 1:
            raise FinetuneError(f"augment_share is {augment_share}: give a share from 0 to 1")
        if not 0 <= mixup < float("inf"):
            raise FinetuneError(f"mixup is {mixup}: give 0 for none, or a small number such as 0.2")
        if mixup > 0 and len(clips) < 2:
            raise FinetuneError("mixup wants another clip to mix in, and there is one alone: set mixup to 0")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> TrainingExample:
        """Make what a draw asks for.

        Raises:
            ClipError: If the clip, or the one mixed in, cannot be decoded.
        """
        rng = self._rng(draw)
        whole = self.clips.waveform(draw.row)
        changed = self._augmented(whole, rng)
        limit = len(whole) if self._crop_samples is None else min(len(whole), self._crop_samples)
        waveform = _piece(changed, min(limit, len(changed)), rng)
        truth = np.zeros(self._n_classes, np.float32)
        truth[self.clips.targets[draw.row]] = 1.0
        if self._mixup > 0:
            share = rng.beta(self._mixup, self._mixup)
            other = int(rng.integers(len(self.clips) - 1))
            other += other >= draw.row
            waveform = self._mixed(waveform, _loudness(changed), other, share, rng)
            truth *= share
            truth[self.clips.targets[other]] += 1.0 - share
        return TrainingExample(waveform, truth, draw.n_in_step, int(rng.integers(2**63)))

    def _rng(self, draw: Draw) -> np.random.Generator:
        import xxhash

        text = f"{self._seed} {draw.epoch} {draw.repeat} {self.clips.ids[draw.row]}"
        return np.random.default_rng(int(xxhash.xxh3_128_hexdigest(text.encode()), 16))

    def _augmented(self, waveform: Waveform, rng: np.random.Generator) -> Waveform:
        if self._augmentation is None or rng.random() >= self._augment_share:
            return waveform
        changed = self._augmentation(waveform, self.clips.sampling_rate, rng)
        return changed if len(changed) >= self.clips.min_samples else waveform

    def _mixed(
        self, waveform: Waveform, loudness: float, other: int, share: float, rng: np.random.Generator
    ) -> Waveform:
        added = self.clips.waveform(other)
        scale = (1.0 - share) * loudness / _loudness(added)
        piece = _piece(added, min(len(added), len(waveform)), rng)
        start = int(rng.integers(len(waveform) - len(piece), endpoint=True))
        mixed = np.asarray(share * waveform, np.float32)
        mixed[start : start + len(piece)] += np.asarray(scale * piece, np.float32)
        return mixed


def _piece(waveform: Waveform, n_samples: int, rng: np.random.Generator) -> Waveform:
    start = int(rng.integers(len(waveform) - n_samples, endpoint=True))
    return waveform[start : start + n_samples]


def _loudness(waveform: Waveform) -> float:
    """Root mean square; a clip that was read is never silent."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
