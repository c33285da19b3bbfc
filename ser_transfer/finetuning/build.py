"""From settings to a network, to what of it learns, and to the optimiser that moves it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ser_transfer.finetuning.adapters import add_adapter, check_adapter_alone
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.networks import EmotionNetwork, load_network
from ser_transfer.finetuning.settings import NetworkSettings, Optimisation
from ser_transfer.finetuning.trainable import freeze, parameter_groups

HEAD_RATE = 10  # times the encoder's learning rate, where the head's is not given: its weights are new


def build_network(settings: NetworkSettings, classes: Sequence[str], fold: str, seed: int) -> EmotionNetwork:
    """Load the network, freeze what does not learn, and add the adapter.

    Raises:
        FinetuneError: If there is no encoder, or a setting does not fit it.
    """
    if settings.encoder is None:
        raise FinetuneError("no encoder: give --encoder, a Hub id or folder, or yamnet or vggish")
    network = load_network(
        settings.encoder.replace("{fold}", fold),
        classes,
        revision=settings.revision,
        weights=settings.weights,
        untrained=settings.untrained,
        seed=seed,
        pooling=settings.pooling,
        layer=settings.layer,
        dropout=settings.dropout,
        projection_size=settings.projection_size,
        whole=settings.whole,
        exits=settings.exits,
        speeds=settings.speeds,
        spec_augment=settings.spec_augment,
        gradient_checkpointing=settings.gradient_checkpointing,
    )
    if settings.adapter is None:
        freeze(network, settings.trained)
    else:
        add_adapter(network, settings.adapter, settings.adapter_settings, seed=seed)
    if settings.keep_adapter:
        check_adapter_alone(network)
    return network


def make_optimizer(network: EmotionNetwork, settings: Optimisation) -> torch.optim.Optimizer:
    """Make AdamW over what learns, each part at its own rate."""
    rate, of_head = settings.learning_rate, settings.head_learning_rate
    groups = parameter_groups(
        network,
        learning_rate=rate,
        head_learning_rate=HEAD_RATE * rate if of_head is None else of_head,
        layer_decay=settings.layer_decay,
        weight_decay=settings.weight_decay,
    )
    return torch.optim.AdamW(groups, fused=True)  # one pass over all weights, on CPUs and GPUs alike
