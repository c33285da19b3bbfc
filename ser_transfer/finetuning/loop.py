"""The training loop, readable from top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from ser_transfer.finetuning.averaging import Average
from ser_transfer.finetuning.batches import StepPlan
from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.schedule import Schedule
from ser_transfer.finetuning.settings import Optimisation
from ser_transfer.finetuning.state import Progress, States, StopRequest, refusal


@dataclass(frozen=True)
class Step:
    """What is told of one optimiser step.

    Attributes:
        step: Which one, from 1.
        n_steps: Of the whole training.
        epoch: In which, from 1.
        loss: Mean per clip.
        best_score: The highest validation score so far, a UAR; None before the first.
        n_clips: Clips of the step, over all processes.
    """

    step: int
    n_steps: int
    epoch: int
    loss: float
    best_score: float | None
    n_clips: int


@dataclass(frozen=True)
class Validation:
    """How a network does on the validation speakers.

    Attributes:
        loss: Mean per clip.
        score: What the best epoch is chosen by, the higher the better: the UAR.
        name: What the score is called in trackers and curves; None where the loss says it all.
    """

    loss: float
    score: float
    name: str | None = "uar"


class InterruptedTraining(FinetuneError):  # noqa: N818 -- asked for, so not an error of anyone
    """The process was asked to stop, and the state is saved.

    Attributes:
        signal: By which it was asked; None where another process was.
    """

    signal: int | None = None


EQUAL = 1e-9  # scores this near differ by rounding alone

# From the network and a batch to the loss: summed over the batch's clips, divided by those of the whole step.
Objective = Callable[[nn.Module, dict[str, Any]], Tensor]


def train(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Optimizer,
    loader: Any,
    plan: StepPlan,
    objective: Objective,
    validate: Callable[[nn.Module], Validation] | None,
    settings: Optimisation,
    states: States,
    *,
    n_epochs: int | None = None,
    resume: bool = False,
    save_steps: int | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> Progress:
    """Train a network, and leave it with the weights of its best epoch.

    The best epoch is the one of highest validation UAR, and of several equal ones that of the lowest
    validation loss: on a few speakers an early epoch often has the very UAR of a late one. Without
    validation the last one stands. Patience counts from where the UAR last rose.

    One process and several take the same steps, if batches per process times accumulation times processes is
    the same.

    Args:
        accelerator: With ``gradient_accumulation_steps`` as in the settings.
        network: Prepared.
        optimizer: Prepared.
        loader: Prepared; its batches were sampled by `plan`.
        plan: Which clips make each step.
        objective: The loss.
        validate: Tells how the network does; None where there is nothing to validate on.
        settings: How to train.
        states: Where the training stands is kept, after each epoch, each `save_steps` steps, and when the
            process is asked to stop.
        n_epochs: Stop after so many epochs, on the schedule of all of them; None for all.
        resume: Go on from the last state, if there is one.
        save_steps: See `states`.
        on_step: Called on every process after each step.

    Raises:
        InterruptedTraining: If the process was asked to stop; the state is saved.
        FinetuneError: If the loss is no longer a number, a batch does not fit into memory, or a state cannot
            be saved or taken up. The last state is kept.
    """
    progress = Progress()
    average = Average(accelerator.unwrap_model(network), settings.average) if settings.average else None
    if resume and (found := states.load(accelerator)) is not None:
        progress, averaged = found
        if average is not None and averaged is not None:
            average.load(averaged)
    in_epochs = [plan.n_steps(epoch) for epoch in range(settings.max_epochs)]
    schedule = Schedule(settings.schedule, sum(in_epochs), settings.warmup)
    n_epochs = settings.max_epochs if n_epochs is None else n_epochs
    n_steps = min(sum(in_epochs[:n_epochs]), settings.max_steps or sum(in_epochs))
    scale = settings.accumulation * accelerator.num_processes  # the mean over these is taken of gradients

    def save() -> None:
        states.save(accelerator, progress, None if average is None else average.state)

    def asked_to_stop() -> Tensor:
        return torch.tensor(float(stop.signal is not None), device=accelerator.device)

    with StopRequest().listening() as stop, warnings.catch_warnings():
        # DDP looks for weights without a gradient in every step, and says so where it finds none.
        warnings.filterwarnings("ignore", message="find_unused_parameters=True")
        while progress.epoch < n_epochs and not _is_over(progress, settings):
            begun = time.perf_counter()
            plan.begin_epoch(
                progress.epoch, skip_steps=progress.step_in_epoch, n_steps=n_steps - progress.step
            )
            network.train()
            loss_of_step = torch.zeros((), device=accelerator.device)
            for batch in loader:
                with accelerator.accumulate(network), explaining_memory(plan.batch_seconds):
                    loss = objective(network, batch)
                    accelerator.backward(loss * scale)
                    if accelerator.sync_gradients:
                        schedule.apply(optimizer, progress.step)
                        clip_gradients(accelerator, network, settings.clip_norm, progress)
                    optimizer.step()
                    optimizer.zero_grad()
                loss_of_step += loss.detach()
                if not accelerator.sync_gradients:
                    continue
                told = torch.stack([loss_of_step, asked_to_stop()])
                mean_loss, n_asked = accelerator.reduce(told, "sum").tolist()
                refuse_divergence(mean_loss, progress)
                if average is not None:
                    average.update(accelerator.unwrap_model(network), progress.step)
                progress.step += 1
                progress.step_in_epoch += 1
                progress.loss_in_epoch += mean_loss
                loss_of_step.zero_()
                best = progress.best_score if progress.best_epoch else None
                on_step(
                    Step(progress.step, n_steps, progress.epoch + 1, mean_loss, best, int(batch["n_in_step"]))
                )
                accelerator.log(
                    {"train/loss": mean_loss, "train/learning_rate": optimizer.param_groups[-1]["lr"]},
                    step=progress.step,
                )
                is_due = save_steps is not None and progress.step % save_steps == 0
                if n_asked or is_due:
                    save()
                if n_asked:
                    raise _interrupted(stop, progress.step, n_steps, states)
            _end_epoch(accelerator, network, optimizer, validate, average, states, progress)
            progress.history[-1]["seconds"] = time.perf_counter() - begun
            save()
            if accelerator.reduce(asked_to_stop(), "sum").item():
                raise _interrupted(stop, progress.step, n_steps, states)
    load_weights(accelerator.unwrap_model(network), states.best_file(progress.best_epoch))
    return progress


def _interrupted(stop: StopRequest, step: int, n_steps: int, states: States) -> InterruptedTraining:
    error = InterruptedTraining(
        f"step {step} of {n_steps} is saved in {states.folder}; the same command with --resume goes on "
        "from there"
    )
    error.signal = stop.signal
    return error


def _is_over(progress: Progress, settings: Optimisation) -> bool:
    """Tell whether the patience or the steps are used up."""
    if settings.max_steps is not None and progress.step >= settings.max_steps:
        return True
    waited = progress.epoch - progress.last_rise
    return settings.patience is not None and progress.best_epoch > 0 and waited >= settings.patience


def _end_epoch(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Optimizer,
    validate: Callable[[nn.Module], Validation] | None,
    average: Average | None,
    states: States,
    progress: Progress,
) -> None:
    """Validate, add a line to the training curve, and keep the weights if they are the best so far."""
    bare = accelerator.unwrap_model(network)
    with nullcontext() if average is None else average.in_place(bare):
        found = None if validate is None else validate(network)
        progress.epoch += 1
        if _is_better(found, progress):
            progress.best_epoch = progress.epoch
            if found is None or found.score > progress.best_score + EQUAL:
                progress.last_rise = progress.epoch
            if found is not None:
                progress.best_score, progress.best_loss = found.score, found.loss
            if accelerator.is_main_process:
                save_weights(bare, states.best_file(progress.epoch))
        accelerator.wait_for_everyone()
    scored = {} if found is None or found.name is None else {f"validation_{found.name}": found.score}
    line = {
        "epoch": progress.epoch,
        "train_loss": progress.loss_in_epoch / max(1, progress.step_in_epoch),
        "validation_loss": None if found is None else found.loss,
        **({"validation_uar": None} if found is None else scored),
        "learning_rate": optimizer.param_groups[-1]["lr"],
    }
    progress.history.append(line)
    progress.step_in_epoch, progress.loss_in_epoch = 0, 0.0
    if found is not None:
        told = {"validation_loss": found.loss, **scored}
        figures = {name.replace("_", "/", 1): value for name, value in told.items()}
        accelerator.log(figures, step=progress.step)


def _is_better(found: Validation | None, progress: Progress) -> bool:
    """Tell whether the weights of now are to be kept in place of the best ones so far."""
    if found is None or found.score > progress.best_score + EQUAL:
        return True
    return found.score >= progress.best_score - EQUAL and found.loss < progress.best_loss


def clip_gradients(
    accelerator: Accelerator, network: nn.Module, clip_norm: float | None, progress: Progress
) -> None:
    """Limit the norm of all gradients together, and refuse gradients that are no numbers."""
    norm = accelerator.clip_grad_norm_(network.parameters(), math.inf if clip_norm is None else clip_norm)
    is_scaled = accelerator.scaler is not None  # fp16: the scaler leaves such a step out, and goes lower
    if norm is not None and not is_scaled and not bool(torch.isfinite(norm)):
        raise _diverged("a gradient", progress)


def refuse_divergence(loss: float, progress: Progress) -> None:
    """Stop before a loss that is no number reaches a state."""
    if not math.isfinite(loss):
        raise _diverged(f"the loss is {loss},", progress)


def _diverged(what: str, progress: Progress) -> FinetuneError:
    return FinetuneError(
        f"training diverged in step {progress.step + 1}, epoch {progress.epoch + 1}: {what} is no number; "
        "the last good state is kept: go on from it with --resume and a lower --learning-rate or --clip-norm"
    )


@contextmanager
def explaining_memory(batch_seconds: float) -> Iterator[None]:
    """Say which setting to lower where a batch does not fit.

    Raises:
        FinetuneError: In place of torch's own error.
    """
    try:
        yield
    except RuntimeError as error:  # CUDA's OutOfMemoryError is one; on a CPU it has no class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise FinetuneError(
            f"a batch of up to {batch_seconds:g} s of audio does not fit into memory: lower --batch-seconds "
            "and raise --accumulation by as much, or type --gradient-checkpointing"
        ) from error


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights and buffers to one file, whole or not at all.

    Raises:
        FinetuneError: If it cannot be written.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, part)
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        told = refusal(error, path.parent)
        raise FinetuneError(
            f"the weights cannot be written to {path}: {told}; go on with --resume"
        ) from error


def load_weights(network: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote into a network of the same shape.

    Raises:
        FinetuneError: If it cannot be read, or is another network's.
    """
    from safetensors.torch import load_file

    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise FinetuneError(f"the weights in {path} cannot be read: {error}") from error
