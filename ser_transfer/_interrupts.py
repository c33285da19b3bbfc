"""Ctrl-C: the first one lets what is being written end, a second one stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


@contextmanager
def finishing() -> Iterator[None]:
    """Hold the first Ctrl-C back until what is within is done; a second one is raised where it comes.

    Signals reach the main thread only: elsewhere nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    n_held = 0

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal n_held
        n_held += 1
        if n_held > 1:
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if n_held:
        before(signal.SIGINT, None)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Start processes within that ignore Ctrl-C: a terminal sends it to all, and we end ours ourselves.

    What ignores a signal hands that on to what it starts. One that comes meanwhile is blocked, not lost.
    """
    before = signal.getsignal(signal.SIGINT)
    if (
        sys.platform == "win32"
        or threading.current_thread() is not threading.main_thread()
        or not callable(before)
    ):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class Interrupts:
    """How many times Ctrl-C was pressed while a command runs; see `listening`.

    A library that is interrupted within itself may raise an error of its own in place of Python's, so who
    catches an error asks here whether it is one.
    """

    def __init__(self) -> None:
        self.n = 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.n += 1
        raise KeyboardInterrupt

    def listen(self) -> None:
        """Count from here on, in a process that is this command's alone."""
        if threading.current_thread() is threading.main_thread() and _is_ours(
            signal.getsignal(signal.SIGINT)
        ):
            signal.signal(signal.SIGINT, self._note)

    def end_at_once(self) -> None:
        """Let Ctrl-C end the process without a word: all that there was to say is said."""
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))


def before_the_work(number: int, frame: FrameType | None) -> None:
    """End a command that has only begun to import what it needs."""
    os.write(sys.stderr.fileno(), b"interrupted before anything was done\n")
    os._exit(INTERRUPTED)


def _is_ours(handler: object) -> bool:
    return handler in (signal.default_int_handler, before_the_work)
