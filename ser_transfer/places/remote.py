"""The files below a URL, as names and tags: listed, fetched, put in an order that readers can rely on."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ser_transfer.places.place import PlaceError, explaining, is_url, place

# What a file system tells of a file that changes with its content, or at least with each writing.
TAGS = ("ETag", "etag", "md5Hash", "blob_id", "oid", "mtime", "LastModified", "last_modified", "created")

# Files by which readers find what lies beside them, in the order in which they are put: the state of a
# training, a model, the result of a fold, a run.
LAST = (
    *("progress.json", "adapter_config.json", "config.json", "*.npz", "pretrained.json", "cross.json"),
    "metrics.json",
)

PROBE = ".ser_transfer-may-write"


class Remote:
    """A folder at a URL.

    Whoever puts one file puts it whole or not at all, as object stores do; several are not put at once. So
    they are put in an order: what others are found by comes last, and goes first where it is replaced.

    Args:
        url: Of the folder.
        names: The only files of it that are meant; None for all below it.
    """

    def __init__(self, url: str, names: Sequence[str] | None = None) -> None:
        self.url, self.names = url.rstrip("/"), names
        found: Any = place(self.url)
        if is_url(str(found)):
            self._fs, self._root = found.fs, str(found.path).rstrip("/")
        else:  # file://, which is a path of this machine
            from fsspec.implementations.local import LocalFileSystem

            self._fs, self._root = LocalFileSystem(), str(found)

    def tags(self) -> dict[str, str]:
        """List the files, with what changes when they do.

        Raises:
            PlaceError: If they cannot be listed.
        """
        with explaining(self.url):
            self._fs.invalidate_cache()
            if self.names is None:
                found = self._fs.find(self._root, detail=True)
            else:
                found = {}
                for name in self.names:
                    with suppress(FileNotFoundError):
                        found[self._path(name)] = self._fs.info(self._path(name))
        above = len(self._root) + 1
        return {
            path[above:]: _tag(info)
            for path, info in sorted(found.items())
            if info["type"] == "file" and path[above:] and not path.endswith(("/", PROBE))
        }

    def get(self, name: str, target: Path) -> None:
        """Fetch a file; it takes its place once it is whole.

        Raises:
            PlaceError: If it cannot be read, or its place cannot be written.
        """
        part = target.with_name(f".{target.name}.partial")
        with explaining(f"{self.url}/{name}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                n_bytes = self._fs.info(self._path(name))["size"]
                self._fs.get_file(self._path(name), str(part))
                if part.stat().st_size != n_bytes:
                    raise OSError(f"{part.stat().st_size} of {n_bytes} bytes arrived")
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def refuse_unwritable(self) -> None:
        """Stop before hours of work where nothing may be written.

        Raises:
            PlaceError: In that case.
        """
        if "hf" in _protocols(self._fs):  # where each writing is a commit
            return
        with explaining(self.url):
            self._make_folder(self._root)
            self._fs.pipe_file(self._path(PROBE), b"")
        with suppress(Exception):  # who may write and not remove is left with an empty file
            self._fs.rm_file(self._path(PROBE))

    def put_in_order(
        self, files: Mapping[str, Path], known: Iterable[str] = (), last: Sequence[str] = LAST
    ) -> dict[str, str]:
        """Put files so that a reader who finds one of `last` finds all before it.

        Args:
            files: By name.
            known: Those that are there already. A replaced one of `last` is removed before others change.
            last: Patterns of names without folders, in their order.

        Returns:
            The tags of all files that are there now.

        Raises:
            PlaceError: If one cannot be put, or did not arrive whole.
        """
        rounds: dict[int, list[str]] = {}
        for name in sorted(files):
            rounds.setdefault(rank(name, last), []).append(name)
        there = set(known)
        if 0 in rounds:
            for number, names in sorted(rounds.items(), reverse=True):
                self.remove(name for name in names if number and name in there)
        tags = {}
        for _, names in sorted(rounds.items()):
            for name in names:
                with explaining(f"{self.url}/{name}"):
                    self._make_folder(self._path(name).rpartition("/")[0])
                    self._fs.put_file(str(files[name]), self._path(name))
            tags = self.tags()
            for name in names:
                n_bytes = files[name].stat().st_size
                n_arrived = int(tags.get(name, "0:").partition(":")[0])
                if n_arrived != n_bytes:
                    raise PlaceError(
                        f"{self.url}/{name} did not arrive whole, {n_arrived} of {n_bytes} bytes: check the "
                        "network, and run the same command again"
                    )
        return tags

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; one that is gone already is no error.

        Raises:
            PlaceError: If one cannot be.
        """
        for name in names:
            with explaining(f"{self.url}/{name}"), suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _make_folder(self, path: str) -> None:
        """Make a folder where there are any; an object store has none, and would make a bucket."""
        if not self._fs.async_impl:
            self._fs.makedirs(path, exist_ok=True)


def rank(name: str, last: Sequence[str]) -> int:
    """Say when a file is put: 0 for those that nobody is found by, then by the order of `last`."""
    base = name.rpartition("/")[2]
    return next((number for number, each in enumerate(last, 1) if fnmatch.fnmatch(base, each)), 0)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _tag(info: Mapping[str, Any]) -> str:
    told = next((info[name] for name in TAGS if info.get(name) is not None), "")
    return f"{info['size']}:{told}"
