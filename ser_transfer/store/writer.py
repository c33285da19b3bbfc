"""Rows in, shards out, in memory that does not grow with the corpus."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from ser_transfer.store.files import StoreError, explaining, remove_leftovers
from ser_transfer.store.part import DESCRIPTION, Part, write_description
from ser_transfer.store.shards import write_shard

MAX_ROWS = 512  # per shard: a few seconds of handcrafted features, 40 MB of wav2vec2-base
MAX_BYTES = 64 << 20  # per shard, and about all the memory a writer takes
MAX_SECONDS = 10.0  # of work that a kill can lose


class StoreWriter:
    """Collects rows and writes them as shards: when there are enough, when they are old, and at the end.

    Use it as a context manager. A body that raises, or is interrupted, still keeps the rows it added.
    Any number of processes may write one part at once, without waiting for one another; a row that two
    of them wrote is there twice, and read once.

    Args:
        folder: The part's folder; made where it is missing.
        part: What the rows are.
        max_rows: Rows per shard.
        max_bytes: Bytes per shard; a larger row is a shard of its own.
        max_seconds: Age at which rows are written with the next `add`, however few they are.
    """

    def __init__(
        self,
        folder: Path,
        part: Part,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        row_bytes = sum(part.dims) * np.dtype(np.float32).itemsize
        self._max_rows = max(1, min(max_rows, max_bytes // row_bytes))
        self._max_seconds = max_seconds
        self._folder = folder
        self._part = part
        self._keys: list[str] = []
        self._layers = [np.empty((self._max_rows, dim), np.float32) for dim in part.dims]
        self._oldest = 0.0  # time.monotonic() at the first row that is not yet written

    def __enter__(self) -> StoreWriter:
        with explaining(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._folder)
            if not (self._folder / DESCRIPTION).exists():
                write_description(self._folder, self._part)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add(self, key: str, layers: Sequence[npt.ArrayLike]) -> None:
        """Add one recording's embedding.

        Args:
            key: The audio key, from `ser_transfer.audio.audio_key`.
            layers: One finite array of shape (dim,) per layer of the part. They are copied.

        Raises:
            StoreError: If a layer is missing, of another shape, or not finite; or if a shard that was
                due could not be written. The rows added before are kept in the first case.
        """
        if len(layers) != len(self._part.dims):
            raise StoreError(
                f"{self._part.describe()} has {len(self._part.dims)} layers, and the embedding of {key} has "
                f"{len(layers)}"
            )
        row = len(self._keys)
        for name, buffer, layer in zip(self._part.layer_names, self._layers, layers, strict=True):
            vector = np.asarray(layer)
            if vector.shape != buffer[row].shape:
                raise StoreError(
                    f"layer {name} of {self._part.describe()} wants shape {buffer[row].shape}, and the "
                    f"embedding of {key} has {vector.shape}"
                )
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, and is refused below
                buffer[row] = vector
            if not np.isfinite(buffer[row]).all():
                raise StoreError(
                    f"layer {name} of {self._part.describe()} is not finite for {key}: NaN or inf would "
                    "spoil every head trained on it. Listen to that recording, or try --precision float32"
                )
        if not self._keys:
            self._oldest = time.monotonic()
        self._keys.append(key)
        if len(self._keys) >= self._max_rows or time.monotonic() - self._oldest >= self._max_seconds:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are waiting as one shard.

        Raises:
            StoreError: If it cannot be written. These rows are lost then, and no others.
        """
        if not self._keys:
            return
        # Emptied first: what failed once is not tried again on the way out.
        keys, self._keys = self._keys, []
        with explaining(self._folder):
            write_shard(self._folder, self._part, keys, [layer[: len(keys)] for layer in self._layers])
