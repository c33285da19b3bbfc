"""What each part of a store takes on the disk, and for what."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_transfer.places import found_below, is_object
from ser_transfer.store.part import StoredPart
from ser_transfer.store.shards import SET_ASIDE
from ser_transfer.tables import text_table

MEGABYTE = 1e6


@dataclass(frozen=True)
class PartSize:
    """What a part takes.

    Attributes:
        stored: The part; its `n_bytes` are those of the shards that count.
        index_bytes: Of its indexes, replaced ones included.
        damaged_bytes: Of damaged shards that were set aside, to be looked at and removed.
        spare_bytes: Of all else: shards that were merged and wait to be removed, or that a kill left.
    """

    stored: StoredPart
    index_bytes: int
    damaged_bytes: int
    spare_bytes: int


def part_size(stored: StoredPart) -> PartSize:
    """Measure a part's folder, by listing it."""
    if is_object(stored.folder):
        found = found_below(stored.folder)
        in_folder = {each.name: each.n_bytes for each in found if "/" not in each.name}
        index_bytes = sum(each.n_bytes for each in found if "/" in each.name)
    else:
        in_folder = _sizes(stored.folder)
        index_bytes = sum(
            sum(_sizes(Path(each.path)).values()) for each in os.scandir(stored.folder) if each.is_dir()
        )
    damaged = sum(size for name, size in in_folder.items() if name.endswith(SET_ASIDE))
    spare = sum(in_folder.values()) - damaged - stored.n_bytes
    return PartSize(stored, index_bytes, damaged, max(0, spare))


def sizes_table(root: Path, parts: Sequence[PartSize]) -> str:
    """Lay out sizes as a table for people, with their sum and what the disk has left."""
    header = ("encoder", "pooling", "precision", "rows", "shards", "MB", "bytes/row")
    rows = [(*header, "index MB", "spare MB", "damaged MB", "used (UTC)")]
    for size in parts:
        stored = size.stored
        rows.append(
            (
                f"{stored.part.encoder} {stored.part.fingerprint[:12]}",
                stored.part.pooling,
                stored.part.precision,
                str(stored.n_rows),
                str(stored.n_shards),
                _megabytes(stored.n_bytes),
                str(round(stored.n_bytes / max(1, stored.n_rows))),
                _megabytes(size.index_bytes),
                _megabytes(size.spare_bytes),
                _megabytes(size.damaged_bytes),
                f"{stored.used:%Y-%m-%d}",
            )
        )
    in_all = sum(
        size.stored.n_bytes + size.index_bytes + size.spare_bytes + size.damaged_bytes for size in parts
    )
    told = f"{text_table(rows)}\n{_megabytes(in_all)} MB in {root}"
    if is_object(root):
        return told
    return f"{told}; {_megabytes(shutil.disk_usage(root).free)} MB free on its disk"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / MEGABYTE:.1f}"


def _sizes(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as found:
        return {each.name: each.stat().st_size for each in found if each.is_file()}
