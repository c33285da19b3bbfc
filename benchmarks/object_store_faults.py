"""Rows lost or wrong when an object store fails at random: a small corpus embedded from s3:// into s3://.

    python benchmarks/object_store_faults.py --rounds 50 --seed 0

Each round has a bucket of its own on an S3 server of this machine (moto's), and faults at random places:
refusals (500, 503 SlowDown, 403), connections dropped within uploads and downloads, uploads stored short, and
slow answers, each once or for long. The same work is asked for until it ends well, and faults that last end
with its second failure; then every row is read by a process-fresh store without copies and compared
with those of the same corpus on a disk, bit for bit. A command may fail only with one of our errors.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FAULTS = (500, 503, 403, "drop upload", "drop download", "store short", 0.3)
MAX_FAULTS = 4
MAX_RUNS = 12
ROWS_PER_SHARD = 4


def main() -> None:
    parser = argparse.ArgumentParser(description="Rows lost or wrong when an object store fails at random.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; each has the next")
    arguments = parser.parse_args()

    stores = importlib.import_module("object_store.server")  # of the tests, as what follows
    server = stores.ObjectStoreServer()
    os.environ.update(stores.environment(server.endpoint))
    totals: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        root = importlib.import_module("tone_corpus").write_tones(Path(scratch, "tones"))
        os.environ["SER_TRANSFER_CACHE"] = str(Path(scratch, "cache"))
        encoder = importlib.import_module("zero_crossings").ZeroCrossings()
        expected = _embedded(str(root), encoder, str(Path(scratch, "store")))
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            bucket = f"round-{seed}"
            stores.make_bucket(bucket)
            s3 = stores.S3(server, bucket)
            for path in root.rglob("*.wav"):
                s3.put(f"calls/{path.relative_to(root).as_posix()}", path.read_bytes())
            found = _round(seed, s3, encoder, expected, Path(scratch, "fetched"))
            totals.update(found)
            print(f"seed {seed}: " + ", ".join(f"{name} {n}" for name, n in found.items()), flush=True)
    server.stop()
    print(f"{arguments.rounds} rounds: " + ", ".join(f"{name} {n}" for name, n in totals.items()))
    sys.exit(1 if totals["rows lost or wrong"] else 0)


def _round(seed: int, s3: Any, encoder: Any, expected: Any, copies: Path) -> dict[str, int]:
    """Embed under faults until the command ends well; count what was met, and what is wrong afterwards."""
    from ser_transfer.errors import SerTransferError

    draw = random.Random(seed)
    troubles = [
        s3.trouble(
            draw.choice(FAULTS),
            method=draw.choice(["PUT", "GET", ".*"]),
            nth=draw.randint(1, 30),
            times=draw.choice([1, 2, 40]),
        )
        for _ in range(draw.randint(1, MAX_FAULTS))
    ]
    n_errors = 0
    for _ in range(MAX_RUNS):
        try:
            _embedded(f"{s3.url}/calls", encoder, f"{s3.url}/store")
            break
        except SerTransferError:
            n_errors += 1
            if n_errors >= 2:
                s3.calm()
    n_met = sum(trouble.n_met for trouble in troubles)
    s3.calm()
    shutil.rmtree(copies, ignore_errors=True)
    encoder.n_encoded = 0
    rows = _embedded(f"{s3.url}/calls", encoder, f"{s3.url}/store")
    n_wrong = encoder.n_encoded  # computed only now, so they were lost
    for name, layer in expected.layers.items():
        n_wrong += int((np.asarray(rows.layers[name]) != layer).any(axis=1).sum())
    return {"faults met": n_met, "errors told": n_errors, "rows lost or wrong": n_wrong}


def _embedded(root: str, encoder: Any, store: str) -> Any:
    from ser_transfer import load_corpus
    from ser_transfer.fill import fill_store, part_of
    from ser_transfer.store import EmbeddingStore

    class SmallShards(EmbeddingStore):
        def writer(self, part: Any, **limits: Any) -> Any:
            return super().writer(part, **{**limits, "max_rows": ROWS_PER_SHARD})

    corpus = load_corpus("folder", root, speaker_pattern="(?P<speaker>p[0-9])_")
    opened, part = SmallShards(store), part_of(encoder)
    report = fill_store(corpus, encoder, opened, part, n_workers=1)
    return opened.embeddings(part, list(report.keys), list(report.keys.values()))


if __name__ == "__main__":
    main()
