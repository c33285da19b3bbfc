"""Files that are there whole or not at all, whoever is killed and whoever else is writing.

A file is written under a temporary name, synced to the disk, and renamed into place. While it is
being written its process holds a lock on it, and the kernel drops that lock when the process dies,
however it dies: so a temporary file without a lock is a dead writer's and can go.

These few functions are all that the store asks of a file system: write a whole file, list a folder, tell a
file's size, map it, remove it. None is changed once it is there, and what counts is said by a file that
names others (`ser_transfer.store.manifest`), never by a rename: so an object store can stand behind them.
Where it does, `ser_transfer.store.objects` says how; only then is it imported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import xxhash

from ser_transfer.errors import SerTransferError
from ser_transfer.places import cause_of, is_object, read_object, status_of

if sys.platform != "win32":  # there an open file cannot be removed: being open is the lock
    import fcntl

BLOCK = 1 << 17  # bytes hashed at a time: the memory that checking a file of any size takes


class StoreError(SerTransferError):
    """An embedding store that cannot be written, read, or joined with what was asked for."""


class Damaged(Exception):  # noqa: N818 - a finding that readers act on, not an error of the user's
    """An object whose bytes are not those that its name is the checksum of."""


@dataclass(frozen=True)
class FileStatus:
    """What a listing says of a file: its name, size, and when it was written (seconds since the epoch)."""

    name: str
    n_bytes: int
    written: float


def checksum(path: Path) -> str:
    """Hash a file's bytes, as they are now, to 32 hex digits of XXH3-128, in `BLOCK` bytes of memory."""
    if is_object(path):
        from ser_transfer.store import objects

        return objects.checksum(path)
    digest = xxhash.xxh3_128()
    block = memoryview(bytearray(BLOCK))
    with path.open("rb", buffering=0) as file:
        while n_bytes := file.readinto(block):
            digest.update(block[:n_bytes])
    return digest.hexdigest()


def is_sound(path: Path, digest: str) -> bool:
    """Whether a file's bytes have the checksum that is part of its name.

    Of an object it is the copy on this disk, which is all that is ever read.
    """
    if is_object(path):
        from ser_transfer.store import objects

        return objects.is_sound(path)
    return checksum(path) == digest


def list_files(folder: Path, suffix: str) -> list[Path]:
    """List the files of a folder that end so, in the order of their names; none if there is no folder."""
    if is_object(folder):
        from ser_transfer.store import objects

        return objects.list_files(folder, suffix)
    # Hidden ones are not ours: macOS leaves ._* files beside each file on a network drive.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        names = [entry.name for entry in found]
        return [folder / name for name in sorted(names) if name.endswith(suffix) and name[0] != "."]
    return []


def list_status(folder: Path, suffix: str) -> list[FileStatus]:
    """List files as `list_files` does, with their sizes and times."""
    if is_object(folder):
        from ser_transfer.store import objects

        return objects.list_status(folder, suffix)
    return _status_of(list_files(folder, suffix))


def _status_of(paths: Iterable[Path]) -> list[FileStatus]:
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            status = path.stat()
            found.append(FileStatus(path.name, status.st_size, status.st_mtime))
    return found


def status_of_each(folder: Path, names: Iterable[str]) -> list[FileStatus]:
    """Tell sizes and times of some files of a folder; of objects by one listing."""
    if is_object(folder):
        wanted = {*names}
        return [status for status in list_status(folder, "") if status.name in wanted] if wanted else []
    return _status_of([folder / name for name in names])


def n_bytes_of(path: Path) -> int | None:
    """Tell a file's size; None if there is no such file."""
    if is_object(path):
        found = status_of(path)
        return None if found is None or found.is_folder else found.n_bytes
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def status_written(path: Path) -> os.stat_result:
    """Tell size and time of a file just written or read; of an object those of its copy on this disk."""
    if is_object(path):
        from ser_transfer.store import fetched

        return fetched.fetched(path).stat()
    return path.stat()


def read_small(path: Path) -> bytes:
    """Read a file that may be written again under its name."""
    return read_object(path) if is_object(path) else path.read_bytes()


def forget_copies(folder: Path) -> None:
    """Let a folder's objects be fetched anew when they are wanted; of files there are no copies."""
    if is_object(folder):
        from ser_transfer.store import objects

        objects.forget_copies(folder)


def make_folder(path: Path) -> None:
    """Make a folder, where there are folders."""
    if not is_object(path):
        path.mkdir(parents=True, exist_ok=True)


def map_file(path: Path) -> Any:
    """Map a file into memory, as a `pyarrow.NativeFile`: no byte of it is read before it is used.

    Raises:
        Damaged: If it is an object that is not what was written.
    """
    if is_object(path):
        from ser_transfer.store import objects

        return objects.map_file(path)
    return pa.memory_map(str(path))


def remove_file(path: Path) -> bool:
    """Remove a file; return whether it is gone. Who has it mapped keeps it."""
    if is_object(path):
        from ser_transfer.store import objects

        return objects.remove_file(path)
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
    if is_object(folder):
        from ser_transfer.store import objects

        return objects.write_whole(folder, fill, name)
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
    if is_object(folder):
        return  # nothing there ever has a temporary name
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):  # locked by its writer, just renamed, or not ours to remove
            if sys.platform == "win32":
                path.unlink()
            else:
                with path.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


@contextlib.contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn an operating system's error on the files under `path` into a line that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(_what_to_do(path, error)) from error


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


def _what_to_do(path: Path, error: OSError) -> str:
    intact = "All that was written before is intact, and the same command goes on from there."
    if is_object(path):
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return f"{error.filename or path} cannot be read or written: {cause_of(error)}. {intact}"
        from ser_transfer.store.fetched import copies_folder

        return (
            f"no space left on the disk of {copies_folder()}, where copies of what {path} holds lie: free "
            f"some, or set SER_TRANSFER_CACHE to a folder on another disk. {intact}"
        )
    file = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left on the disk of {path}. Free some (`ser-transfer embed --list` shows what each "
            f"encoder takes, `--clear` removes one), or name a folder on another disk with --store. {intact}"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{file} may not be accessed ({error.strerror}): change its permissions, or name another folder "
            f"with --store. {intact}"
        )
    if error.errno == errno.ENOENT:
        return f"{file} was removed while it was in use: run the same command again"
    return f"{file} cannot be used ({error.strerror or error}): check the disk. {intact}"
