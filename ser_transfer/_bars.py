"""Progress bars on standard error, which show only where that is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

RATE_STEPS = 20  # optimiser steps over which clips per second are averaged: they differ in length


@contextmanager
def progress_bar(description: str) -> Iterator[Callable[[int, float], None]]:
    """Show a bar over recordings: clips/s, times real time, and the time left.

    Yields:
        A function to call after each recording, with the number of recordings in all and this one's
        seconds. The bar appears at the first call.
    """
    total_seconds = 0.0
    with _progress() as progress:
        task = progress.add_task(description, visible=False, told="")

        def advance(n_recordings: int, seconds: float) -> None:
            nonlocal total_seconds
            total_seconds += seconds
            state = progress.tasks[task]
            told = ""
            if state.elapsed:
                clips, seconds = state.completed / state.elapsed, total_seconds / state.elapsed
                told = f"{clips:.1f} clips/s, {seconds:.0f}x real time"
            progress.update(task, visible=True, total=n_recordings, advance=1, told=told)

        yield advance


@contextmanager
def steps_bar(description: str) -> Iterator[Callable[[int, str], None]]:
    """Show a bar over the steps of a longer work, with the time left.

    Yields:
        A function to call after each step, with the number of steps in all and what the step was about.
    """
    with _progress() as progress:
        task = progress.add_task(description, visible=False, told="")

        def advance(n_steps: int, step: str) -> None:
            progress.update(task, visible=True, total=n_steps, advance=1, told=step)

        yield advance


@contextmanager
def training_bar(
    description: str, *, shown: bool = True
) -> Iterator[Callable[[str, int, int, str, int], None]]:
    """Show a bar over optimiser steps: loss, UAR, clips/s and the time left, one line per fold.

    Args:
        description: What stands before the fold's name.
        shown: False on all processes but the main one.

    Yields:
        A function to call after each step, with the fold, the number of the step and of all steps, what is
        to be told of it, and its clips.
    """
    with _progress(shown=shown) as progress:
        tasks = {}
        recent: list[tuple[float, int]] = []

        def advance(fold: str, step: int, n_steps: int, told: str, n_clips: int) -> None:
            if fold not in tasks:
                tasks[fold] = progress.add_task(f"{description}, fold {fold}", total=n_steps, told="")
                recent.clear()
            recent.append((time.perf_counter(), n_clips))
            del recent[: -RATE_STEPS - 1]
            seconds = recent[-1][0] - recent[0][0]
            if seconds > 0:
                told += f", {sum(clips for _, clips in recent[1:]) / seconds:.1f} clips/s"
            progress.update(tasks[fold], completed=step, total=n_steps, told=told)

        yield advance


@contextmanager
def _progress(*, shown: bool = True) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    is_shown = shown and console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as progress:
        yield progress
