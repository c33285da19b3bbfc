"""Rows in, shards out, in memory that does not grow with the corpus."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer._interrupts import finishing
from ser_transfer.places import is_object
from ser_transfer.store.errors import StoreError, explaining
from ser_transfer.store.files import make_folder, n_bytes_of, remove_leftovers, status_written
from ser_transfer.store.halves import cosine_costs, halved, restored
from ser_transfer.store.index import Entry
from ser_transfer.store.manifest import ManifestWriter
from ser_transfer.store.part import DESCRIPTION, Part, write_description
from ser_transfer.store.shards import frames_column, vectors_column, write_shard

MAX_ROWS = 8192  # per shard, of small rows: 1,000 random ones of a million then lie in 123 files
MAX_BYTES = 64 << 20  # per shard, and about all the memory a writer takes
MAX_SECONDS = 10.0  # of work that a kill can lose


class StoreWriter(ABC):
    """Collects rows and writes them as shards: when there are enough, when they are old, and at the end.

    Use it as a context manager. A body that raises, or is interrupted, still keeps the rows it added.
    Any number of processes may write one part at once, without waiting for one another; a row that two
    of them wrote is there twice, and read once. A shard counts once the manifest names it: a kill between
    the two leaves a file that nobody reads, until `python -m ser_transfer.tidy --verify` takes it up.

    Args:
        folder: The part's folder; made where it is missing.
        part: What the rows are.
        max_rows: Rows per shard.
        max_bytes: Bytes per shard; a larger row is a shard of its own.
        max_seconds: Age at which rows are written with the next `add`, however few they are.

    Attributes:
        cosine_cost: Where vectors are kept in half the bytes, the largest cost that
            `ser_transfer.store.halves.cosine_costs` found so far; else 0.
    """

    cosine_cost = 0.0

    def __init__(
        self,
        folder: Path,
        part: Part,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._folder = folder
        self._part = part
        self._keys: list[str] = []
        self._oldest = 0.0  # time.monotonic() at the first row that is not yet written

    def __enter__(self) -> StoreWriter:
        with explaining(self._folder):
            make_folder(self._folder)
            remove_leftovers(self._folder)
            if n_bytes_of(self._folder / DESCRIPTION) is None:
                write_description(self._folder, self._part)
            self._manifest = ManifestWriter(self._folder)
            self._manifest.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C, while what was finished before the first is written, stops at once.
        with nullcontext() if kind is KeyboardInterrupt else finishing():
            self.flush(last=True)
            with explaining(self._folder):
                self._manifest.finish()
                # A folder that is removed takes writes with it; the objects of a cleared part do not.
                if is_object(self._folder) and n_bytes_of(self._folder / DESCRIPTION) is None:
                    raise StoreError(
                        f"{self._folder} was removed while it was in use: run the same command again"
                    )

    def add(self, key: str, layers: Sequence[npt.ArrayLike]) -> None:
        """Add one recording's embedding, or its frames.

        Args:
            key: The audio key, from `ser_transfer.audio.audio_key`.
            layers: One finite array per layer of the part: of shape (dim,), or (frames, dim) where the part
                holds frames. They are copied.

        Raises:
            StoreError: If a layer is missing, of another shape, or not finite; if frames are beyond float16;
                or if a shard that was due could not be written. The rows added before are kept but in the
                last case.
        """
        if len(layers) != len(self._part.dims):
            raise StoreError(
                f"{self._part.describe()} has {len(self._part.dims)} layers, and the embedding of {key} has "
                f"{len(layers)}"
            )
        self._take(key, layers)
        if not self._keys:
            self._oldest = time.monotonic()
        self._keys.append(key)
        if self._is_full() or time.monotonic() - self._oldest >= self._max_seconds:
            with finishing():
                self.flush()

    def flush(self, *, last: bool = False) -> None:
        """Write the rows that are waiting as one shard, and let it count.

        Args:
            last: Whether nothing follows.

        Raises:
            StoreError: If it cannot be written. These rows are lost then, and no others.
        """
        if not self._keys:
            return
        # Emptied first: what failed once is not tried again on the way out.
        columns = self._emptied()
        keys, self._keys = self._keys, []
        with explaining(self._folder):
            path = write_shard(self._folder, keys, dict(zip(self._part.layer_names, columns, strict=True)))
            entry = Entry.of(path.name, len(keys), status_written(path).st_size)
            self._manifest.add(entry, keys, last=last)

    @abstractmethod
    def _take(self, key: str, layers: Sequence[npt.ArrayLike]) -> None:
        """Copy a row to where `len(self._keys)` rows are waiting, or refuse it."""

    @abstractmethod
    def _is_full(self) -> bool:
        """Whether the rows that are waiting make a shard."""

    @abstractmethod
    def _emptied(self) -> list[Any]:
        """Hand over the rows that are waiting, as one column per layer."""

    def _not_finite(self, name: str, key: str) -> StoreError:
        return StoreError(
            f"layer {name} of {self._part.describe()} is not finite for {key}: NaN or inf would spoil every "
            "head trained on it. Listen to that recording, or try --precision float32"
        )


class VectorsWriter(StoreWriter):
    """Writes one vector per layer and recording, from buffers that are filled again and again."""

    def __init__(self, folder: Path, part: Part, **limits: Any) -> None:
        super().__init__(folder, part, **limits)
        row_bytes = sum(part.dims) * np.dtype(np.float32).itemsize
        self._max_rows = max(1, min(self._max_rows, self._max_bytes // row_bytes))
        self._layers = [np.empty((self._max_rows, dim), np.float32) for dim in part.dims]

    def _take(self, key: str, layers: Sequence[npt.ArrayLike]) -> None:
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
                raise self._not_finite(name, key)
            if self._part.kept and not np.isfinite(restored(halved(buffer[row], self._part.kept))).all():
                raise StoreError(
                    f"layer {name} of {self._part.describe()} reaches {np.abs(buffer[row]).max():.6g} for "
                    f"{key}, beyond {self._part.kept}: leave --keep out"
                    + (", or take --keep bf16" if self._part.kept == "float16" else "")
                )

    def _is_full(self) -> bool:
        return len(self._keys) >= self._max_rows

    def _emptied(self) -> list[Any]:
        layers = [layer[: len(self._keys)] for layer in self._layers]
        if self._part.kept:
            costs = [cosine_costs(layer, self._part.kept).max() for layer in layers]
            self.cosine_cost = max(self.cosine_cost, *costs)
        return [vectors_column(halved(layer, self._part.kept)) for layer in layers]


class FramesWriter(StoreWriter):
    """Writes one layer's frames in float16, for each recording as many as it has."""

    def __init__(self, folder: Path, part: Part, **limits: Any) -> None:
        super().__init__(folder, part, **limits)
        self._sequences: list[npt.NDArray[np.float16]] = []
        self._n_bytes = 0

    def _take(self, key: str, layers: Sequence[npt.ArrayLike]) -> None:
        [name], [dim] = self._part.layer_names, self._part.dims
        frames = np.asarray(layers[0])
        if frames.ndim != 2 or frames.shape[1] != dim or not len(frames):
            raise StoreError(
                f"{self._part.describe()} want shape (frames, {dim}) with one frame or more, and those of "
                f"{key} have {frames.shape}"
            )
        if not np.isfinite(frames).all():
            raise self._not_finite(name, key)
        with np.errstate(over="ignore"):  # what becomes inf is refused below
            halves = np.array(frames, np.float16)
        if not np.isfinite(halves).all():
            raise StoreError(
                f"{self._part.describe()} reach {np.abs(frames).max():.6g} for {key}, and frames are kept in "
                f"float16, which ends at {np.finfo(np.float16).max:.0f}. Leave {name} out of --frames; its "
                "pooled embeddings are kept in float32"
            )
        self._sequences.append(halves)
        self._n_bytes += halves.nbytes

    def _is_full(self) -> bool:
        return len(self._sequences) >= self._max_rows or self._n_bytes >= self._max_bytes

    def _emptied(self) -> list[Any]:
        sequences, self._sequences, self._n_bytes = self._sequences, [], 0
        return [frames_column(sequences)]
