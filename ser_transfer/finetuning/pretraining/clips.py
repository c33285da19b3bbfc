"""Clips with some of their frames masked: cropped at random in training, whole in validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ser_transfer.encoders import Waveform
from ser_transfer.encoders.frame_grid import FrameGrid
from ser_transfer.encoders.front_ends import ListedFrontEnd
from ser_transfer.finetuning.batches import Draw
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.pretraining.masks import Mask, draw_mask, draw_negatives
from ser_transfer.finetuning.recordings import Clips

Targets = npt.NDArray[np.integer]


class TargetsOf(Protocol):
    """Gives what is to be predicted at the masked frames of a stretch of a clip."""

    def __call__(self, id_: str, first_frame: int, mask: Mask, rng: np.random.Generator) -> Targets:
        """Return one row per masked frame; `first_frame` is the number in the clip of the mask's first."""


@dataclass(frozen=True)
class Negatives:
    """What a masked frame is told apart from, for wav2vec2; see `masks.draw_negatives`."""

    n_negatives: int

    def __call__(self, id_: str, first_frame: int, mask: Mask, rng: np.random.Generator) -> Targets:
        """Draw for each masked frame."""
        return draw_negatives(int(mask.sum()), self.n_negatives, rng)


@dataclass(frozen=True)
class Units:
    """The hidden units of every clip, for HuBERT.

    Attributes:
        by_id: One unit per frame of the whole clip.
    """

    by_id: Mapping[str, Targets]

    def __call__(self, id_: str, first_frame: int, mask: Mask, rng: np.random.Generator) -> Targets:
        """Read those of the masked frames."""
        units = self.by_id[id_][first_frame : first_frame + len(mask)]
        if len(units) != len(mask):
            raise FinetuneError(
                f"utterance {id_!r} has {len(self.by_id[id_])} hidden units and more frames: its recording "
                "has changed since they were found; start over with --restart"
            )
        return units[mask]


@dataclass(frozen=True)
class Masking:
    """How masks and targets are drawn, by names alone, so that any process draws the same.

    Attributes:
        grid: Of the frames.
        share: See `masks.draw_mask`.
        span: See `masks.draw_mask`.
        targets_of: What is predicted.
        seed: Of all draws.
    """

    grid: FrameGrid
    share: float
    span: int
    targets_of: TargetsOf
    seed: int

    def rng(self, *names: object) -> np.random.Generator:
        """Make the generator of one thing that is drawn."""
        import xxhash

        text = " ".join(map(str, (self.seed, *names)))
        return np.random.default_rng(int(xxhash.xxh3_128_hexdigest(text.encode()), 16))

    def example(
        self,
        waveform: Waveform,
        id_: str,
        first_frame: int,
        rng: np.random.Generator,
        about: Mapping[str, int],
    ) -> MaskedExample:
        """Mask a stretch of a clip that begins where its frame `first_frame` does."""
        mask = draw_mask(self.grid.n_frames(len(waveform)), self.share, self.span, rng)
        return MaskedExample(waveform, mask, self.targets_of(id_, first_frame, mask, rng), about)


@dataclass(frozen=True)
class MaskedExample:
    """A stretch of a clip.

    Attributes:
        waveform: Of shape (samples,).
        mask: True where masked, of shape (frames,).
        targets: One row per masked frame.
        about: In training ``n_in_step``, clips of the whole optimiser step; in validation ``row``.
    """

    waveform: Waveform
    mask: Mask
    targets: Targets
    about: Mapping[str, int]


class MaskedClips(Dataset[MaskedExample]):
    """Clips as they are trained on: a random stretch of each, masked anew at every draw.

    A stretch begins where a frame of the whole clip begins, so that its frames are frames of the clip.

    Args:
        clips: The training side.
        masking: How they are masked.
        crop_seconds: Length of a stretch at most; None for the whole clip.

    Attributes:
        seconds: Length of each clip at most, for `StepPlan`, of shape (n_clips,).

    Raises:
        FinetuneError: If the stretch is shorter than what can be masked.
    """

    def __init__(self, clips: Clips, masking: Masking, crop_seconds: float | None = None) -> None:
        self.clips, self._masking = clips, masking
        self._crop_samples: int | None = None
        self.seconds = clips.seconds
        if crop_seconds is not None:
            self._crop_samples = clips.crop_samples(crop_seconds, "masking")
            self.seconds = np.minimum(clips.seconds, crop_seconds)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, draw: Draw) -> MaskedExample:
        """Make what a draw asks for.

        Raises:
            ClipError: If the clip cannot be decoded.
        """
        id_, hop = self.clips.ids[draw.row], self._masking.grid.hop
        rng = self._masking.rng("training", draw.epoch, draw.repeat, id_)
        waveform = self.clips.waveform(draw.row)
        n_samples = len(waveform) if self._crop_samples is None else min(len(waveform), self._crop_samples)
        first = int(rng.integers((len(waveform) - n_samples) // hop, endpoint=True))
        stretch = waveform[first * hop : first * hop + n_samples]
        return self._masking.example(stretch, id_, first, rng, {"n_in_step": draw.n_in_step})


class ValidationClips(Dataset[MaskedExample]):
    """Whole clips, masked each time alike; those beyond 30 s in equal windows; the longest first.

    Args:
        clips: The validation side.
        masking: How they are masked.
    """

    def __init__(self, clips: Clips, masking: Masking) -> None:
        self.clips, self._masking = clips, masking
        n_samples = np.round(clips.seconds * clips.sampling_rate).astype(int).tolist()
        windows = [(row, window) for row, n in enumerate(n_samples) for window in masking.grid.windows(n)]
        self._windows = sorted(windows, key=lambda item: item[1].start - item[1].stop)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, item: int) -> MaskedExample:
        """Decode the clip of a window and mask it.

        Raises:
            ClipError: If it cannot be decoded.
        """
        row, window = self._windows[item]
        id_, grid = self.clips.ids[row], self._masking.grid
        rng = self._masking.rng("validation", window.start, id_)
        stretch = self.clips.waveform(row)[window]
        return self._masking.example(stretch, id_, window.start // grid.hop, rng, {"row": row})


class MaskedCollate:
    """Makes a batch of `MaskedExample`; it can be pickled, for loader workers.

    Args:
        front_end: The network's.
    """

    def __init__(self, front_end: ListedFrontEnd) -> None:
        self._front_end = front_end

    def __call__(self, examples: Sequence[MaskedExample]) -> dict[str, Any]:
        """Batch examples.

        Returns:
            ``inputs`` for `ObjectiveNetwork.forward`, and in training ``n_in_step``, in validation ``row`` of
            shape (batch,).
        """
        waveforms = [each.waveform for each in examples]
        inputs = self._front_end.prepare(waveforms)
        inputs["n_samples"] = torch.tensor([len(waveform) for waveform in waveforms])
        inputs["mask"] = _padded([each.mask for each in examples])
        inputs["targets"] = _padded([each.targets for each in examples]).long()
        if "n_in_step" in examples[0].about:
            return {"inputs": inputs, "n_in_step": examples[0].about["n_in_step"]}
        return {"inputs": inputs, "row": torch.tensor([each.about["row"] for each in examples])}


def _padded(arrays: Sequence[npt.NDArray[Any]]) -> Tensor:
    padded: Tensor = pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
    return padded
