"""A part of the store: all embeddings of an encoder under one pooling and precision, or a layer's frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from ser_transfer.store.errors import StoreError
from ser_transfer.store.files import read_small, write_whole
from ser_transfer.store.halves import KEPT
from ser_transfer.tables import text_table

FORMAT = 2  # of part.json and of the shards beside it; a reader refuses what is newer
PLAIN_FORMAT = 1  # of what older versions read as well: all but what is kept in fewer bits
DESCRIPTION = "part.json"
USED = "used"  # a file that says when a part was last read or added to
USED_SECONDS = 24 * 3600.0  # that are not worth writing it again
FRAMES = "frames"  # in place of a pooling: the frames of one layer, as many as the recording is long
FINGERPRINT_DIGITS = 12  # of the fingerprint, in the name of the folder
MAX_SLUG = 40  # characters of the encoder's name in the folder's name; a local checkpoint's path may be long


@dataclass(frozen=True)
class Part:
    """Which numbers are kept: whatever differs here is kept apart.

    Two parts are equal where their embeddings are. What the encoder is called does not count: a
    checkpoint that was moved, or that lies on the Hub and on this disk, has one fingerprint.

    Attributes:
        encoder: The encoder's name, for people.
        fingerprint: Hash of the encoder's weights, configuration and preprocessing.
        pooling: Name of the pooling, or `FRAMES`.
        precision: ``"float32"`` or ``"bf16"``, in which the encoder computed.
        layer_names: One name per layer, first to last.
        dims: Size of each layer's embedding, after pooling; of frames, the size of one.
        frame_rate: Hz, of frames; None where they are pooled.
        kept: ``"float16"`` or ``"bf16"``, where pooled embeddings are kept in half the bytes; None where they
            are kept in float32, and of frames, which always are in float16.
    """

    encoder: str = field(compare=False)
    fingerprint: str
    pooling: str
    precision: str
    layer_names: tuple[str, ...]
    dims: tuple[int, ...]
    frame_rate: float | None = None
    kept: str | None = None

    def __post_init__(self) -> None:
        if not self.layer_names or len(set(self.layer_names)) != len(self.layer_names):
            raise StoreError(f"a part wants one or more layers of different names, not {self.layer_names}")
        if len(self.dims) != len(self.layer_names) or min(self.dims) < 1:
            raise StoreError(
                f"a part wants one positive dim per layer, not {self.dims} for {len(self.layer_names)} layers"
            )

        if self.holds_frames != (self.frame_rate is not None) or (self.holds_frames and len(self.dims) > 1):
            raise StoreError(
                f"a part wants a frame rate, and a single layer, if and only if it holds {FRAMES}; not "
                f"{self.pooling} of {', '.join(self.layer_names)} at {self.frame_rate} Hz"
            )

        if self.kept is not None and (self.kept not in KEPT or self.holds_frames):
            raise StoreError(
                f"pooled embeddings are kept in float32, or in {' or '.join(KEPT)}, not in {self.kept!r}; "
                "frames are always kept in float16"
            )

    @property
    def holds_frames(self) -> bool:
        """Whether a row is an array of shape (frames, dim), and not one vector per layer."""
        return self.pooling == FRAMES

    def keeps_less_of(self, part: Part) -> bool:
        """Whether these are the embeddings of another part, or some of its layers, in no more bits."""
        dims = dict(zip(part.layer_names, part.dims, strict=True))
        return (
            (self.fingerprint, self.pooling, self.precision, self.frame_rate)
            == (part.fingerprint, part.pooling, part.precision, part.frame_rate)
            and all(dims.get(name) == dim for name, dim in zip(self.layer_names, self.dims, strict=True))
            and part.kept in (None, self.kept)
        )

    @property
    def folder_name(self) -> str:
        """A name that people can read, ending in a hash of all that makes the part."""
        identity = _told(self)
        del identity["encoder"]
        digest = xxhash.xxh3_64_hexdigest(json.dumps(identity, sort_keys=True).encode())
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", self.encoder)[-MAX_SLUG:].strip("-.")
        kept = f"-{self.kept}" if self.kept else ""
        fingerprint = self.fingerprint[:FINGERPRINT_DIGITS]
        return f"{slug}-{fingerprint}-{self.pooling}-{self.precision}{kept}-{digest[:8]}"

    def describe(self) -> str:
        """Name the part in a message."""
        pooling = f"{FRAMES} of {self.layer_names[0]}" if self.holds_frames else self.pooling
        kept = f", kept in {self.kept}" if self.kept else ""
        return f"{self.encoder} (fingerprint {self.fingerprint[:12]}, {pooling}, {self.precision}{kept})"


@dataclass(frozen=True)
class StoredPart:
    """A part as it lies on the disk.

    Attributes:
        part: What it holds.
        folder: Where.
        created: When its folder was made (UTC).
        written: When its newest shard was written (UTC); `created` where there is none.
        n_rows: Recordings in it.
        n_bytes: Size of its shards.
        n_shards: How many there are.
        used: When it was last read or written, to a day (UTC).
    """

    part: Part
    folder: Path
    created: datetime
    written: datetime
    n_rows: int
    n_bytes: int
    n_shards: int
    used: datetime

    @property
    def order(self) -> tuple[str, ...]:
        """What lists are sorted by: the encoder's name first."""
        part = self.part
        return (
            part.encoder,
            part.fingerprint,
            part.pooling,
            part.precision,
            part.kept or "",
            *part.layer_names,
            self.folder.name,
        )


