"""Kill `embed` with SIGKILL at random moments, run it again, and compare with a run left alone.

    python benchmarks/kill_embed.py --root ../shared/corpora/ravdess

Each round fills a fresh store: the command is started, killed after a random share of the time that it
takes undisturbed, and started again on the same store until a run comes to its end. Rounds follow until
there were enough kills. Then every row must be there, bit for bit that of the undisturbed run; no shard
may be damaged, or gone after it was once there; and no row that was in the store may have been computed
again. Exits with 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ser_transfer.store import EmbeddingStore
from ser_transfer.store.manifest import ManifestReader


@dataclass
class Findings:
    """What the kills did.

    Attributes:
        n_kills: Runs that were killed.
        n_kills_inside_a_write: Those that left a temporary file.
        n_finished: Runs that came to their end.
        n_lost_shards: Shards that were there before a run and not after it.
        n_damaged_shards: Shards whose checksum was wrong.
        n_wrong_rows: Rows, after a run that came to its end, missing or unlike those of the undisturbed run.
        n_rows_twice: Rows that were in the store and were computed and written again.
    """

    n_kills: int = 0
    n_kills_inside_a_write: int = 0
    n_finished: int = 0
    n_lost_shards: int = 0
    n_damaged_shards: int = 0
    n_wrong_rows: int = 0
    n_rows_twice: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing was lost, damaged, wrong, or done twice."""
        return self.n_lost_shards + self.n_damaged_shards + self.n_wrong_rows + self.n_rows_twice == 0


def run(command: list[str], root: Path, max_seconds: float | None = None) -> bool:
    """Run the command on a store, and kill it and its workers after `max_seconds`.

    Returns:
        Whether it came to its end.
    """
    process = subprocess.Popen(
        [*command, "--store", str(root)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, errors = process.communicate(timeout=max_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode != 0:
        sys.exit(f"{shlex.join(command)} failed by itself:\n{errors.decode()}")
    return True


def shards_of(root: Path) -> set[Path]:
    """List the shards of a store."""
    return set(root.glob("*/*.arrow"))


def n_wrong_rows(store: EmbeddingStore, reference: EmbeddingStore) -> int:
    """Count rows of the reference that the store lacks or has otherwise, and rows that it has beside."""
    n_wrong = 0
    for part in (stored.part for stored in reference.parts()):
        keys = reference.keys(part)
        missing = set(store.missing(part, keys))
        n_wrong += len(missing) + len(set(store.keys(part)) - set(keys))
        present = [key for key in keys if key not in missing]
        layers, expected = store.read(part, present), reference.read(part, present)
        n_wrong += sum(
            any(layers[name][row].tobytes() != expected[name][row].tobytes() for name in expected)
            for row in range(len(present))
        )
    return n_wrong


def n_rows_twice(store: EmbeddingStore) -> int:
    """Count the rows that a store's manifests count more than once."""
    n_twice = 0
    for stored in store.parts():
        entries = ManifestReader(stored.folder, verify=True).read().entries
        n_twice += sum(entry.n_rows for entry in entries.values()) - stored.n_rows
    return n_twice


def one_round(
    command: list[str],
    root: Path,
    reference: EmbeddingStore,
    run_seconds: float,
    n_kills: int,
    generator: random.Random,
    findings: Findings,
) -> None:
    """Kill and restart on a fresh store until a run finishes; after `n_kills`, let it finish."""
    finished = False
    while not finished:
        before = shards_of(root)
        moment = generator.uniform(0.0, run_seconds) if findings.n_kills < n_kills else None
        finished = run(command, root, moment)
        findings.n_lost_shards += len(before - shards_of(root))
        if not finished:
            findings.n_kills += 1
            findings.n_kills_inside_a_write += bool(list(root.glob("*/.*.tmp")))
            n_rows = sum(stored.n_rows for stored in EmbeddingStore(root).parts())
            print(f"kill {findings.n_kills:3d} after {moment:5.2f} s: {n_rows} rows in the store", flush=True)
    findings.n_finished += 1
    store = EmbeddingStore(root)
    findings.n_wrong_rows += n_wrong_rows(store, reference)
    findings.n_rows_twice += n_rows_twice(store)
    findings.n_damaged_shards += len(list(root.glob("*/*.damaged")))
    print(f"finished: {sum(stored.n_rows for stored in store.parts())} rows in the store", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="folder of the corpus")
    parser.add_argument("--corpus", default="ravdess", help="name of the corpus")
    parser.add_argument("--encoder", default="mfcc", help="encoder to embed with")
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument(
        "--command", default=f"{shlex.quote(sys.executable)} -m ser_transfer.embed", help="what is started"
    )
    settings = parser.parse_args()
    command = shlex.split(settings.command)
    command += ["--corpus", settings.corpus, "--root", settings.root, "--encoder", settings.encoder]
    findings, generator = Findings(), random.Random(settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        reference = EmbeddingStore(Path(folder, "undisturbed"))
        begun = time.perf_counter()
        run(command, reference.root)
        run_seconds = time.perf_counter() - begun
        n_rows = sum(stored.n_rows for stored in reference.parts())
        print(f"undisturbed: {n_rows} rows in {run_seconds:.1f} s")
        while findings.n_kills < settings.kills:
            root = Path(folder, f"round_{findings.n_finished}")
            one_round(command, root, reference, run_seconds, settings.kills, generator, findings)
    for name, value in vars(findings).items():
        print(f"{name:24s} {value}")
    print("sound" if findings.is_sound and n_rows else "NOT SOUND")
    return 0 if findings.is_sound and n_rows else 1


if __name__ == "__main__":
    sys.exit(main())
