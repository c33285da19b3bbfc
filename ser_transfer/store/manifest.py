"""The manifest of a part: which of the shards in its folder count, and where every key lies.

A part's folder holds shards, and beside them a folder of indexes (`ser_transfer.store.index`). A shard counts
once an index names it. That is one small file written whole, so a kill leaves the shard in or out, and never
half; and nothing is locked, so nothing stays locked. Opening a part lists its indexes, of which there are
few, and never its shards, of which there may be a million.

Why many writers need not know of one another: what a manifest says is the union of the entries in all its
indexes less the union of all removals, which is the same in whatever order they came, and however often. A
writer adds an index for each shard, and makes one of every `MERGED` of its own (and one of these, when there
are as many again), so a run leaves one or a few. An index that takes the place of others names them; they
stay for `GRACE` seconds for readers that have just listed them, and whoever merges an index twice says the
same twice. Entries have ids of their own, so removing one cannot remove a later shard of the same bytes.

What is lost is found again: without any index (a store older than manifests), or with a damaged one, the
folder is listed, and its shards count as they did before there were manifests. The first writer writes down
what was found.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser_transfer.places import is_object
from ser_transfer.store import index as index_files
from ser_transfer.store.files import (
    list_files,
    list_status,
    make_folder,
    remove_file,
    remove_leftovers,
    status_written,
)
from ser_transfer.store.index import (
    KEY,
    MAX_INDEX_ENTRIES,
    MAX_INDEX_ROWS,
    DamagedIndex,
    Entry,
    Index,
    Removal,
    key_array,
    open_index,
    sort_order,
    write_index,
)
from ser_transfer.store.shards import SUFFIX, DamagedShard, read_keys, set_aside

logger = logging.getLogger(__name__)

FOLDER = "manifest"  # of the indexes, in a part's folder
MERGED = 16  # indexes of one level that become one of the next
CROWDED = 64  # indexes in a folder, whoever wrote them, at which a writer that ends makes fewer of them
GRACE = 60.0  # seconds that a replaced index stays for those who have just listed it
ATTEMPTS = 20  # to read indexes that vanish between being listed and being opened
BUCKETS = 64  # pieces, by the first byte of the key, in which distinct keys are counted


class Manifest:
    """What counted in one part's folder at one moment.

    Attributes:
        folder: The part's.
        indexes: Its indexes that none has taken the place of, by file name.
        unlisted: Whether shards were found by listing the folder, and no index names them yet.
    """

    def __init__(self, folder: Path, indexes: dict[str, Index], *, unlisted: bool = False) -> None:
        self.folder = folder
        self.indexes = indexes
        self.unlisted = unlisted

    @cached_property
    def removals(self) -> dict[str, Removal]:
        """What counts no more, by the id of the entry."""
        return {removal.id: removal for index in self.indexes.values() for removal in index.removals}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The shards that count, by file name and in its order."""
        found = {
            entry.name: entry
            for index in self.indexes.values()
            for entry in index.entries
            if entry.id not in self.removals
        }
        return dict(sorted(found.items()))

    @cached_property
    def ids(self) -> dict[str, list[str]]:
        """The ids of all entries of a shard: two processes that took up an old store gave it one each."""
        found: dict[str, list[str]] = {}
        for index in self.indexes.values():
            for entry in index.entries:
                found.setdefault(entry.name, []).append(entry.id)
        return found

    def removals_of(self, names: Iterable[str]) -> list[Removal]:
        """Say that some shards count no more."""
        now = time.time()
        return [Removal(name, id_, now) for name in names for id_ in self.ids.get(name, [])]

    def sorted_keys(self, dead: frozenset[str] = frozenset()) -> Iterator[npt.NDArray[np.bytes_]]:
        """Go through all keys, sorted and packed, each once, in pieces; without the entries `dead`."""
        counting = [
            np.array(
                [entry.id not in self.removals and entry.id not in dead for entry in index.entries], bool
            )
            for index in self.indexes.values()
        ]
        n_rows = sum(len(index.keys) for index in self.indexes.values())
        n_buckets = BUCKETS if n_rows > MAX_INDEX_ROWS else 1
        bounds = np.array([bytes([256 // n_buckets * n]) for n in range(1, n_buckets)], KEY)
        slices = [
            [0, *np.searchsorted(index.keys, bounds).tolist(), len(index.keys)]
            for index in self.indexes.values()
        ]
        for n in range(n_buckets):
            pieces = [np.empty(0, KEY)]
            for index, counts, ends in zip(self.indexes.values(), counting, slices, strict=True):
                piece = slice(ends[n], ends[n + 1])
                pieces.append(index.keys[piece][counts[index.shards[piece]]])
            keys = np.concatenate(pieces)
            keys = keys[sort_order(keys)]
            yield keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]


class ManifestReader:
    """Reads one part's manifest, again and again; an index is opened once, since it never changes.

    Args:
        folder: The part's.
        verify: Whether to check the checksum of each index.
    """

    def __init__(self, folder: Path, *, verify: bool) -> None:
        self._folder = folder
        self._verify = verify
        self._opened: dict[str, Index] = {}
        self._listed: tuple[tuple[str, ...], Index] | None = None  # shards that no index names
        self._last: Manifest | None = None
        self._names: list[str] = []  # of the indexes that lay there then

    def read(self) -> Manifest:
        """Read what counts now.

        Raises:
            StoreError: If a newer version wrote it.
            OSError: If a file cannot be read.
        """
        n_attempts = 0
        while True:
            n_attempts += 1
            names = [path.name for path in list_files(self._folder / FOLDER, index_files.SUFFIX)]
            if self._last is not None and not self._last.unlisted and names == self._names:
                return self._last
            try:
                found = self._read(names)
            except FileNotFoundError:  # it was replaced long ago, and has just been removed
                if n_attempts == ATTEMPTS:
                    raise
                continue
            self._last, self._names = found, names
            return found

    def _read(self, names: Sequence[str]) -> Manifest:
        found: dict[str, Index] = {}
        replaced: set[str] = set()
        damaged: list[str] = []
        for name in sorted(names, reverse=True):  # of a higher level, so who replaces, first
            if name in replaced:
                continue
            try:
                index = self._opened.get(name) or open_index(
                    self._folder / FOLDER / name, verify=self._verify
                )
            except DamagedIndex:
                damaged.append(name)
                continue
            found[name] = index
            replaced.update(index.replaces)
        self._opened = dict(found)
        manifest = Manifest(self._folder, found)
        if names and not damaged:
            return manifest
        if damaged:
            logger.warning(
                "index %s is damaged: the shards beside it are listed instead, and the next run that writes "
                "indexes them again",
                self._folder / FOLDER / damaged[0],
            )
        unlisted = self._list(set(manifest.entries))
        # It takes the place of the damaged ones, once a writer writes it down.
        index = Index(
            unlisted.keys, unlisted.shards, unlisted.rows, unlisted.entries, replaces=tuple(damaged)
        )
        return Manifest(self._folder, {**found, "": index}, unlisted=True)

    def _list(self, known: set[str]) -> Index:
        """Index the shards that no index names."""
        paths = [path for path in list_files(self._folder, SUFFIX) if path.name not in known]
        listed = tuple(path.name for path in paths)
        if self._listed is None or self._listed[0] != listed:
            self._listed = listed, Index.of(_keys_of(paths))
        return self._listed[1]


class ManifestWriter:
    """One writer's entries: an index for each shard, and one for many when there are many.

    Args:
        folder: The part's, an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        make_folder(self._folder)
        self._levels: list[list[tuple[str, Index]]] = [[]]
        self._replaced: deque[tuple[float, str]] = deque()

    def begin(self) -> None:
        """Remove what dead writers left, and write down shards that no index names yet.

        Raises:
            OSError: If the disk is full, say.
        """
        remove_leftovers(self._folder)
        manifest = ManifestReader(self._folder.parent, verify=True).read()
        unlisted = manifest.indexes.get("")
        if unlisted is not None and (unlisted.entries or unlisted.replaces):
            write_index(self._folder, unlisted, _level_above(unlisted.replaces))
        _remove_replaced(self._folder)

    def add(self, entry: Entry, keys: Sequence[str], *, last: bool = False) -> None:
        """Let a shard count.

        Args:
            entry: The shard, which lies on the disk.
            keys: The audio key of each of its rows.
            last: Whether no other follows, so that this writer's indexes become as few as may be.

        Raises:
            OSError: If the disk is full, say. The shard does not count then.
        """
        index = Index.of([(entry, key_array(keys))])
        self._write(index, *self._due(index, last=last))

    def finish(self) -> None:
        """Make this writer's indexes as few as may be, and those of all where many writers have left theirs.

        Raises:
            OSError: If the disk is full, say. Nothing is lost then.
        """
        nothing = Index.of([])
        merged, level = self._due(nothing, last=True)
        if len(merged) > 1:
            self._write(nothing, merged, level)
        manifest = ManifestReader(self._folder.parent, verify=False).read()
        if len(manifest.indexes) >= CROWDED:
            merge(manifest)

    def _due(self, index: Index, *, last: bool) -> tuple[list[tuple[str, Index]], int]:
        """Tell which of this writer's indexes a new one takes the place of, and what its level is then."""
        merged: list[tuple[str, Index]] = []
        level = 0
        while level < len(self._levels):
            waiting = self._levels[level]
            if not last and len(waiting) + 1 < MERGED:
                break
            n_merged = len(merged)
            for each in waiting:
                if _fit([index, *(other for _, other in [*merged, each])]):
                    merged.append(each)
            if len(merged) == n_merged:
                self._levels[level] = []  # large enough to stay as they are
            level += 1
        return merged, level

    def _write(self, index: Index, merged: list[tuple[str, Index]], level: int) -> None:
        if merged:
            # Those that were replaced before and are still there, too: readers then need not open them.
            replaced = [name for name, _ in merged] + [name for _, name in self._replaced]
            index = Index.merged([index, *(each for _, each in merged)], replaces=replaced)
        path = write_index(self._folder, index, level)
        names = {name for name, _ in merged}
        self._levels = [[each for each in waiting if each[0] not in names] for waiting in self._levels]
        while len(self._levels) <= level:
            self._levels.append([])
        self._levels[level].append((path.name, index))
        now = time.monotonic()
        self._replaced.extend((now, name) for name in names)
        while self._replaced and now - self._replaced[0][0] > GRACE:
            remove_file(self._folder / self._replaced.popleft()[1])


def write_removals(manifest: Manifest, names: Iterable[str]) -> None:
    """Write down that some shards count no more.

    Raises:
        OSError: If the folder may not be written, say.
    """
    removals = manifest.removals_of(names)
    if removals and (is_object(manifest.folder) or (manifest.folder / FOLDER).is_dir()):
        write_index(manifest.folder / FOLDER, Index.of([], removals))


def merge(manifest: Manifest) -> int:
    """Make larger indexes of small ones, each written whole before its parts go, and forget old removals.

    Returns:
        How many indexes were written.

    Raises:
        OSError: If the disk is full, say. Nothing is lost then.
    """
    folder = manifest.folder / FOLDER
    groups: list[list[str]] = [[]]
    for name, index in sorted(manifest.indexes.items(), key=lambda item: len(item[1].keys)):
        if name and not _fit([index, *(manifest.indexes[other] for other in groups[-1])]):
            groups.append([])
        groups[-1] += [name] if name else []
    n_written = 0
    # Removals are of entries in any group, so each is given all of them, and afterwards none is needed but by
    # those who began to merge before.
    removals = Index.of([], manifest.removals.values())
    for group in groups:
        has_removed = any(
            entry.id in manifest.removals for name in group for entry in manifest.indexes[name].entries
        )
        if len(group) > 1 or has_removed:
            members = [manifest.indexes[name] for name in group]
            replaces = dict.fromkeys([*group, *(name for member in members for name in member.replaces)])
            merged = Index.merged([removals, *members], replaces=replaces)
            write_index(folder, merged, _level_above(group))
            n_written += 1
    _remove_replaced(folder)
    return n_written


def _level_above(names: Iterable[str]) -> int:
    """Tell the level of an index that takes the place of others."""
    return max((int(name.partition("-")[0]) + 1 for name in names), default=0)


def _fit(indexes: Sequence[Index]) -> bool:
    """Whether some indexes are small enough to be made one in little memory."""
    n_rows = sum(len(index.keys) for index in indexes)
    return n_rows <= MAX_INDEX_ROWS and sum(len(index.entries) for index in indexes) <= MAX_INDEX_ENTRIES


def _remove_replaced(folder: Path) -> None:
    """Remove the indexes that another took the place of a while ago."""
    now = time.time()
    there = list_status(folder, index_files.SUFFIX)
    names = {status.name for status in there}
    for status in there:
        try:
            if now - status.written > GRACE:
                for name in open_index(folder / status.name, verify=False).replaces:
                    if name in names:
                        remove_file(folder / name)
        except (FileNotFoundError, DamagedIndex):
            continue


def _keys_of(paths: Iterable[Path]) -> Iterator[tuple[Entry, npt.NDArray[np.bytes_]]]:
    """Read the keys of shards that no index names; their names are their ids, whoever lists them."""
    for path in paths:
        try:
            keys = key_array(read_keys(path, verify=False).to_pylist())
            status = status_written(path)
        except FileNotFoundError:
            continue  # set aside or cleared by another process since it was listed
        except DamagedShard:
            set_aside(path)
            continue
        yield Entry(path.name, path.stem, len(keys), status.st_size, status.st_mtime), keys