def stored_table(parts: Sequence[StoredPart]) -> str:
    """Lay out what a store holds as a table for people; nothing for an empty one."""
    if not parts:
        return ""
    rows = [("encoder", "fingerprint", "pooling", "precision", "layers", "rows", "MB", "written (UTC)")]
    rows += [
        (
            stored.part.encoder,
            stored.part.fingerprint[:12],
            stored.part.pooling,
            stored.part.precision + (f", kept {stored.part.kept}" if stored.part.kept else ""),
            stored.part.layer_names[0] if stored.part.holds_frames else str(len(stored.part.layer_names)),
            str(stored.n_rows),
            f"{stored.n_bytes / 1e6:.1f}",
            f"{stored.written:%Y-%m-%d %H:%M}",
        )
        for stored in parts
    ]
    return text_table(rows)


def listing(parts: Iterable[StoredPart]) -> str:
    """List parts in a message, one line each."""
    lines = [f"  {stored.part.describe()}: {stored.n_rows} rows" for stored in parts]
    return "\n".join(lines) or "  (the store is empty)"


def write_description(folder: Path, part: Part) -> None:
    """Write a part's ``part.json``, whole."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    version = PLAIN_FORMAT if part.kept is None else FORMAT
    text = json.dumps({"format": version, **_told(part), "created": created}, indent=2)

    def fill(file: BinaryIO) -> None:
        file.write(f"{text}\n".encode())

    write_whole(folder, fill, lambda _: DESCRIPTION)


def mark_used(folder: Path) -> None:
    """Note that a part is used, if that was not noted within a day.

    Raises:
        OSError: If the folder may not be written, say.
    """
    now, last = datetime.now(timezone.utc), last_used(folder)
    if last is None or not 0 <= (now - last).total_seconds() < USED_SECONDS:
        text = now.isoformat(timespec="seconds").encode()

        def fill(file: BinaryIO) -> None:
            file.write(text)

        write_whole(folder, fill, lambda _: USED)


def last_used(folder: Path) -> datetime | None:
    """Tell when a part was last used; None if that was never noted."""
    try:
        return datetime.fromisoformat(read_small(folder / USED).decode()).astimezone(timezone.utc)
    except (FileNotFoundError, ValueError):
        return None


def _told(part: Part) -> dict[str, Any]:
    """Spell a part out, without what it does not have."""
    return {name: value for name, value in asdict(part).items() if value is not None}


def read_description(folder: Path) -> tuple[Part, datetime]:
    """Read a part's ``part.json``.

    Returns:
        The part, and when it was created (UTC).

    Raises:
        StoreError: If a newer version wrote it, or it cannot be understood.
    """
    path = folder / DESCRIPTION
    try:
        fields = json.loads(read_small(path).decode())
        version = fields.pop("format")
        if version <= FORMAT:
            created = datetime.fromisoformat(fields.pop("created"))
            tuples = {name: tuple(fields[name]) for name in ("layer_names", "dims")}
            return Part(**{**fields, **tuples}), created
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}): remove {folder}, and its embeddings will "
            "be computed again"
        ) from error
    raise StoreError(
        f"{folder} was written by a newer ser_transfer (store format {version}; this one reads {FORMAT}): "
        "update with `pip install -U ser-transfer`, or name another folder with --store"
    )
