"""One shard: an Arrow stream file of some rows, named by the checksum of its own bytes.

A column of keys, then one column per layer, all in a single record batch: so a layer is contiguous
in the file, and reading one touches none of the others. `datasets.Dataset.from_file` opens it. A row of
a layer is a vector, in float32 or what `ser_transfer.store.halves` makes of it, or a list of float16 frames.
The schema's metadata hold a checksum of every row of every layer, so that a few rows of a large store are
verified without reading the others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from ser_transfer.places import is_object
from ser_transfer.store.errors import Damaged
from ser_transfer.store.files import checksum, is_sound, list_files, map_file, write_whole

logger = logging.getLogger(__name__)

KEY = "audio_key"
SUFFIX = ".arrow"
SET_ASIDE = ".damaged"
DTYPES = {"float": np.float32, "halffloat": np.float16, "uint16": np.uint16, "int32": np.int32}
ROW_CHECKSUMS = b"row_checksums"  # XXH3-64 of each row of the first layer, then of the second


class DamagedShard(Exception):  # noqa: N818 - a finding that the store acts on, not an error of the user's
    """A shard whose bytes are no longer those that were written."""


def vectors_column(vectors: npt.NDArray[Any]) -> Any:
    """Make a layer's column of a contiguous array of shape (rows, dim), without copying."""
    return pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1])


def frames_column(sequences: Sequence[npt.NDArray[np.float16]]) -> Any:
    """Make a layer's column of one or more arrays of shape (frames, dim), each with its own frames."""
    offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int32)
    frames = np.concatenate(sequences)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.FixedSizeListArray.from_arrays(frames.reshape(-1), frames.shape[1])
    )


def write_shard(folder: Path, keys: Sequence[str], columns: Mapping[str, Any]) -> Path:
    """Write rows as one shard, whole.

    Args:
        folder: The part's folder.
        keys: One audio key per row.
        columns: Per layer name, from `vectors_column` or `frames_column`.

    Raises:
        OSError: If the disk is full, say. No other shard is touched.
    """
    batch = pa.record_batch([pa.array(keys, pa.string()), *columns.values()], names=[KEY, *columns])
    sums = [[xxhash.xxh3_64_intdigest(row) for row in _rows_of(column)] for column in columns.values()]
    batch = batch.replace_schema_metadata({ROW_CHECKSUMS: np.array(sums, "<u8").tobytes()})

    def fill(file: BinaryIO) -> None:
        with pa.ipc.new_stream(file, batch.schema) as stream:
            stream.write_batch(batch)

    return write_whole(folder, fill, lambda path: checksum(path) + SUFFIX)


def list_shards(folder: Path) -> list[Path]:
    """List a folder's shards in the order of their names, which no writer or reader changes."""
    return list_files(folder, SUFFIX)


def open_shard(path: Path, *, verify: bool) -> Any:
    """Map a shard into memory.

    Args:
        path: The shard.
        verify: Whether to hash the file first, which reads all of it (about 5 GB/s from memory).

    Returns:
        Its `pyarrow.RecordBatch`, no byte of which is read before it is used.

    Raises:
        DamagedShard: If the checksum is not the one in the name, or the file is no Arrow stream.
        OSError: If the file cannot be read.
    """
    if verify and not is_sound(path, path.name.removesuffix(SUFFIX)):
        raise DamagedShard(path)
    try:
        file = map_file(path)
    except Damaged as error:
        raise DamagedShard(path) from error
    try:
        return pa.ipc.open_stream(file).read_next_batch()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:  # OSError: shorter than it says
        raise DamagedShard(path) from error


def read_keys(path: Path, *, verify: bool) -> Any:
    """Copy a shard's keys to a `pyarrow.StringArray` that does not keep the file open."""
    keys = open_shard(path, verify=verify).column(KEY)
    return keys.take(pa.array(np.arange(len(keys))))


def layer_view(shard: Any, layer_name: str) -> npt.NDArray[Any]:
    """View one layer of an open shard as an array of shape (rows, dim), as it is kept, without copying."""
    column = shard.column(layer_name)
    return _flat(column.values).reshape(len(column), column.type.list_size)


def frames_views(
    shard: Any, layer_name: str, rows: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.float16]]:
    """View some rows' frames in an open shard as arrays of shape (frames, dim), without copying."""
    column = shard.column(layer_name)
    offsets = _flat(column.offsets)
    frames = _flat(column.values.values).reshape(-1, column.values.type.list_size)
    for row in rows:
        yield frames[offsets[row] : offsets[row + 1]]


def has_row_checksums(shard: Any) -> bool:
    """Whether its rows can be verified one by one; those of before 2026-11 are verified by the shard."""
    return ROW_CHECKSUMS in (shard.schema.metadata or {})


def check_rows(shard: Any, layer_name: str, rows: npt.NDArray[np.int64], values: Iterable[Any]) -> None:
    """Verify some rows of one layer.

    Args:
        shard: From `open_shard`, with row checksums.
        layer_name: Which layer.
        rows: Their places in the shard.
        values: The arrays that were read there, each contiguous.

    Raises:
        DamagedShard: If one is not what was written.
    """
    layer = shard.schema.get_field_index(layer_name) - 1  # the keys come first
    sums = np.frombuffer(shard.schema.metadata[ROW_CHECKSUMS], "<u8")
    if len(sums) != (shard.num_columns - 1) * len(shard):
        raise DamagedShard(layer_name)
    wanted = sums[layer * len(shard) :][rows].tolist()
    for expected, value in zip(wanted, values, strict=True):
        if xxhash.xxh3_64_intdigest(value) != expected:
            raise DamagedShard(layer_name)


def set_aside(path: Path) -> bool:
    """Rename a damaged shard so that nobody opens it again, and warn of it.

    Nothing is renamed at a URL, nor removed: the same rows computed again take its place under its name, and
    may have done so since it was read. That it counts no more is for the manifest to say.

    Returns:
        Whether it was renamed; a folder that may not be written keeps it as it is.
    """
    if is_object(path):
        logger.warning("shard %s is damaged and was left out: its embeddings count as missing", path)
        return False
    is_renamed = False
    with contextlib.suppress(OSError):
        path.rename(path.with_name(path.name + SET_ASIDE))
        is_renamed = True
    fate = "set aside" if is_renamed else "left out (it cannot be renamed)"
    logger.warning("shard %s is damaged and was %s: its embeddings count as missing", path, fate)
    return is_renamed


def _rows_of(column: Any) -> Iterator[Any]:
    """Go through a column's rows as contiguous arrays, without copying."""
    if pa.types.is_fixed_size_list(column.type):
        yield from _flat(column.values).reshape(len(column), column.type.list_size)
        return
    frames = _flat(column.values.values).reshape(-1, column.values.type.list_size)
    offsets = _flat(column.offsets)
    for start, end in pairwise(offsets):
        yield frames[start:end]


def _flat(values: Any) -> npt.NDArray[Any]:
    """View numbers without nulls as an array, without copying; Arrow's own way imports pandas first."""
    dtype = np.dtype(DTYPES[str(values.type)])
    return np.frombuffer(values.buffers()[1], dtype, count=len(values), offset=values.offset * dtype.itemsize)
