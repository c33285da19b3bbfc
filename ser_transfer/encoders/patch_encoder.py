"""What VGGish and YAMNet have in common: a network that sees 0.96 s of log-mel at a time."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ser_transfer.encoders.base import Encoder, EncoderError, HiddenStates, Precision, Waveform
from ser_transfer.encoders.devices import check_precision, inference, prepare, torch_device
from ser_transfer.encoders.log_mel import HOP, PATCH_SAMPLES, SAMPLING_RATE, WINDOW, Array, log_mel, patches
from ser_transfer.encoders.weight_files import PublishedWeights, find_weights, read_weights, sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# Part of the fingerprint. Raise it when the same waveform would give other hidden states than before.
PREPROCESSING_VERSION = 1

# Patches in one forward pass, so that memory does not grow with the recording.
N_PATCHES = 32


class PatchEncoder(Encoder):
    """A frozen convolutional network on log-mel patches of 0.96 s.

    Patches follow one another every `patch_hop` log-mel frames. The end of a recording that the last whole
    one leaves out is filled up with silence to one more, as the published YAMNet does, where at least half
    of that one is real (in YAMNet, whose patches overlap by half, it always is).

    A frame is a patch, in every layer: its output averaged over time and frequency, as the published
    embeddings are.

    Attributes:
        untrained: Whether the weights are random.
        log_offset: Added to the mel magnitudes before the logarithm.
        patch_hop: Log-mel frames (10 ms) from one patch to the next.
        published: The weights that are downloaded where none are given.
        autocasts: Whether bf16 means all convolutions and matrix products.
    """

    sampling_rate = SAMPLING_RATE
    min_seconds = WINDOW / SAMPLING_RATE
    log_offset: ClassVar[float]
    patch_hop: ClassVar[int]
    published: ClassVar[PublishedWeights]
    autocasts: ClassVar[bool] = True

    def __init__(
        self,
        *,
        weights: str | Path | None,
        untrained: bool,
        seed: int,
        device: str,
        precision: Precision,
    ) -> None:
        check_precision(precision)
        if untrained and weights is not None:
            raise EncoderError(f"{self.name} takes no weights where it is untrained: leave one of them out")
        self.untrained = untrained
        self.precision = precision
        self._seed = seed
        self._weights = None if untrained else find_weights(weights, self.published)
        self._device_name = device
        self._network: nn.Module | None = None
        self.fingerprint = self._fingerprint()

    @abstractmethod
    def _architecture(self) -> type[nn.Module]:
        """Import torch and give the network's class."""

    @abstractmethod
    def _readers(self) -> dict[str, Callable[[Path], dict[str, Tensor]]]:
        """Say how a file of weights is read, by its suffix."""

    @property
    def on_accelerator(self) -> bool:
        """Whether it runs on a GPU."""
        return torch_device(self._device_name).type != "cpu"

    def files(self) -> dict[str, Path]:
        """See `Encoder.files`."""
        return {} if self._weights is None else {f"{self.name}{self._weights.suffix}": self._weights}

    def encode(self, waveforms: Sequence[Waveform]) -> HiddenStates:
        """Encode a batch in one pass.

        Args:
            waveforms: Mono float32 arrays of shape (samples,) at 16 kHz, of any lengths.

        Returns:
            Float32 hidden states of every layer, with their masks, on the encoder's device.

        Raises:
            EncoderError: If a waveform is shorter than `min_seconds`, or the weights cannot be loaded.
        """
        for i, waveform in enumerate(waveforms):
            if len(waveform) < WINDOW:
                raise EncoderError(
                    f"waveform {i} of the batch has {len(waveform)} samples and {self.name} needs {WINDOW} "
                    f"({self.min_seconds} s at {self.sampling_rate} Hz): leave it out"
                )
        import torch
        from torch.nn.utils.rnn import pad_sequence

        cut = [cut_patches(waveform, self.log_offset, self.patch_hop) for waveform in waveforms]
        n_patches = [len(of_one) for of_one in cut]
        frames = self._run(np.concatenate(cut))
        layers = tuple(pad_sequence(list(torch.split(x, n_patches)), batch_first=True) for x in frames)
        mask = torch.arange(max(n_patches)) < torch.tensor(n_patches).unsqueeze(1)
        return HiddenStates(layers, (mask.to(layers[0].device),) * len(layers))

    def _patches(self, waveform: Waveform) -> Array:
        """Cut a recording into patches of shape (patches, 96, 64)."""
        return cut_patches(waveform, self.log_offset, self.patch_hop)

    def _run(self, cut: Array) -> list[Tensor]:
        """Give each layer's average over every patch, of shape (patches, dim)."""
        import torch

        if self._network is None:
            self._network = self._load()
        device = next(self._network.parameters()).device
        parts = []
        with inference(device, self.precision if self.autocasts else "float32"):
            for start in range(0, len(cut), N_PATCHES):
                batch = torch.from_numpy(np.ascontiguousarray(cut[start : start + N_PATCHES])).to(device)
                parts.append([average(output) for output in self._network(batch)])
            return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    def build(self) -> nn.Module:
        """Read or draw the weights: the network that the encoder runs, in float32 and on the CPU.

        Raises:
            EncoderError: If the weights cannot be read, or are another network's.
        """
        from ser_transfer.encoders.audioset_networks import random_weights, with_weights

        architecture = self._architecture()
        if self._weights is None:
            return with_weights(architecture, random_weights(architecture, self._seed), "the random draw")
        return with_weights(architecture, read_weights(self._weights, self._readers()), str(self._weights))

    def _load(self) -> nn.Module:
        """Read or draw the weights, and bring the network to its device."""
        device = torch_device(self._device_name)
        return prepare(self.build(), device, self.precision if self.autocasts else "float32")

    def _fingerprint(self) -> str:
        """Hash what the hidden states follow from: network, weights or seed, and preprocessing."""
        content: dict[str, Any] = {"name": self.name, "preprocessing_version": PREPROCESSING_VERSION}
        if self._weights is None:
            from importlib.metadata import version

            # torch does not promise the same random numbers in its next release.
            content["untrained"] = {"seed": self._seed, "torch": version("torch")}
        else:
            content["weights"] = sha256_of(self._weights)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def cut_patches(waveform: Waveform, log_offset: float, patch_hop: int) -> Array:
    """Cut a recording into log-mel patches, as `PatchEncoder` describes.

    Args:
        waveform: At 16 kHz, at least 25 ms of it.
        log_offset: Added to the mel magnitudes before the logarithm.
        patch_hop: Log-mel frames (10 ms) from one patch to the next.

    Returns:
        Array of shape (patches, 96, 64).
    """
    hop = patch_hop * HOP  # in samples
    n_to_cover = -(-(len(waveform) - PATCH_SAMPLES) // hop)  # patches after the first, rounded up
    n_half_real = (2 * len(waveform) - PATCH_SAMPLES) // (2 * hop)
    n_samples = PATCH_SAMPLES + hop * max(0, min(n_to_cover, n_half_real))
    filled = np.pad(waveform[:n_samples], (0, max(0, n_samples - len(waveform))))
    return patches(log_mel(filled, log_offset), patch_hop)


def average(output: Tensor) -> Tensor:
    """Average a layer's (patches, dim, time, frequency) to (patches, dim); leave (patches, dim) as it is."""
    return output.float() if output.ndim == 2 else output.float().mean(dim=(2, 3))
