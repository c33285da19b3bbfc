"""Objects: files at a URL, in a store that has no rename, no locks, and no folders that must be made.

What is written is there whole or not at all, since an object is put in one request; that its size is right is
looked at afterwards. What is listed is listed now: nothing that another process has just written is hidden
by what a file system remembers. Whatever goes wrong is an `OSError`, as it is with files, so whoever handles
a disk that fails handles a network that fails. Each client tries again by itself what may pass (a server that
is busy, a connection that broke): s3fs five times, and AWS_MAX_ATTEMPTS says how often.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ser_transfer.places.place import LIBRARIES, in_a_line

ATTEMPTS = 3  # to put an object that is stored short, or to get one that comes otherwise than it was put
# What file systems call the time at which an object was put.
_MODIFIED = ("LastModified", "mtime", "updated", "last_modified", "created")


@dataclass(frozen=True)
class Status:
    """What a listing says of an object.

    Attributes:
        name: Below the folder that was listed, with slashes.
        n_bytes: Its size.
        modified: When it was put (seconds since the epoch); None where the store does not tell.
        is_folder: Whether it stands for the objects whose names begin so.
    """

    name: str
    n_bytes: int
    modified: float | None
    is_folder: bool


def is_object(path: Path) -> bool:
    """Whether a place of `ser_transfer.places.place` lies at a URL, and not on this machine's disks."""
    return not isinstance(path, Path)


def listed(folder: Path) -> list[Status]:
    """List what lies directly in a folder, by name; nothing if there is no such folder.

    Raises:
        OSError: If there is no such bucket, or it cannot be listed.
    """
    with _os_errors(folder):
        files, where = _file_system(folder)
        files.invalidate_cache(where)
        try:
            found = files.ls(where, detail=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            _refuse_no_bucket(folder, error)
            return []
    return _told(where, found)


def found_below(folder: Path) -> list[Status]:
    """List every object below a folder, at any depth, with one request for each thousand.

    Raises:
        OSError: If there is no such bucket, or it cannot be listed.
    """
    with _os_errors(folder):
        files, where = _file_system(folder)
        files.invalidate_cache(where)
        try:
            found = files.find(where, detail=True)
        except FileNotFoundError as error:
            _refuse_no_bucket(folder, error)
            return []
    return [each for each in _told(where, found.values()) if not each.is_folder]


def status_of(path: Path) -> Status | None:
    """Tell what is there now; None if nothing is.

    Raises:
        OSError: If the store does not answer.
    """
    with _os_errors(path):
        files, where = _file_system(path)
        files.invalidate_cache(files._parent(where))
        try:
            found = files.info(where)
        except FileNotFoundError:
            return None
    return Status(path.name, found["size"] or 0, _modified(found), found["type"] == "directory")


def read_object(path: Path) -> bytes:
    """Read an object whole, in one request where the store allows that.

    Raises:
        FileNotFoundError: If it is not there.
        OSError: If it cannot be read.
    """
    with _os_errors(path):
        files, where = _file_system(path)
        # s3fs would ask for the size first, to read what is large in several pieces at once.
        options = {"max_concurrency": 1} if "s3" in files.protocol else {}
        content: bytes = files.cat_file(where, **options)
        return content


def download(path: Path, to: Path) -> None:
    """Copy an object to a file of this machine, in little memory.

    Raises:
        FileNotFoundError: If it is not there.
        OSError: With EBADMSG if the store itself has another checksum of it than what came.
        OSError: If it cannot be read, or the file not be written.
    """
    with _os_errors(path):
        files, where = _file_system(path)
        files.get_file(where, str(to))


def upload(file: Path, path: Path) -> None:
    """Put a file as one object, which is there complete or not at all, and look at its size.

    Raises:
        OSError: If it cannot be written, or is stored short again and again. Nothing counts on it then.
    """
    n_bytes, found = file.stat().st_size, None
    for _ in range(ATTEMPTS):
        with _os_errors(path):
            files, where = _file_system(path)
            files.put_file(str(file), where)
        found = status_of(path)
        if found is not None and found.n_bytes == n_bytes:
            return
    stored = "nothing" if found is None else f"{found.n_bytes} of {n_bytes} bytes"
    if found is not None:
        remove_objects([path])
    raise OSError(errno.EIO, f"{stored} stored of what was sent, {ATTEMPTS} times", str(path))


def remove_objects(paths: Iterable[Path]) -> None:
    """Remove objects, as many in a request as the store allows; those that are gone are no matter.

    Raises:
        OSError: If they may not be removed, say.
    """
    gone = [*paths]
    if not gone:
        return
    with _os_errors(gone[0]):
        files, _ = _file_system(gone[0])
        try:
            files.rm([_file_system(path)[1] for path in gone])
        except FileNotFoundError:
            for path in gone:
                if status_of(path) is not None:
                    files.rm_file(_file_system(path)[1])


def _file_system(path: Path) -> tuple[Any, str]:
    """Give the file system of this process, and what it calls a path.

    A path remembers the file system it was made with, and one that a fork has carried into another process
    hangs there; making it anew finds the one of this process.
    """
    held: Any = path
    found = type(held.fs)(*held.fs.storage_args, **held.fs.storage_options)
    return found, str(held.path).rstrip("/")


def _told(where: str, found: Iterable[Mapping[str, Any]]) -> list[Status]:
    """Keep what lies below a folder, in the order of the names' parts, as the names of files are sorted."""
    below = where + "/"
    status = []
    for each in found:
        name = str(each["name"]).rstrip("/")
        if name.startswith(below) or where == "":
            is_folder = each["type"] == "directory"
            # A name that ends in a slash is what some tools put in place of a folder.
            if not is_folder and str(each["name"]).endswith("/"):
                continue
            status.append(Status(name[len(below) :], each["size"] or 0, _modified(each), is_folder))
    return sorted(status, key=lambda each: each.name.split("/"))


def _modified(found: Mapping[str, Any]) -> float | None:
    for name in _MODIFIED:
        value = found.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None


def _refuse_no_bucket(folder: Path, error: OSError) -> None:
    """Tell a bucket that is not there, mostly a slip, from a folder that is not there yet."""
    response = getattr(error.__cause__, "response", None) or {}
    if response.get("Error", {}).get("Code") == "NoSuchBucket":
        raise OSError(errno.ENXIO, "there is no such bucket", str(folder)) from error


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # PermissionError("Access Denied"), as s3fs makes it
            _refuse_no_bucket(path, error)
            number = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}.get(
                type(error), errno.EIO
            )
            raise OSError(number, in_a_line(error), str(path)) from error
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in LIBRARIES:
            raise
        kind = type(error).__name__
        number = errno.EACCES if "Credentials" in kind else errno.EBADMSG if "Checksum" in kind else errno.EIO
        raise OSError(number, in_a_line(error), str(path)) from error
