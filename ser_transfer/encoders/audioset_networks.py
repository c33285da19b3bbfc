"""The two networks that Google trained on AudioSet: YAMNet's MobileNet and VGGish's VGG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_transfer.encoders.base import EncoderError

# (stride, channels) of YAMNet's layers 1 to 14.
YAMNET_LAYERS: Final = (
    *((2, 32), (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *((1, 512), (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024)),
)
# Channels of the convolutions between VGGish's four poolings.
VGGISH_BLOCKS: Final = ((64,), (128,), (256, 256), (512, 512))


class SameConv2d(nn.Conv2d):
    """A 3×3 convolution padded as TensorFlow's SAME, for inputs of even height and width.

    At stride 1 that is one row and column on every side. At stride 2 an even size n gives n/2 outputs,
    which reach over (n/2 - 1)·2 + 3 = n + 1 inputs: SAME puts the one that is missing at the end.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, groups: int = 1) -> None:
        super().__init__(n_in, n_out, 3, stride=stride, padding=1 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, channels, height, width)."""
        return super().forward(x if self.stride == (1, 1) else functional.pad(x, (0, 1, 0, 1)))


class Bfloat16Convolution(nn.Module):
    """A 1×1 convolution whose products are bfloat16's, and whose bias is added in float32.

    Autocast rounds the bias as well, which saves nothing and costs as much accuracy as rounding the weights:
    the error is the same in every patch and does not average out.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.kernel_size == (1, 1)
        assert convolution.bias is not None
        self.weight = nn.Parameter(convolution.weight.bfloat16(), requires_grad=False)
        self.bias = nn.Parameter(convolution.bias.reshape(-1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (batch, channels, height, width) in float32, and give float32."""
        return functional.conv2d(x.bfloat16(), self.weight).float() + self.bias


class YamnetNetwork(nn.Module):
    """MobileNet-v1 on log-mel patches, batch norm folded into its convolutions, without the classifier."""

    def __init__(self) -> None:
        super().__init__()
        n_in = 1
        for i, (stride, n_out) in enumerate(YAMNET_LAYERS, start=1):
            layer = nn.ModuleDict()
            if i == 1:
                layer["conv"] = SameConv2d(n_in, n_out, stride)
            else:
                layer["depthwise_conv"] = SameConv2d(n_in, n_in, stride, groups=n_in)
                layer["pointwise_conv"] = nn.Conv2d(n_in, n_out, 1)
            self.add_module(f"layer{i}", layer)
            n_in = n_out

    def forward(self, patches: Tensor) -> list[Tensor]:
        """Give every layer's output.

        Args:
            patches: Log-mel patches of shape (batch, 96 frames, 64 bands).

        Returns:
            Fourteen tensors of shape (batch, channels, time, frequency), from (32, 48, 32) to (1024, 3, 2).
        """
        return list(self.outputs(patches))

    def outputs(self, patches: Tensor) -> Iterator[Tensor]:
        """Run layer after layer, and give out what `forward` does one by one."""
        # On a CPU, depthwise convolutions are quicker with the channels innermost.
        x = patches.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        for layer in self.children():
            for convolution in layer.children():
                x = functional.relu(convolution(x))
            yield x


class VggishNetwork(nn.Module):
    """VGG on log-mel patches, its parameters named as in harritaylor/torchvggish."""

    def __init__(self) -> None:
        super().__init__()
        n_in = 1
        features: list[nn.Module] = []
        for block in VGGISH_BLOCKS:
            for n_out in block:
                features += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU()]
                n_in = n_out
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        # 512 channels of 6 steps × 4 bands are what four poolings leave of 96 × 64.
        self.embeddings = nn.Sequential(
            *(nn.Linear(6 * 4 * 512, 4096), nn.ReLU()),
            *(nn.Linear(4096, 4096), nn.ReLU()),
            *(nn.Linear(4096, 128), nn.ReLU()),
        )

    def forward(self, patches: Tensor) -> list[Tensor]:
        """Give the output of each pooling and of each fully connected layer.

        Args:
            patches: Log-mel patches of shape (batch, 96 frames, 64 bands).

        Returns:
            Four tensors of shape (batch, channels, time, frequency), from (64, 48, 32) to (512, 6, 4), then
            three of shape (batch, 4096), (batch, 4096) and (batch, 128), after their ReLU.
        """
        return list(self.outputs(patches))

    def outputs(self, patches: Tensor) -> Iterator[Tensor]:
        """Run layer after layer, and give out what `forward` does one by one."""
        x = patches.unsqueeze(1)
        for module in self.features:
            x = module(x)
            if isinstance(module, nn.MaxPool2d):
                yield x
        x = x.permute(0, 2, 3, 1).flatten(1)  # the channel varies fastest, as in the TensorFlow original
        for module in self.embeddings:
            x = module(x)
            if isinstance(module, nn.ReLU):
                yield x


def with_weights(architecture: type[nn.Module], weights: Mapping[str, Tensor], source: str) -> nn.Module:
    """Build a network around tensors, all of them and each of the right shape.

    Args:
        architecture: Its class.
        weights: By parameter name. Names that the network does not have (a classifier's) are passed over.
        source: What to call them in an error.

    Raises:
        EncoderError: If one is missing or has another shape.
    """
    network = empty(architecture)
    wanted = network.state_dict()
    for name, parameter in wanted.items():
        if name not in weights:
            raise EncoderError(f"{source} has no {name}: it does not hold the weights of this network")
        if weights[name].shape != parameter.shape:
            raise EncoderError(
                f"{name} in {source} has shape {tuple(weights[name].shape)}, not {tuple(parameter.shape)}: "
                f"it does not hold the weights of this network"
            )
    network.load_state_dict({name: weights[name].float() for name in wanted}, assign=True)
    return network


def random_weights(architecture: type[nn.Module], seed: int) -> dict[str, Tensor]:
    """Draw weights as before training, so that every layer keeps the variance of the one below.

    He et al. 2015 (https://arxiv.org/abs/1502.01852): normal, variance 2 / inputs, for layers with ReLU;
    biases zero. torch's own default loses most of the signal over 27 convolutions without batch norm, and
    would be too low a floor.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, parameter in empty(architecture).state_dict().items():
        weights[name] = torch.zeros(parameter.shape)
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(weights[name], nonlinearity="relu", generator=generator)
    return weights


def empty(architecture: type[nn.Module]) -> nn.Module:
    """Build a network without storage: nothing is drawn that weights would replace."""
    with torch.device("meta"):
        return architecture()
