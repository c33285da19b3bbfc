"""Seconds, bytes and money of embedding a thousand to a thousand million clips, from figures measured here.

    python benchmarks/cost_model.py --measure      # measures one core of this machine, then prints the tables
    python benchmarks/cost_model.py                # prints them from what was measured last
    python benchmarks/cost_model.py --clip-seconds 180 --core-hour 0.02 --encoder yamnet
    python benchmarks/cost_model.py --real-time 900 --core-hour 2.5    # a GPU: its own speed and price

Measured are, on one thread: decoding, encoding and pooling (as a multiple of real time), writing, what a row
takes in the store, and the seconds and the memory per row with which `embed` plans a corpus. With n clips of
s seconds, an encoder at x times real time, w seconds to plan and to write a row, b bytes of it:

    core hours = n * (s / x + w) / 3600             money = core hours * price
    store      = n * b                              money = gigabytes * price * months
    shards     = n * b / 64 MiB, at least one       requests = 2 per shard, with its entry in the manifest
    memory     = n * m, of the process that plans

Prices are parameters; their defaults are round numbers of the order of public list prices, and no offer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ser_transfer.corpora import Utterance, corpus_dataset
from ser_transfer.encoders import Encoder, load_encoder
from ser_transfer.encoders.pooled import Recording, encode_pooled
from ser_transfer.fill import keys_by_id, part_of
from ser_transfer.store import EmbeddingStore
from ser_transfer.store.writer import MAX_BYTES
from ser_transfer.tables import markdown_table

MEASURED = Path(__file__).parent / "results" / "cost_model.json"
CLIP_SECONDS = 3.7  # the mean of RAVDESS
SAMPLING_RATE = 16_000  # Hz
N_PLANNED = 50_000  # rows of the corpus whose planning is measured
POWERS = range(3, 10)


@dataclass(frozen=True)
class Measured:
    """What one encoder takes, on one thread.

    Attributes:
        real_time: Seconds of audio that are decoded, encoded and pooled in a second.
        row_bytes: What a row takes in the store, with its share of the manifest.
        write_seconds: Per row.
    """

    real_time: float
    row_bytes: float
    write_seconds: float


@dataclass(frozen=True)
class Planned:
    """What `embed` takes to find out what is to be done.

    Attributes:
        seconds: Per row, to list it and to hash its audio (from the page cache).
        memory_bytes: Per row.
    """

    seconds: float
    memory_bytes: float


@dataclass(frozen=True)
class Prices:
    """In one currency."""

    core_hour: float
    gigabyte_month: float
    thousand_requests: float


@dataclass(frozen=True)
class Cost:
    """Of some clips through one encoder."""

    n_clips: int
    core_hours: float
    store_bytes: float
    n_shards: float
    plan_bytes: float
    computing: float
    storing: float
    requests: float


def cost(n_clips: int, clip_seconds: float, encoder: Measured, plan: Planned, prices: Prices) -> Cost:
    """Put the figures together; the formula stands at the head of this file."""
    seconds = n_clips * (clip_seconds / encoder.real_time + encoder.write_seconds + plan.seconds)
    n_bytes = n_clips * encoder.row_bytes
    n_shards = max(1.0, n_bytes / MAX_BYTES)
    return Cost(
        n_clips=n_clips,
        core_hours=seconds / 3600,
        store_bytes=n_bytes,
        n_shards=n_shards,
        plan_bytes=n_clips * plan.memory_bytes,
        computing=seconds / 3600 * prices.core_hour,
        storing=n_bytes / 1e9 * prices.gigabyte_month,
        requests=2 * n_shards / 1000 * prices.thousand_requests,
    )


def clip(number: int, seconds: float) -> bytes:
    """Make a WAV file of noise; what an encoder takes does not depend on what is said."""
    noise = np.random.default_rng(number).normal(0.0, 0.1, int(seconds * SAMPLING_RATE))
    file = io.BytesIO()
    soundfile.write(file, noise.astype(np.float32), SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def measure(encoder: Encoder, n_clips: int, rounds: int) -> Measured:
    """Encode clips on one thread and write them to a store; the median of some rounds."""
    recordings = [Recording(f"{number:032x}", clip(number, CLIP_SECONDS)) for number in range(n_clips)]
    list(encode_pooled(recordings[:2], encoder, encoder.default_pooling, n_workers=1))
    took, wrote, n_bytes = [], [], 0
    for _ in range(rounds):
        begun = time.perf_counter()
        done = list(encode_pooled(recordings, encoder, encoder.default_pooling, n_workers=1))
        took.append(time.perf_counter() - begun)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            with EmbeddingStore(folder).writer(part_of(encoder)) as writer:
                for pooled in done:
                    writer.add(pooled.recording.key, pooled.layers)
            wrote.append(time.perf_counter() - begun)
            n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    return Measured(
        real_time=n_clips * CLIP_SECONDS / float(np.median(took)),
        row_bytes=n_bytes / n_clips,
        write_seconds=float(np.median(wrote)) / n_clips,
    )


def resident_bytes() -> int:
    """Tell what this process holds in memory."""
    fields = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_plan(n_rows: int) -> Planned:
    """List a folder's recordings as a corpus, and name each by its content."""
    whole = bytearray(clip(0, 0.1))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(n_rows):
            whole[-8:] = number.to_bytes(8, "little")
            Path(folder, f"{number:07d}.wav").write_bytes(whole)
        before, begun = resident_bytes(), time.perf_counter()
        corpus = corpus_dataset(
            [
                Utterance(
                    utterance_id=f"calls/{number:07d}", audio=f"{folder}/{number:07d}.wav", emotion="neutral"
                )
                for number in range(n_rows)
            ]
        )
        keys = keys_by_id(corpus)
        missing = EmbeddingStore(f"{folder}/store").missing(part_of(load_encoder("mfcc")), keys.values())
        seconds, held = time.perf_counter() - begun, resident_bytes() - before
    if len(missing) != n_rows:
        raise SystemExit(f"{len(missing)} of {n_rows} rows are missing from an empty store")
    return Planned(seconds / n_rows, held / n_rows)


