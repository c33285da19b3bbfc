"""Rows as Parquet files, as `datasets` reads them: each file is checked by its hash when it comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ser_transfer.sharing.errors import SharingError

if TYPE_CHECKING:
    from datasets import Features

MAX_BYTES = 400 << 20  # of numbers per file: below the 500 MB that the Hub asks for
ROW_GROUP_BYTES = 32 << 20  # read at once by viewers and streams
BLOCK = 1 << 20  # bytes hashed at a time


def vectors(layer: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Make a column of an array of shape (rows, dim), without copying a contiguous one."""
    return pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(layer).reshape(-1), layer.shape[1])


def write_rows(
    columns: Mapping[str, Any], features: Features, folder: Path, split: str, max_bytes: int = MAX_BYTES
) -> list[str]:
    """Write rows as ``<split>-00000-of-00002.parquet`` and so on.

    Args:
        columns: Per name an Arrow array, or values that the feature of that name takes.
        features: Of the same names. `datasets` finds them in the files.
        folder: Made if it is not there.
        split: As `datasets` will call it.
        max_bytes: Per file, of the rows in memory; one file holds one row or more.

    Returns:
        The SHA-256 of each file.

    Raises:
        SharingError: If the folder cannot be written.
    """
    schema = features.arrow_schema
    arrays = [
        array if isinstance(array, pa.Array) else pa.array(array, schema.field(name).type)
        for name, array in columns.items()
    ]
    table = pa.Table.from_arrays(arrays, schema=schema)
    n_bytes = max(1, table.nbytes // max(1, len(table)))
    n_files = max(1, -(-table.nbytes // max_bytes))
    n_rows = -(-len(table) // n_files)
    n_files = max(1, -(-len(table) // max(1, n_rows)))
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    hashes = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(n_files):
            path = folder / file_name(split, number, n_files)
            pq.write_table(
                table.slice(number * n_rows, n_rows),
                path,
                row_group_size=max(1, ROW_GROUP_BYTES // n_bytes),
                use_dictionary=texts,  # no two numbers of an embedding are equal
                compression="zstd",
            )
            hashes.append(sha256_of(path))
    except OSError as error:
        raise SharingError(f"cannot write to {folder}: {error.strerror or error}") from error
    return hashes


def file_name(split: str, number: int, n_files: int) -> str:
    """Name one of several files, as the Hub's own are named."""
    return f"{split}-{number:05d}-of-{n_files:05d}.parquet"


def sha256_of(path: Path) -> str:
    """Hash a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_rows(folder: Path, split: str, hashes: Sequence[str], where: str) -> pa.Table:
    """Read what `write_rows` wrote.

    Args:
        folder: That it wrote to.
        split: The same.
        hashes: What it returned.
        where: Names the repository in the message.

    Raises:
        SharingError: If a file is missing, or other than it was.
    """
    tables = []
    for number, expected in enumerate(hashes):
        path = folder / file_name(split, number, len(hashes))
        name = f"{folder.name}/{path.name}"
        if not path.is_file():
            raise SharingError(f"{where} has no file {name}, which belongs to it: fetch it again")
        if sha256_of(path) != expected:
            raise SharingError(f"{where} is damaged: {name} is not the file that was shared; fetch it again")
        with pq.ParquetFile(path) as file:
            tables.append(file.read())
    return pa.concat_tables(tables)


def layer_of(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """Take one column of vectors as a float32 array of shape (rows, dim)."""
    column = table.column(name).combine_chunks()
    numbers: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), column.type.list_size)
