"""What of a network learns, and how fast each part of it does."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import Block, Divided, EmotionNetwork


def freeze(network: EmotionNetwork, trained: str) -> None:
    """Let a part of a network learn, and keep the rest as it is, bit for bit, statistics of batch norms too.

    Args:
        network: Without an adapter, which chooses for itself.
        trained: ``"head"``; ``"top:K"``, the K layers nearest to the head, and the head; ``"layers"``, all
            but the convolutional front end, or, where there is none (YAMNet, VGGish, wav2vec2-bert), all but
            the lowest part; or ``"all"``.

    Raises:
        FinetuneError: If `trained` says something else, or the network has fewer layers.
    """
    if network.adapter is not None:
        raise FinetuneError(
            "the network has an adapter, which says what learns: leave --trained or --adapter out"
        )
    blocks = network.blocks()
    learning = {block.name for block in _chosen(blocks, trained, network.name)}
    for block in blocks:
        for parameter in block.all_parameters():
            parameter.requires_grad_(block.name in learning)
    if learning == {"head"}:
        network.keep_frozen([network.body])  # its dropouts and masks as well
    else:
        network.keep_frozen([m for block in blocks if block.name not in learning for m in block.modules])


def _chosen(blocks: list[Block], trained: str, name: str) -> list[Block]:
    """Name the blocks that learn."""
    open_blocks = [block for block in blocks if block.kind != "fixed"]
    layers = [block for block in open_blocks if block.kind == "layer"]
    heads = [block for block in open_blocks if block.kind == "head"]
    if trained == "head":
        return heads
    if trained == "all":
        return open_blocks
    if trained == "layers":
        return open_blocks[1:]
    found = re.fullmatch(r"top:(\d+)", trained)
    if found is None or int(found[1]) == 0:
        raise FinetuneError(f"trained is {trained!r}: give head, top:K (K from 1 on), layers, or all")
    n_layers = int(found[1])
    if n_layers > len(layers):
        raise FinetuneError(
            f"trained is {trained!r}, and {name} has {len(layers)} layers: give top:{len(layers)} or less, "
            "layers, or all"
        )
    return layers[len(layers) - n_layers :] + heads


def parameter_groups(
    network: Divided,
    *,
    learning_rate: float,
    head_learning_rate: float,
    layer_decay: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Sort what learns into groups for an optimiser such as AdamW.

    Norms, biases and the weights of a layer mix, all that has one dimension, get no weight decay. The front
    end and the input count as layers below the first.

    Args:
        network: Frozen as wanted.
        learning_rate: Of the layer nearest to the head.
        head_learning_rate: Of the head.
        layer_decay: The rate of each layer further down is so many times that of the one above.
        weight_decay: Of all else.

    Returns:
        Groups from input to head, each with ``name``, ``params``, ``lr`` and ``weight_decay``; every
        parameter that learns is in exactly one.

    Raises:
        FinetuneError: If nothing learns.
    """
    blocks = network.blocks()
    encoder = [block.name for block in blocks if block.kind not in ("head", "fixed")]
    rates = {name: learning_rate * layer_decay**distance for distance, name in enumerate(reversed(encoder))}
    groups = []
    for block in blocks:
        rate = rates.get(block.name, head_learning_rate)
        learning = [parameter for parameter in block.all_parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in learning if _is_matrix(parameter)]
        others = [parameter for parameter in learning if not _is_matrix(parameter)]
        for kind, parameters, decay in (("weights", decayed, weight_decay), ("norms", others, 0.0)):
            if parameters:
                name = f"{block.name} {kind}"
                groups.append({"name": name, "params": parameters, "lr": rate, "weight_decay": decay})
    if not groups:
        raise FinetuneError(f"nothing learns in {network.name}: give --trained head, top:K, layers, or all")
    return groups


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Tell weights from vectors; (1, 1, n), such as the magnitudes of a weight norm, is a vector too."""
    n_wide = sum(size > 1 for size in parameter.shape)
    return parameter.ndim > 1 and (n_wide > 1 or parameter.ndim == 2)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Count the parameters that learn, and all."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
