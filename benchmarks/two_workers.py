"""Two workers of one thread each against one: how nearly twice as quick the store is filled.

    python benchmarks/two_workers.py [--root ../shared/corpora/ravdess] [--clips 240] [--rounds 3]

The clips go through an encoder into a new store: by one worker, by two of one process (`--n-workers 2`), by
two processes of torchrun, and by one and two actors of Ray, of one CPU each, taking turns in one run. Only
encoding and writing is timed, as `embed` tells it in its summary, not the start of processes; what Ray and
its actors take to start is told beside it. Printed is the median of the rounds, and the ratio to one worker
of the same engine.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RAY = ("--engine", "ray", "--n-actors")
ONE, ONE_ACTOR = "one worker", "one actor of Ray"
# Launcher, flags, and which way of one worker it is compared with.
WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    ONE: ((), ("--n-workers", "1"), ONE),
    "two workers of one process": ((), ("--n-workers", "2"), ONE),
    "two processes of torchrun": (TORCHRUN, ("--n-workers", "1"), ONE),
    ONE_ACTOR: ((), (*RAY, "1"), ONE_ACTOR),
    "two actors of Ray": ((), (*RAY, "2"), ONE_ACTOR),
}


def filled(root: Path, encoder: list[str], way: str, store: Path) -> tuple[float, float]:
    """Seconds in which a store was filled, and those until its actors were ready, as the command says."""
    launcher, flags, _ = WAYS[way]
    command = [sys.executable, *launcher, "-m", "ser_transfer.embed", "--corpus", "ravdess"]
    command += ["--root", str(root), *encoder, "--baseline", "none", "--store", str(store), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_PROXY": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}: {done.stderr[-2000:]}")
    found = re.search(r"recordings .* in ([\d.]+) s \(", done.stdout)
    if found is None:
        raise SystemExit(f"no summary in: {done.stdout}")
    ready = re.search(r"; ready after ([\d.]+) s", done.stdout)
    return float(found[1]), 0.0 if ready is None else float(ready[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=SHARED / "corpora/ravdess", help="folder of RAVDESS")
    parser.add_argument("--weights", type=Path, help="YAMNet's weights; default: wav2vec2-base, untrained")
    parser.add_argument("--clips", type=int, default=240, help="how many, of about 3.7 s")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways")
    parser.add_argument("--only", help="ways with this in their names, such as Ray; default: all")
    arguments = parser.parse_args()
    encoder = ["--encoder", "wav2vec2-base", "--untrained"]
    if arguments.weights is not None:
        encoder = ["--encoder", "yamnet", "--weights", str(arguments.weights)]
    ways = [way for way in WAYS if not arguments.only or arguments.only in way]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    ready: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as temporary:
        clips = Path(temporary) / "clips"
        clips.mkdir()
        for clip in sorted(arguments.root.rglob("*.flac"))[: arguments.clips]:
            shutil.copy(clip, clips)
        for number in range(arguments.rounds):
            for way, found in seconds.items():
                filling, starting = filled(clips, encoder, way, Path(temporary) / f"{way}-{number}")
                found.append(filling)
                ready[way].append(starting)
    for way, found in seconds.items():
        told = ", ".join(f"{each:.1f}" for each in found)
        median, one = statistics.median(found), WAYS[way][2]
        line = f"{way}: {median:.1f} s ({told}), {statistics.median(seconds[one]) / median:.2f} times {one}"
        start = statistics.median(ready[way])
        print(line + (f"; ready after {start:.1f} s" if start else ""))


if __name__ == "__main__":
    main()
