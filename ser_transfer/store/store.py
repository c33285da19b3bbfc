"""The store: a folder of parts, each a folder of shards and of the indexes that say where every row lies."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_transfer.places import is_object, place
from ser_transfer.store.catalogue import CatalogueReader, Take
from ser_transfer.store.clearing import clear_objects, part_folders, remove_cleared
from ser_transfer.store.embeddings import Embeddings
from ser_transfer.store.errors import StoreError, explaining
from ser_transfer.store.frames import Frames
from ser_transfer.store.halves import restored
from ser_transfer.store.index import key_array, key_texts
from ser_transfer.store.part import (
    DESCRIPTION,
    FINGERPRINT_DIGITS,
    Part,
    StoredPart,
    last_used,
    listing,
    mark_used,
    read_description,
)
from ser_transfer.store.shards import check_rows, frames_views, layer_view
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
ROWS_AT_A_TIME = 128  # gathered before they are put where they belong: what fits into a core's cache
MIN_PREFIX = 4  # hex digits that name a fingerprint: fewer are more likely a slip than a choice


class EmbeddingStore:
    """Embeddings on disk, found by what the recording contains and what made the embedding.

    The key of an embedding is (audio key, encoder fingerprint, pooling, precision), never a path: a
    corpus may be moved or renamed, and the same clip in two corpora is computed once.

    Making a store touches nothing on the disk. Reading is memory-mapped and copies only what is asked for.
    Of a store at a URL (``s3://bucket/store``) each shard that is read is fetched once, whole, to this disk;
    see `ser_transfer.store.fetched`.

    Args:
        root: The store's folder, or its URL.
        verify: Whether to check checksums: of a shard when this object first needs it, or of a row as it is
            read, where there is too much to check at once; see `ser_transfer.store.catalogue`.
    """

    def __init__(self, root: str | Path, *, verify: bool = True) -> None:
        self.root = place(root)
        self._verify = verify
        self._catalogues = CatalogueReader(verify=verify)

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
        with explaining(self.root):
            found = list(self._catalogues.sound(self._folders(part)).sorted_keys())
        return [key for keys in found for key in key_texts(keys)]

    def missing(self, part: Part, keys: Iterable[str]) -> list[str]:
        """List the keys whose embeddings a part lacks, each once, in the order given."""
        wanted = list(dict.fromkeys(keys))
        with explaining(self.root):
            _, shards, _ = self._catalogues.find(self._used_folders(part), key_array(wanted))
        return [wanted[row] for row in np.flatnonzero(shards < 0)]

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
        rows = {name: np.empty((len(keys), dims[name]), np.float32) for name in names}

        def take(
            shard: Any, targets: npt.NDArray[np.intp], sources: npt.NDArray[np.int64], check: bool
        ) -> None:
            for name in names:
                view = layer_view(shard, name)
                for start in range(0, len(sources), ROWS_AT_A_TIME):
                    block = slice(start, start + ROWS_AT_A_TIME)
                    vectors = view[sources[block]]
                    if check:
                        check_rows(shard, name, sources[block], vectors)
                    rows[name][targets[block]] = restored(vectors)

        self._take_rows(part, keys, take)
        return rows

    def embeddings(
        self,
        part: Part,
        utterance_ids: Sequence[str],
        keys: Sequence[str],
        layers: Iterable[str] | None = None,
    ) -> Embeddings:
        """Read embeddings under the ids of their utterances.

        Where the part has not all of them, one that keeps fewer layers, or fewer bits, of the same embeddings
        answers in its place, with a warning.

        Args:
            part: Which embeddings.
            utterance_ids: One unique id per row.
            keys: The audio key of each.
            layers: Names of the layers wanted; None for all.

        Raises:
            StoreError: As `read`; or if ids are not unique, or not as many as keys.
        """
        names = None if layers is None else list(layers)
        part = self._answering(part, keys, names)
        return Embeddings(
            utterance_ids=tuple(utterance_ids),
            layers=self.read(part, keys, names),
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

        def take(
            shard: Any, targets: npt.NDArray[np.intp], sources: npt.NDArray[np.int64], check: bool
        ) -> None:
            views = list(frames_views(shard, layer_name, sources))
            if check:
                check_rows(shard, layer_name, sources, views)
            for target, view in zip(targets, views, strict=True):
                sequences[target] = view

        self._take_rows(part, keys, take)
        return Frames(
            utterance_ids=tuple(utterance_ids),
            sequences=tuple(sequences),
            layer=layer_name,
            frame_rate=part.frame_rate,
            encoder=part.encoder,
            fingerprint=part.fingerprint,
            precision=part.precision,
        )

    def _answering(self, part: Part, keys: Sequence[str], layers: Sequence[str] | None) -> Part:
        """Find the part that has all of some embeddings: the one asked for, or one that keeps less."""
        with explaining(self.root):
            described = [each for _, each, _ in self._described(part.fingerprint[:FINGERPRINT_DIGITS])]
            lesser = {each for each in described if each != part and each.keeps_less_of(part)}
            if not lesser or self._has(part, keys):
                return part
            for each in sorted(lesser, key=lambda each: (-len(each.dims), each.kept or "", each.layer_names)):
                if set(layers or ()) <= set(each.layer_names) and self._has(each, keys):
                    logger.warning(
                        "%s are read as they were kept: %d of %d layers, in %s",
                        part.describe(),
                        len(each.layer_names),
                        len(part.layer_names),
                        each.kept or "float32",
                    )
                    return each
        return part

    def _has(self, part: Part, keys: Sequence[str]) -> bool:
        """Whether a part has all of some embeddings, damage aside."""
        shards, _ = self._catalogues.read(self._folders(part)).find(key_array(keys))
        return bool((shards >= 0).all())

    def _take_rows(self, part: Part, keys: Sequence[str], take: Take) -> None:
        with explaining(self.root):
            shards = self._catalogues.take(self._used_folders(part), key_array(keys), take)
        if (shards < 0).any():
            raise self._lacks(part, keys, shards)

    def _lacks(self, part: Part, keys: Sequence[str], shards: npt.NDArray[np.int64]) -> StoreError:
        lacking = np.flatnonzero(shards < 0)
        flags = f" and --frames {part.layer_names[0]}" if part.holds_frames else ""
        return StoreError(
            f"{len(lacking)} of {len(keys)} embeddings by {part.describe()} are not in {self.root}, "
            f"the first that of audio {keys[lacking[0]]}: run `ser-transfer embed` with this corpus and "
            f"encoder{flags}"
        )

    def parts(self) -> list[StoredPart]:
        """List what the store holds, by the encoder's name, as its indexes say: no shard is opened for it."""
        with explaining(self.root):
            found = [self._stored(*described) for described in self._described()]
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
        with explaining(self.root):
            remove_cleared(self.root)
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
        self._remove(meant)
        return meant

    def collect(self, n_days: float) -> list[StoredPart]:
        """Remove what nobody has read or added to for some days; it is computed again when it is wanted.

        Args:
            n_days: How many. Use is noted to a day, and where the store may be written.

        Returns:
            What was removed.
        """
        latest = datetime.now(timezone.utc) - timedelta(days=n_days)
        unused = [stored for stored in self.parts() if stored.used < latest]
        self._remove(unused)
        return unused

    def _remove(self, parts: Iterable[StoredPart]) -> None:
        with explaining(self.root):
            for stored in parts:
                if is_object(self.root):
                    clear_objects(stored.folder)
                    continue
                # Renamed first: no reader ever sees half a part, whenever this is killed.
                stored.folder.rename(self.root / f"{CLEARED}{secrets.token_hex(8)}")
            if is_object(self.root):
                remove_cleared(self.root)
                return
            for folder in self.root.glob(f"{CLEARED}*"):
                shutil.rmtree(folder)

    def _described(self, fingerprint: str = "") -> Iterator[tuple[Path, Part, datetime]]:
        """Go through the folders of parts, with what each holds and when it was made.

        Args:
            fingerprint: Digits in the names of the folders at a URL that are looked at, a request each.
        """
        if is_object(self.root):
            folders = part_folders(self.root, fingerprint)
        else:
            folders = sorted(path.parent for path in self.root.glob(f"[!.]*/{DESCRIPTION}"))
        for folder in folders:
            with contextlib.suppress(FileNotFoundError):  # being cleared, or no part
                yield folder, *read_description(folder)

    def _folders(self, part: Part) -> list[Path]:
        """Find a part's folder; two, if processes that call its encoder differently began at once."""
        with explaining(self.root):
            digits = part.fingerprint[:FINGERPRINT_DIGITS]
            return [folder for folder, each, _ in self._described(digits) if each == part]

    def _used_folders(self, part: Part) -> list[Path]:
        """Find a part's folders, and note in them that it was used."""
        folders = self._folders(part)
        for folder in folders:
            with contextlib.suppress(OSError):  # a store that may not be written
                mark_used(folder)
        return folders

    def _stored(self, folder: Path, part: Part, created: datetime) -> StoredPart:
        catalogue = self._catalogues.read([folder])
        entries = [entry for _, entry in catalogue.shards]
        newest = max((entry.written for entry in entries), default=created.timestamp())
        return StoredPart(
            part=part,
            folder=folder,
            created=created,
            written=datetime.fromtimestamp(newest, timezone.utc),
            n_rows=catalogue.n_distinct(),
            n_bytes=sum(entry.n_bytes for entry in entries),
            n_shards=len(entries),
            used=max(last_used(folder) or created, datetime.fromtimestamp(newest, timezone.utc)),
        )
