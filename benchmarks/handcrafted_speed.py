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

# Before NumPy is imported, here and in the processes: they are the parallelism.
for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

ENCODERS = ("mfcc", "seed180", "handcrafted")
SUFFIXES = {".flac", ".wav", ".ogg", ".mp3"}
CHUNK = 16  # clips handed to a process at a time


def embed(name: str, paths: Sequence[Path]) -> float:
    """Decode, encode and pool each clip; return the seconds of audio."""
    import torch

    from ser_transfer.audio import read_audio
    from ser_transfer.encoders.handcrafted import load_handcrafted
    from ser_transfer.pooling import POOLINGS

    torch.set_num_threads(1)
    encoder = load_handcrafted(name)
    pool = POOLINGS[encoder.default_pooling]
    seconds = 0.0
    with torch.inference_mode():
        for path in paths:
            waveform = read_audio(path, encoder.sampling_rate)
            states = encoder.encode([waveform])
            for layer, mask in zip(states.layers, states.frame_masks, strict=True):
                pool(layer, mask)
            seconds += len(waveform) / encoder.sampling_rate
    return seconds


def main() -> None:
    """Print one line per encoder and number of processes."""
    from joblib import Parallel, delayed

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
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    print(f"{len(paths)} clips, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for n_processes in (1, 2):
        with Parallel(n_jobs=n_processes) as parallel:
            for name in ENCODERS:
                parallel(delayed(embed)(name, chunk) for chunk in chunks[:4])  # imports, filter banks
                begin = time.perf_counter()
                audio = sum(parallel(delayed(embed)(name, chunk) for chunk in chunks))
                wall = time.perf_counter() - begin
                print(
                    f"{name:12s} {n_processes} process(es): {len(paths) / wall:6.1f} clips/s, "
                    f"{audio / wall:6.0f} x real time",
                    flush=True,
                )


if __name__ == "__main__":
    main()
