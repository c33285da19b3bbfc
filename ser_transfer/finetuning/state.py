"""Where a training stands, on disk: whole or not at all, so that a killed one goes on from there."""

from __future__ import annotations

import json
import math
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError
from torch import Tensor

from ser_transfer.finetuning.errors import FinetuneError

# What a resumed training may have otherwise: it steers where the training goes from here, or moves nothing.
CHANGEABLE = frozenset(
    {"learning_rate", "head_learning_rate", "clip_norm", "patience", "max_steps"}
    | {"eval_batch", "n_workers", "keep_waveforms", "gradient_checkpointing"}
)
# By which errors of torch's writer of files are known.
TORCH_WRITER = ("inline_container", "PytorchStreamWriter", "iostream")
PROBE_BYTES = 1 << 22  # written to learn whether the disk is full
PROGRESS, AVERAGE = "progress.json", "average.safetensors"


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        epoch: In which it is, from 0.
        step_in_epoch: Steps of that epoch that are done.
        step: Steps done in all.
        loss_in_epoch: Sum over the steps of that epoch of the mean loss per clip.
        best_epoch: The epoch whose weights are kept, from 1; 0 before the first.
        best_score: Its validation score, the highest; minus infinity where nothing validates.
        best_loss: Its validation loss; infinity where nothing validates.
        last_rise: The first epoch of that score; the last epoch where nothing validates.
        history: The training curve, one mapping per finished epoch.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_in_epoch: float = 0.0
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    last_rise: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """What the finished epochs took."""
        return float(sum(line["seconds"] for line in self.history))


class States:
    """The states of one training, in one folder.

    A state is written beside the last one and takes its place by a rename; the weights of the best epoch lie
    in a file that names the epoch. So whatever moment a process is killed at, one whole state is there with
    the best weights that belong to it.

    Args:
        folder: Made if it is not there.
        settings: What the training follows from, by name; a state of others is not taken up, but for those
            in `CHANGEABLE`.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(settings))

    def best_file(self, epoch: int) -> Path:
        """Name the file of an epoch's weights."""
        return self.folder / f"best-{epoch:04d}.safetensors"

    def latest(self) -> Path | None:
        """Find the last whole state."""
        found = sorted(path.parent for path in self.folder.glob(f"state-*/{PROGRESS}"))
        found = [path for path in found if path.suffix != ".part"]
        return found[-1] if found else None

    def save(
        self, accelerator: Accelerator, progress: Progress, average: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write all that goes on from here: weights, optimiser, scaler, random generators, progress.

        Raises:
            FinetuneError: If the folder cannot be written; the state before is still there.
        """
        name = f"state-{progress.step:09d}"
        part, whole = self.folder / f"{name}.part", self.folder / name
        try:
            if accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
            accelerator.wait_for_everyone()
            accelerator.save_state(str(part))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                self._complete(part, whole, progress, average)
        except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError: what torch.save makes of it
            refused = refusal(error, self.folder)
            if refused is None:
                raise
            if accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)
            raise FinetuneError(
                f"the state of the training cannot be written to {self.folder} ({refused}); the one before "
                "is kept: make room and go on with --resume"
            ) from error
        accelerator.wait_for_everyone()

    def _complete(
        self, part: Path, whole: Path, progress: Progress, average: Mapping[str, Tensor] | None
    ) -> None:
        from safetensors.torch import save_file

        if average is not None:
            save_file({name: value.contiguous() for name, value in average.items()}, part / AVERAGE)
        told = {"settings": self.settings, "progress": asdict(progress)}
        (part / PROGRESS).write_text(json.dumps(told, indent=2), encoding="utf-8")
        shutil.rmtree(whole, ignore_errors=True)
        part.replace(whole)
        for path in self.folder.glob("state-*"):
            if path != whole:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("best-*"):
            if path != self.best_file(progress.best_epoch):
                path.unlink()

    def load(self, accelerator: Accelerator) -> tuple[Progress, dict[str, Tensor] | None] | None:
        """Take the last whole state up; None where there is none.

        Raises:
            FinetuneError: If it belongs to other settings, or cannot be read.
        """
        from safetensors.torch import load_file

        found = self.latest()
        if found is None:
            return None
        try:
            told = json.loads((found / PROGRESS).read_text(encoding="utf-8"))
            self._refuse_other(told["settings"])
            accelerator.load_state(str(found))
            average = load_file(found / AVERAGE) if (found / AVERAGE).is_file() else None
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise FinetuneError(
                f"the state in {found} cannot be read ({error}): remove it, and the training starts over"
            ) from error
        return Progress(**told["progress"]), average

    def clear(self) -> None:
        """Remove every state and the best weights."""
        for path in self.folder.glob("state-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob("best-*"):
            path.unlink()

    def _refuse_other(self, kept: Mapping[str, Any]) -> None:
        changed = [
            name
            for name, value in self.settings.items()
            if name not in CHANGEABLE and kept.get(name) != value
        ]
        if changed:
            now, then = ({name: of.get(name) for name in changed} for of in (self.settings, kept))
            raise FinetuneError(
                f"{self.folder} holds a training with other settings (then {then}, now {now}): go on with "
                "those, or give another --out"
            )


def refusal(error: BaseException, folder: Path) -> str | None:
    """Say in the system's words why a file could not be written; None if an error says nothing of that.

    torch raises errors of its own writer (``inline_container.cc``) that do not tell; trying once more does.
    """
    if isinstance(error, OSError):
        return error.strerror or " ".join(str(error).split())
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and not any(word in text for word in TORCH_WRITER):
        return None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as found:
        return found.strerror
    return text


class StopRequest:
    """Whether the process was asked to stop, by SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Note the first of these signals in place of dying of it; the second is left to do what it does.

        Signals reach the main thread only: elsewhere (a notebook's worker, a server) nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number: int, frame: FrameType | None) -> None:
            self.signal = number
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, note)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
