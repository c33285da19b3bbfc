"""A folder at a URL, written as any other is: in a folder of this machine, from where it is put there.

An object store cannot append, rename or be locked, and what commands keep is made of all three: journals,
states of a training, models that replace each other. So a command works in a folder of the user's cache and
what changed is put to the URL at its commit points. A killed one finds that folder again on this machine, and
on another what was put last.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ser_transfer.errors import SerTransferError
from ser_transfer.places.cache import locked, url_cache
from ser_transfer.places.place import PlaceError, explaining, is_url
from ser_transfer.places.remote import LAST, Remote, rank

STATE = "state.json"
LEFTOVERS = (".*.partial", "*.part", ".part-*", ".*.tmp")  # of writers that died
ALL = ("*",)


class Output:
    """A folder that a command writes to.

    Attributes:
        folder: Where it writes.
        shown: What the user calls it.
        is_finished: Whether nothing will be gone on with; a command that was stopped in the middle says no,
            and finds its folder again.
    """

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder, self.shown = folder, shown
        self.is_finished = True

    def __str__(self) -> str:
        return self.shown

    def named(self, text: object) -> str:
        """Say a text that names the folder, or a file of it, as the user would."""
        return str(text).replace(str(self.folder), self.shown) if is_url(self.shown) else str(text)

    def commit(self, *, every_seconds: float = 0.0) -> None:
        """Put what changed where it belongs, unless that was done less than so many seconds ago.

        What cannot be put is warned of and put at the next commit: a network may be gone for a moment.
        """


@contextmanager
def mirrored(
    where: str | os.PathLike[str],
    *,
    reads: Sequence[str] = (),
    names: Sequence[str] | None = None,
    last: Sequence[str] = LAST,
    resumes: bool = False,
) -> Iterator[Output]:
    """Give a folder to write to, for a folder of this machine or at a URL.

    A path is given as it is, and nothing more happens. For a URL it is a working folder, in which all that
    lies there has its name: the files that the command reads with their content, others empty. At the end
    what is new or changed is put there, and what the command removed is removed there.

    A command that resumes has what it did put there after an error too; of another nothing is.

    Args:
        where: A path or a URL.
        reads: Patterns, as of a shell, of the files that the command reads; ``*`` matches ``/`` too.
        names: The only files of the folder that the command writes; None for all.
        last: Files that readers find others by; see `Remote.put_in_order`.
        resumes: Whether the command goes on from what an earlier one of it left.

    Raises:
        PlaceError: If the URL cannot be read or written, or another process of this machine writes there; at
            the end, if not all of it could be put: it names the folder in which it is kept.
    """
    if not is_url(where):
        yield Output(Path(where), str(Path(where)))
        return
    url = str(where).rstrip("/")
    home = url_cache("outputs") / _digest(url, *(names or ()))
    folder = home / (PurePosixPath(url).name or "files")
    _refuse_several_machines(url)
    if int(os.environ.get("RANK", "0")) != 0:  # the first process of a launch does it for all
        yield Output(folder, url)
        return
    with locked(home, url):
        mirror = _Mirror(Remote(url, names), home, folder, reads, last, resumes=resumes)
        mirror.begin()
        try:
            yield mirror
        except BaseException as error:
            if isinstance(error, SerTransferError) and not isinstance(error.__cause__, OSError):
                error.args = (mirror.named(error),)  # a full disk is this machine's, all else is the URL's
            if resumes:
                mirror.commit()
            else:
                mirror.forget()
            raise
        mirror.finish()


class _Mirror(Output):
    """The working folder of a URL, and what of it is there."""

    def __init__(
        self,
        remote: Remote,
        home: Path,
        folder: Path,
        reads: Sequence[str],
        last: Sequence[str],
        *,
        resumes: bool,
    ) -> None:
        super().__init__(folder, remote.url)
        self._remote, self._home, self._reads, self._last = remote, home, reads, last
        self._resumes = resumes
        self._known: dict[str, dict[str, Any]] = {}  # what is there, by name; its tag, and the file here
        self._sending: dict[str, str] = {}  # what a commit that was cut short may have put, and its digests
        self._committed = time.monotonic()

    def begin(self) -> None:
        """Bring the folder to what lies at the URL, or find it as an earlier process left it."""
        self._remote.refuse_unwritable()
        there = self._remote.tags()
        if self._resumes:
            self._recall()
        else:
            self.forget()
        known = {name: entry["tag"] for name, entry in self._known.items()}
        changed = [name for name in there.keys() | known.keys() if there.get(name) != known.get(name)]
        is_own = all(name in self._sending and self._has_sent(name, there) for name in changed)
        if not is_own:
            self._drop_old(there)
        self._known = {name: entry for name, entry in self._known.items() if name in there}
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, tag in there.items():
            entry, path = self._known.get(name), self.folder / name
            is_read = any(fnmatch.fnmatch(name, pattern) for pattern in self._reads)
            if entry is None and is_own:  # ours, of a commit that was cut short
                continue
            if entry is not None and (not is_read or entry["digest"] or not path.exists()):
                continue
            if is_read:
                self._remote.get(name, path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            self._known[name] = _entry(path, tag, is_read=is_read)
        self._save()

    def commit(self, *, every_seconds: float = 0.0) -> None:
        if time.monotonic() - self._committed < every_seconds:
            return
        try:
            self._put()
        except PlaceError as error:
            told = f"{error}; meanwhile it is kept in {self.folder}"
            warnings.warn(told, stacklevel=2)
        self._committed = time.monotonic()

    def finish(self) -> None:
        """Put all of it there; then nothing of it is needed here.

        Raises:
            PlaceError: If not all of it could be put.
        """
        try:
            self._put()
        except PlaceError as error:
            raise PlaceError(f"{error}; until then all of it is kept in {self.folder}") from error
        if self.is_finished:
            self.forget()

    def forget(self) -> None:
        """Remove the working folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        (self._home / STATE).unlink(missing_ok=True)
        self._known, self._sending = {}, {}

    def _has_sent(self, name: str, there: Mapping[str, str]) -> bool:
        """Tell whether what lies there is what a commit that was cut short wanted there."""
        if name not in there:
            return True
        if not self._sending[name]:
            return False
        looked_at = self._home / "sent"
        try:
            self._remote.get(name, looked_at)
            return _sha256(looked_at) == self._sending[name]
        finally:
            looked_at.unlink(missing_ok=True)

    def _put(self) -> None:
        files = {path.relative_to(self.folder).as_posix(): path for path in _files(self.folder)}
        changed = {name: path for name, path in files.items() if self._is_changed(name, path)}
        removed = [name for name in self._known if name not in files]
        if not changed and not removed and not self._sending:
            return
        entries = {name: _entry(path, "", is_read=True) for name, path in changed.items()}
        sending = {name: str(entry["digest"]) for name, entry in entries.items()}
        self._sending |= dict.fromkeys(removed, "") | sending
        self._save()
        tags = self._remote.put_in_order(changed, self._known, self._last)
        for name, entry in entries.items():
            self._known[name] = {**entry, "tag": tags[name]}
        # The file that makes a folder whole goes first: without it nobody reads the others.
        self._remote.remove(sorted(removed, key=lambda name: -rank(name, self._last)))
        for name in removed:
            del self._known[name]
        self._sending = {}
        self._save()

    def _is_changed(self, name: str, path: Path) -> bool:
        entry = self._known.get(name)
        if entry is None:
            return True
        status = path.stat()
        if [status.st_size, status.st_mtime_ns] == entry["stamp"]:
            return False
        return not entry["digest"] or _sha256(path) != entry["digest"]

    def _drop_old(self, there: dict[str, str]) -> None:
        """Remove what somebody else has replaced since, with what was made of it here."""
        for path in _files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            entry = self._known.get(name)
            if entry is None or entry["tag"] != there.get(name) or self._is_changed(name, path):
                path.unlink()
        kept = {name for name in self._known if (self.folder / name).exists()}
        self._known = {name: entry for name, entry in self._known.items() if name in kept}
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        self._sending = {}

    def _recall(self) -> None:
        try:
            told = json.loads((self._home / STATE).read_text(encoding="utf-8"))
            self._known, self._sending = told["known"], told["sending"]
        except (OSError, ValueError, KeyError):
            pass  # nothing was begun here, or a power cut tore it: then what lies there is taken

    def _save(self) -> None:
        part = self._home / f".{STATE}.partial"
        with explaining(self._home):
            part.write_text(json.dumps({"known": self._known, "sending": self._sending}), encoding="utf-8")
            part.replace(self._home / STATE)


def _refuse_several_machines(url: str) -> None:
    n_ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if int(os.environ.get("LOCAL_WORLD_SIZE", str(n_ranks))) < n_ranks:
        raise PlaceError(
            f"{url} can be written by the processes of one machine, and several were launched: give --out a "
            "folder that all of them share, and copy it there"
        )


def _files(folder: Path) -> list[Path]:
    """List what is to be put: all but what writers that died have left."""
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(fnmatch.fnmatch(part, each) for part in parts for each in LEFTOVERS):
            found.append(path)
    return found


def _entry(path: Path, tag: str, *, is_read: bool) -> dict[str, Any]:
    """What is known of a file that lies at the URL: without a digest its content is not here."""
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    return {"tag": tag, "stamp": stamp, "digest": _sha256(path) if is_read else ""}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
