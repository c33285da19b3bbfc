"""Several files that belong together, written so that they change together."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_transfer._interrupts import finishing

if sys.platform != "win32":  # there a folder cannot be locked
    import fcntl

PART = ".part-"  # the folder of what is being written; its process holds a lock on it


@contextmanager
def written_together(folder: str | Path, *, last: str | None = None) -> Iterator[Path]:
    """Give an empty folder to write to; its files take their places in `folder` once all of them are there.

    What lies in `folder` stays as it was until then: when the disk is full, or the process is killed. Files
    of other names stay. What a killed process left of its writing goes with the next.

    Args:
        folder: Made if it is not there.
        last: Name of the file by which readers find the others: it goes first and takes its place after all
            of them, so that it never stands beside files of another writing.

    Yields:
        A folder within it, whose name begins with a dot.
    """
    folder = Path(folder)
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    remove_parts(folder)
    part, lock = _locked_part(folder)
    try:
        yield part
        files = [path for path in sorted(part.rglob("*")) if path.is_file()]
        with finishing():
            if last is not None and part / last in files:
                (folder / last).unlink(missing_ok=True)
            for path in sorted(files, key=lambda path: path.name == last):
                place = folder / path.relative_to(part)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def remove_parts(folder: Path) -> None:
    """Remove what killed processes were writing in a folder, never what a living one writes."""
    if sys.platform == "win32":
        return
    for part in folder.glob(f"{PART}*"):
        with contextlib.suppress(OSError):  # locked by its writer, just removed, or not ours to remove
            lock = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part, ignore_errors=True)
            finally:
                os.close(lock)


def _locked_part(folder: Path) -> tuple[Path, int | None]:
    while True:
        part = folder / f"{PART}{secrets.token_hex(8)}"
        part.mkdir()
        if sys.platform == "win32":
            return part, None
        try:
            lock = os.open(part, os.O_RDONLY)
        except FileNotFoundError:  # someone cleaned it up before it was locked
            continue
        with contextlib.suppress(OSError):  # a network file system without locks, where no one cleans up
            fcntl.flock(lock, fcntl.LOCK_EX)
        if part.exists():
            return part, lock
        os.close(lock)
