"""Where the parts of a transformers audio encoder lie, from the convolutions to the layer below the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ser_transfer.finetuning.networks.base import Block

LAYER_LISTS = ("encoder.encoder.layer", "encoder.layers", "layers")  # SEW-D; wav2vec2's kin; Whisper and AST

CONVOLUTIONS = ("feature_extractor", "conv1", "conv2", "embeddings.patch_embeddings")

# What lies above the layers and belongs to the highest of them.
ABOVE_THE_LAYERS = {
    "audio-spectrogram-transformer": "layernorm",
    "sew": "encoder.upsample",
    "sew-d": "encoder.upsample",
    "wav2vec2-bert": "intermediate_ffn",
    "wav2vec2-conformer": "encoder.layer_norm",
    "whisper": "layer_norm",
}

FIXED = ("embed_positions",)  # Whisper's sines, which its own class does not train


def encoder_blocks(body: Any) -> list[Block]:
    """Divide an encoder of a type in `FRONT_ENDS` from its input to its last layer.

    Args:
        body: The bare encoder, a ``PreTrainedModel``.

    Returns:
        What is fixed; ``front_end``, where there are convolutions; ``layer_00``, all else below the first
        layer that has weights: projection, mask vector, positions; the layers, the last with the norm that
        follows it.
    """
    layers: Any = next(found for path in LAYER_LISTS if (found := _part(body, path)) is not None)
    front_end = [found for path in CONVOLUTIONS if (found := _part(body, path)) is not None]
    above = _part(body, _path_above(body.config))
    fixed = [found for path in FIXED if (found := _part(body, path)) is not None]
    elsewhere = {id(p) for part in (*front_end, *layers, *fixed, above) if part for p in part.parameters()}
    below = [p for p in body.parameters() if id(p) not in elsewhere]
    modules, rest = _modules_of(body, below)
    highest = () if above is None else (above,)
    if not layers:
        modules += highest
    blocks = [Block("front_end", "front_end", tuple(front_end))] if front_end else []
    if modules or rest:
        blocks.append(Block("layer_00", "input", modules, rest))
    for i, layer in enumerate(layers, start=1):
        own = (layer, *highest) if i == len(layers) else (layer,)
        blocks.append(Block(f"layer_{i:02d}", "layer", own))
    if fixed:
        blocks.insert(0, Block("positions", "fixed", tuple(fixed)))
    return blocks


def _path_above(config: Any) -> str:
    if getattr(config, "do_stable_layer_norm", False):
        return "encoder.layer_norm"
    return ABOVE_THE_LAYERS.get(config.model_type, "")


def _part(body: nn.Module, path: str) -> nn.Module | None:
    """Find a module by its path; None where there is none."""
    found: Any = body if path else None
    for name in path.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, nn.Module) else None


def _modules_of(
    body: nn.Module, wanted: Sequence[nn.Parameter]
) -> tuple[tuple[nn.Module, ...], tuple[nn.Parameter, ...]]:
    """Name the largest modules that hold none but the wanted parameters, and the parameters left over."""
    left = {id(p) for p in wanted}
    modules: list[nn.Module] = []

    def visit(module: nn.Module) -> None:
        for child in module.children():
            own = {id(p) for p in child.parameters()}
            if own and own <= left:
                modules.append(child)
                left.difference_update(own)
            elif own & left:
                visit(child)

    visit(body)
    return tuple(modules), tuple(p for p in wanted if id(p) in left)
