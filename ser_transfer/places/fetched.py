"""What lies at a URL, in a folder of this machine: for readers that map, seek, and look beside a file."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from ser_transfer._files import written_together
from ser_transfer.places.cache import url_cache
from ser_transfer.places.place import PlaceError, is_url
from ser_transfer.places.remote import LAST, Remote

KEPT_SECONDS = 24 * 3600.0  # of an older state of the same URL: another process may be reading it
N_TRIES = 3


class Snapshot:
    """The files below a URL as they were when they were listed.

    They are fetched into a folder that stands for this very state, named by what changes when they do: what
    is there is not fetched again, in this process or a later one.

    Attributes:
        names: Of all files.
        folder: Where those lie that were fetched.

    Args:
        url: Of a folder.

    Raises:
        PlaceError: If it cannot be listed, or nothing lies there.
    """

    def __init__(self, url: str) -> None:
        self._remote = Remote(url)
        tags = self._remote.tags()
        if not tags:
            raise PlaceError(f"there is nothing at {url}: check the name")
        self.names = tuple(tags)
        of_url = url_cache("read") / hashlib.sha256(self._remote.url.encode()).hexdigest()[:16]
        state = hashlib.sha256(repr(sorted(tags.items())).encode()).hexdigest()[:16]
        self.folder = of_url / state / (PurePosixPath(self._remote.url).name or "files")

    def fetch(self, patterns: Sequence[str] = ("*",), *, without: Sequence[str] = ()) -> Path:
        """Fetch the files whose names match, as of a shell, and give their folder.

        Raises:
            PlaceError: If one cannot be read, or the disk is full.
        """
        is_new = not self.folder.parent.is_dir()
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.names:
            if (
                _matches(name, patterns)
                and not _matches(name, without)
                and not (self.folder / name).is_file()
            ):
                self._remote.get(name, self.folder / name)
        self.folder.parent.touch()
        if is_new:
            self._remove_older()
        return self.folder

    def is_current(self) -> bool:
        """Whether the URL still holds what was listed."""
        return Snapshot(self._remote.url).folder == self.folder

    def _remove_older(self) -> None:
        for path in self.folder.parents[1].iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def fetched(url: str, patterns: Sequence[str] = ("*",), *, without: Sequence[str] = ()) -> Path:
    """Fetch what lies below a URL, all of one state of it.

    Args:
        url: Of a folder.
        patterns: Of the files that are wanted, as of a shell; ``*`` matches ``/`` too.
        without: Of those that are not.

    Returns:
        A folder of this machine, to be read and not written.

    Raises:
        PlaceError: If nothing lies there, it cannot be read, or somebody writes to it all the time.
    """
    for _ in range(N_TRIES):
        found = Snapshot(url)
        folder = found.fetch(patterns, without=without)
        if found.is_current():
            return folder
    raise PlaceError(f"{url} changes while it is read: wait until whoever writes there has ended")


def local_folder(where: str | Path, patterns: Sequence[str] = ("*",), *, without: Sequence[str] = ()) -> Path:
    """Give a path as it is, and what lies at a URL as `fetched` does."""
    return fetched(str(where), patterns, without=without) if is_url(where) else Path(where)


@contextmanager
def put_together(folder: str | Path, *, last: str | None = None) -> Iterator[Path]:
    """Give an empty folder to write to; its files take their places, at a path or a URL, once all are there.

    For paths see `ser_transfer._files.written_together`. To a URL they are put one by one, the last one last,
    and where that is replaced it goes first: whoever finds it finds the others as they belong to it.

    Raises:
        PlaceError: If the URL cannot be written.
    """
    if not is_url(folder):
        with written_together(folder, last=last) as part:
            yield part
        return
    remote = Remote(str(folder))
    known = remote.tags()
    with tempfile.TemporaryDirectory(prefix="ser_transfer-") as temporary:
        part = Path(temporary)
        yield part
        files = {path.relative_to(part).as_posix(): path for path in part.rglob("*") if path.is_file()}
        remote.put_in_order(files, known, LAST if last is None else (last,))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
