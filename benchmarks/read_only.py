"""Folders that may not be written: what only reads works, and what writes says so in one line.

    sudo python benchmarks/read_only.py

Store, corpus, model and output folder of small jobs (`benchmarks/small_commands.py`) are mounted read-only,
which takes root and holds for root too. From a store and a corpus that may not be written `train` and
`compare` must work as from others; `embed`, `predict` and `finetune` must read a corpus so. What has to write
into such a folder must end with exit code 1 and one line that names it. Exits with 1 if any of this fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from full_disk_commands import VERBS
from kill_commands import prepared, run
from small_commands import Workplace

from ser_transfer.tables import text_table


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount a folder over itself, read-only."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def verdict(command: Sequence[str], *, works: bool, named: Path) -> str:
    """Run a command; say "works", or "one line" where it is to fail, or what is wrong."""
    code, said = run(list(command))
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if "Traceback" in said:
        return f"WRONG: a traceback: {said[-1000:]}"
    if works:
        return "works" if code == 0 else f"WRONG: {said[-500:]}"
    if code != 1 or len(errors) != 1:
        return f"WRONG: exit code {code}: {said[-500:]}"
    return "one line" if str(named) in errors[0] else f"WRONG: not where: {errors[0]}"


def main() -> int:
    if os.geteuid() != 0:
        sys.exit("this mounts folders read-only, which takes root: sudo python ...")
    rows = [["command", "read-only", "what it does"]]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        described, _ = prepared(root, [verb for verb in VERBS if verb not in ("finetune", "compare")])
        work = Workplace(root)

        def tell(verb: str, what: str, locked: Path, place: Path, *, works: bool) -> None:
            with read_only(locked):
                said = verdict(described[verb].command(place), works=works, named=locked)
            rows.append([verb, what, said])
            print(f"{verb} with a read-only {what}: {said}", flush=True)

        for verb in ("train", "compare"):
            for what in ("store", "corpus"):
                place = root / f"{verb}_{what}"
                described[verb].prepare(place, False)
                tell(verb, what, place / "store" if what == "store" else work.many, place, works=True)
        for verb in ("embed", "predict", "finetune"):
            place = root / f"{verb}_corpus"
            described[verb].prepare(place, False)
            tell(verb, "corpus", work.few if verb == "finetune" else work.many, place, works=True)
        for verb, name in (("embed", "store"), ("finetune", "store")):
            place = root / f"{verb}_new_store"
            described[verb].prepare(place, False)
            (place / name).mkdir()
            tell(verb, "empty store", place / name, place, works=False)
        for verb in VERBS[1:]:
            place = root / f"{verb}_out"
            described[verb].prepare(place, False)
            out = place / "run"
            out.mkdir()
            tell(verb, "output folder", place if verb == "predict" else out, place, works=False)
    print(text_table(rows))
    is_sound = not any("WRONG" in row[2] for row in rows)
    print("sound" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
