"""Clips per second of the handcrafted encoders, from file to pooled vector, on 1 and 2 processes.

    python benchmarks/handcrafted_speed.py DIR [--clips 400]

DIR holds recordings, in any depth. Each process computes on one thread; starting the processes and
importing librosa are left out, since a corpus pays for them once.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ser_transfer.encoders.handcrafted import load_handcrafted
from ser_transfer.encoders.pooled import FEW, Recording, encode_pooled

ENCODERS = ("mfcc", "seed180", "handcrafted")
SUFFIXES = {".flac", ".wav", ".ogg", ".mp3"}


def embed(name: str, paths: Sequence[Path], n_processes: int) -> float:
    """Decode, encode and pool each clip; return the seconds of audio."""
    encoder = load_handcrafted(name)
    recordings = [Recording(str(path), path) for path in paths]
    done = encode_pooled(recordings, encoder, encoder.default_pooling, n_workers=n_processes)
    return sum(pooled.seconds for pooled in done)


def main() -> None:
    """Print one line per encoder and number of processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of recordings")
    parser.add_argument(
        "--clips", type=int, default=400, help="how many of them, evenly spread (default 400)"
    )
    settings = parser.parse_args()
    paths = sorted(path for path in settings.root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        parser.error(f"no recording under {settings.root}")
    paths = paths[:: max(1, len(paths) // settings.clips)][: settings.clips]
    print(f"{len(paths)} clips, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for n_processes in (1, 2):
        for name in ENCODERS:
            embed(name, paths[: 2 * FEW], n_processes)  # starts the processes, imports, makes filter banks
            begin = time.perf_counter()
            audio = embed(name, paths, n_processes)
            wall = time.perf_counter() - begin
            print(
                f"{name:12s} {n_processes} process(es): {len(paths) / wall:6.1f} clips/s, "
                f"{audio / wall:6.0f} x real time",
                flush=True,
            )


if __name__ == "__main__":
    main()
