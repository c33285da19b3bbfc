"""Kill writers and compactions of one store with SIGKILL at random moments, and look at what is left.

    python benchmarks/kill_store.py --kills 100

Two processes write overlapping rows in small shards, and a third merges them, all at once and on one store;
after a random time one of the three is killed, and started again. After every kill the store is opened anew:
every row that was there before must be there still, bit for bit, no shard may be damaged, and none gone. At
the end the rows that are missing are written, and each row must count. Exits with 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ser_transfer.store import EmbeddingStore, Part, compact, verify

PART = Part("synthetic", "0" * 64, "mean", "float32", ("layer_0", "layer_1"), (24, 40))
SHARD_ROWS = 4
ROWS_PER_SECOND = 400.0
SPANS = ((0.0, 0.6), (0.4, 1.0))  # of all rows, that each writer writes


def key(i: int) -> str:
    """Name a row."""
    return f"{i:032x}"


def embedding(i: int) -> list[np.ndarray]:
    """Make a row, always the same."""
    generator = np.random.default_rng(i)
    return [generator.standard_normal(dim, dtype=np.float32) for dim in PART.dims]


def write(root: Path, first: int, last: int) -> None:
    """Write what is missing of some rows, not too quickly."""
    missing = EmbeddingStore(root).missing(PART, [key(i) for i in range(first, last)])
    with EmbeddingStore(root).writer(PART, max_rows=SHARD_ROWS) as writer:
        for name in missing:
            writer.add(name, embedding(int(name, 16)))
            time.sleep(1 / ROWS_PER_SECOND)


def merge(root: Path) -> None:
    """Compact again and again."""
    while True:
        for stored in EmbeddingStore(root).parts():
            compact(stored.folder, PART, grace_hours=1 / 3600)
        time.sleep(0.1)


def start(what: int, root: Path, n_rows: int) -> subprocess.Popen[bytes]:
    """Start the writer, or the compaction, of that number."""
    command = [sys.executable, __file__, "--role", str(what), "--root", str(root), "--rows", str(n_rows)]
    return subprocess.Popen(command)


def n_wrong(root: Path, names: list[str]) -> int:
    """Count rows that are not what was written."""
    layers = EmbeddingStore(root).read(PART, names)
    return sum(
        any(
            layer[row].tobytes() != expected.tobytes()
            for layer, expected in zip(layers.values(), embedding(int(name, 16)), strict=True)
        )
        for row, name in enumerate(names)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="number of kills")
    parser.add_argument("--rows", type=int, default=20_000, help="rows to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--role", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.role is not None:
        if settings.role < len(SPANS):
            first, last = (round(share * settings.rows) for share in SPANS[settings.role])
            write(settings.root, first, last)
        else:
            merge(settings.root)
        return 0
    generator, keys = random.Random(settings.seed), [key(i) for i in range(settings.rows)]
    killed = [0, 0, 0]
    n_lost = n_bad = n_finished = 0
    had: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        running = [start(what, root, settings.rows) for what in range(3)]
        while sum(killed) < settings.kills:
            time.sleep(generator.uniform(0.3, 1.5))
            what = generator.randrange(3)
            n_finished += running[what].poll() is not None
            killed[what] += running[what].poll() is None
            running[what].send_signal(signal.SIGKILL)
            running[what].wait()
            present = set(keys) - set(EmbeddingStore(root).missing(PART, keys))
            n_lost += len(had - present)
            n_bad += n_wrong(root, sorted(present))
            had = present
            running[what] = start(what, root, settings.rows)
        for process in running:
            process.kill()
            process.wait()
        n_before_end = len(had)
        write(root, 0, settings.rows)
        n_bad += n_wrong(root, keys)
        [stored] = EmbeddingStore(root).parts()
        found = verify(stored.folder)
    print(f"{sum(killed)} kills: {killed[0]} and {killed[1]} of two writers, {killed[2]} of the compaction")
    print(f"{n_before_end} rows when the last was killed, {stored.n_rows} at the end, {n_finished} runs done")
    print(f"{n_lost} rows lost, {n_bad} wrong, {len(found.damaged)} shards damaged, {len(found.gone)} gone")
    is_sound = found.is_sound and not n_lost + n_bad and stored.n_rows == settings.rows
    print("sound" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
