"""A checkpoint's weights in the class that transformers has for classifying audio, or in the bare encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ser_transfer.encoders import EncoderError, check_model_name
from ser_transfer.encoders.checkpoints import Checkpoint, find_checkpoint
from ser_transfer.encoders.encoder_part import find_encoder
from ser_transfer.encoders.front_ends import FRONT_ENDS
from ser_transfer.encoders.transformers_model import quiet, read_weights
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.design import LAST, MIX, Design

HEAD_PARTS = ("projector", "classifier", "layer_weights")  # of every stock class
LAYER_DROPS = ("layerdrop", "encoder_layerdrop")


def find_trainable(name: str, revision: str | None, *, untrained: bool) -> Checkpoint:
    """Find a checkpoint of a type that is fine-tuned.

    Raises:
        FinetuneError: If it is of another type.
        EncoderError: If there is none.
    """
    check_model_name(name)
    checkpoint = find_checkpoint(name, revision=revision, with_weights=not untrained)
    model_type = checkpoint.config.get("model_type")
    if model_type not in FRONT_ENDS:
        raise FinetuneError(
            f"{name} is a model of type {model_type!r}, and fine-tuned are {', '.join(FRONT_ENDS)}, and by "
            "name yamnet and vggish: give one of these"
        )
    return checkpoint


def make_config(checkpoint: Checkpoint, classes: Sequence[str], design: Design, *, spec_augment: bool) -> Any:
    """Make the config of a network: the checkpoint's own, its emotions, its layers up to the one read.

    Raises:
        FinetuneError: If a setting means nothing to this type of model.
        EncoderError: If this release of transformers does not know the type.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    # A config may ask for checkpointing of activations, which is a setting of ours.
    settings = {key: value for key, value in checkpoint.config.items() if key != "gradient_checkpointing"}
    config = CONFIG_MAPPING[checkpoint.config["model_type"]].from_dict(settings)
    config.id2label = dict(enumerate(classes))
    config.label2id = {emotion: i for i, emotion in config.id2label.items()}
    config.problem_type = "single_label_classification"
    config.dtype = torch.float32
    for name in LAYER_DROPS:  # a layer left out has no gradient, and no place in a mix
        if hasattr(config, name):
            setattr(config, name, 0.0)
    if hasattr(config, "add_adapter"):
        config.add_adapter = False  # it shortens the output for a decoder; the classifiers refuse it
    if not spec_augment and hasattr(config, "apply_spec_augment"):
        config.apply_spec_augment = False
    _set_layer(config, checkpoint.name, design)
    if design.projection_size is not None and design.pooling == "stock":
        if not hasattr(config, "classifier_proj_size"):
            raise FinetuneError(
                f"the stock class of {checkpoint.name} has no projection: leave projection_size out, or take "
                "--pooling mean"
            )
        config.classifier_proj_size = design.projection_size
    return config


def _set_layer(config: Any, name: str, design: Design) -> None:
    """Cut the transformer off above the layer that is read, or ask the stock class for a mix.

    Where a norm follows the last layer (the large wav2vec2, Whisper, AST, ...), it follows the layer that is
    read, as the class wants it: it was trained for the whole depth, and learns with that layer.
    """
    n_layers = config.num_hidden_layers
    names = [f"layer_{i:02d}" for i in range(n_layers + 1)]
    if design.layer not in (LAST, MIX, *names):
        raise FinetuneError(
            f"{name} has no layer {design.layer!r}: last, mix, or a name from {names[0]} to {names[-1]}"
        )
    if design.layer in names:
        config.num_hidden_layers = names.index(design.layer)
    wants_mix = design.layer == MIX and design.pooling == "stock"
    if hasattr(config, "use_weighted_layer_sum"):
        config.use_weighted_layer_sum = wants_mix
    elif wants_mix:
        raise FinetuneError(
            f"the stock class of {name} mixes no layers: take --pooling mean, or --layer last"
        )


def load_stock_model(checkpoint: Checkpoint, config: Any, seed: int) -> Any:
    """Build the class of `AutoModelForAudioClassification` around a checkpoint's encoder, with a new head.

    Args:
        checkpoint: Without weights, all are drawn.
        config: From `make_config`.
        seed: Of all that is drawn; torch's own generator is left alone.

    Raises:
        EncoderError: If a file cannot be read, or weights of the encoder are missing.
    """
    from transformers import AutoModelForAudioClassification

    model_class = AutoModelForAudioClassification._model_mapping[type(config)]
    # The encoder alone is called "encoder." in Whisper's classifier, "model.encoder." in what it was part of.
    is_whisper = config.model_type == "whisper"
    key_mapping = {r"^(?:\w+\.){0,2}?encoder\.": "encoder."} if is_whisper else {}
    model = _built(checkpoint, model_class, config, key_mapping, seed, HEAD_PARTS)
    generator = torch.Generator().manual_seed(seed)
    for part in HEAD_PARTS:
        _draw(getattr(model, part, None), config, generator)
    return model


def load_bare_encoder(checkpoint: Checkpoint, config: Any, seed: int) -> Any:
    """Build a checkpoint's encoder, without any head, as `load_stock_model` does.

    Raises:
        EncoderError: See `load_stock_model`.
    """
    part = find_encoder(checkpoint, config)
    return _built(checkpoint, part.model_class, part.config, part.key_mapping, seed, ())


def read_stock_model(checkpoint: Checkpoint, config: Any) -> Any:
    """Read a saved classifier whole, head and all.

    Raises:
        EncoderError: If a file cannot be read, or a weight is missing.
    """
    from transformers import AutoModelForAudioClassification

    model_class = AutoModelForAudioClassification._model_mapping[type(config)]
    return _built(checkpoint, model_class, config, {}, 0, ())


def _built(
    checkpoint: Checkpoint,
    model_class: Any,
    config: Any,
    key_mapping: dict[str, str],
    seed: int,
    may_lack: Sequence[str],
) -> Any:
    """Read the weights, or draw them where there are none; in float32, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not checkpoint.weights:
            with quiet():
                return model_class._from_config(config)
        model, missing = read_weights(
            checkpoint, model_class, config, key_mapping, ignore_mismatched_sizes=bool(may_lack)
        )
    # Saved under the names of its own class, not under those that it was read from.
    setattr(model, "_weight_conversions", None)  # noqa: B010 -- a Module's attributes are typed as modules
    missing = [key for key in missing if key.split(".")[0] not in may_lack]
    if missing:
        raise EncoderError(
            f"{checkpoint.name} lacks {len(missing)} weights ({', '.join(missing[:3])}, ...), which would be "
            "random numbers: give the whole checkpoint, or take all random with --untrained"
        )
    return model


def _draw(part: Any, config: Any, generator: torch.Generator) -> None:
    """Draw a part of a head as transformers does: small normal weights, no bias, layers mixed evenly."""
    if part is None:
        return
    with torch.no_grad():
        if isinstance(part, nn.Parameter):
            part.fill_(1 / len(part))
            return
        for module in part.modules():
            if isinstance(module, nn.Linear):
                std: float = getattr(config, "init_std", getattr(config, "initializer_range", 0.02))
                module.weight.normal_(0.0, std, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
