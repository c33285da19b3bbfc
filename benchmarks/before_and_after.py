"""An earlier revision against this one: the main job's own figures, taking turns in one run.

    python benchmarks/before_and_after.py --before d00c4f8 [--root ../shared/corpora/ravdess] [--rounds 5]

The earlier revision is checked out beside this one for the time of the run, and both run in this environment.
Of each: how fast wav2vec2-base is embedded in float32 and in bf16, as a share of the plain transformers loop
(the revision's own `benchmarks/embedding_speed.py`, whose loop is timed beside it); and whole processes over
some recordings: `embed` with YAMNet into a new store, and again where everything is in it. Printed are
medians, and the median of the rounds' ratios with their range. The two swap places from round to round.
Processor seconds stand beside the clock's: on a machine that others use they move less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ser_transfer.tables import text_table

HERE = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SER_TRANSFER_SHARED", "../shared"))
OURS = "ours, batches of 8, sorted"
Figures: TypeAlias = dict[str, list[float]]  # of a revision: what was seen in each round, by name


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Give a folder with an earlier revision."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "before")
        command = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*command, "add", "--quiet", "--detach", str(folder), revision], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*command, "remove", "--force", str(folder)], check=True)


def ran(tree: Path, arguments: list[str]) -> tuple[float, float]:
    """Run Python on a revision; give the seconds from its start to its end, and those of processors."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    begun, used = time.perf_counter(), processor_seconds()
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments} exited with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begun, processor_seconds() - used


def processor_seconds() -> float:
    """Tell what all processes have taken that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ratios(tree: Path, clips: int, bf16_clips: int) -> dict[str, float]:
    """Say how fast wav2vec2-base is embedded, as a share of the plain loop."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "figures.json")
        script = tree / "benchmarks" / "embedding_speed.py"
        ran(tree, [str(script), "--clips", str(clips), "--bf16-clips", str(bf16_clips), "--out", str(out)])
        told = json.loads(out.read_text(encoding="utf-8"))
    return {
        f"{each} of the plain loop": told[each][OURS]["ratio"] for each in ("float32", "bf16") if each in told
    }


def processes(tree: Path, corpus: list[str]) -> dict[str, float]:
    """Time `embed` into a new store, and again."""
    with tempfile.TemporaryDirectory() as temporary:
        command = ["-m", "ser_transfer.embed", *corpus, "--baseline", "none", "--store", temporary + "/store"]
        found = {}
        for what in ("first embed", "embed when all is stored"):
            found[f"{what}, s"], found[f"{what}, processor s"] = ran(tree, command)
        return found


def rounds(measure: Callable[[Path], dict[str, float]], trees: list[Path], n_rounds: int) -> list[Figures]:
    """Measure the revisions in turn, each first in every other round."""
    found: list[Figures] = [{} for _ in trees]
    for number in range(n_rounds):
        order = range(len(trees)) if number % 2 == 0 else reversed(range(len(trees)))
        for index in order:
            for name, figure in measure(trees[index]).items():
                found[index].setdefault(name, []).append(figure)
                print(f"round {number + 1}, {('before', 'after')[index]}, {name}: {figure:.3f}", flush=True)
    return found


def table(before: Figures, after: Figures) -> list[list[str]]:
    rows = []
    for name, values in before.items():
        shares = sorted(new / old for old, new in zip(values, after[name], strict=True))
        medians = [f"{statistics.median(each):.3f}" for each in (values, after[name])]
        share = f"{statistics.median(shares):.3f} ({shares[0]:.3f} to {shares[-1]:.3f})"
        rows.append([name, *medians, share])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", required=True, help="revision to compare with, as git names it")
    parser.add_argument("--root", type=Path, default=SHARED / "corpora/ravdess", help="folder of RAVDESS")
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights/yamnet/yamnet.safetensors", help="YAMNet's weights"
    )
    parser.add_argument("--clips", type=int, default=24, help="of noise, in float32; 0 leaves them out")
    parser.add_argument("--bf16-clips", type=int, default=2, help="of noise, in bf16; 0 leaves them out")
    parser.add_argument("--recordings", type=int, default=240, help="of the corpus; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=5, help="of each")
    options = parser.parse_args()
    rows = [["", "before", "after", "after / before, by round"]]
    with checked_out(options.before) as earlier, tempfile.TemporaryDirectory() as clips:
        for clip in sorted(options.root.rglob("*.flac"))[: options.recordings]:
            shutil.copy(clip, clips)
        corpus = ["--corpus", "ravdess", "--root", clips]
        corpus += ["--encoder", "yamnet", "--weights", str(options.weights.absolute())]
        measures: list[Callable[[Path], dict[str, float]]] = []
        if options.clips or options.bf16_clips:
            measures.append(lambda tree: ratios(tree, options.clips, options.bf16_clips))
        if options.recordings:
            measures.append(lambda tree: processes(tree, corpus))
        for measure in measures:
            rows += table(*rounds(measure, [earlier, HERE], options.rounds))
    print(text_table(rows))


if __name__ == "__main__":
    main()
