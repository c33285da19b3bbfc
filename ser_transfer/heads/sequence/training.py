"""The loop that trains a network: steps, schedule, early stopping, the best weights kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from ser_transfer.heads.registry import HeadError

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
MAX_THREADS = 4  # batches are small, and other folds may be training beside this one

Batch = tuple[Tensor, Tensor, Tensor]  # frames (batch, frames, dim), valid frames (batch,), targets (batch,)


class Epoch(TypedDict):
    """One line of a training curve; losses are means per sequence, None where nothing validates."""

    epoch: int  # from 1 on
    train_loss: float
    validation_loss: float | None
    validation_uar: float | None
    learning_rate: float
    seconds: float


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingSettings:
    """How a network is trained.

    Args:
        optimizer: ``"adamw"``, whose weight decay is apart from the slopes, or ``"adam"``, for which it is an
            L2 penalty.
        learning_rate: Step size at the start.
        weight_decay: Strength of the penalty on all weights.
        clip_norm: Greatest norm of all slopes together; None for no limit.
        batch_size: Sequences per step, at most.
        max_epochs: Stop after so many passes over the training sequences.
        patience: Stop after so many epochs without a higher validation UAR; None for never.
        plateau_patience: Lower the learning rate after so many epochs without a lower validation loss; None
            for never.
        plateau_factor: What the learning rate is then multiplied by.
    """

    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    batch_size: int = 32
    max_epochs: int = 100
    patience: int | None = 10
    plateau_patience: int | None = 4
    plateau_factor: float = 0.5


def train(
    network: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    loss: nn.Module,
    validate: Callable[[], tuple[float, float]] | None,
    settings: TrainingSettings,
) -> tuple[list[Epoch], int]:
    """Train a network, and leave it with the weights of its best epoch.

    The best epoch is the first of highest validation UAR. Without validation nothing can be compared: the
    network trains `max_epochs` at one learning rate, and the last epoch stands.

    Args:
        network: Called with frames and numbers of valid frames; gives logits.
        batches: Gives one epoch's training batches.
        loss: Called with logits and targets.
        validate: Tells loss and UAR on validation sequences of the network as it is.
        settings: How to train.

    Returns:
        The training curve, and the best epoch, counted from 1.

    Raises:
        HeadError: If a loss or a weight is no longer a finite number.
    """
    optimizer = OPTIMIZERS[settings.optimizer](
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=settings.plateau_factor,
        patience=settings.max_epochs if settings.plateau_patience is None else settings.plateau_patience,
    )
    history: list[Epoch] = []
    best_epoch, best_uar, best_weights = settings.max_epochs, -1.0, None
    for number in range(1, settings.max_epochs + 1):
        started = time.perf_counter()
        rate = optimizer.param_groups[0]["lr"]
        train_loss = _train_epoch(network, batches(), loss, optimizer, settings.clip_norm)
        network.eval()
        validation_loss, validation_uar = validate() if validate else (None, None)
        _refuse_divergence(network, (train_loss, validation_loss), number, settings)
        seconds = time.perf_counter() - started
        history.append(
            Epoch(
                epoch=number,
                train_loss=train_loss,
                validation_loss=validation_loss,
                validation_uar=validation_uar,
                learning_rate=rate,
                seconds=seconds,
            )
        )
        if validation_loss is None or validation_uar is None:
            continue
        plateau.step(validation_loss)
        if validation_uar > best_uar:
            best_epoch, best_uar = number, validation_uar
            best_weights = copy.deepcopy(network.state_dict())
        elif settings.patience is not None and number - best_epoch >= settings.patience:
            break
    if best_weights is not None:
        network.load_state_dict(best_weights)
    return history, best_epoch


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Draw first weights and dropout from a seed, and give torch's own generator back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        yield


@contextmanager
def few_threads() -> Iterator[None]:
    """Let torch use `MAX_THREADS` at most, and give it back as many as it had."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, MAX_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: nn.Module,
    optimizer: torch.optim.Optimizer,
    clip_norm: float | None,
) -> float:
    """Make one step per batch; return the mean loss per sequence."""
    network.train()
    total, n_rows = 0.0, 0
    for frames, n_frames, targets in batches:
        optimizer.zero_grad()
        value = loss(network(frames, n_frames), targets)
        value.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        total += float(value.detach()) * len(targets)
        n_rows += len(targets)
    return total / n_rows


def _refuse_divergence(
    network: nn.Module, losses: tuple[float, float | None], epoch: int, settings: TrainingSettings
) -> None:
    known = [loss for loss in losses if loss is not None]
    values = torch.cat(
        [torch.tensor(known), *(weights.detach().flatten() for weights in network.parameters())]
    )
    if not torch.isfinite(values).all():
        raise HeadError(
            f"the training diverged in epoch {epoch}: its loss is {known[-1]}; lower learning_rate, which is "
            f"{settings.learning_rate}, or clip_norm, which is {settings.clip_norm}"
        )
