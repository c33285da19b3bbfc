"""Keeping padding out of a model that was never told about it.

Clips of unlike lengths share a batch by padding the short ones. The attention mask that
transformers takes keeps the padding out of attention, but three other things look along time:

- a group norm over one channel per group, which the first convolution of the "group" models
  (wav2vec2-base, hubert-base, wavlm-base, ...) carries: its mean and variance run over the padding too
  and move a clip's embedding by a tenth and more (transformers#21534, s3prl#415);
- positional convolutions after the first one of a stack (data2vec), or behind a batch norm (HuBERT), which
  read what the layer before them wrote into the padding;
- the depthwise convolution of a conformer block, which does the same in every layer.

`PaddingGuard` mends all three inside a loaded model. With nothing padded the model computes what it always
did, bit for bit.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional


class PaddingGuard:
    """Makes a wav2vec2-like model forget the padding of the batch it is given.

    Attributes:
        n_samples: Real samples of each row of the batch in flight; None where no row is padded.
        frame_mask: Bool tensor of shape (batch, frames), True on real frames; None likewise.
    """

    def __init__(self, model: nn.Module) -> None:
        self.n_samples: Sequence[int] | None = None
        self.frame_mask: Tensor | None = None
        first = model.get_submodule("feature_extractor.conv_layers.0")
        norm = getattr(first, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            conv = first.get_submodule("conv")
            assert isinstance(conv, nn.Conv1d)
            first.layer_norm = MaskedGroupNorm(norm, conv, self)
        for module in model.get_submodule("encoder").modules():
            # A convolution that pads reads zeros beyond a lone clip's end: let it read zeros there always.
            if isinstance(module, nn.Conv1d) and module.padding != (0,):
                module.register_forward_pre_hook(self._zero_padding)

    @contextmanager
    def batch(self, n_samples: Sequence[int], frame_mask: Tensor) -> Iterator[None]:
        """Say what is real in the batch that the model runs on inside the block.

        Args:
            n_samples: Real samples of each row.
            frame_mask: Bool tensor of shape (batch, frames), True on real frames.
        """
        if min(n_samples) == max(n_samples):
            yield
            return
        self.n_samples, self.frame_mask = n_samples, frame_mask
        try:
            with warnings.catch_warnings():
                # WavLM hands torch a bool mask beside its float position bias, and torch would rather not.
                warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
                yield
        finally:
            self.n_samples = self.frame_mask = None

    def recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Give the batch in flight back to what is computed again in the backward pass.

        For the ``context_fn`` of ``torch.utils.checkpoint``, which calls it in the forward pass and enters
        the first context there, the second where it computes again, long after `batch` has ended.
        """
        if self.n_samples is None or self.frame_mask is None:
            return nullcontext(), nullcontext()
        return nullcontext(), self.batch(self.n_samples, self.frame_mask)

    def _zero_padding(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        """Zero the padded frames of a convolution's input of shape (batch, channels, frames)."""
        if self.frame_mask is None:
            return None
        return (args[0].masked_fill(~self.frame_mask.unsqueeze(1), 0.0),)


class MaskedGroupNorm(nn.GroupNorm):
    """A group norm whose statistics come from each row's real frames alone.

    Every row is normed as the stock module does on its real frames, so a row has in a batch exactly what it
    has alone. What follows the real frames is zero. Its weights are the stock module's, under their names.
    """

    def __init__(self, norm: nn.GroupNorm, conv: nn.Conv1d, guard: PaddingGuard) -> None:
        super().__init__(norm.num_groups, norm.num_channels, norm.eps, norm.affine)
        self.weight, self.bias = norm.weight, norm.bias
        self.kernel_size, self.stride = conv.kernel_size[0], conv.stride[0]
        self._guard = guard

    def norm(self, hidden_states: Tensor) -> Tensor:
        """Normalise over all frames, as the stock module does."""
        return super().forward(hidden_states)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise the output of the first convolution, of shape (batch, channels, frames)."""
        if self._guard.n_samples is None:
            return self.norm(hidden_states)
        n_frames = [(n - self.kernel_size) // self.stride + 1 for n in self._guard.n_samples]
        longest = hidden_states.shape[-1]
        rows = (self.norm(hidden_states[i : i + 1, :, :n]) for i, n in enumerate(n_frames))
        if torch.is_grad_enabled():
            return torch.cat([functional.pad(row, (0, longest - row.shape[-1])) for row in rows])
        # Without a graph to keep, each row is written once, in the type that the norm gives: under autocast
        # it is wider than what went in.
        first = next(rows)
        normed = first.new_zeros(hidden_states.shape)
        for i, row in enumerate(itertools.chain([first], rows)):
            normed[i, :, : row.shape[-1]] = row[0]
        return normed
