"""A model read from its files, whichever kind it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_transfer.encoders import Encoder
from ser_transfer.model.base import EmotionModel
from ser_transfer.model.encoder_files import find_encoder
from ser_transfer.model.errors import ModelError
from ser_transfer.model.frozen import CONFIG, FORMAT, HEAD, TRUSTED, FrozenModel, SequenceModel
from ser_transfer.model.network import NetworkModel
from ser_transfer.model.places import model_folder

if TYPE_CHECKING:
    from ser_transfer.finetuning import EmotionNetwork

ADAPTER = "adapter_config.json"
TRAINING = "training.json"


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    encoder: Encoder | None = None,
    label_map: Mapping[str, str | None] | None = None,
) -> EmotionModel:
    """Read a model; see `EmotionModel.from_pretrained`."""
    folder = model_folder(name, revision)
    config = _json(folder / (ADAPTER if (folder / ADAPTER).is_file() else CONFIG))
    if "kind" in config or (folder / HEAD).is_file():
        if label_map is not None:
            raise ModelError(f"{folder} is a model of ours and says its emotions: leave the label map out")
        return _on_encoder(folder, config, encoder, weights, device)
    if encoder is not None or weights is not None:
        raise ModelError(f"{folder} holds its encoder's weights itself: leave encoder and weights out")
    return _network(folder, str(name), config, device, label_map)


def _on_encoder(
    folder: Path, config: Mapping[str, Any], encoder: Encoder | None, weights: str | Path | None, device: str
) -> EmotionModel:
    if config.get("format", 0) > FORMAT:
        raise ModelError(f"{folder} was written by a newer ser_transfer: pip install -U ser-transfer")
    if config.get("format") != FORMAT:
        raise ModelError(f"{folder} was written by an older ser_transfer than this: train it again")
    try:
        if encoder is None:
            encoder = find_encoder(folder, config["encoder"], weights, device)
        _refuse_other_encoder(folder, config["encoder"], encoder)
        training, temperature = config["training"], config["temperature"]
        if config["kind"] == "sequence":
            from ser_transfer.heads import load_sequence_head

            head = load_sequence_head(folder)
            return SequenceModel(encoder, config["layer"], head, training, temperature)
        return FrozenModel(encoder, config["pooling"], config["layers"], _head(folder), training, temperature)
    except KeyError as error:
        raise ModelError(f"{folder / CONFIG} lacks {error}: train the model again") from error


def _refuse_other_encoder(folder: Path, described: Mapping[str, Any], encoder: Encoder) -> None:
    if encoder.definition != described["definition"]:
        raise ModelError(
            f"{encoder.name} is not the encoder that {folder} was trained with: it is "
            f"{encoder.definition[:12]}, not {described['definition'][:12]}, so its weights, its "
            "configuration or our preprocessing changed. Train again, or give the encoder as it was"
        )


def _head(folder: Path) -> Any:
    """Read a head on embeddings, if it is built of trusted types only."""
    import skops.io

    try:
        untrusted = set(skops.io.get_untrusted_types(file=folder / HEAD)) - TRUSTED
    except OSError as error:
        raise ModelError(f"{folder} holds no model: {error.strerror}: {error.filename}") from error
    except Exception as error:  # whatever zip and JSON make of a damaged file
        raise ModelError(f"{folder / HEAD} is damaged ({error}): fetch or train the model again") from error
    if untrusted:
        raise ModelError(f"{folder / HEAD} holds types that are not trusted: {', '.join(sorted(untrusted))}")
    return skops.io.load(folder / HEAD, trusted=sorted(TRUSTED))


def _network(
    folder: Path,
    name: str,
    config: Mapping[str, Any],
    device: str,
    label_map: Mapping[str, str | None] | None,
) -> NetworkModel:
    from ser_transfer.encoders.devices import torch_device
    from ser_transfer.finetuning import FinetuneError, load_saved_network

    training = _json(folder / TRAINING) if (folder / TRAINING).is_file() else {}
    try:
        if (folder / ADAPTER).is_file():
            network: EmotionNetwork = _adapted(folder, config, training)
        else:
            network = load_saved_network(folder)
    except FinetuneError as error:
        raise ModelError(str(error)) from error
    told = f"{network.name}, fine-tuned ({training['corpus']})" if "corpus" in training else name
    return NetworkModel(
        network,
        told,
        training,
        float(training.get("temperature", 1.0)),
        label_map=label_map,
        device=str(torch_device(device)),
    )


def _adapted(folder: Path, config: Mapping[str, Any], training: Mapping[str, Any]) -> EmotionNetwork:
    """Put an adapter that was saved alone back on its encoder, and merge it."""
    from peft import PeftModel

    from ser_transfer.finetuning import load_network

    if "classes" not in training:
        raise ModelError(f"{folder} holds an adapter without {TRAINING}, which names its emotions")
    network = load_network(
        config["base_model_name_or_path"],
        training["classes"],
        revision=config.get("revision"),
        layer=training.get("layer", "last"),
    )
    adapted: Any = network
    adapted.model = PeftModel.from_pretrained(adapted.model, str(folder)).merge_and_unload()
    return network


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{path.parent} holds no model: it has no {path.name}; give the folder model/ of a run"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no model's")
    return found
