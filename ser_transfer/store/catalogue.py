"""The catalogue of a part: where wanted rows lie, and whether the shards that hold them are sound.

A shard is verified when it is first wanted, by its checksum, as long as the shards wanted at once are not
larger than `CHECKED_BYTES`; beyond it only its size is looked at, and each row is verified by its own
checksum as it is read. So nothing damaged is ever handed out, and a store of any size opens at once: damage
to rows that nobody reads is found by `python -m ser_transfer.tidy --verify`. Of a store at a URL no shard is
looked at before its rows are read: then it is fetched, and verified whole.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.places import is_object
from ser_transfer.store.files import is_sound, n_bytes_of
from ser_transfer.store.index import Entry, sort_order
from ser_transfer.store.manifest import Manifest, ManifestReader, write_removals
from ser_transfer.store.shards import SUFFIX, DamagedShard, has_row_checksums, open_shard, set_aside

logger = logging.getLogger(__name__)

Take = Callable[[Any, npt.NDArray[np.intp], npt.NDArray[np.int64], bool], None]

CHECKED_BYTES = 1 << 30  # of shards whose checksums are verified at once: a fifth of a second from memory


class Catalogue:
    """Where the rows of a part lay at one moment, over all its folders.

    Attributes:
        shards: Manifest and entry of each shard that counts, in a fixed order: by folder, then by name. Of a
            row that was written several times, the first shard's counts.
    """

    def __init__(self, manifests: Sequence[Manifest], dead: frozenset[str]) -> None:
        self.manifests = manifests
        self.dead = dead
        self.shards: list[tuple[Manifest, Entry]] = []
        self._ranks: list[tuple[Any, npt.NDArray[np.int64]]] = []
        for manifest in manifests:
            live = {name: entry for name, entry in manifest.entries.items() if entry.id not in dead}
            ranks = {name: rank for rank, name in enumerate(live, start=len(self.shards))}
            self.shards += [(manifest, entry) for entry in live.values()]
            for index in manifest.indexes.values():
                of_entries = [
                    -1 if entry.id in manifest.removals or entry.id in dead else ranks.get(entry.name, -1)
                    for entry in index.entries
                ]
                self._ranks.append((index, np.array(of_entries, np.int64)))

    def path(self, shard: int) -> Path:
        """Tell where a shard lies."""
        manifest, entry = self.shards[shard]
        return manifest.folder / entry.name

    def find(self, keys: npt.NDArray[np.bytes_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find keys.

        Returns:
            For each the number of its shard, -1 if no shard has it, and its row in there.
        """
        n_shards = len(self.shards)
        best, rows = np.full(len(keys), n_shards, np.int64), np.zeros(len(keys), np.int64)
        order = sort_order(keys)  # neighbours are looked for in the same pages
        wanted = keys[order]
        for index, ranks in self._ranks:
            pending = np.arange(len(wanted))
            place = np.searchsorted(index.keys, wanted)
            while len(pending):
                inside = place < len(index.keys)
                pending, place = pending[inside], place[inside]
                hit = index.keys[place] == wanted[pending]
                pending, place = pending[hit], place[hit]
                rank = ranks[index.shards[place]]
                better = (rank >= 0) & (rank < best[order[pending]])
                targets = order[pending[better]]
                best[targets], rows[targets] = rank[better], index.rows[place[better]]
                place = place + 1  # a key may be there several times
        return np.where(best < n_shards, best, -1), rows

    def n_distinct(self) -> int:
        """Count the recordings, each once."""
        return sum(len(keys) for keys in self.sorted_keys())

    def sorted_keys(self) -> Iterator[npt.NDArray[np.bytes_]]:
        """Go through the keys of all shards, in pieces; see `Manifest.sorted_keys`."""
        if len(self.manifests) == 1:
            yield from self.manifests[0].sorted_keys(self.dead)
        elif self.manifests:  # rare: processes that call an encoder differently began its part at once
            pieces = [keys for manifest in self.manifests for keys in manifest.sorted_keys(self.dead)]
            yield np.unique(np.concatenate(pieces))


