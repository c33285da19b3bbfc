"""Small shards into large ones, while others read: no row is lost, and none counts twice.

A large shard is written first. One index then lets it count and says that the small ones count no more, so at
any moment, and after any kill, each row counts in one of them. The small files stay on the disk for those who
have them open, or have just looked up where they lie, and are removed by a later compaction, `GRACE_HOURS`
after they ceased to count. Two compactions at once write the same shards, or rows twice; either is read once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ser_transfer.store.files import remove_file, remove_leftovers, status_of_each, status_written
from ser_transfer.store.index import Entry, Index, key_array, write_index
from ser_transfer.store.manifest import FOLDER, Manifest, ManifestReader, ManifestWriter, merge
from ser_transfer.store.part import Part
from ser_transfer.store.shards import (
    DamagedShard,
    frames_column,
    frames_views,
    layer_view,
    open_shard,
    read_keys,
    vectors_column,
    write_shard,
)

LARGE_BYTES = 64 << 20  # of a shard that is left as it is, and about the size of those that are written
GRACE_HOURS = 24.0  # that a shard stays after its rows were written to a larger one


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        n_before: Shards that were merged.
        n_after: Shards that their rows are in now.
        n_removed: Files removed that an earlier compaction had merged.
        n_bytes_removed: Their size.
    """

    n_before: int
    n_after: int
    n_removed: int
    n_bytes_removed: int


def compact(
    folder: Path,
    part: Part,
    *,
    large_bytes: int = LARGE_BYTES,
    grace_hours: float = GRACE_HOURS,
    on_shard: Callable[[int, int], None] = lambda n_shards, n_bytes: None,
) -> Compacted:
    """Merge the small shards of a part's folder, and remove those that were merged long ago.

    Args:
        folder: The part's.
        part: What it holds.
        large_bytes: Size from which a shard is left alone; merging takes about twice as much memory.
        grace_hours: How long a merged shard stays.
        on_shard: Called after each new shard with how many there will be and its bytes.

    Raises:
        OSError: If the disk is full, say. All that was there counts as before.
    """
    ManifestWriter(folder).begin()
    remove_leftovers(folder)
    manifest = ManifestReader(folder, verify=True).read()
    groups = list(_groups(manifest, large_bytes))
    n_before = n_after = 0
    for group in groups:
        n_merged, n_bytes = _merge_shards(folder, part, manifest, group)
        n_before, n_after = n_before + n_merged, n_after + bool(n_merged)
        on_shard(len(groups), n_bytes)
    merge(ManifestReader(folder, verify=False).read())
    n_removed, n_bytes_removed = _remove_merged(folder, grace_hours)
    return Compacted(n_before, n_after, n_removed, n_bytes_removed)


def _groups(manifest: Manifest, large_bytes: int) -> Iterator[list[Entry]]:
    """Put small shards together, in the order of their names, up to the size of a large one."""
    group: list[Entry] = []
    n_bytes = 0
    for entry in manifest.entries.values():
        if 2 * entry.n_bytes > large_bytes:
            continue
        if n_bytes + entry.n_bytes > large_bytes:
            yield group
            group, n_bytes = [], 0
        group.append(entry)
        n_bytes += entry.n_bytes
    if len(group) > 1:
        yield group


def _merge_shards(folder: Path, part: Part, manifest: Manifest, group: Sequence[Entry]) -> tuple[int, int]:
    """Write the rows of some shards as one, each key once; return how many, and the new one's bytes.

    A damaged one is left where it is: whoever verifies or reads it says so and sets it aside.
    """
    keys: list[str] = []
    seen: set[str] = set()
    columns: list[list[Any]] = [[] for _ in part.layer_names]
    merged = []
    for entry in group:
        try:
            shard = open_shard(folder / entry.name, verify=True)
        except (DamagedShard, FileNotFoundError):
            continue
        merged.append(entry)
        first_rows: dict[str, int] = {}
        for row, key in enumerate(read_keys(folder / entry.name, verify=False).to_pylist()):
            if key not in seen:
                first_rows.setdefault(key, row)
        rows = np.array([*first_rows.values()], np.int64)
        keys += first_rows
        seen.update(first_rows)
        for column, name in zip(columns, part.layer_names, strict=True):
            if part.holds_frames:
                column.extend(frames_views(shard, name, rows))
            else:
                column.append(layer_view(shard, name)[rows])
    if len(merged) < 2:
        return 0, 0
    if part.holds_frames:
        arrays = [frames_column(column) for column in columns]
    else:
        arrays = [vectors_column(np.concatenate(column)) for column in columns]
    path = write_shard(folder, keys, dict(zip(part.layer_names, arrays, strict=True)))
    new = Entry.of(path.name, len(keys), status_written(path).st_size)
    removals = manifest.removals_of([entry.name for entry in merged])
    write_index(folder / FOLDER, Index.of([(new, key_array(keys))], removals))
    return len(merged), new.n_bytes


def _remove_merged(folder: Path, grace_hours: float) -> tuple[int, int]:
    """Remove the files of shards that have ceased to count long ago; return how many, and their bytes."""
    manifest = ManifestReader(folder, verify=False).read()
    latest = time.time() - 3600 * grace_hours
    names = {removal.name for removal in manifest.removals.values() if removal.at <= latest}
    n_removed = n_bytes = 0
    for status in status_of_each(folder, sorted(names - set(manifest.entries))):
        # Of late: someone has just written the same shard anew, and not yet let it count.
        if status.written <= latest and remove_file(folder / status.name):
            n_removed, n_bytes = n_removed + 1, n_bytes + status.n_bytes
    return n_removed, n_bytes
