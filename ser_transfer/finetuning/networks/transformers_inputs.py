"""A transformers network's input, and which frames of its output are a clip's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ser_transfer.encoders import Waveform
from ser_transfer.encoders.front_ends import (
    MAX_WINDOW_SECONDS,
    ASTFrontEnd,
    ListedFrontEnd,
    SqueezedFrontEnd,
    Wav2Vec2BertFrontEnd,
    WaveformFrontEnd,
    WhisperFrontEnd,
)
from ser_transfer.finetuning.errors import FinetuneError


class TransformersInputs:
    """Prepares waveforms as the frozen encoder does; it can be pickled and holds no weights.

    Attributes:
        sampling_rate: Hz.
        min_samples: The shortest clip that gives a frame.
        max_samples: What is run at once: 30 s, AST's own window.
        dims: Features of each layer: what enters the first transformer layer, then each layer's output.
        filled_samples: What every clip is filled up to; None where it keeps its length.
        mixes_lengths: Whether clips of unlike lengths may share a pass of the model.
        means_own_frames: Whether the stock class averages over the clip's own frames, so that its pooling is
            ``mean``.
    """

    def __init__(self, front_end: ListedFrontEnd) -> None:
        grid = front_end.grid
        self.sampling_rate = front_end.sampling_rate
        self.min_samples = front_end.min_samples
        self.max_samples = min(
            MAX_WINDOW_SECONDS * front_end.sampling_rate,
            grid.max_frames * grid.hop + grid.receptive_field - 1,
        )
        # Whisper and AST fill every clip up to one window.
        is_filled = isinstance(front_end, WhisperFrontEnd | ASTFrontEnd)
        self.filled_samples = self.max_samples if is_filled else None
        self.dims = front_end.dims
        self.mixes_lengths = front_end.mixes_lengths
        # SEW's class averages over frames of twice the rate, one of them made up where their number is odd.
        self.means_own_frames = isinstance(
            front_end, WaveformFrontEnd | Wav2Vec2BertFrontEnd
        ) and not isinstance(front_end, SqueezedFrontEnd)
        self._front_end = front_end

    def prepare(self, waveforms: Sequence[Waveform], *, training: bool = False) -> dict[str, Tensor]:
        """Make the arguments of the model's ``forward``, and ``n_samples``, int64 of shape (batch,).

        Raises:
            FinetuneError: If a clip is shorter than `min_samples` or longer than `max_samples`.
        """
        for waveform in waveforms:
            if not self.min_samples <= len(waveform) <= self.max_samples:
                raise FinetuneError(
                    f"a clip of {len(waveform) / self.sampling_rate:.3f} s cannot be run at once, from "
                    f"{self.min_samples / self.sampling_rate:.3f} s to "
                    f"{self.max_samples / self.sampling_rate:g} s can: cut long ones with --crop-seconds"
                )
        n_samples = torch.tensor([len(waveform) for waveform in waveforms])
        return {**self._front_end.prepare(waveforms), "n_samples": n_samples}

    def frame_mask(self, n_samples: Sequence[int], device: torch.device) -> Tensor:
        """Mark each clip's own frames: bool, of shape (batch, frames)."""
        return self._front_end.frame_mask(n_samples, device)

    def n_frames(self, n_samples: int) -> int:
        """Count a clip's own frames."""
        return self._front_end.grid.n_frames(n_samples)

    @property
    def needs_hidden_states(self) -> bool:
        """Whether the last layer's own frames stand among the hidden states only."""
        return not self._front_end.ends_with_output

    def layers(self, output: Any, n_frames: int) -> list[Tensor]:
        """Take the frames of every layer that the model gave out, the last one if it gave no other.

        Returns:
            Tensors of shape (batch, n_frames, dim).
        """
        found = list(output.hidden_states or (output.last_hidden_state,))
        if not self.needs_hidden_states:
            found[-1] = output.last_hidden_state
        return [self._front_end.frames(layer)[:, :n_frames] for layer in found]

    def save(self, folder: str) -> None:
        """Write preprocessor_config.json, as the checkpoint's own feature extractor does."""
        self._front_end.feature_extractor().save_pretrained(folder)
