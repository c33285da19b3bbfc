"""How the store grows: seconds and memory to open it and to read 1,000 random rows, up to 1,000,000 rows.

    python benchmarks/store_growth.py --plot benchmarks/results/store_growth.png

Each store is written by the store's own writer, then measured in fresh processes: as it lies, with its files
out of the page cache, and after `compact`. Beside it stands how rows were found before there were manifests:
the keys of all shards read at every opening. 10,000,000 rows have a manifest as a writer leaves it, and no
shards. Memory is what a process holds of its own (RssAnon), less what it held before it opened the store.
Processor seconds stand beside the clock's: on a machine that others use, only they stay the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ser_transfer.store import EmbeddingStore, Part, compact
from ser_transfer.store.catalogue import CatalogueReader
from ser_transfer.store.index import Entry, key_array
from ser_transfer.store.manifest import FOLDER, ManifestReader, ManifestWriter
from ser_transfer.store.part import write_description
from ser_transfer.store.shards import list_shards, read_keys

N_READ = 1000
REPEATS = 5
SHARD_ROWS = 512  # of the simulated shards, as of large rows: wav2vec2-base's are 80 kB
MEGABYTE = 1e6


def part_of(dim: int) -> Part:
    """Name a part with one layer."""
    return Part("synthetic", "0" * 64, "mean", "float32", ("layer_0",), (dim,))


def random_keys(n_rows: int) -> list[str]:
    """Draw as many keys, always the same."""
    text = np.random.default_rng(n_rows).bytes(16 * n_rows).hex()
    return [text[start : start + 32] for start in range(0, len(text), 32)]


def fill(root: Path, n_rows: int, dim: int) -> float:
    """Write rows of random numbers, and return the seconds it took."""
    vectors = np.random.default_rng(0).standard_normal((64, dim), dtype=np.float32)
    keys = random_keys(n_rows)
    begun = time.perf_counter()
    with EmbeddingStore(root).writer(part_of(dim)) as writer:
        for row, key in enumerate(keys):
            writer.add(key, [vectors[row % len(vectors)]])
    return time.perf_counter() - begun


def simulate(root: Path, n_rows: int, dim: int) -> float:
    """Write the manifest of as many rows, in shards that are not there."""
    keys, folder = random_keys(n_rows), root / part_of(dim).folder_name
    folder.mkdir(parents=True)
    write_description(folder, part_of(dim))
    manifest = ManifestWriter(folder)
    begun = time.perf_counter()
    for start in range(0, n_rows, SHARD_ROWS):
        of_shard = keys[start : start + SHARD_ROWS]
        entry = Entry.of(f"{start:032x}.arrow", len(of_shard), len(of_shard) * dim * 4)
        manifest.add(entry, of_shard, last=start + SHARD_ROWS >= n_rows)
    return time.perf_counter() - begun


def own_megabytes() -> float:
    """Tell what memory this process holds that is no file's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024 / MEGABYTE


