"""Let the disk be full at every write: a real file system of a few hundred kilobytes, filled again and again.

    sudo python benchmarks/full_disk.py

A tmpfs is mounted with room for nothing, and given `--step` more kilobytes after each failure, so that
writing ends inside shards, inside indexes and between them, wherever a page boundary falls. After each
failure the store is opened anew: every row that it says it has must be there, bit for bit, and none that was
there before may be gone; then the run goes on with what is missing. Every few failures the store is
compacted, on a disk as full. Exits with 1 if anything is lost or wrong. Mounting needs root.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from ser_transfer.store import EmbeddingStore, Part, StoreError, compact, verify

PART = Part("synthetic", "0" * 64, "mean", "float32", ("layer_0", "layer_1"), (24, 40))
COMPACT_EVERY = 10  # failures


def key(i: int) -> str:
    """Name a row."""
    return f"{i:032x}"


def embedding(i: int) -> list[np.ndarray]:
    """Make a row, always the same."""
    generator = np.random.default_rng(i)
    return [generator.standard_normal(dim, dtype=np.float32) for dim in PART.dims]


def mount(folder: Path, kilobytes: int, *options: str) -> None:
    """Mount a tmpfs, or make it larger."""
    told = ",".join([*options, f"size={kilobytes}k"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", told, "tmpfs", str(folder)], check=True)


def n_wrong(root: Path, present: list[str]) -> int:
    """Count rows that are not what was written."""
    layers = EmbeddingStore(root).read(PART, present)
    return sum(
        any(
            layer[row].tobytes() != expected.tobytes()
            for layer, expected in zip(layers.values(), embedding(int(name, 16)), strict=True)
        )
        for row, name in enumerate(present)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000, help="rows to write")
    parser.add_argument(
        "--step", type=int, default=4, help="kilobytes that the disk grows by after a failure"
    )
    settings = parser.parse_args()
    keys = [key(i) for i in range(settings.rows)]
    had: set[str] = set()
    n_full = n_full_compactions = n_lost = n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        disk, kilobytes = Path(folder), settings.step
        root = disk / "store"
        mount(disk, kilobytes)
        try:
            while True:
                try:
                    missing = EmbeddingStore(root).missing(PART, keys)
                    present = set(keys) - set(missing)
                    n_lost += len(had - present)
                    n_bad += n_wrong(root, sorted(present - had))
                    had = present
                    if not missing:
                        break
                    with EmbeddingStore(root).writer(PART, max_rows=8) as writer:
                        for name in missing:
                            writer.add(name, embedding(int(name, 16)))
                except StoreError as error:
                    if "no space left" not in str(error):
                        raise
                    n_full += 1
                if n_full % COMPACT_EVERY == 0 and EmbeddingStore(root).parts():
                    try:
                        compact(root / PART.folder_name, PART, grace_hours=0)
                    except OSError:
                        n_full_compactions += 1
                kilobytes += settings.step
                mount(disk, kilobytes, "remount")
            n_bad += n_wrong(root, keys)
            is_sound = verify(root / PART.folder_name).is_sound
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    print(
        f"{len(had)} of {settings.rows} rows written on a disk that was full {n_full} times, and for "
        f"{n_full_compactions} compactions, up to {kilobytes} kB"
    )
    print(f"{n_lost} rows lost, {n_bad} wrong, {'all shards sound' if is_sound else 'SHARDS DAMAGED'}")
    return 0 if len(had) == settings.rows and is_sound and not n_lost + n_bad else 1


if __name__ == "__main__":
    sys.exit(main())
