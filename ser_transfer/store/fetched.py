"""Copies on this disk of what a store at a URL holds: each object is fetched once, whole, and mapped.

Shards and indexes never change and are named by the checksum of their bytes, so a copy needs no other name,
serves every store that holds the same, and is known to be right before it is used. Any number of processes
may fetch at once: what comes is written under a temporary name and renamed. When the copies take more than
SER_TRANSFER_CACHE_GB, those that were not used for longest go; they are only copies.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ser_transfer.places import ATTEMPTS, download, url_cache
from ser_transfer.store.disk import checksum, remove_leftovers, write_whole
from ser_transfer.store.errors import Damaged, StoreError

MAX_GB = "SER_TRANSFER_CACHE_GB"  # environment variable: how much they may take
DEFAULT_GB = 20.0
SPARED_SECONDS = 600.0  # that a copy stays in any case: it may be on its way to the store, or to a reader
ON_ITS_WAY = ".put-"  # start of the name of a folder whose file is being put
ABANDONED_SECONDS = 24 * 3600.0  # after which who made it is dead
_DIGEST = re.compile(r"(?:^|-)([0-9a-f]{32})\.[a-z]+$")

_sound: set[Path] = set()  # copies that this process has verified
_unlooked: list[int] = []  # bytes that came since this process last looked at what all take, after that


def copies_folder() -> Path:
    """Tell where the copies lie: in the cache of what URLs hold, see `ser_transfer.places.url_cache`."""
    return url_cache("store")


def digest_in(name: str) -> str | None:
    """Read the checksum that a shard or index is named by; None of other files."""
    found = _DIGEST.search(name)
    return found and found[1]


def fetched(path: Path) -> Path:
    """Give the copy of a shard or index, of the right checksum, fetched if it is not here yet.

    Raises:
        Damaged: If the object is not what was written, however often it is fetched.
        OSError: If it is not there, or cannot be fetched, or the disk is full.
    """
    digest = digest_in(path.name)
    copy = copies_folder() / path.name
    if copy in _sound and copy.exists():
        return copy
    if _is_sound(copy, digest):
        with suppress(OSError):  # another process has just removed it, or it is not ours
            os.utime(copy)
            _sound.add(copy)
            return copy

    def fill(file: BinaryIO) -> None:
        if checksum_fetched(path, Path(file.name)) != digest:
            raise Damaged(path)

    keep_copy(lambda: write_whole(_made(copies_folder()), fill, lambda _: path.name))
    return copy


def checksum_fetched(path: Path, to: Path) -> str:
    """Fetch a shard or index, anew if it came otherwise than it was written, and hash what came at last."""
    found = ""
    for _ in range(ATTEMPTS):
        try:
            download(path, to)
        except OSError as error:
            if error.errno != errno.EBADMSG:
                raise
            found = ""
            continue
        found = checksum(to)
        if found == digest_in(path.name):
            break
    return found


def keep_copy(write: Callable[[], Path]) -> Path:
    """Write a file to the folder of copies, and see that they do not take too much."""
    copy = write()
    _sound.add(copy)
    max_bytes = _max_bytes()
    _unlooked.append(copy.stat().st_size)
    if sum(_unlooked) > max_bytes / 64:
        _remove_oldest(max_bytes)
        _unlooked[:] = []
    return copy


def forget(copy: Path) -> None:
    """Take a copy away, if it is one."""
    _sound.discard(copy)
    copy.unlink(missing_ok=True)


def _is_sound(copy: Path, digest: str | None) -> bool:
    """Whether a copy is here and right; one that is not is removed."""
    try:
        if checksum(copy) == digest:
            return True
        forget(copy)
    except FileNotFoundError:
        pass
    return False


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _max_bytes() -> float:
    given = os.environ.get(MAX_GB, str(DEFAULT_GB))
    try:
        return float(given) * 1e9
    except ValueError:
        raise StoreError(
            f"{MAX_GB} is {given!r}, and wants a number: the gigabytes that copies of what stores at URLs "
            f"hold may take in {copies_folder()}"
        ) from None


def _remove_oldest(max_bytes: float) -> None:
    """Remove the copies that were not used for longest, until the others take less than a limit."""
    remove_leftovers(copies_folder())
    found = []
    now = time.time()
    with os.scandir(copies_folder()) as entries:
        for entry in entries:
            with suppress(OSError):  # gone meanwhile
                status = entry.stat()
                if digest_in(entry.name) is not None:
                    found.append((status.st_mtime, status.st_size, Path(entry.path)))
                elif entry.name.startswith(ON_ITS_WAY) and now - status.st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(entry.path)
    n_bytes = sum(size for _, size, _ in found)
    for used, size, copy in sorted(found):
        if n_bytes <= max_bytes or now - used < SPARED_SECONDS:
            break
        with suppress(OSError):  # in use, on Windows
            forget(copy)
            n_bytes -= size
