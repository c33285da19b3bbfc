"""Networks by name, with a new head, and networks that were saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ser_transfer.encoders import HANDCRAFTED
from ser_transfer.encoders.checkpoints import Checkpoint
from ser_transfer.encoders.transformers_family import listed_front_end
from ser_transfer.encoders.weight_files import read_safetensors, read_weights
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import EmotionNetwork
from ser_transfer.finetuning.networks.design import SETTINGS_KEY, Design, read_design
from ser_transfer.finetuning.networks.patch_network import PATCH_ENCODERS, WEIGHTS_FILE, PatchNetwork
from ser_transfer.finetuning.networks.transformers_checkpoint import (
    find_trainable,
    load_bare_encoder,
    load_stock_model,
    make_config,
    read_stock_model,
)
from ser_transfer.finetuning.networks.transformers_inputs import TransformersInputs
from ser_transfer.finetuning.networks.transformers_network import (
    HEAD_FILE,
    PooledNetwork,
    StockNetwork,
    TransformersNetwork,
)


def load_network(
    name: str,
    classes: Sequence[str],
    *,
    revision: str | None = None,
    weights: str | Path | None = None,
    untrained: bool = False,
    seed: int = 0,
    pooling: str = "stock",
    layer: str = "last",
    dropout: float = 0.1,
    projection_size: int | None = None,
    whole: bool = False,
    exits: bool = False,
    speeds: Sequence[float] = (1.0,),
    spec_augment: bool = True,
    gradient_checkpointing: bool = False,
) -> EmotionNetwork:
    """Put a new head on a pretrained encoder: in float32, on the CPU, in evaluation mode, free to learn.

    Args:
        name: A Hub id or folder of a type in `front_ends.FRONT_ENDS`, ``yamnet`` or ``vggish``. A head that a
            checkpoint was saved with is not taken over.
        classes: The emotions, at least two.
        revision: Commit, tag or branch of a Hub id.
        weights: File with the weights of YAMNet or VGGish, in place of the download.
        untrained: Random weights in the same architecture.
        seed: Of the head, and of random weights. torch's own generator is left alone.
        pooling: See `NetworkSettings`.
        layer: ``last``, ``mix`` (learned, of all), or a name of the frozen encoder's `layer_names`; for
            YAMNet and VGGish several with commas. The transformer is cut off above a single layer.
        dropout: Share of what the last linear layer reads that a training step leaves out.
        projection_size: Units between pooling and classifier; None for the model's own.
        whole: See `Design`, as for the two that follow.
        exits: A classifier for each layer that is read.
        speeds: At which a clip is scored.
        spec_augment: Mask in training, as the model's config says, or, for YAMNet and VGGish, `patch_inputs`.
        gradient_checkpointing: Compute activations again in the backward pass.

    Raises:
        FinetuneError: If nothing is there to be trained, or a setting does not fit the network.
        EncoderError: If the encoder cannot be found or read.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise FinetuneError(f"the emotions are {list(classes)}: give two or more, each once")
    if name in HANDCRAFTED:
        raise FinetuneError(
            f"nothing to train in {name}: train a head on it, python -m ser_transfer.train --encoder {name}"
        )
    design = Design(pooling, layer, dropout, projection_size, whole, exits, tuple(speeds))
    if name in PATCH_ENCODERS:
        if revision is not None or gradient_checkpointing:
            option = "revision" if revision is not None else "gradient-checkpointing"
            raise FinetuneError(f"{name} takes no --{option}: leave it out")
        encoder = PATCH_ENCODERS[name](
            weights=weights, untrained=untrained, seed=seed, device="cpu", precision="float32"
        )
        body = encoder.build()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: EmotionNetwork = PatchNetwork(name, classes, design, body, spec_augment=spec_augment)
        return network.eval()
    if weights is not None:
        raise FinetuneError(f"{name} takes no --weights: give the folder that they lie in as the encoder")
    design.refuse_patches(name)
    checkpoint = find_trainable(name, revision, untrained=untrained)
    built = _on_checkpoint(checkpoint, classes, design, seed, spec_augment)
    built.revision = checkpoint.revision
    if gradient_checkpointing:
        built.checkpoint_activations()
    return built.eval()


