"""An index: which keys some shards hold and where, in one file that is searched without being read.

Its keys are sorted and lie in one piece, mapped into memory: looking a key up touches some twenty places of
a million, and takes no memory that grows with them. The file is an Arrow stream of one record batch (key,
shard, row; 24 bytes a row), named by the checksum of its own bytes as a shard is; its schema's metadata
tell of the shards. An index never changes. A larger one takes the place of several smaller ones by naming
them.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ser_transfer.store.errors import Damaged, StoreError
from ser_transfer.store.files import checksum, is_sound, map_file, write_whole

SUFFIX = ".index"
FORMAT = 1  # of an index; a reader refuses what is newer
METADATA = b"ser_transfer"
KEY_BYTES = 16  # an audio key is 32 hex digits
KEY = np.dtype(f"S{KEY_BYTES}")  # NumPy compares two of one width byte by byte, trailing zeros included
MAX_INDEX_ROWS = (
    1 << 20
)  # of an index that takes the place of others: what merging holds in memory, about 100 MB
MAX_INDEX_ENTRIES = 1 << 14  # of the same, where shards are small
DAY = 24 * 3600.0
REMEMBERED = 7 * DAY  # seconds a removal is kept on record, for merges that began before it


class DamagedIndex(Exception):  # noqa: N818 - a finding that the manifest acts on, not an error of the user's
    """An index whose bytes are no longer those that were written."""


@dataclass(frozen=True)
class Entry:
    """A shard that counts.

    Attributes:
        name: Of its file.
        id: Of this entry: a shard that was set aside, and is computed again to the same bytes and so the
            same name, is another entry.
        n_rows: Recordings in it.
        n_bytes: Size of its file.
        written: When (seconds since the epoch).
    """

    name: str
    id: str
    n_rows: int
    n_bytes: int
    written: float

    @classmethod
    def of(cls, name: str, n_rows: int, n_bytes: int) -> Entry:
        """Make the entry of a shard just written, under a new id."""
        return cls(name, secrets.token_hex(8), n_rows, n_bytes, time.time())


@dataclass(frozen=True)
class Removal:
    """An entry that counts no more: its shard is damaged, or its rows were written to a larger shard.

    Attributes:
        name: Of the shard's file, which may be there still, for those who are reading it.
        id: Of the entry.
        at: When (seconds since the epoch).
    """

    name: str
    id: str
    at: float


@dataclass(frozen=True, eq=False)
class Index:
    """Where the rows of some shards are.

    Attributes:
        keys: Sorted, of `KEY`; a key may be there several times.
        shards: For each, which of `entries` has it.
        rows: For each, its row in there.
        entries: The shards.
        removals: Entries, of this index or another, that count no more.
        replaces: Names of the index files whose place this one takes.
    """

    keys: npt.NDArray[np.bytes_]
    shards: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.uint32]
    entries: tuple[Entry, ...]
    removals: tuple[Removal, ...] = ()
    replaces: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        shards: Iterable[tuple[Entry, npt.NDArray[np.bytes_]]],
        removals: Iterable[Removal] = (),
        replaces: Iterable[str] = (),
    ) -> Index:
        """Sort the keys of some shards, given in the order of their rows."""
        entries, keys = [], []
        for entry, of_entry in shards:
            entries.append(entry)
            keys.append(of_entry)
        numbers = [np.full(len(each), number, np.uint32) for number, each in enumerate(keys)]
        rows = [np.arange(len(each), dtype=np.uint32) for each in keys]
        return cls(*_sorted(keys, numbers, rows), tuple(entries), tuple(removals), tuple(replaces))

    @classmethod
    def merged(cls, indexes: Sequence[Index], replaces: Iterable[str] = ()) -> Index:
        """Make one index of several, each entry once and without those that were removed."""
        now = time.time()
        removals = {removal.id: removal for index in indexes for removal in index.removals}
        entries: dict[str, Entry] = {}
        keys, shards, rows = [], [], []
        for index in indexes:
            numbers = np.full(len(index.entries), -1, np.int64)
            for old, entry in enumerate(index.entries):
                if entry.id not in removals and entry.id not in entries:
                    numbers[old] = len(entries)
                    entries[entry.id] = entry
            of_rows = numbers[index.shards]
            kept = of_rows >= 0
            keys.append(index.keys[kept])
            shards.append(of_rows[kept].astype(np.uint32))
            rows.append(index.rows[kept])
        remembered = [removal for removal in removals.values() if now - removal.at < REMEMBERED]
        return cls(*_sorted(keys, shards, rows), tuple(entries.values()), tuple(remembered), tuple(replaces))


def key_array(keys: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Pack audio keys as they are sorted and searched.

    Raises:
        StoreError: If one is not 32 hex digits.
    """
    try:
        packed = bytes.fromhex("".join(keys))
        if all(len(key) == 2 * KEY_BYTES for key in keys):
            return np.frombuffer(packed, KEY)
    except ValueError:
        pass
    wrong = next((key for key in keys if not _is_key(key)), "")
    raise StoreError(
        f"{wrong!r} is no audio key: it wants {2 * KEY_BYTES} hex digits, from ser_transfer.audio.audio_key"
    )


