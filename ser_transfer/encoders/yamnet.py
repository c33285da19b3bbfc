"""YAMNet: MobileNet-v1, trained by Google to name 521 sounds of AudioSet (Apache-2.0).

Plakal & Ellis, https://github.com/tensorflow/models/tree/master/research/audioset/yamnet
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer.encoders.base import EncoderError, Precision
from ser_transfer.encoders.devices import warn_of_slow_bf16
from ser_transfer.encoders.patch_encoder import PatchEncoder
from ser_transfer.encoders.weight_files import PublishedWeights, read_safetensors

if TYPE_CHECKING:
    from torch import Tensor, nn

YAMNET_H5 = PublishedWeights(
    url="https://storage.googleapis.com/audioset/yamnet.h5",
    sha256="13c3308955bbfaef262f175ac9c40e47b134573a93984f009220dd7cc12a1744",
)
BATCH_NORM_EPSILON = 1e-4  # `batchnorm_epsilon` in Google's params.py; its batch norm has no scale

# The layers whose 1×1 convolution bf16 means: of the large ones of layers 8 to 14, the most that keep every
# layer's pooled embedding at a cosine of 0.99992 to float32, in every clip of RAVDESS and of the two-second
# EmoDB. Quiet clips, whose last layer hardly speaks, decide it; `benchmarks/precision.py --all` prints it.
BFLOAT16_LAYERS = (8, 10, 11, 14)

# Keras repeats a layer's name in the path of its variables: layer1/conv/bn/layer1/conv/bn/beta:0.
_VARIABLE = re.compile(
    r"(?P<convolution>layer\d+/(?:depthwise_|pointwise_)?conv)(?:/bn)?/"
    r"(?P<variable>(?:depthwise_)?kernel|beta|moving_mean|moving_variance):0"
)


def load_yamnet(
    *,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
) -> YamnetEncoder:
    """Make a YAMNet encoder: 3.7 M parameters, 14 layers.

    Only the file of weights is hashed; torch is imported and the weights are read at the first `encode`.

    Args:
        weights: ``.h5`` as Google publishes it (read with h5py, the extra ``[h5]``), or ``.safetensors`` with
            batch norm folded: ``layer1.conv.weight``, ``layer2.depthwise_conv.weight``, ... None takes
            Google's file from the cache, and downloads it (15 MB) where it is not there.
        untrained: Random weights in place of the pretrained ones, as the floor that pretraining must clear.
        seed: Of the random weights.
        device: ``"auto"`` (CUDA, else MPS, else the CPU) or a name that torch knows.
        precision: ``"float32"``, or ``"bf16"`` for the products of the 1×1 convolutions of `BFLOAT16_LAYERS`,
            a third of all products; the rest stays float32. So the last layer, the most sensitive, agrees
            with float32 to a cosine of 0.99994 (the lowest of 1975 clips).

    Raises:
        EncoderError: If the file cannot be found or downloaded, or an option is not known.
    """
    return YamnetEncoder(weights=weights, untrained=untrained, seed=seed, device=device, precision=precision)


class YamnetEncoder(PatchEncoder):
    """YAMNet, frozen: layers ``layer_01`` to ``layer_14`` of 32 to 1024 features, after their ReLU.

    A frame of ``layer_14`` is what YAMNet calls the embedding of a patch.
    """

    name = "yamnet"
    frame_rate = 1 / 0.48
    layer_names = tuple(f"layer_{i:02d}" for i in range(1, 15))
    dims = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    log_offset = 0.001
    patch_hop = 48
    published = YAMNET_H5
    autocasts = False

    def _architecture(self) -> type[nn.Module]:
        from ser_transfer.encoders.audioset_networks import YamnetNetwork

        return YamnetNetwork

    def _load(self) -> nn.Module:
        """Read or draw the weights, and round those of `BFLOAT16_LAYERS` where bf16 is wanted."""
        network = super()._load()
        if self.precision == "bf16":
            from ser_transfer.encoders.audioset_networks import Bfloat16Convolution

            warn_of_slow_bf16(next(network.parameters()).device)
            for i in BFLOAT16_LAYERS:
                layer: Any = network.get_submodule(f"layer{i}")
                layer["pointwise_conv"] = Bfloat16Convolution(layer["pointwise_conv"])
        return network

    def _readers(self) -> dict[str, Callable[[Path], dict[str, Tensor]]]:
        return {".h5": read_h5, ".safetensors": read_safetensors}


def read_h5(path: Path) -> dict[str, Tensor]:
    """Read the weights that Keras saved, each batch norm folded into the convolution before it.

    Batch norm in inference is (x - mean) / sqrt(variance + epsilon) + beta, per channel. After a convolution
    without bias it is the same as scaling the kernel by s = 1 / sqrt(variance + epsilon) and adding the bias
    beta - mean · s.

    Args:
        path: Google's ``yamnet.h5``, or another file with its layers.

    Returns:
        Tensors in PyTorch's layout, by the names that the safetensors file has.

    Raises:
        EncoderError: If h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise EncoderError(
            f"{path} is read with h5py, which is not installed: pip install 'ser-transfer[h5]'"
        ) from error
    import torch

    variables: dict[str, dict[str, npt.NDArray[np.float64]]] = {}

    def visit(name: str, item: object) -> None:
        found = _VARIABLE.search(name)
        if found and isinstance(item, h5py.Dataset):
            of_convolution = variables.setdefault(found["convolution"].replace("/", "."), {})
            of_convolution[found["variable"]] = np.asarray(item, np.float64)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    tensors = {}
    for name, of_convolution in variables.items():
        kernel, bias = _folded(of_convolution)
        tensors[f"{name}.weight"] = torch.from_numpy(kernel)
        tensors[f"{name}.bias"] = torch.from_numpy(bias)
    return tensors


def _folded(
    variables: dict[str, npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fold a convolution's batch norm: weight of shape (out, in / groups, height, width), and bias."""
    if "depthwise_kernel" in variables:
        kernel = variables["depthwise_kernel"].transpose(2, 3, 0, 1)  # from (height, width, channels, 1)
    else:
        kernel = variables["kernel"].transpose(3, 2, 0, 1)  # from (height, width, in, out)
    scale = 1 / np.sqrt(variables["moving_variance"] + BATCH_NORM_EPSILON)
    weight = np.ascontiguousarray(kernel * scale[:, np.newaxis, np.newaxis, np.newaxis], dtype=np.float32)
    return weight, (variables["beta"] - variables["moving_mean"] * scale).astype(np.float32)
