"""Let the disk be full at every write of `embed`, `train`, `finetune`, `predict` and `compare`.

    sudo python benchmarks/full_disk_commands.py
    sudo python benchmarks/full_disk_commands.py --command train --step 16

Each command does a small job (`benchmarks/small_commands.py`) on a tmpfs, which is mounted: that takes root.
The first time there is room for nothing more than what the job finds there; after each failure it grows by
`--step` kilobytes, so that writing ends at one write after the other, and the same command is run again.
Every failure must be an exit code of 1 and one line that says that there is no space left, and where, without
a traceback; what was finished before must be there still, and nothing may claim to be whole that is not. The
run that has enough room must give what an undisturbed one gives, and leave nothing else. Every job is done
twice, the second time over an earlier run of other settings. Exits with 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kill_commands import prepared, run
from small_commands import Job, differences, leftovers

from ser_transfer.errors import SerTransferError
from ser_transfer.tables import text_table

VERBS = ("embed", "train", "finetune", "predict", "compare")
FULL = ("no space left", "os error 28")


def mount(folder: Path, kilobytes: int, *options: str) -> None:
    """Mount a tmpfs, or make it larger."""
    told = ",".join([*options, f"size={kilobytes}k"])
    command = ["mount", "-t", "tmpfs", "-o", told, "tmpfs", str(folder)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def grown(folder: Path, kilobytes: int) -> int:
    """Make the disk so large, or as little larger as the kernel takes; tell how large it is."""
    while True:
        try:
            mount(folder, kilobytes, "remount")
        except subprocess.CalledProcessError:  # too small for what it holds
            kilobytes += 16
        else:
            return kilobytes


def used(folder: Path) -> int:
    """Tell how many kilobytes of a mounted file system are taken."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize // 1024


def wrongly_told(code: int | None, said: str, place: Path) -> str | None:
    """Say what is wrong with how a failure was told; None if nothing is."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said:
        return f"a traceback: {said[-1500:]}"
    if code != 1:
        return f"exit code {code}: {said[-500:]}"
    if len(errors) != 1:
        return f"{len(errors)} errors: {said[-500:]}"
    if not any(word in errors[0].lower() for word in FULL):
        return f"no word of the disk: {errors[0]}"
    return None if str(place) in errors[0] else f"not where: {errors[0]}"


def filled(
    job: Job, disk: Path, expected: Mapping[str, Any], step: int, *, earlier: bool
) -> tuple[int, list[str]]:
    """Run one command on a disk that grows until it has room; give the failures, and what was wrong."""
    place = disk / "job"
    mount(disk, 1 << 20)
    n_full, wrong, again = 0, [], False
    try:
        job.prepare(place, earlier)
        kilobytes = used(disk) + 4
        had = job.kept(place)
        while True:
            kilobytes = grown(disk, kilobytes)
            code, said = run(job.command(place, again=again))
            again = True
            try:
                wrong += [f"at {kilobytes} kB: {each}" for each in job.claims(place)]
                have = job.kept(place)
                wrong += [f"at {kilobytes} kB: {name} is lost" for name in sorted(had - have)[:1]]
                had = have
            except (SerTransferError, OSError, ValueError, KeyError) as error:
                wrong.append(f"at {kilobytes} kB: {type(error).__name__}: {error}")
            if code == 0:
                break
            n_full += 1
            told = wrongly_told(code, said, place)
            if told is not None:
                wrong.append(f"at {kilobytes} kB: {told}")
            kilobytes = max(kilobytes, used(disk)) + step
        wrong += [f"{name} differs" for name in differences(job.result(place), expected)]
        wrong += [f"{name} is left" for name in leftovers(place)]
    finally:
        # Lazily: what was looked at here may be mapped into memory still.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return n_full, wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--command", choices=[*VERBS, "all"], default="all", help="which to run")
    parser.add_argument("--step", type=int, default=64, help="kilobytes that the disk grows by")
    settings = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this mounts a file system of limited size, which takes root: sudo python ...")
    verbs = list(VERBS) if settings.command == "all" else [settings.command]
    rows, is_sound = [["command", "over", "full", "wrong"]], True
    with tempfile.TemporaryDirectory() as folder:
        root, disk = Path(folder, "work"), Path(folder, "disk")
        root.mkdir()
        disk.mkdir()
        described, expected = prepared(root, verbs)
        for verb in verbs:
            for earlier in (False, True):
                n_full, wrong = filled(described[verb], disk, expected[verb], settings.step, earlier=earlier)
                told = "an earlier run" if earlier else "nothing"
                rows.append([verb, told, str(n_full), str(len(wrong))])
                is_sound &= not wrong and n_full > 0
                print(f"{verb} over {told}: full {n_full} times", flush=True)
                for line in wrong:
                    print(f"{verb}: {line}", flush=True)
    print(text_table(rows))
    print("sound" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