def measure_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure everything on one thread, and keep it."""
    import torch

    torch.set_num_threads(1)
    measure_plan(100)  # loads libraries, which are not to be counted
    plan = measure_plan(N_PLANNED)
    weights = {} if arguments.weights is None else {"weights": arguments.weights}
    encoders = {
        "mfcc": (load_encoder("mfcc"), 200),
        "yamnet": (load_encoder("yamnet", device="cpu", untrained=not weights, **weights), 60),
        "wav2vec2-base": (load_encoder("wav2vec2-base", device="cpu", untrained=True), 12),
    }
    found = {
        name: measure(encoder, n_clips, arguments.rounds) for name, (encoder, n_clips) in encoders.items()
    }
    told = {
        "plan": asdict(plan),
        "encoders": {name: asdict(measured) for name, measured in found.items()},
    }
    MEASURED.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return told


def rows(costs: list[Cost], months: float) -> Iterator[tuple[str, ...]]:
    """Lay costs out as a table."""
    yield ("clips", "core hours", "store", "shards", "memory to plan", "computing", f"kept {months:g} months")
    for each in costs:
        yield (
            f"1e{round(np.log10(each.n_clips))}",
            f"{each.core_hours:,.3g}" if each.core_hours < 1000 else f"{each.core_hours:,.0f}",
            sized(each.store_bytes),
            f"{each.n_shards:,.0f}",
            sized(each.plan_bytes),
            f"{each.computing:,.2f}",
            f"{each.storing * months + each.requests:,.2f}",
        )


def sized(n_bytes: float) -> str:
    """Say a number of bytes to two digits."""
    for unit in ("kB", "MB", "GB"):
        n_bytes /= 1000
        if n_bytes < 1000:
            return f"{n_bytes:.2g} {unit}" if n_bytes < 100 else f"{n_bytes:.0f} {unit}"
    return f"{n_bytes / 1000:,.2g} TB" if n_bytes < 1e5 else f"{n_bytes / 1000:,.0f} TB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure this machine first")
    parser.add_argument("--rounds", type=int, default=5, help="of measuring; their median counts")
    parser.add_argument("--weights", help="YAMNet's weights, to measure with; default: random ones")
    parser.add_argument("--encoder", help="of those measured; default: all")
    parser.add_argument("--clip-seconds", type=float, default=CLIP_SECONDS)
    parser.add_argument("--real-time", type=float, help="in place of the measured speed: a GPU's, say")
    parser.add_argument("--core-hour", type=float, default=0.04, help="price; with --real-time a GPU's")
    parser.add_argument("--gigabyte-month", type=float, default=0.023, help="price of storing")
    parser.add_argument("--thousand-requests", type=float, default=0.005, help="price of writing objects")
    parser.add_argument("--months", type=float, default=12.0, help="that the store is kept")
    parser.add_argument("--keep", type=float, default=1.0, help="share of each row's bytes that is kept")
    arguments = parser.parse_args()
    told = measure_all(arguments) if arguments.measure else json.loads(MEASURED.read_text(encoding="utf-8"))
    prices = Prices(arguments.core_hour, arguments.gigabyte_month, arguments.thousand_requests)
    plan = Planned(**told["plan"])
    for name, measured in told["encoders"].items():
        if arguments.encoder in (None, name):
            of = Measured(**measured)
            of = Measured(
                arguments.real_time or of.real_time, of.row_bytes * arguments.keep, of.write_seconds
            )
            costs = [cost(10**power, arguments.clip_seconds, of, plan, prices) for power in POWERS]
            print(
                f"\n{name}: {of.real_time:.3g}x real time on one core, {of.row_bytes:,.0f} bytes per clip, "
                f"{1e3 * (of.write_seconds + plan.seconds):.2g} ms per clip to plan and write\n"
            )
            print(markdown_table(list(rows(costs, arguments.months))))


if __name__ == "__main__":
    main()
