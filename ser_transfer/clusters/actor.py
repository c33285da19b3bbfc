"""What runs in each actor: prepared once, then asked for one batch after the other. It never raises."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ser_transfer.errors import SerTransferError

Work = Callable[[Sequence[Any]], Any]  # from a batch to its answer


@dataclass(frozen=True)
class Outcome:
    """What came of one batch.

    Attributes:
        batch: Its number.
        answer: What the work gave.
        failed: In a line, why there is no answer; None where there is one.
        seconds: How long it took.
        warnings: What was warned of meanwhile.
    """

    batch: int
    answer: Any
    failed: str | None
    seconds: float
    warnings: list[str] = field(default_factory=list)


class Actor:
    """One worker of a pool, as Ray Data's `map_batches` makes it.

    An error is an outcome like any other. So what does raise, as seen from outside, is the end of the
    process or of its machine, and nothing else.

    Args:
        prepare: Gives what answers batches; pickled, so that a machine that lacks a part of it can say so.
        folder: Where the user types: paths are taken from there, where it is there.
    """

    def __init__(self, prepare: bytes, folder: str) -> None:
        from ray import cloudpickle

        self._work: Work | None = None
        self._failed: str | None = None
        self._warnings: list[str] = []
        with suppress(OSError):
            os.chdir(folder)
        with warnings.catch_warnings(record=True) as warned:
            try:
                self._work = cloudpickle.loads(prepare)()
            except Exception as error:
                self._failed = in_a_line(error)
        self._warnings = _texts(warned)

    def __call__(self, table: Any) -> Any:
        """Answer the batches of a table, which has one per row."""
        import pyarrow as pa
        from ray import cloudpickle

        outcomes = [
            cloudpickle.dumps(self._outcome(batch.as_py(), cloudpickle.loads(content.as_py())))
            for batch, content in zip(table.column("batch"), table.column("content"), strict=True)
        ]
        return pa.table({"outcome": pa.array(outcomes, pa.large_binary())})

    def _outcome(self, batch: int, content: Sequence[Any]) -> Outcome:
        if self._work is None:
            return Outcome(batch, None, self._failed, 0.0, self._warnings)
        begun = time.perf_counter()
        answer, failed = None, None
        with warnings.catch_warnings(record=True) as warned:
            try:
                answer = self._work(content)
            except Exception as error:
                failed = in_a_line(error)
        told, self._warnings = [*self._warnings, *_texts(warned)], []
        return Outcome(batch, answer, failed, time.perf_counter() - begun, told)


def in_a_line(error: BaseException) -> str:
    """Say what went wrong: in its own words if they were written for the user, else with where it was."""
    told = " ".join(str(error).split())
    if isinstance(error, SerTransferError):
        return told
    if isinstance(error, ImportError):
        return f"{socket.gethostname()} lacks something ({told}): all machines need the same ser_transfer"
    return f"an actor on {socket.gethostname()} failed ({type(error).__name__}: {told})"


def _texts(warned: Sequence[warnings.WarningMessage]) -> list[str]:
    ours = (each for each in warned if issubclass(each.category, UserWarning))
    return list(dict.fromkeys(str(each.message) for each in ours))