def key_texts(keys: npt.NDArray[np.bytes_]) -> list[str]:
    """Spell packed keys out."""
    text, n_digits = keys.tobytes().hex(), 2 * KEY_BYTES
    return [text[start : start + n_digits] for start in range(0, len(text), n_digits)]


def write_index(folder: Path, index: Index, level: int = 0) -> Path:
    """Write an index, whole.

    Args:
        folder: An existing folder.
        index: Which.
        level: 0 for a new shard's; of a merged one, one more than the highest of those whose place it
            takes. It begins the name: readers open the highest first, and those that are replaced never.

    Raises:
        OSError: If the disk is full, say.
    """
    told = {
        "format": FORMAT,
        "entries": [astuple(entry) for entry in index.entries],
        "removals": [astuple(removal) for removal in index.removals],
        "replaces": index.replaces,
    }
    keys = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(KEY_BYTES), len(index.keys), [None, pa.py_buffer(np.ascontiguousarray(index.keys))]
    )
    batch = pa.record_batch(
        [keys, pa.array(index.shards), pa.array(index.rows)], names=["key", "shard", "row"]
    ).replace_schema_metadata({METADATA: json.dumps(told, separators=(",", ":")).encode()})

    def fill(file: BinaryIO) -> None:
        with pa.ipc.new_stream(file, batch.schema) as stream:
            stream.write_batch(batch)

    return write_whole(folder, fill, lambda path: f"{min(level, 99):02d}-{checksum(path)}{SUFFIX}")


def open_index(path: Path, *, verify: bool) -> Index:
    """Map an index into memory.

    Args:
        path: The index.
        verify: Whether to hash the file first, which reads all of it, about 5 GB/s from memory.

    Raises:
        DamagedIndex: If the checksum is not the one in the name, or it is no index.
        StoreError: If a newer version wrote it.
        OSError: If the file cannot be read.
    """
    if verify and not is_sound(path, path.name.removesuffix(SUFFIX).partition("-")[2]):
        raise DamagedIndex(path)
    try:
        file = map_file(path)
        batch = pa.ipc.open_stream(file).read_next_batch()
        told = json.loads(batch.schema.metadata[METADATA])
    except (FileNotFoundError, PermissionError):
        raise
    except (Damaged, pa.ArrowInvalid, OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise DamagedIndex(path) from error
    if told["format"] > FORMAT:
        raise StoreError(
            f"{path} was written by a newer ser_transfer (index format {told['format']}; this one reads "
            f"{FORMAT}): update with `pip install -U ser-transfer`, or name another folder with --store"
        )
    return Index(
        keys=_view(batch.column("key"), KEY),
        shards=_view(batch.column("shard"), np.dtype(np.uint32)),
        rows=_view(batch.column("row"), np.dtype(np.uint32)),
        entries=tuple(Entry(*fields) for fields in told["entries"]),
        removals=tuple(Removal(*fields) for fields in told["removals"]),
        replaces=tuple(told["replaces"]),
    )


def sort_order(keys: npt.NDArray[np.bytes_]) -> npt.NDArray[np.intp]:
    """Find the stable order of packed keys, as two integers each: ten times as quick as by bytes."""
    halves = np.ascontiguousarray(keys).view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.lexsort((halves[:, 1], halves[:, 0]))


def _sorted(
    keys: Sequence[Any], shards: Sequence[Any], rows: Sequence[Any]
) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    all_keys = np.concatenate([np.empty(0, KEY), *keys])
    order = sort_order(all_keys)
    of_rows = [np.concatenate([np.empty(0, np.uint32), *column])[order] for column in (shards, rows)]
    return all_keys[order], of_rows[0], of_rows[1]


def _view(column: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """View a column without nulls as an array, without copying."""
    if not len(column):
        return np.empty(0, dtype)
    return np.frombuffer(column.buffers()[1], dtype, count=len(column))


def _is_key(text: str) -> bool:
    try:
        return len(text) == 2 * KEY_BYTES and len(bytes.fromhex(text)) == KEY_BYTES
    except ValueError:
        return False
