"""Kill `embed`, `train`, `finetune` and `predict` with SIGKILL at random moments, and look at what is left.

    python benchmarks/kill_commands.py --kills 100
    python benchmarks/kill_commands.py --kills 10 --command finetune

Each command does a small job of some seconds (`benchmarks/small_commands.py`). It is killed with all its
processes after a random share of the time that it takes undisturbed, start-up included, and started again on
the same folder until it comes to its end; then the next round begins, every other one over an earlier run of
other settings. After every kill: nothing that was finished before may be gone, and nothing may claim to be
whole that is not (scores without their tables, model or report; a model that does not load; a table without
all its rows; a damaged shard). At the end of a round: embeddings, scores and answers are those of the
undisturbed run, bit for bit, and nothing else is left. Exits with 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_commands import Job, Workplace, differences, jobs, leftovers

from ser_transfer.errors import SerTransferError
from ser_transfer.tables import text_table

VERBS = ("embed", "train", "finetune", "predict")


@dataclass
class Findings:
    """What the kills of one command did.

    Attributes:
        seconds: What it takes undisturbed.
        kills: Runs that were killed.
        finished: Runs that came to their end.
        lost: Times that something finished was gone after a kill.
        unsound: Times that something claimed to be whole and was not.
        different: Rounds whose end was not that of the undisturbed run.
        left: Rounds that left something behind.
        told: What was wrong, in words.
    """

    seconds: float = 0.0
    kills: int = 0
    finished: int = 0
    lost: int = 0
    unsound: int = 0
    different: int = 0
    left: int = 0
    told: list[str] = field(default_factory=list)


def run(command: list[str], max_seconds: float | None = None) -> tuple[int | None, str]:
    """Run a command, and kill it and all its processes after `max_seconds`.

    Returns:
        Its exit code, None where it was killed, and what it said on standard error.
    """
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said)
        try:
            code: int | None = process.wait(timeout=max_seconds)
        except subprocess.TimeoutExpired:
            code = None
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return code, said.read().decode(errors="replace")


def undisturbed(job: Job, place: Path, *, earlier: bool = False) -> float:
    """Run a job to its end, and give the seconds that it took."""
    job.prepare(place, earlier)
    begun = time.perf_counter()
    code, said = run(job.command(place))
    if code != 0:
        sys.exit(f"{job.verb} failed by itself:\n{said}")
    return time.perf_counter() - begun


def killed(job: Job, root: Path, expected: Mapping[str, Any], n_kills: int, seed: int) -> Findings:
    """Kill one command again and again."""
    generator, found = random.Random(f"{seed} {job.verb}"), Findings()
    found.seconds = undisturbed(job, root / f"timed_{job.verb}")
    while found.kills < n_kills:
        place = root / f"{job.verb}_{found.finished}"
        job.prepare(place, found.finished % 2 == 1)
        had, again = job.kept(place), False
        while True:
            share = generator.uniform(0.0, 1.05)
            moment = share * found.seconds if found.kills < n_kills else None
            code, said = run(job.command(place, again=again), moment)
            again = True
            if code not in (None, 0):
                found.told.append(f"exit code {code}: {said[-2000:]}")
                found.unsound += 1
                return found
            found.kills += code is None
            try:
                wrong = list(job.claims(place))
                have = job.kept(place)
            except (SerTransferError, OSError, ValueError, KeyError) as error:
                wrong, have = [f"{type(error).__name__}: {error}"], set()
            found.unsound += bool(wrong)
            found.lost += bool(had - have)
            found.told += [f"after {moment} s: {each}" for each in wrong]
            found.told += [f"after {moment} s lost: {name}" for name in sorted(had - have)[:3]]
            had = have
            if code == 0:
                break
            print(f"{job.verb}: kill {found.kills:3d} after {moment:6.2f} s", flush=True)
        found.finished += 1
        other, left = differences(job.result(place), expected), leftovers(place)
        found.different += bool(other)
        found.left += bool(left)
        found.told += [f"round {found.finished}: {name} differs" for name in other]
        found.told += [f"round {found.finished}: {name} is left" for name in left]
    return found


def prepared(root: Path, verbs: list[str]) -> tuple[dict[str, Job], dict[str, Mapping[str, Any]]]:
    """Make what the jobs read, earlier runs of other settings, and what undisturbed runs give."""
    work = Workplace.made(root)
    described = jobs(work)
    filled = root / "undisturbed_embed"
    undisturbed(described["embed"], filled)
    (filled / "store").rename(work.store)
    (filled / "store").symlink_to(work.store)
    other = {
        "train": ["--head", "nearest_centroid"],
        "finetune": ["--max-epochs", "1"],
        "compare": ["--heads", "nearest_centroid"],
    }
    expected: dict[str, Mapping[str, Any]] = {}
    for verb in verbs:
        job = described[verb]
        if verb in other:
            earlier = root / f"earlier_{verb}"
            job.prepare(earlier, False)
            code, said = run([*job.command(earlier), *other[verb]])
            if code != 0:
                sys.exit(f"{verb} failed by itself:\n{said}")
        if verb != "embed":
            undisturbed(job, root / f"undisturbed_{verb}")
        expected[verb] = job.result(root / f"undisturbed_{verb}")
    return described, expected


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="number of kills of each command")
    parser.add_argument("--command", choices=[*VERBS, "compare", "all"], default="all", help="which to kill")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    settings = parser.parse_args()
    verbs = list(VERBS) if settings.command == "all" else [settings.command]
    print(f"seed {settings.seed}", flush=True)
    rows = [["command", "seconds", "kills", "finished", "lost", "unsound", "different", "left"]]
    is_sound = True
    with tempfile.TemporaryDirectory() as folder:
        described, expected = prepared(Path(folder), verbs)
        for verb in verbs:
            found = killed(described[verb], Path(folder), expected[verb], settings.kills, settings.seed)
            counts = [found.kills, found.finished, found.lost, found.unsound, found.different, found.left]
            rows.append([verb, f"{found.seconds:.1f}", *map(str, counts)])
            is_sound &= not found.told and found.kills >= settings.kills
            for line in found.told:
                print(f"{verb}: {line}", flush=True)
    print(text_table(rows))
    print("sound" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
