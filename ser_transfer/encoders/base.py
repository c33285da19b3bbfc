"""What every encoder promises, whether it was pretrained, left untrained, or written by hand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Precision = Literal["float32", "bf16"]
Waveform = npt.NDArray[np.float32]


class EncoderError(SerTransferError):
    """An encoder that cannot be found, loaded, or run on what it was given."""


@dataclass(frozen=True)
class HiddenStates:
    """All layers of one batch, from one pass.

    Attributes:
        layers: One tensor of shape (batch, frames, dim) per layer, in the order of
            `Encoder.layer_names`. Layers may differ in dim, and in frames.
        frame_masks: For each layer a bool tensor of shape (batch, frames), True on frames of
            real audio. Transformers share one mask over all layers; handcrafted voice
            measures have one of their own, True on voiced frames.
    """

    layers: tuple[Tensor, ...]
    frame_masks: tuple[Tensor, ...]


class Encoder(ABC):
    """Waveforms in, hidden states of all layers out.

    Making one is cheap: names, sizes and the fingerprint come from the files, and the weights
    are read, and torch imported, at the first `encode`. So a command that finds everything in
    the store never pays for them. (Models of unlisted types, whose sizes only running them tells,
    are the exception: `measured_front_end`.)

    An utterance's hidden states do not depend on its batch: alone and beside any neighbours
    they agree to 1e-5 relative in float32.

    Attributes:
        name: What the user asked for: a Hub id, a folder, or a name such as ``yamnet``.
        revision: Commit of the Hub repository that it comes from; None where it comes from elsewhere.
        fingerprint: 64 hex digits over the weights' content, the configuration and the version
            of our preprocessing. Two encoders that could give different numbers differ in it.
        sampling_rate: Hz, of the waveforms that `encode` expects.
        frame_rate: Hz, of the frames that `encode` returns; where layers differ, of most of them.
        layer_names: One name per layer, first to last.
        dims: Number of features per layer, in the same order.
        default_pooling: The pooling in `ser_transfer.pooling.POOLINGS` that suits it.
        precision: ``"float32"``, or ``"bf16"`` for matrix products in bfloat16 (autocast).
        min_seconds: The shortest waveform that gives a frame.
        runs_on: ``"device"`` for a torch module, which one process runs on a CPU or a GPU, and
            ``"processes"`` for plain NumPy, which is spread over the cores.
    """

    name: str
    revision: str | None = None
    fingerprint: str
    sampling_rate: int
    frame_rate: float
    layer_names: tuple[str, ...]
    dims: tuple[int, ...]
    default_pooling: str = "mean_std"
    precision: Precision = "float32"
    min_seconds: float = 0.0
    runs_on: Literal["device", "processes"] = "device"

    @property
    def definition(self) -> str:
        """What a model that was trained on it must find again: the fingerprint, where nothing else is said.

        The store keeps embeddings under the fingerprint, which tells numbers apart to the last digit. A model
        bears their rounding.
        """
        return self.fingerprint

    @property
    def on_accelerator(self) -> bool:
        """Whether it runs on a GPU, where padded batches pay; on a CPU they do not."""
        return False

    def files(self) -> dict[str, Path]:
        """Tell what it was read from, by the names that the files would have in a folder of their own.

        Empty where it needs none: features that are computed, and random weights.
        """
        return {}

    @abstractmethod
    def encode(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Encode a batch in one pass.

        Args:
            waveforms: Mono float32 arrays of shape (samples,) at `sampling_rate`, of any lengths.

        Returns:
            Float32 hidden states of every layer, with their masks, on the CPU or the encoder's device.

        Raises:
            EncoderError: If a waveform is shorter than `min_seconds`.
        """