def load_saved_network(folder: str | Path) -> EmotionNetwork:
    """Read a network that was saved: the same logits, bit for bit, or divided as `EmotionNetwork.save` says.

    Args:
        folder: What `EmotionNetwork.save` wrote, or any folder of a model for audio classification of a type
            in `front_ends.FRONT_ENDS`.

    Raises:
        FinetuneError: If the folder holds no such network.
        EncoderError: If a file cannot be read, or a weight is missing.
    """
    folder = Path(folder)
    settings = _config(folder)
    own = settings.get(SETTINGS_KEY)
    name, design = str(folder), Design()
    if own is not None:
        name, design = read_design(own, str(folder))
    if settings.get("model_type") in PATCH_ENCODERS:
        if own is None:
            raise FinetuneError(f"{folder} holds no network of ours: save one there with save()")
        return _saved_patch_network(folder, settings, name, design)
    checkpoint = find_trainable(str(folder), None, untrained=False)
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[settings["model_type"]].from_dict(settings)
    classes = [config.id2label[i] for i in range(config.num_labels)]
    inputs = TransformersInputs(listed_front_end(checkpoint, untrained=False))
    if design.pooling == "stock":
        return StockNetwork(name, classes, design, inputs, read_stock_model(checkpoint, config)).eval()
    body = load_bare_encoder(checkpoint, config, 0)
    with torch.random.fork_rng(devices=[]):
        network = PooledNetwork(name, classes, design, inputs, body)
    _take_weights(network, folder / HEAD_FILE, network.head_state().keys())
    return network.eval()


def _on_checkpoint(
    checkpoint: Checkpoint, classes: Sequence[str], design: Design, seed: int, spec_augment: bool
) -> TransformersNetwork:
    """Build the stock class around a checkpoint where its pooling is wanted, else a head of ours."""
    untrained = not checkpoint.weights
    inputs = TransformersInputs(listed_front_end(checkpoint, untrained))
    if design.pooling == "mean" and inputs.means_own_frames:
        design = Design("stock", design.layer, design.dropout, design.projection_size)
    config = make_config(checkpoint, classes, design, spec_augment=spec_augment)
    if design.pooling == "stock":
        model = load_stock_model(checkpoint, config, seed)
        return StockNetwork(checkpoint.name, classes, design, inputs, model)
    body = load_bare_encoder(checkpoint, config, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PooledNetwork(checkpoint.name, classes, design, inputs, body)


def _saved_patch_network(folder: Path, settings: dict[str, Any], name: str, design: Design) -> EmotionNetwork:
    labels = settings["id2label"]
    classes = [labels[str(i)] for i in range(len(labels))]
    encoder = PATCH_ENCODERS[name](
        weights=folder / WEIGHTS_FILE, untrained=False, seed=0, device="cpu", precision="float32"
    )
    body = encoder.build()
    with torch.random.fork_rng(devices=[]):
        network = PatchNetwork(
            name, classes, design, body, spec_augment=settings[SETTINGS_KEY]["spec_augment"]
        )
    own = [key for key in network.state_dict() if not key.startswith("encoder.")]
    _take_weights(network, folder / WEIGHTS_FILE, own)
    return network.eval()


def _take_weights(network: EmotionNetwork, path: Path, names: Any) -> None:
    """Read weights of a network, by their names, from a file that may hold others."""
    found = read_weights(path, {".safetensors": read_safetensors})
    missing = [name for name in names if name not in found]
    if missing:
        raise FinetuneError(f"{path} lacks {missing[0]}: save the network again")
    network.load_state_dict({name: found[name] for name in names}, strict=False)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FinetuneError(f"{folder} holds no network: {path} cannot be read ({error})") from error
    return dict(settings)