class CatalogueReader:
    """Reads catalogues, remembering which shards were found sound.

    Args:
        verify: Whether to verify checksums.
    """

    def __init__(self, *, verify: bool) -> None:
        self._verify = verify
        self._readers: dict[Path, ManifestReader] = {}
        self._last: dict[tuple[Path, ...], Catalogue] = {}
        # By the ids of entries: shards never change, and one written anew is another entry.
        self._dead: frozenset[str] = frozenset()
        self._seen: set[str] = set()  # of the right size
        self._sound: set[str] = set()  # of the right checksum

    def read(self, folders: Sequence[Path]) -> Catalogue:
        """Read what a part's folders hold now.

        Raises:
            StoreError: If a newer version wrote it.
            OSError: If a file cannot be read.
        """
        readers = [
            self._readers.setdefault(folder, ManifestReader(folder, verify=self._verify))
            for folder in folders
        ]
        manifests = [reader.read() for reader in readers]
        last = self._last.get(tuple(folders))
        if last is not None and last.manifests == manifests and last.dead == self._dead:
            return last
        found = self._last[tuple(folders)] = Catalogue(manifests, self._dead)
        return found

    def find(
        self, folders: Sequence[Path], keys: npt.NDArray[np.bytes_]
    ) -> tuple[Catalogue, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Find keys in shards that are sound, setting aside those that are not; see `Catalogue.find`."""
        while True:
            catalogue = self.read(folders)
            shards, rows = catalogue.find(keys)
            if self._all_sound(catalogue, np.unique(shards[shards >= 0]).tolist()):
                return catalogue, shards, rows

    def sound(self, folders: Sequence[Path]) -> Catalogue:
        """Read what a part's folders hold now, in sound shards."""
        while True:
            catalogue = self.read(folders)
            if self._all_sound(catalogue, range(len(catalogue.shards))):
                return catalogue

    def take(
        self, folders: Sequence[Path], keys: npt.NDArray[np.bytes_], take: Take
    ) -> npt.NDArray[np.int64]:
        """Find keys, if all are there, and take their rows, shard by shard.

        Args:
            folders: The part's.
            keys: Which; a key may come twice.
            take: Given an open shard, which of the keys it has, their rows in there (ascending), and whether
                to verify each row; raises DamagedShard if one is not what was written.

        Returns:
            The number of each key's shard, -1 if no shard has it, and then none was taken.
        """
        while True:
            catalogue = self.read(folders)
            shards, rows = catalogue.find(keys)
            if (shards < 0).any() or all(
                self._take_from(catalogue, shard, targets, rows[targets], take)
                for shard, targets in _by_shard(shards, rows)
            ):
                return shards

    def _take_from(
        self,
        catalogue: Catalogue,
        shard: int,
        targets: npt.NDArray[np.intp],
        rows: npt.NDArray[np.int64],
        take: Take,
    ) -> bool:
        """Take rows from one shard; False if it is damaged or gone, and so they must be found anew."""
        try:
            opened, check = self._open(catalogue, shard, len(rows))
            take(opened, targets, rows, check)
        except (DamagedShard, FileNotFoundError):
            self._lose(catalogue, shard)
            return False
        return True

    def _open(self, catalogue: Catalogue, shard: int, n_rows: int) -> tuple[Any, bool]:
        """Map a shard into memory, of which some rows are wanted.

        Returns:
            Its `pyarrow.RecordBatch`, and whether its rows are to be verified one by one as they are read:
            that is the quicker way to a few of them. To most of them it is the shard's own checksum.

        Raises:
            DamagedShard: If it is none, or its checksum was verified and is wrong.
            OSError: If it cannot be read.
        """
        entry, path = catalogue.shards[shard][1], catalogue.path(shard)
        if not self._verify or entry.id in self._sound or is_object(path):  # which is verified as it comes
            return open_shard(path, verify=False), False
        if 2 * n_rows < entry.n_rows:
            opened = open_shard(path, verify=False)
            if has_row_checksums(opened):
                return opened, True
        opened = open_shard(path, verify=True)
        self._sound.add(entry.id)
        return opened, False

    def _lose(self, catalogue: Catalogue, shard: int) -> None:
        """Count a shard no more, which is damaged or gone, and set it aside where that may be."""
        manifest, entry = catalogue.shards[shard]
        path = catalogue.path(shard)
        self._dead |= frozenset(manifest.ids[entry.name])
        if n_bytes_of(path) is None:  # compacted, then removed, since the catalogue was read; or lost
            now = self._readers[manifest.folder].read()
            if entry.name in now.entries:
                logger.warning("shard %s is gone: its embeddings count as missing", path)
                if is_object(path):  # the next one to look for rows there looks at the manifest alone
                    with contextlib.suppress(OSError):
                        write_removals(now, [entry.name])
            return
        set_aside(path)
        with contextlib.suppress(OSError):  # a store that may not be written: the next reader finds it too
            write_removals(manifest, [entry.name])

    def _all_sound(self, catalogue: Catalogue, shards: Sequence[int]) -> bool:
        """Check shards that were not checked before; False if one was lost."""
        all_sound = True
        entries = [(shard, catalogue.shards[shard][1]) for shard in shards]
        unchecked = [(shard, entry) for shard, entry in entries if entry.id not in self._sound]
        verify = self._verify and sum(entry.n_bytes for _, entry in unchecked) <= CHECKED_BYTES
        for shard, entry in unchecked:
            if not verify and entry.id in self._seen:
                continue
            path = catalogue.path(shard)
            if is_object(path):
                continue
            try:
                if n_bytes_of(path) != entry.n_bytes or (
                    verify and not is_sound(path, path.name.removesuffix(SUFFIX))
                ):
                    raise DamagedShard(path)
            except (DamagedShard, FileNotFoundError):
                self._lose(catalogue, shard)
                all_sound = False
                continue
            self._seen.add(entry.id)
            if verify:
                self._sound.add(entry.id)
        return all_sound


def _by_shard(
    shards: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Sort wanted rows by shard.

    Yields:
        Per shard that is needed: its number, and which of the wanted rows it has, by their place in it.
    """
    order = np.lexsort((rows, shards))
    numbers, starts = np.unique(shards[order], return_index=True)
    for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], len(order)], strict=False):
        yield number, order[start:end]
