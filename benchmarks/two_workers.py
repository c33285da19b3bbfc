"""Two workers of one thread each against one: how nearly twice as quick the store is filled.

    python benchmarks/two_workers.py [--root ../shared/corpora/ravdess] [--clips 240] [--rounds 3]

The clips go through an encoder into a new store: by one worker, by two of one process (`--n-workers 2`), and
by two processes of torchrun, taking turns in one run. Only encoding and writing is timed, as `embed` tells it
in its summary, not the start of processes. Printed is the median of the rounds, and the ratio to one worker.
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
WAYS = {
    "one worker": ((), ("--n-workers", "1")),
    "two workers of one process": ((), ("--n-workers", "2")),
    "two processes of torchrun": (TORCHRUN, ("--n-workers", "1")),
}


def filled(root: Path, encoder: list[str], way: str, store: Path) -> float:
    """Seconds of audio per second with which a store was filled, as the command says."""
    launcher, flags = WAYS[way]
    command = [sys.executable, *launcher, "-m", "ser_transfer.embed", "--corpus", "ravdess"]
    command += ["--root", str(root), *encoder, "--baseline", "none", "--store", str(store), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_PROXY": "*"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}: {done.stderr[-2000:]}")
    found = re.search(r"recordings .* in ([\d.]+) s \(", done.stdout)
    if found is None:
        raise SystemExit(f"no summary in: {done.stdout}")
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=SHARED / "corpora/ravdess", help="folder of RAVDESS")
    parser.add_argument("--weights", type=Path, help="YAMNet's weights; default: wav2vec2-base, untrained")
    parser.add_argument("--clips", type=int, default=240, help="how many, of about 3.7 s")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways")
    arguments = parser.parse_args()
    encoder = ["--encoder", "wav2vec2-base", "--untrained"]
    if arguments.weights is not None:
        encoder = ["--encoder", "yamnet", "--weights", str(arguments.weights)]
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        clips = Path(temporary) / "clips"
        clips.mkdir()
        for clip in sorted(arguments.root.rglob("*.flac"))[: arguments.clips]:
            shutil.copy(clip, clips)
        for number in range(arguments.rounds):
            for way, found in seconds.items():
                found.append(filled(clips, encoder, way, Path(temporary) / f"{way}-{number}"))
    alone = statistics.median(seconds["one worker"])
    for way, found in seconds.items():
        told = ", ".join(f"{each:.1f}" for each in found)
        median = statistics.median(found)
        print(f"{way}: {median:.1f} s ({told}), {alone / median:.2f} times one worker's speed")


if __name__ == "__main__":
    main()
