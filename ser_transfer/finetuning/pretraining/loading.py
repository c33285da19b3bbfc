"""From a checkpoint to the network that goes on with its objective; whatever has none is refused."""

from __future__ import annotations

from typing import Any

from ser_transfer.encoders import HANDCRAFTED, NAMED_ENCODERS, Encoder, check_model_name, load_encoder
from ser_transfer.encoders.checkpoints import Checkpoint, find_checkpoint
from ser_transfer.encoders.transformers_family import listed_front_end
from ser_transfer.encoders.transformers_model import read_weights
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.pretraining.hubert import HubertNetwork
from ser_transfer.finetuning.pretraining.masks import check_masking
from ser_transfer.finetuning.pretraining.network import ObjectiveNetwork
from ser_transfer.finetuning.pretraining.settings import ObjectiveSettings
from ser_transfer.finetuning.pretraining.wav2vec2 import Wav2Vec2Network

MASK_SHARES = {"wav2vec2": 0.65, "hubert": 0.8}  # as published, of the base models
N_UNITS = 100  # an hour has 180,000 frames: 1800 of each of 100 units, and too few of many of 500
_HEAD = ("quantizer.", "project_hid.", "project_q.")
_INSTEAD = "give a pretrained one of theirs, such as facebook/wav2vec2-base or facebook/hubert-base-ls960"


def find_objective(settings: ObjectiveSettings, device: str = "auto") -> tuple[Checkpoint, Encoder]:
    """Find a checkpoint whose objective can be gone on with; only small files are read.

    Args:
        settings: Which, and what it is to predict.
        device: Of the encoder; see `ser_transfer.encoders.load_encoder`.

    Returns:
        The checkpoint, and its encoder, frozen.

    Raises:
        FinetuneError: If it is neither wav2vec2 nor HuBERT, or a setting does not fit it.
        EncoderError: If the model cannot be found.
    """
    name = settings.encoder
    if name is None:
        raise FinetuneError(f"no encoder: {_INSTEAD}")
    if name in (*NAMED_ENCODERS, *HANDCRAFTED):
        raise FinetuneError(_no_objective(f"{name} was not pretrained so"))
    check_model_name(name)
    checkpoint = find_checkpoint(name, revision=settings.revision)
    model_type = checkpoint.config.get("model_type")
    if model_type not in MASK_SHARES:
        raise FinetuneError(_no_objective(f"{name} is a model of type {model_type!r}"))
    check_masking(mask_share(settings, model_type), settings.mask_frames)
    if model_type == "wav2vec2":
        for option in ("n_units", "unit_layer"):
            if getattr(settings, option) is not None:
                raise FinetuneError(
                    f"{name} is a wav2vec2, which has no hidden units: leave --{option.replace('_', '-')} out"
                )
    elif n_units(settings) < 2:
        raise FinetuneError(f"n_units is {settings.n_units}: give a whole number from 2 on")
    return checkpoint, load_encoder(name, revision=settings.revision, device=device)


def load_objective_network(
    settings: ObjectiveSettings, device: str = "auto"
) -> tuple[ObjectiveNetwork, Encoder]:
    """Load an encoder with its own pretraining objective on top.

    What is not in the checkpoint (HuBERT's head) is drawn from torch's generator.

    Returns:
        The network, on the CPU; and the same encoder frozen, as it is before the training.

    Raises:
        FinetuneError: See `find_objective`; or the checkpoint lacks weights that the objective needs.
        EncoderError: See `find_objective`.
    """
    checkpoint, encoder = find_objective(settings, device)
    front_end = listed_front_end(checkpoint, untrained=False)
    network: ObjectiveNetwork
    if checkpoint.config["model_type"] == "wav2vec2":
        network = Wav2Vec2Network(checkpoint.name, _with_quantiser(checkpoint), front_end)
    else:
        network = HubertNetwork(checkpoint.name, _hubert(checkpoint), front_end, n_units(settings))
    if settings.freeze_front_end:
        network.core.feature_extractor._freeze_parameters()
    if settings.gradient_checkpointing:
        network.checkpoint_activations()
    return network, encoder


def mask_share(settings: ObjectiveSettings, model_type: str) -> float:
    """Give the share of masked frames: the one set, or the one that the model was pretrained with."""
    return MASK_SHARES[model_type] if settings.mask_share is None else settings.mask_share


def n_units(settings: ObjectiveSettings) -> int:
    """Give the number of hidden units: the one set, or the default."""
    return N_UNITS if settings.n_units is None else settings.n_units


def _no_objective(what: str) -> str:
    return (
        f"{what}, and task-adaptive pretraining goes on with the objectives of wav2vec2 and HuBERT only: "
        f"{_INSTEAD}"
    )


def _with_quantiser(checkpoint: Checkpoint) -> Any:
    from transformers import Wav2Vec2ForPreTraining

    model, missing = read_weights(checkpoint, Wav2Vec2ForPreTraining, None, {})
    if any(key.startswith(_HEAD) for key in missing):
        saved_as = " or ".join(checkpoint.config.get("architectures") or ["model without it"])
        raise FinetuneError(
            f"{checkpoint.name} lacks the quantiser of wav2vec2's own objective (it is a {saved_as}): give "
            "the checkpoint of its pretraining, such as facebook/wav2vec2-base"
        )
    return _whole(checkpoint, model, missing)


def _hubert(checkpoint: Checkpoint) -> Any:
    from transformers import HubertModel

    return _whole(checkpoint, *read_weights(checkpoint, HubertModel, None, {}))


def _whole(checkpoint: Checkpoint, model: Any, missing: list[str]) -> Any:
    if missing:
        raise FinetuneError(
            f"{checkpoint.name} lacks {len(missing)} weights of its encoder ({', '.join(missing[:3])}, ...), "
            "which would be random numbers: give the whole checkpoint"
        )
    return model
