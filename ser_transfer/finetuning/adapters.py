"""Adapters of peft: small new weights that learn in place of the pretrained ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ser_transfer.encoders.heard import TRAINING_FILE
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks.base import EmotionNetwork
from ser_transfer.finetuning.networks.patch_network import PatchNetwork
from ser_transfer.finetuning.networks.transformers_checkpoint import HEAD_PARTS
from ser_transfer.finetuning.networks.transformers_network import StockNetwork, TransformersNetwork

# Names of the linear layers of attention, over all types in `FRONT_ENDS`.
ATTENTION = (
    *("q_proj", "k_proj", "v_proj", "out_proj", "o_proj"),
    *("linear_q", "linear_k", "linear_v", "linear_out"),
    *("query_proj", "key_proj", "value_proj"),
)
FEED_FORWARD = ("intermediate_dense", "output_dense")

# WavLM hands the weights of its attention to torch and never calls the layers, so an adapter around them
# would neither act nor learn.
NEVER_CALLED = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}

# They change no single layer but the input of a language model, want a task with every input, share weights
# between layers, or combine adapters that are trained already.
UNSUITABLE = ("adaption_prompt", "lily", "poly", "shadow", "trainable_tokens", "xlora")

ADAPTER_NAME = "default"


@dataclass(frozen=True)
class Adapter:
    """What was put into a network.

    Attributes:
        kind: As peft names it, in lower case.
        config: Its ``PeftConfig``.
    """

    kind: str
    config: Any


def add_adapter(
    network: EmotionNetwork, kind: str = "lora", settings: Mapping[str, Any] | None = None, *, seed: int = 0
) -> None:
    """Put an adapter into a network: from now on it and the head learn, and nothing else.

    All else keeps its weights and statistics, bit for bit. Adapted are, unless ``target_modules`` says
    otherwise, the linear layers of attention (in WavLM those of the feed-forward parts), in YAMNet the 1×1
    convolutions, in VGGish the fully connected layers.

    Args:
        network: Without an adapter.
        kind: One that peft registers for single layers: lora, ia3, loha, lokr, oft, boft, hra, ... Of adalora
            the first ranks stay: nothing here divides its budget anew.
        settings: Of peft's config of that kind.
        seed: Of its first weights; torch's own generator is left alone.

    Raises:
        FinetuneError: If peft has no such kind, or refuses it or a setting.
    """
    from peft import inject_adapter_in_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    if network.adapter is not None:
        raise FinetuneError(f"the network has an adapter of kind {network.adapter.kind}: merge it first")
    kinds = _kinds()
    if kind.lower() not in kinds:
        raise FinetuneError(f"there is no adapter of kind {kind!r} for networks here: {', '.join(kinds)}")
    host, given = _host(network), dict(settings or {})
    learning = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[kinds[kind.lower()]]
        config = config_class(**{**_default_settings(network, kind.lower()), **given})
        if config.target_modules == "all-linear":
            config.target_modules = _linear_layers(network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, host, ADAPTER_NAME)
        _check(network)
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError, ImportError) as error:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learning.get(name, True))
        if isinstance(error, FinetuneError):
            raise
        reason = " ".join(str(error).split())
        raise FinetuneError(f"peft refuses {kind} with {given} on {network.name}: {reason}") from error
    network.adapter = Adapter(kind.lower(), config)
    blocks = network.blocks()
    for block in blocks:
        if block.kind == "head":
            for parameter in block.all_parameters():
                parameter.requires_grad_(True)
    frozen = [module for block in blocks if block.kind == "front_end" for module in block.modules]
    frozen += [module for module in network.body.modules() if isinstance(module, _BatchNorm)]
    network.keep_frozen(frozen)


def merge_adapter(network: EmotionNetwork) -> None:
    """Multiply a network's adapter into the weights around it, in place; without one nothing is done.

    Raises:
        FinetuneError: If a merged weight would be no number.
    """
    if network.adapter is None:
        return
    host = _host(network)
    for name, module in _adapted(host):
        try:
            with torch.no_grad():
                module.merge(safe_merge=True)
        except ValueError as error:  # safe_merge: a weight is no number any more
            raise FinetuneError(f"the adapter cannot be merged into {name}: {error}") from error
        host.set_submodule(name, module.get_base_layer())
    del host.peft_config
    network.adapter = None


def merged(network: EmotionNetwork) -> EmotionNetwork:
    """Copy a network with its adapter merged into the weights: the same logits without the extra layers."""
    copied = copy.deepcopy(network)
    merge_adapter(copied)
    return copied


def check_adapter_alone(network: EmotionNetwork) -> tuple[StockNetwork, Adapter]:
    """See that an adapter can be saved alone, before hours of training; return its network and it.

    Raises:
        FinetuneError: If there is no adapter, or plain peft could not load all of the head.
    """
    if network.adapter is None:
        raise FinetuneError("the network has no adapter to save: give --adapter, or leave --keep-adapter out")
    if not isinstance(network, StockNetwork) or getattr(_host(network), "layer_weights", None) is not None:
        raise FinetuneError(
            f"plain peft cannot load the head of {network.name}: adapters are saved alone with --pooling "
            "stock and one --layer; save the network, with the adapter merged"
        )
    return network, network.adapter


def save_adapter(network: EmotionNetwork, folder: Path, training: Mapping[str, Any]) -> None:
    """Write the adapter and the head alone, as a repository that plain peft loads.

    ``peft.PeftModel.from_pretrained(model, folder)`` gives this network's logits, where the model is the
    class of `AutoModelForAudioClassification` with as many labels around the same encoder.

    Args:
        network: With stock pooling and an adapter.
        folder: Made if it is not there.
        training: What it was trained on, kept beside it in ``training.json`` with the emotions.

    Raises:
        FinetuneError: If there is no adapter, or plain peft could not load all of the head.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    stock, adapter = check_adapter_alone(network)
    model = _host(stock)
    state = get_peft_model_state_dict(model, adapter_name=ADAPTER_NAME, save_embedding_layers=False)
    for part in _head_modules(stock):
        for name, value in model.get_submodule(part).state_dict().items():
            state[f"{part}.{name}"] = value
    config = copy.deepcopy(adapter.config)
    config.base_model_name_or_path, config.revision = network.name, network.revision
    config.modules_to_save, config.inference_mode = _head_modules(stock), True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(str(folder))
        tensors = {f"base_model.model.{name}": value.contiguous() for name, value in state.items()}
        save_file(tensors, folder / "adapter_model.safetensors")
        stock.front_end.save(str(folder))
        facts = {**training, "classes": list(network.classes), "layer": stock.design.layer}
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (folder / TRAINING_FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise FinetuneError(f"the adapter cannot be written to {folder}: {error}") from error


def _host(network: EmotionNetwork) -> Any:
    """Give the module that peft adapts: the whole stock model, so that names are what plain peft knows."""
    return network.model if isinstance(network, TransformersNetwork) else network.body


def _head_modules(network: StockNetwork) -> list[str]:
    return [name for name in HEAD_PARTS if isinstance(getattr(network.model, name, None), nn.Module)]


def _adapted(host: nn.Module) -> list[tuple[str, Any]]:
    """List the layers that peft has wrapped, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in host.named_modules() if isinstance(module, BaseTunerLayer)]


def _kinds() -> dict[str, Any]:
    """List the kinds of adapter that can be put into one layer at a time."""
    from peft.config import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    return {
        kind.value.lower(): kind
        for kind in sorted(PEFT_TYPE_TO_TUNER_MAPPING, key=lambda known: known.value)
        if kind.value.lower() not in UNSUITABLE
        and not issubclass(PEFT_TYPE_TO_CONFIG_MAPPING[kind], PromptLearningConfig)
        and not getattr(PEFT_TYPE_TO_TUNER_MAPPING[kind], "uses_shared_state", False)
    }


def _default_settings(network: EmotionNetwork, kind: str) -> dict[str, Any]:
    """Name what is adapted where the user does not."""
    if isinstance(network, PatchNetwork):
        targets = _patch_targets(network)
    else:
        config: Any = network.body.config
        wanted = FEED_FORWARD if config.model_type in NEVER_CALLED else ATTENTION
        targets = sorted({name.rpartition(".")[2] for name, _ in network.body.named_modules()} & set(wanted))
    settings: dict[str, Any] = {"target_modules": targets}
    if kind == "ia3":
        settings["feedforward_modules"] = [name for name in targets if name == "output_dense"]
    return settings


def _linear_layers(network: EmotionNetwork) -> list[str]:
    """Name every linear layer of the encoder that runs, as its host does."""
    own = {id(module) for module in network.body.modules() if isinstance(module, nn.Linear)}
    model_type = getattr(getattr(network.body, "config", None), "model_type", "")
    return [
        name
        for name, module in _host(network).named_modules()
        if id(module) in own and name.rpartition(".")[2] not in NEVER_CALLED.get(model_type, ())
    ]


def _patch_targets(network: PatchNetwork) -> list[str]:
    """Name the 1×1 convolutions and linear layers of the layers that run; without one, all convolutions."""
    own = {
        id(m)
        for block in network.blocks()
        if block.kind == "layer"
        for top in block.modules
        for m in top.modules()
    }
    found = {
        name: module
        for name, module in network.body.named_modules()
        if id(module) in own and isinstance(module, nn.Conv2d | nn.Linear)
    }
    mixing = [
        name
        for name, module in found.items()
        if isinstance(module, nn.Linear) or module.kernel_size == (1, 1)
    ]
    return mixing or list(found)


def _check(network: EmotionNetwork) -> None:
    """Refuse an adapter that changes the head, would never act, or could not be merged in the end.

    Raises:
        FinetuneError: If so.
    """
    adapted = _adapted(_host(network))
    model_type = getattr(getattr(network.body, "config", None), "model_type", "")
    for name, _ in adapted:
        if name.split(".")[0] in HEAD_PARTS:
            raise FinetuneError(
                f"{name} is of the head, which learns as it is: leave it out of target_modules"
            )
        if name.rpartition(".")[2] in NEVER_CALLED.get(model_type, ()):
            raise FinetuneError(
                f"an adapter on {name} of {network.name} would never run: this model reads its weights and "
                f"does not call it; --adapter-settings.target_modules [{', '.join(FEED_FORWARD)}]"
            )
    try:
        with torch.no_grad():
            copy.deepcopy(adapted[0][1]).merge(safe_merge=True)
    except (NotImplementedError, TypeError) as error:
        raise FinetuneError(f"an adapter of this kind cannot be merged into the weights: {error}") from error
