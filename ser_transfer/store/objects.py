"""What `ser_transfer.store.files` does on a disk, done at a URL, where nothing is renamed.

A file is first written on this disk, complete, and then put as one object: it is there whole or not at all,
and no temporary name is ever seen. Its size is looked at before anything counts on it. It stays here as a
copy (`ser_transfer.store.fetched`), since who writes often reads it next.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ser_transfer.places import ATTEMPTS, listed, remove_objects, upload
from ser_transfer.store import files
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
    """Hash what lies at the URL now, fetched for that alone; see `ser_transfer.store.files.checksum`."""
    with tempfile.TemporaryDirectory() as folder:
        return checksum_fetched(path, Path(folder, "object"))


def is_sound(path: Path) -> bool:
    """Whether an object is what its name says, fetching it if it is not here."""
    try:
        fetched(path)
    except files.Damaged:
        return False
    return True


def list_files(folder: Path, suffix: str) -> list[Path]:
    """List the objects of a folder that end so, with one request for each thousand."""
    return [folder / status.name for status in list_status(folder, suffix)]


def list_status(folder: Path, suffix: str) -> list[files.FileStatus]:
    """List objects as `list_files` does, with their sizes and times; now where the store tells no time."""
    return [
        files.FileStatus(each.name, each.n_bytes, time.time() if each.modified is None else each.modified)
        for each in listed(folder)
        if each.name.endswith(suffix) and each.name[0] != "." and not each.is_folder
    ]


def forget_copies(folder: Path) -> None:
    """Remove this disk's copies of what a folder holds."""
    for each in listed(folder):
        forget(copies_folder() / each.name)


def map_file(path: Path) -> Any:
    """Map an object's copy into memory."""
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
    """Write a file on this disk, and put it as one object; see `ser_transfer.store.files.write_whole`."""
    copies = copies_folder()
    copies.mkdir(parents=True, exist_ok=True)
    names: list[str] = []

    def named(file: Path) -> str:
        names.append(name(file))
        return names[0]

    with tempfile.TemporaryDirectory(dir=copies, prefix=ON_ITS_WAY) as own:
        file = files.write_whole(Path(own), fill, named)
        path = folder / file.name
        upload(file, path)
        if digest_in(file.name) is not None:
            keep_copy(lambda: file.replace(copies / file.name))
    return path