def forget(root: Path) -> None:
    """Drop a store's files from the page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def find_by_listing(folder: Path, keys: list[str]) -> Any:
    """Find rows as it was done before there were manifests: read the keys of all shards, and look there."""
    all_keys = pa.chunked_array([read_keys(path, verify=False) for path in list_shards(folder)], pa.string())
    return pc.index_in(pa.array(keys, pa.string()), value_set=all_keys)


def measure(root: Path, n_rows: int, dim: int, what: str) -> dict[str, float]:
    """Time one thing in this process, which is to be a fresh one."""
    part = part_of(dim)
    chosen = np.random.default_rng(time.time_ns()).choice(n_rows, min(N_READ, n_rows), replace=False)
    every = random_keys(n_rows)
    keys = [every[row] for row in chosen]
    del every
    folder, store = root / part.folder_name, EmbeddingStore(root)
    before, begun = own_megabytes(), time.perf_counter()

    found: dict[str, float] = {}

    def clock(name: str, work: Callable[[], object]) -> None:
        start, processor = time.perf_counter(), time.process_time()
        work()
        found[f"{name}_seconds"] = time.perf_counter() - start
        found[f"{name}_processor_seconds"] = time.process_time() - processor

    if what == "listing":
        clock("open", lambda: find_by_listing(folder, keys[:1]))
        clock("find", lambda: find_by_listing(folder, keys))
    elif what == "manifest":
        reader = CatalogueReader(verify=True)
        clock("open", lambda: reader.read([folder]))
        clock("find", lambda: reader.read([folder]).find(key_array(keys)))
        assert (reader.read([folder]).find(key_array(keys))[0] >= 0).all()
    else:
        clock("open", lambda: store.missing(part, keys[:1]))
        clock("read", lambda: store.read(part, keys))
    return {**found, "seconds": time.perf_counter() - begun, "megabytes": own_megabytes() - before}


def medians(root: Path, n_rows: int, dim: int, what: str, *, cold: bool = False) -> dict[str, float]:
    """Measure in fresh processes, and take the median of each figure."""
    runs = []
    for _ in range(REPEATS):
        if cold:
            forget(root)
        command = [sys.executable, __file__, "--measure", what, "--root", str(root)]
        command += ["--rows", str(n_rows), "--dim", str(dim)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def grow(folder: Path, n_rows: int, dim: int) -> dict[str, Any]:
    """Write a store and measure it; print the figures."""
    root = folder / str(n_rows)
    figures: dict[str, Any] = {"rows": n_rows, "write_seconds": fill(root, n_rows, dim)}
    [stored] = EmbeddingStore(root).parts()
    assert stored.n_rows == n_rows
    figures["shards"], figures["shard_megabytes"] = stored.n_shards, stored.n_bytes / MEGABYTE
    figures["index_megabytes"] = _index_megabytes(stored.folder)
    figures["listing"] = medians(root, n_rows, dim, "listing")
    figures["store"] = medians(root, n_rows, dim, "store")
    figures["cold"] = medians(root, n_rows, dim, "store", cold=True)
    begun = time.perf_counter()
    compacted = compact(stored.folder, stored.part, grace_hours=0)
    figures["compact_seconds"], figures["compacted_shards"] = time.perf_counter() - begun, compacted.n_after
    figures["compacted"] = medians(root, n_rows, dim, "store")
    figures["compacted_cold"] = medians(root, n_rows, dim, "store", cold=True)
    return figures


def _index_megabytes(folder: Path) -> float:
    """Size of the indexes that count."""
    names = ManifestReader(folder, verify=False).read().indexes
    return sum((folder / FOLDER / name).stat().st_size for name in names) / MEGABYTE


def plot(figures: list[dict[str, Any]], simulated: dict[str, Any], path: Path) -> None:
    """Draw seconds and memory over rows."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (seconds, memory) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rows = [each["rows"] for each in figures]
    lines = [
        ("open, reading the keys of all shards (before)", "listing", "open_seconds", "C3o--"),
        ("open, by the manifest", "store", "open_seconds", "C0o-"),
        ("1,000 random rows", "store", "read_seconds", "C1o-"),
        ("1,000 random rows, compacted", "compacted", "read_seconds", "C2o-"),
    ]
    for label, kind, name, style in lines:
        seconds.loglog(rows, [each[kind][name] for each in figures], style, label=label)
    seconds.loglog(
        simulated["rows"], simulated["manifest"]["open_seconds"], "C0s", label="open, manifest alone"
    )
    seconds.axhline(1.0, color="C0", linewidth=0.6, linestyle=":")
    seconds.axhline(0.2, color="C1", linewidth=0.6, linestyle=":")
    seconds.set(xlabel="rows", ylabel="seconds")
    seconds.legend(frameon=False, fontsize=8)
    memory.semilogx(
        rows, [each["listing"]["megabytes"] for each in figures], "C3o--", label="all keys (before)"
    )
    memory.semilogx(rows, [each["store"]["megabytes"] for each in figures], "C0o-", label="manifest and rows")
    memory.semilogx(simulated["rows"], simulated["manifest"]["megabytes"], "C0s", label="manifest alone")
    memory.set(xlabel="rows", ylabel="MB of its own", ylim=(0, None))
    memory.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the largest store")
    parser.add_argument("--simulated", type=int, default=10_000_000, help="rows of the manifest alone")
    parser.add_argument("--dim", type=int, default=1024, help="size of an embedding")
    parser.add_argument("--plot", type=Path, help="PNG to draw; the figures go beside it as JSON")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.measure:
        print(json.dumps(measure(settings.root, settings.rows, settings.dim, settings.measure)))
        return
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        n_rows = 1000
        while n_rows <= settings.rows:
            figures.append(grow(Path(folder), n_rows, settings.dim))
            print(json.dumps(figures[-1], indent=1), flush=True)
            n_rows *= 10
        root = Path(folder, "simulated")
        simulated: dict[str, Any] = {"rows": settings.simulated}
        simulated["write_seconds"] = simulate(root, settings.simulated, settings.dim)
        simulated["index_megabytes"] = _index_megabytes(root / part_of(settings.dim).folder_name)
        simulated["manifest"] = medians(root, settings.simulated, settings.dim, "manifest")
        print(json.dumps(simulated, indent=1))
    if settings.plot:
        told = {"dim": settings.dim, "stores": figures, "simulated": simulated}
        settings.plot.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        plot(figures, simulated, settings.plot)


if __name__ == "__main__":
    main()
