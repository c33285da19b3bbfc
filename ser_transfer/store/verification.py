"""Every byte of a part read and compared with its checksum; what is damaged counts no more.

A damaged shard is renamed and taken from the manifest, and so are entries whose file is gone: the next
`embed` finds these rows missing and computes them again. A sound shard that no index names is taken up: a
kill between writing it and letting it count left it, or a version of before there were manifests wrote it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ser_transfer.places import is_object
from ser_transfer.store.files import checksum, forget_copies, list_status, n_bytes_of, remove_file
from ser_transfer.store.index import Entry, Index, key_array, write_index
from ser_transfer.store.manifest import FOLDER, Manifest, ManifestReader, ManifestWriter, write_removals
from ser_transfer.store.shards import SUFFIX, DamagedShard, read_keys, set_aside

WRITING_SECONDS = 3600.0  # in which a damaged object that does not count yet may be put again by its writer


@dataclass
class Verified:
    """What was found.

    Attributes:
        n_sound: Shards whose bytes are those that were written.
        n_bytes: Their size.
        damaged: Shards that were damaged, by the names they had; they lie beside, ending in ``.damaged``, or
            at a URL where they were.
        gone: Shards that the manifest named and that are not there.
        taken_up: Sound shards that it did not name and now does.
        n_rows_lost: Rows in shards damaged or gone, to be computed again.
    """

    n_sound: int = 0
    n_bytes: int = 0
    damaged: list[Path] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    taken_up: list[Path] = field(default_factory=list)
    n_rows_lost: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is to be computed again."""
        return not self.damaged and not self.gone


def verify(
    folder: Path, *, on_shard: Callable[[int, int], None] = lambda n_shards, n_bytes: None
) -> Verified:
    """Verify a part's folder, in `ser_transfer.store.disk.BLOCK` bytes of memory.

    Args:
        folder: The part's.
        on_shard: Called after each shard with how many there are and its bytes.

    Raises:
        OSError: If the folder may not be read, or, where there is something to write down, written.
    """
    forget_copies(folder / FOLDER)  # of indexes, which are looked at as they are now
    with contextlib.suppress(PermissionError):  # verifying alone needs no right to write
        ManifestWriter(folder).begin()
    manifest = ManifestReader(folder, verify=True).read()
    found = Verified()
    for entry in manifest.entries.values():
        path = folder / entry.name
        is_there = n_bytes_of(path) is not None
        if is_there and checksum(path) == path.name.removesuffix(SUFFIX):
            found.n_sound += 1
            found.n_bytes += entry.n_bytes
        else:
            found.n_rows_lost += entry.n_rows
            (found.damaged if is_there else found.gone).append(path)
            if is_there:
                set_aside(path)
        on_shard(len(manifest.entries), entry.n_bytes)
    write_removals(manifest, [path.name for path in found.damaged + found.gone])
    _take_up(manifest, found)
    return found


def _take_up(manifest: Manifest, found: Verified) -> None:
    """Let sound shards count that no index has ever named."""
    known = {*manifest.ids, *(removal.name for removal in manifest.removals.values())}
    for status in list_status(manifest.folder, SUFFIX):
        path = manifest.folder / status.name
        if path.name in known:
            continue
        try:
            keys = read_keys(path, verify=True).to_pylist()
            entry = Entry.of(path.name, len(keys), status.n_bytes)
        except FileNotFoundError:
            continue
        except DamagedShard:
            # Nothing is set aside at a URL. What counted nowhere is no loss, unless it is being put anew.
            if is_object(path) and time.time() - status.written < WRITING_SECONDS:
                continue
            if not is_object(path):
                set_aside(path)
            elif not remove_file(path):
                continue
            found.damaged.append(path)
            continue
        write_index(manifest.folder / FOLDER, Index.of([(entry, key_array(keys))]))
        found.taken_up.append(path)
