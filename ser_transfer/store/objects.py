"""What `ser_transfer.store.disk` does on a disk, done at a URL, where nothing is renamed.

A file is first written on this disk, complete, and then put as one object: it is there whole or not at all,
and no temporary name is ever seen. Its size is looked at before anything counts on it. It stays here as a
copy (`ser_transfer.store.fetched`), since who writes often reads it next.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ser_transfer.places import ATTEMPTS, listed, read_object, remove_objects, status_of, upload
from ser_transfer.store import disk
from ser_transfer.store.errors import Damaged
from ser_transfer.store.fetched import (
    ON_ITS_WAY,
    checksum_fetched,
    copies_folder,
    digest_in,
    fetched,
    forget,
    keep_copy,
)


def checksum(path: Path) -> str:
    """Hash what lies at the URL now, fetched for that alone; see `ser_transfer.store.disk.checksum`."""
    with tempfile.TemporaryDirectory() as folder:
        return checksum_fetched(path, Path(folder, "object"))


def is_sound(path: Path, digest: str) -> bool:
    """Whether the copy on this disk, which is all that is ever read, has a checksum; it is fetched for it."""
    try:
        return digest_in(fetched(path).name) == digest
    except Damaged:
        return False


def list_files(folder: Path, suffix: str) -> list[Path]:
    """List the objects of a folder that end so, with one request for each thousand."""
    return [folder / status.name for status in list_status(folder, suffix)]


def list_status(folder: Path, suffix: str) -> list[disk.FileStatus]:
    """List objects as `list_files` does, with their sizes and times; now where the store tells no time."""
    return [
        disk.FileStatus(each.name, each.n_bytes, time.time() if each.modified is None else each.modified)
        for each in listed(folder)
        if each.name.endswith(suffix) and each.name[0] != "." and not each.is_folder
    ]


def status_of_each(folder: Path, names: Iterable[str]) -> list[disk.FileStatus]:
    """Tell sizes and times of some objects of a folder, by one listing."""
    wanted = {*names}
    return [status for status in list_status(folder, "") if status.name in wanted] if wanted else []


def n_bytes_of(path: Path) -> int | None:
    """Tell an object's size; None if there is no such object."""
    found = status_of(path)
    return None if found is None or found.is_folder else found.n_bytes


def status_written(path: Path) -> os.stat_result:
    """Tell size and time of the copy on this disk of an object just written or read."""
    return fetched(path).stat()


def read_small(path: Path) -> bytes:
    """Read an object that may be written again under its name."""
    return read_object(path)


def forget_copies(folder: Path) -> None:
    """Let a folder's objects be fetched anew when they are wanted."""
    for each in listed(folder):
        forget(copies_folder() / each.name)


def make_folder(path: Path) -> None:
    """Do nothing: there are none."""


def map_file(path: Path) -> Any:
    """Map an object's copy into memory.

    Raises:
        Damaged: If the object is not what was written.
    """
    for _ in range(ATTEMPTS):
        copy = fetched(path)
        try:
            return pa.memory_map(str(copy))
        except FileNotFoundError:  # another process needed its place just now
            continue
    return pa.memory_map(str(fetched(path)))


def remove_file(path: Path) -> bool:
    """Remove an object; return whether it is gone."""
    try:
        remove_objects([path])
    except OSError:
        return False
    return True


def write_whole(folder: Path, fill: Callable[[BinaryIO], None], name: Callable[[Path], str]) -> Path:
    """Write a file on this disk, and put it as one object; see `ser_transfer.store.disk.write_whole`."""
    copies = copies_folder()
    copies.mkdir(parents=True, exist_ok=True)
    names: list[str] = []

    def named(file: Path) -> str:
        names.append(name(file))
        return names[0]

    with tempfile.TemporaryDirectory(dir=copies, prefix=ON_ITS_WAY) as own:
        file = disk.write_whole(Path(own), fill, named)
        path = folder / file.name
        upload(file, path)
        if digest_in(file.name) is not None:
            keep_copy(lambda: file.replace(copies / file.name))
    return path


def remove_leftovers(folder: Path) -> None:
    """Do nothing: no object ever has a temporary name."""
