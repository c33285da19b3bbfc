"""The accelerator that a run is made with: what accelerate decides, and what the settings do."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration

from ser_transfer.finetuning.errors import FinetuneError
from ser_transfer.finetuning.settings import Optimisation

PRECISIONS = {"float32": "no", "bf16": "bf16", "fp16": "fp16"}
NO_TRACKER = "none"
LOGS = "logs"  # in the run folder


def make_accelerator(
    settings: Optimisation, folder: Path, *, device: str = "auto", tracker: str = NO_TRACKER
) -> Accelerator:
    """Make the accelerator of a run.

    Args:
        settings: Accumulation and precision; a precision of None is what ``accelerate launch`` says.
        folder: Where a tracker of files writes.
        device: ``"auto"``, what accelerate finds, or ``"cpu"``.
        tracker: A name that accelerate knows, such as ``tensorboard`` or ``wandb``, or ``"none"``.

    Raises:
        FinetuneError: If the device, the tracker or the precision cannot be had here.
    """
    if device not in ("auto", "cpu"):
        raise FinetuneError(f"device {device!r} is not known: auto, or cpu; accelerate launch chooses GPUs")
    n_launched = int(os.environ.get("WORLD_SIZE", "1"))
    if n_launched > 1:
        # DistributedDataParallel imports it. Imported once the processes are connected, it keeps their group
        # alive beyond `end_training` (torch 2.12).
        importlib.import_module("torch._dynamo")
    try:
        accelerator = Accelerator(
            mixed_precision=None if settings.precision is None else PRECISIONS[settings.precision],
            gradient_accumulation_steps=settings.accumulation,
            cpu=device == "cpu",
            log_with=None if tracker == NO_TRACKER else tracker,
            project_config=ProjectConfiguration(str(folder), logging_dir=str(folder / LOGS)),
            # A layer mix leaves weights without a gradient, and so does an encoder's pretraining part.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise FinetuneError(f"accelerate cannot be set up so: {reason}") from error
    if n_launched != accelerator.num_processes:
        raise FinetuneError(
            f"{n_launched} processes were launched, and accelerate runs {accelerator.num_processes} here, as "
            "where there is no GPU for them: type --device cpu, or launch one process"
        )
    if tracker != NO_TRACKER and not accelerator.log_with:
        raise FinetuneError(
            f"the tracker {tracker} is not installed: pip install {tracker}, or --tracker none"
        )
    return accelerator


def end_training(accelerator: Accelerator) -> None:
    """Close the connections between the processes of a run, before Python ends.

    Gloo's threads, where they outlive the interpreter, abort a process that has done all its work: a tensor
    that they let go of then wants the interpreter's lock (pytorch/pytorch, pull request 179291). They end
    with the group, and the group with the last network that was trained in it.

    Args:
        accelerator: From `make_accelerator`; networks that it prepared are out of use.
    """
    accelerator.free_memory()  # and Python's garbage, with the networks in it
    accelerator.end_training()


@contextmanager
def tracked(accelerator: Accelerator, name: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Let the trackers follow one training.

    Args:
        accelerator: Of the run.
        name: Of the training's own folder or run.
        settings: What is told of it; what trackers cannot hold is told as text.

    Raises:
        FinetuneError: If the system refuses what is written: trackers of files do that in a thread, and tell
            it with a later call.
    """
    try:
        if accelerator.log_with:
            plain = {
                key: value if isinstance(value, int | float | str) else str(value)
                for key, value in settings.items()
            }
            accelerator.init_trackers(name, config=plain)
        yield
    except OSError as error:
        raise FinetuneError(
            f"{error.filename or accelerator.logging_dir} cannot be written "
            f"({os.strerror(error.errno) if error.errno else error}): make room and go on with --resume, or "
            "name another --out"
        ) from error
    finally:
        for tracker in accelerator.trackers:
            with suppress(OSError, AttributeError):  # one that could not be started has nothing to finish
                tracker.finish()
        accelerator.trackers = []
