"""Files of this machine's disks, or of those it shares, that are there whole or not at all.

A file is written under a temporary name, synced to the disk, and renamed into place. While it is being
written its process holds a lock on it, and the kernel drops that lock when the process dies, however it dies:
so a temporary file without a lock is a dead writer's and can go.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import xxhash

if sys.platform != "win32":  # there an open file cannot be removed: being open is the lock
    import fcntl

BLOCK = 1 << 17  # bytes hashed at a time: the memory that checking a file of any size takes


@dataclass(frozen=True)
class FileStatus:
    """What a listing says of a file: its name, size, and when it was written (seconds since the epoch)."""

    name: str
    n_bytes: int
    written: float


def checksum(path: Path) -> str:
    """Hash a file's bytes, as they are now, to 32 hex digits of XXH3-128, in `BLOCK` bytes of memory."""
    digest = xxhash.xxh3_128()
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while n_bytes := file.readinto(block):
            digest.update(block[:n_bytes])
    return digest.hexdigest()


def is_sound(path: Path, digest: str) -> bool:
    """Whether a file's bytes have a checksum."""
    return checksum(path) == digest


def list_files(folder: Path, suffix: str) -> list[Path]:
    """List the files of a folder that end so, in the order of their names; none if there is no folder."""
    # Hidden ones are not ours: macOS leaves ._* files beside each file on a network drive.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        names = [entry.name for entry in found]
        return [folder / name for name in sorted(names) if name.endswith(suffix) and name[0] != "."]
    return []


def list_status(folder: Path, suffix: str) -> list[FileStatus]:
    """List files as `list_files` does, with their sizes and times."""
    return _status_of(list_files(folder, suffix))


def _status_of(paths: Iterable[Path]) -> list[FileStatus]:
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            status = path.stat()
            found.append(FileStatus(path.name, status.st_size, status.st_mtime))
    return found


def status_of_each(folder: Path, names: Iterable[str]) -> list[FileStatus]:
    """Tell sizes and times of some files of a folder."""
    return _status_of([folder / name for name in names])


def n_bytes_of(path: Path) -> int | None:
    """Tell a file's size; None if there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def status_written(path: Path) -> os.stat_result:
    """Tell size and time of a file just written or read."""
    return path.stat()


def read_small(path: Path) -> bytes:
    """Read a file that may be written again under its name."""
    return path.read_bytes()


def forget_copies(folder: Path) -> None:
    """Do nothing: there are none."""


def make_folder(path: Path) -> None:
    """Make a folder and those above it."""
    path.mkdir(parents=True, exist_ok=True)


def map_file(path: Path) -> Any:
    """Map a file into memory, as a `pyarrow.NativeFile`: no byte of it is read before it is used."""
    return pa.memory_map(str(path))


def remove_file(path: Path) -> bool:
    """Remove a file; return whether it is gone. Who has it mapped keeps it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # in use, on Windows; or not ours to remove
        return False
    return True


def write_whole(folder: Path, fill: Callable[[BinaryIO], None], name: Callable[[Path], str]) -> Path:
    """Write a file that appears in its folder complete, on the disk, and in one step.

    Args:
        folder: An existing folder.
        fill: Writes the content to the open file it is given.
        name: Tells the file's name from the path of its complete content.

    Returns:
        The path of the file.

    Raises:
        OSError: If the disk is full, say. Nothing new is left in the folder then.
    """
    file = _open_locked(folder)
    temporary = Path(file.name)
    try:
        with file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
            path = folder / name(temporary)
            if sys.platform == "win32":
                file.close()  # an open file cannot be renamed there
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that died, never one of a writer that lives."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # locked by its writer, just renamed, or not ours to remove
            if sys.platform == "win32":
                path.unlink()
            else:
                with path.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _open_locked(folder: Path) -> BinaryIO:
    while True:
        path = folder / f".{secrets.token_hex(8)}.tmp"
        file = path.open("xb")
        if sys.platform != "win32":
            # OSError: a network file system without locks, where no one can lock to clean up either.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # else someone cleaned it up before it was locked
            return file
        file.close()


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets a folder be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
