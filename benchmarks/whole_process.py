"""What a user waits for: whole processes, from the shell's return key to the prompt.

    python benchmarks/whole_process.py [--root ../shared/corpora/ravdess] [--repeats 5]

Prints the time of a second `embed` over RAVDESS (everything is in the store), of `train` on one fold from the
store, and the peak memory of a first `embed` with wav2vec2-base (random weights) over some clips and over
four times as many.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))
FEW, MANY = 60, 240  # clips, of about 3.7 s


def timed(arguments: list[str]) -> tuple[float, float]:
    """Run ``python -m ser_transfer...`` to its end: wall seconds, and the process's peak memory in GiB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} exited with {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss / 2**20


def report(what: str, arguments: list[str], repeats: int) -> None:
    seconds = [timed(arguments)[0] for _ in range(repeats)]
    runs = ", ".join(f"{value:.2f}" for value in seconds)
    print(f"{what}: median {statistics.median(seconds):.2f} s ({runs})", flush=True)


def embed_memory(root: Path, n_clips: int, folder: Path) -> float:
    """Peak memory in GiB of embedding the first clips of a corpus with an untrained wav2vec2-base."""
    clips = sorted(root.rglob("*.flac"))[:n_clips]
    part = folder / f"{n_clips}"
    part.mkdir()
    for clip in clips:
        shutil.copy(clip, part)
    flags = ["--corpus", "ravdess", "--root", str(part), "--encoder", "wav2vec2-base", "--untrained"]
    return timed(
        ["ser_transfer.embed", *flags, "--baseline", "none", "--store", str(folder / f"store{n_clips}")]
    )[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=SHARED / "corpora/ravdess", help="folder of RAVDESS")
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights/yamnet/yamnet.safetensors", help="YAMNet's weights"
    )
    parser.add_argument("--encoders", nargs="*", default=["mfcc", "handcrafted", "yamnet"], help="to time")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each command")
    parser.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, default=True, help="measure it too"
    )
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = ["--corpus", "ravdess", "--root", str(arguments.root), "--store", str(folder / "store")]
        for name in arguments.encoders:
            weights = ["--weights", str(arguments.weights)] if name == "yamnet" else []
            flags = [*corpus, "--encoder", name, *weights, "--baseline", "none"]
            print(f"first embed, {name}: {timed(['ser_transfer.embed', *flags])[0]:.1f} s", flush=True)
            report(f"second embed, {name}", ["ser_transfer.embed", *flags], arguments.repeats)
            fold = ["--split", "emobox", "--folds", "1", "--out", str(folder / "run")]
            train = ["ser_transfer.train", *flags, *fold]
            report(f"train one fold, {name}", [*train, "--no-plots"], arguments.repeats)
            report(f"train one fold, {name}, with plots", train, arguments.repeats)
        for n_clips in (FEW, MANY) if arguments.memory else ():
            peak = embed_memory(arguments.root, n_clips, folder)
            print(f"peak memory of embed, wav2vec2-base, {n_clips} clips: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
