"""VGGish: the VGG that Google trained to name the sounds of YouTube-8M (Apache-2.0).

Hershey et al. 2017, https://arxiv.org/abs/1609.09430; in PyTorch: https://github.com/harritaylor/torchvggish
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ser_transfer.encoders.base import Precision
from ser_transfer.encoders.patch_encoder import PatchEncoder
from ser_transfer.encoders.weight_files import PublishedWeights, read_safetensors, read_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

VGGISH_PTH = PublishedWeights(
    url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
)


def load_vggish(
    *,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
) -> VggishEncoder:
    """Make a VGGish encoder: 72 M parameters, 7 layers.

    Only the file of weights is hashed; torch is imported and the weights are read at the first `encode`.

    Args:
        weights: ``.pth`` as torchvggish publishes it, or ``.safetensors`` with the same names
            (``features.0.weight``, ..., ``embeddings.4.bias``). None takes the published file from the
            cache, and downloads it (288 MB) where it is not there.
        untrained: Random weights in place of the pretrained ones, as the floor that pretraining must clear.
        seed: Of the random weights.
        device: ``"auto"`` (CUDA, else MPS, else the CPU) or a name that torch knows.
        precision: ``"float32"``, or ``"bf16"`` for matrix products and convolutions in bfloat16.

    Raises:
        EncoderError: If the file cannot be found or downloaded, or an option is not known.
    """
    return VggishEncoder(weights=weights, untrained=untrained, seed=seed, device=device, precision=precision)


class VggishEncoder(PatchEncoder):
    """VGGish, frozen: four pooled blocks of convolutions, then three fully connected layers after ReLU.

    ``embedding`` is what VGGish calls so, before the whitening and the rounding to 8 bits that torchvggish
    can put behind it to resemble the published AudioSet features.
    """

    name = "vggish"
    frame_rate = 1 / 0.96
    layer_names = ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "embedding")
    dims = (64, 128, 256, 512, 4096, 4096, 128)
    log_offset = 0.01
    patch_hop = 96
    published = VGGISH_PTH

    def _architecture(self) -> type[nn.Module]:
        from ser_transfer.encoders.audioset_networks import VggishNetwork

        return VggishNetwork

    def _readers(self) -> dict[str, Callable[[Path], dict[str, Tensor]]]:
        return {".pth": read_torch, ".safetensors": read_safetensors}
