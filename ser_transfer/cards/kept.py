"""The model that a run kept: which kind it is, what it stands on, and what it says of its training."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ser_transfer.cards.errors import CardError

Kind = Literal["frozen", "network", "transformers", "adapter"]

IN_WEIGHTS = "temperature_in_weights"  # among the facts of its training
TRAINING, ADAPTER_CONFIG = "training.json", "adapter_config.json"
OWN_HEAD = "head.safetensors"  # beside an encoder under a head of ours, which plain transformers knows not
# Encoders that were not trained, by what they compute.
FEATURES = {
    "handcrafted": "handcrafted acoustic features",
    "mfcc": "MFCC statistics",
    "seed180": "180 MFCC, chroma and mel features",
    "egemaps": "openSMILE's eGeMAPS features",
    "compare": "openSMILE's ComParE features",
}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class KeptModel:
    """What the files of a model say of it.

    Attributes:
        kind: ``"frozen"`` (a head on an encoder that is named, not copied), ``"transformers"`` (a network
            that plain transformers loads), ``"network"`` (one that only this package loads), or
            ``"adapter"``.
        encoder: Name of what it stands on, without the folders of the machine that it lay on.
        base_model: The same as a Hub id; None where it is none, or not known to be one.
        revision: Its commit on the Hub, where it is told.
        reads: Layers and pooling in words, by name, as far as the files tell.
        classes: Its emotions.
        training: What it was trained on.
        temperature: That its probabilities are calibrated with, by its reader or in its weights.
    """

    kind: Kind
    encoder: str
    base_model: str | None
    revision: str | None
    reads: Mapping[str, str]
    classes: tuple[str, ...]
    training: Mapping[str, Any]
    temperature: float

    @property
    def stands_on(self) -> str:
        """Its encoder in words."""
        return FEATURES.get(self.encoder, self.encoder)

    @property
    def is_untrained(self) -> bool:
        """Whether its encoder computes features and has learned nothing."""
        return self.encoder in FEATURES

    @property
    def is_calibrated_in_weights(self) -> bool:
        """Whether its weights were divided by the temperature: whoever loads it answers calibrated."""
        return IN_WEIGHTS in self.training

    @property
    def n_utterances(self) -> int | None:
        """Utterances that it was trained on, where that is told."""
        found = self.training.get("n_utterances")
        return found if isinstance(found, int) else None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speakers that it was trained on; empty where they are unknown."""
        return tuple(map(str, self.training.get("speakers") or ()))


def read_kept_model(folder: Path, recipe: Mapping[str, Any]) -> KeptModel:
    """Read what a model's files say of it; no weights are loaded.

    Args:
        folder: ``model/`` or ``adapter/`` of a run.
        recipe: Of the run.

    Raises:
        CardError: If there is no model, or its files are damaged.
    """
    if not folder.is_dir():
        how = "with --keep-adapter" if folder.name == "adapter" else "without --no-keep-model"
        raise CardError(
            f"the run in {folder.parent} kept no {folder.name}/, and a card is of a model: train again on "
            f"all folds, {how}"
        )
    try:
        if (folder / ADAPTER_CONFIG).is_file():
            return _adapter(folder)
        config = _json(folder / "config.json")
        return _frozen(config) if "encoder" in config else _network(folder, config, recipe)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CardError(f"{folder} holds a model whose files are damaged ({told}): run it again") from error


def _frozen(config: Mapping[str, Any]) -> KeptModel:
    described = config["encoder"]
    name, revision = str(described["name"]), described["revision"]
    layers = config["layers"] if "layers" in config else [config["layer"]]
    return KeptModel(
        kind="frozen",
        encoder=shown_encoder(name),
        base_model=name if revision is not None or is_known_on_hub(name) else None,
        revision=revision,
        reads={"layers": _few(layers), "pooling": str(config.get("pooling", "none: the head reads frames"))},
        classes=tuple(map(str, config["classes"])),
        training=dict(config["training"]),
        temperature=float(config["temperature"]),
    )


def _network(folder: Path, config: Mapping[str, Any], recipe: Mapping[str, Any]) -> KeptModel:
    training = _json(folder / TRAINING)
    design = config["ser_transfer"]
    labels = {int(index): str(name) for index, name in config["id2label"].items()}
    is_stock = "architectures" in config and not (folder / OWN_HEAD).is_file()
    revision = recipe.get("revision")
    return KeptModel(
        kind="transformers" if is_stock else "network",
        encoder=shown_encoder(str(design["name"])),
        base_model=_base_of(str(design["name"]), revision),
        revision=revision,
        reads={"layers": str(design["layer"]), "pooling": str(design["pooling"])},
        classes=tuple(labels[index] for index in sorted(labels)),
        training=training,
        temperature=float(training.get("temperature", 1.0)) * float(training.get(IN_WEIGHTS, 1.0)),
    )


def _adapter(folder: Path) -> KeptModel:
    config, training = _json(folder / ADAPTER_CONFIG), _json(folder / TRAINING)
    name, revision = str(config["base_model_name_or_path"]), config.get("revision")
    return KeptModel(
        kind="adapter",
        encoder=shown_encoder(name),
        base_model=_base_of(name, revision),
        revision=revision,
        reads={"layers": str(training.get("layer", "last")), "pooling": "stock"},
        classes=tuple(map(str, training["classes"])),
        training=training,
        temperature=float(training.get("temperature", 1.0)),
    )


def _base_of(name: str, revision: str | None) -> str | None:
    """Take a name for a Hub id where a revision of it was given, or the Hub's cache holds it."""
    known = HUB_ID.fullmatch(name) is not None and (revision is not None or is_known_on_hub(name))
    return name if known else None


def is_known_on_hub(name: str, repo_type: str = "model") -> bool:
    """Tell whether a name is a Hub id that was fetched here before, without asking the Hub.

    ``data/emodb`` may be a folder of another machine as well as an id. One that never was in the local cache
    is not passed off as an id.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if HUB_ID.fullmatch(name) is None or Path(name).exists():
        return False
    return (Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=repo_type)).is_dir()


def shown_encoder(name: str) -> str:
    """Name an encoder without the folders of the machine that it lay on."""
    parts = [part for part in re.split(r"[/\\]", name) if part]
    is_path = name.startswith(("/", "./", "../", "~", "\\")) or len(parts) != 2 or Path(name).exists()
    return parts[-1] if is_path and parts else name


def _few(layers: Any) -> str:
    names = list(map(str, layers))
    return ", ".join(names) if len(names) <= 8 else f"{len(names)}, {names[0]} to {names[-1]}, side by side"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(
            f"{path.parent} holds no model that a card can be made of: it has no {path.name}; run it again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CardError(f"{path} cannot be read ({type(error).__name__}): run it again") from error
    if not isinstance(found, dict):
        raise CardError(f"{path} is damaged: run it again")
    return found
