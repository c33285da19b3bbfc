"""The store: a folder of parts, each a folder of shards."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ser_transfer.store.embeddings import Embeddings
from ser_transfer.store.files import StoreError, explaining
from ser_transfer.store.frames import Frames
from ser_transfer.store.part import DESCRIPTION, Part, StoredPart, listing, read_description
from ser_transfer.store.shards import (
    DamagedShard,
    by_shard,
    frames_views,
    layer_view,
    list_shards,
    open_shard,
    read_keys,
    set_aside,
)
from ser_transfer.store.writer import (
    MAX_BYTES,
    MAX_ROWS,
    MAX_SECONDS,
    FramesWriter,
    StoreWriter,
    VectorsWriter,
)

logger = logging.getLogger(__name__)

CLEARED = ".cleared-"  # start of the name of a part that is being removed
MIN_PREFIX = 4  # hex digits that name a fingerprint: fewer are more likely a slip than a choice


class EmbeddingStore:
    """Embeddings on disk, found by what the recording contains and what made the embedding.

    The key of an embedding is (audio key, encoder fingerprint, pooling, precision), never a path: a
    corpus may be moved or renamed, and the same clip in two corpora is computed once.

    Making a store touches nothing on the disk. Reading is memory-mapped and copies only what is asked for.

    Args:
        root: The store's folder.
        verify: Whether to check each shard's checksum when this object first opens it. That reads
            the whole shard once; a store beyond the size of memory may want it off.
    """

    def __init__(self, root: str | Path, *, verify: bool = True) -> None:
        self.root = Path(root)
        self._verify = verify
        # Shards never change, so their keys are read, and their checksums verified, once per store object.
        self._keys: dict[Path, Any] = {}

    def writer(
        self,
        part: Part,
        *,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> StoreWriter:
        """Open a part for writing; see `StoreWriter`."""
        folder = next(iter(self._folders(part)), self.root / part.folder_name)
        writer = FramesWriter if part.holds_frames else VectorsWriter
        return writer(folder, part, max_rows=max_rows, max_bytes=max_bytes, max_seconds=max_seconds)

    def keys(self, part: Part) -> list[str]:
        """List the audio keys whose embeddings a part holds, each once."""
        keys: list[str] = _chain(self._shards(part).values()).unique().to_pylist()
        return keys

    def missing(self, part: Part, keys: Iterable[str]) -> list[str]:
        """List the keys whose embeddings a part lacks, each once, in the order given."""
        wanted = pa.array(dict.fromkeys(keys), pa.string())
        known = pc.is_in(wanted, value_set=_chain(self._shards(part).values()))
        lacking: list[str] = wanted.filter(pc.invert(known)).to_pylist()
        return lacking

    def read(
        self, part: Part, keys: Sequence[str], layers: Iterable[str] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Read embeddings.

        Args:
            part: Which embeddings.
            keys: One audio key per row wanted; a key may come twice.
            layers: Names of the layers wanted, in that order; None for all.

        Returns:
            Per layer a float32 array of shape (len(keys), dim), in the order of `keys`.

        Raises:
            StoreError: If a layer is unknown, or an embedding is not there: see `missing`; or if the part
                holds frames.
        """
        if part.holds_frames:
            raise StoreError(f"{part.describe()} are no embeddings: read them with EmbeddingStore.frames")
        dims = dict(zip(part.layer_names, part.dims, strict=True))
        names = list(dims if layers is None else layers)
        for name in names:
            if name not in dims:
                raise StoreError(f"{part.describe()} has no layer {name!r}; it has {', '.join(dims)}")
        places = self._places(part, keys)
        rows = {name: np.empty((len(keys), dims[name]), np.float32) for name in names}
        with explaining(self.root):
            for path, targets, sources in places:
                shard = open_shard(path, verify=False)
                for name in names:
                    rows[name][targets] = layer_view(shard, name)[sources]
        return rows

    def embeddings(
        self,
        part: Part,
        utterance_ids: Sequence[str],
        keys: Sequence[str],
        layers: Iterable[str] | None = None,
    ) -> Embeddings:
        """Read embeddings under the ids of their utterances.

        Args:
            part: Which embeddings.
            utterance_ids: One unique id per row.
            keys: The audio key of each.
            layers: Names of the layers wanted; None for all.

        Raises:
            StoreError: As `read`; or if ids are not unique, or not as many as keys.
        """
        return Embeddings(
            utterance_ids=tuple(utterance_ids),
            layers=self.read(part, keys, layers),
            encoder=part.encoder,
            fingerprint=part.fingerprint,
            pooling=part.pooling,
            precision=part.precision,
        )

    def frames(self, part: Part, utterance_ids: Sequence[str], keys: Sequence[str]) -> Frames:
        """Map the frames of one layer into memory: none is read before it is used.

        Args:
            part: Whose frames.
            utterance_ids: One unique id per recording.
            keys: The audio key of each.

        Raises:
            StoreError: If the part holds none, frames are not there (see `missing`), or ids are not unique,
                or not as many as keys.
        """
        if part.frame_rate is None:
            raise StoreError(f"{part.describe()} holds no frames: read it with EmbeddingStore.embeddings")
        [layer_name] = part.layer_names
        sequences: list[Any] = [None] * len(keys)
        with explaining(self.root):
            for path, targets, sources in self._places(part, keys):
                views = frames_views(open_shard(path, verify=False), layer_name, sources)
                for target, view in zip(targets, views, strict=True):
                    sequences[target] = view
        return Frames(
            utterance_ids=tuple(utterance_ids),
            sequences=tuple(sequences),
            layer=layer_name,
            frame_rate=part.frame_rate,
            encoder=part.encoder,
            fingerprint=part.fingerprint,
            precision=part.precision,
        )

    def _places(self, part: Part, keys: Sequence[str]) -> Iterator[tuple[Path, Any, Any]]:
        """Find the rows of some keys; see `by_shard`."""
        shards = self._shards(part)
        # index_in gives the first place of a key among all shards: of a row written twice, the first counts.
        places = pc.index_in(pa.array(keys, pa.string()), value_set=_chain(shards.values()))
        if places.null_count:
            first = keys[places.is_null().index(True).as_py()]
            flags = f" and --frames {part.layer_names[0]}" if part.holds_frames else ""
            raise StoreError(
                f"{places.null_count} of {len(keys)} embeddings by {part.describe()} are not in {self.root}, "
                f"the first that of audio {first}: run `ser-transfer embed` with this corpus and "
                f"encoder{flags}"
            )
        return by_shard(shards, places.to_numpy())

    def parts(self) -> list[StoredPart]:
        """List what the store holds, by the encoder's name. Checksums are not verified for it."""
        with explaining(self.root):
            found = [self._stored(folder, *read_description(folder)) for folder in self._part_folders()]
        return sorted(found, key=lambda stored: stored.order)

    def clear(
        self, encoder: str, *, pooling: str | None = None, precision: str | None = None
    ) -> list[StoredPart]:
        """Remove an encoder's embeddings.

        Args:
            encoder: An encoder's name, which means all fingerprints it has had, or the first digits
                (at least `MIN_PREFIX`) of one fingerprint.
            pooling: Remove only this pooling, or ``"frames"``; None for all, frames too.
            precision: Remove only this precision; None for all.

        Returns:
            What was removed.

        Raises:
            StoreError: If nothing is meant, or more than one fingerprint starts so. Nothing is removed then.
        """
        parts = self.parts()
        meant = [stored for stored in parts if stored.part.encoder == encoder]
        if not meant and len(encoder) >= MIN_PREFIX:
            meant = [stored for stored in parts if stored.part.fingerprint.startswith(encoder)]
            if len({stored.part.fingerprint for stored in meant}) > 1:
                raise StoreError(
                    f"fingerprint {encoder}… is ambiguous: give more digits of one of\n{listing(meant)}"
                )
        meant = [
            stored
            for stored in meant
            if pooling in (None, stored.part.pooling) and precision in (None, stored.part.precision)
        ]
        if not meant:
            raise StoreError(
                f"nothing in {self.root} is by encoder {encoder!r} (pooling {pooling or 'any'}, precision "
                f"{precision or 'any'}). Name one of these, or {MIN_PREFIX} digits of its fingerprint:\n"
                + listing(parts)
            )
        with explaining(self.root):
            for stored in meant:
                # Renamed first: no reader ever sees half a part, whenever this is killed.
                stored.folder.rename(self.root / f"{CLEARED}{secrets.token_hex(8)}")
            for folder in self.root.glob(f"{CLEARED}*"):
                shutil.rmtree(folder)
        return meant

    def _part_folders(self) -> list[Path]:
        return sorted(path.parent for path in self.root.glob(f"[!.]*/{DESCRIPTION}"))

    def _folders(self, part: Part) -> list[Path]:
        """Find a part's folder; two, if processes that call its encoder differently began at once."""
        with explaining(self.root):
            return [folder for folder in self._part_folders() if read_description(folder)[0] == part]

    def _shards(self, part: Part) -> dict[Path, Any]:
        """Map each sound shard of a part to its keys, in a fixed order."""
        with explaining(self.root):
            return {
                path: keys
                for folder in self._folders(part)
                for path, keys in self._keys_in(folder, verify=self._verify)
            }

    def _keys_in(self, folder: Path, *, verify: bool) -> Iterator[tuple[Path, Any]]:
        for path in list_shards(folder):
            keys = self._keys.get(path)
            if keys is None:
                try:
                    keys = read_keys(path, verify=verify)
                except FileNotFoundError:
                    continue  # set aside or cleared by another process since it was listed
                except DamagedShard:
                    fate = "set aside" if set_aside(path) else "left out (it cannot be renamed)"
                    logger.warning(
                        "shard %s is damaged and was %s: its embeddings count as missing", path, fate
                    )
                    continue
                if verify == self._verify:
                    self._keys[path] = keys
            yield path, keys

    def _stored(self, folder: Path, part: Part, created: datetime) -> StoredPart:
        shards = dict(self._keys_in(folder, verify=False))
        files = [path.stat() for path in shards]
        newest = max((file.st_mtime for file in files), default=created.timestamp())
        return StoredPart(
            part=part,
            folder=folder,
            created=created,
            written=datetime.fromtimestamp(newest, timezone.utc),
            n_rows=pc.count_distinct(_chain(shards.values())).as_py(),
            n_bytes=sum(file.st_size for file in files),
        )


def _chain(arrays: Iterable[Any]) -> Any:
    return pa.chunked_array(list(arrays), pa.string())
