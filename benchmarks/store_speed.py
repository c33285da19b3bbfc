"""Speed of the embedding store: rows written and read per second, and the time to open a part.

    python benchmarks/store_speed.py

Rows of the size of wav2vec2-base with mean and standard deviation pooled: 13 layers of 1536 float32,
80 kB. Opening is timed in a fresh store object, which verifies every shard's checksum; the files lie
in the page cache, where the writing left them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ser_transfer.store import EmbeddingStore, Part

N_LAYERS = 13
DIM = 1536  # 768 means and 768 standard deviations
REPEATS = 5
MEGABYTE = 1e6


def median_seconds(work: Callable[[], object]) -> float:
    """Time some work, the median of `REPEATS` runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def write(store: EmbeddingStore, part: Part, keys: list[str]) -> float:
    """Fill a part with random rows and return the seconds it took."""
    generator = np.random.default_rng(0)
    rows = [[generator.standard_normal(DIM, dtype=np.float32) for _ in range(N_LAYERS)] for _ in range(16)]
    start = time.perf_counter()
    with store.writer(part) as writer:
        for row, key in enumerate(keys):
            writer.add(key, rows[row % len(rows)])
    return time.perf_counter() - start


def measure(root: Path, n_rows: int) -> None:
    """Write, open and read one part of `n_rows`, and print the figures."""
    layer_names = tuple(f"layer_{layer}" for layer in range(N_LAYERS))
    part = Part("wav2vec2-base-sized", "0" * 64, "mean_std", "float32", layer_names, (DIM,) * N_LAYERS)
    keys = [f"{row:032x}" for row in range(n_rows)]
    seconds = write(EmbeddingStore(root), part, keys)
    n_bytes = EmbeddingStore(root).parts()[0].n_bytes
    print(f"{n_rows} rows of {N_LAYERS} x {DIM} float32, {n_bytes / MEGABYTE:.0f} MB")
    print(f"write (synced to disk)         {seconds:7.3f} s  {n_rows / seconds:9.0f} rows/s")

    def report(what: str, work: Callable[[], object]) -> None:
        seconds = median_seconds(work)
        print(f"{what:30s} {seconds:7.3f} s  {n_rows / seconds:9.0f} rows/s")

    shuffled = np.random.default_rng(1).permutation(keys).tolist()
    opened = EmbeddingStore(root)
    opened.missing(part, keys)
    report("open, verify, find all keys", lambda: EmbeddingStore(root).missing(part, keys))
    report("open, find all keys", lambda: EmbeddingStore(root, verify=False).missing(part, keys))
    report("open, verify, read one layer", lambda: EmbeddingStore(root).read(part, shuffled, ["layer_6"]))
    report("open, verify, read all layers", lambda: EmbeddingStore(root).read(part, shuffled))
    report("read one layer, opened before", lambda: opened.read(part, shuffled, ["layer_6"]))
    report("read all layers, opened before", lambda: opened.read(part, shuffled))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000, help="rows to write and read")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), settings.rows)


if __name__ == "__main__":
    main()
