"""Recordings through an encoder, and each part of the store gets what it lacks of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ser_transfer.audio import AudioError
from ser_transfer.encoders import Encoder
from ser_transfer.encoders.pooled import Pooled, Recording, encode_pooled
from ser_transfer.fill.missing import Missing
from ser_transfer.store import EmbeddingStore, Part, StoreWriter
from ser_transfer.store.writer import MAX_BYTES, MAX_SECONDS

FRAMES_BYTES = 256 << 20  # waiting to be written, over all layers whose frames are kept


@dataclass(frozen=True)
class Encoded:
    """What came of one recording: it is on its way into the store, or cannot be used.

    Attributes:
        key: Its name in the store.
        seconds: Duration of the decoded audio.
        error: Why it could not be used, or None.
    """

    key: str
    seconds: float
    error: AudioError | None = None


@dataclass
class Job:
    """What is to be encoded into a store; whoever does it fills in what that showed.

    Attributes:
        missing: The recordings.
        encoder: What to encode with.
        store: Where to.
        lacking: The keys that each part lacks; only parts that lack some are there.
        batch_seconds: See `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: See there.
        cosine_cost: See `ser_transfer.fill.FillReport`.
        start_seconds: How long it took until the first recording was begun, where that is worth telling.
    """

    missing: Missing
    encoder: Encoder
    store: EmbeddingStore
    lacking: Mapping[Part, set[str]]
    batch_seconds: float | None = None
    n_workers: int | None = None
    cosine_cost: float = 0.0
    start_seconds: float = 0.0


Encode = Callable[[Job], Generator[Encoded, None, None]]  # who does a job


def encode_here(job: Job) -> Generator[Encoded, None, None]:
    """Do a job in this process; each recording is told as it is handed to a writer."""
    with ExitStack() as stack:
        writers = open_writers(stack, job.store, job.lacking)
        yield from write_recordings(
            job.missing,
            job.encoder,
            writers,
            job.lacking,
            batch_seconds=job.batch_seconds,
            n_workers=job.n_workers,
        )
    job.cosine_cost = max((writer.cosine_cost for writer in writers.values()), default=0.0)


def open_writers(
    stack: ExitStack, store: EmbeddingStore, parts: Iterable[Part], *, by_time: bool = True
) -> dict[Part, StoreWriter]:
    """Open a writer for each part, to be closed with the stack.

    Args:
        stack: Closes them.
        store: Whose parts.
        parts: Which.
        by_time: Whether old rows are written however few they are. Without it the same rows, in the same
            order, always make the same shards.
    """
    parts = list(parts)
    n_frames = sum(part.holds_frames for part in parts)
    writers = {}
    for part in parts:
        n_bytes = min(MAX_BYTES, FRAMES_BYTES // n_frames) if part.holds_frames else MAX_BYTES
        seconds = MAX_SECONDS if by_time else math.inf
        writers[part] = stack.enter_context(store.writer(part, max_bytes=n_bytes, max_seconds=seconds))
    return writers


def write_recordings(
    recordings: Iterable[Recording],
    encoder: Encoder,
    writers: Mapping[Part, StoreWriter],
    lacking: Mapping[Part, set[str]],
    *,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
) -> Iterator[Encoded]:
    """Encode recordings once for all parts, and hand each part's writer what the part lacks.

    Args:
        recordings: What to encode.
        encoder: What to encode with.
        writers: One per part.
        lacking: The keys that each part lacks.
        batch_seconds: See `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: See there.

    Raises:
        StoreError: If a layer is not finite, or its frames are beyond float16, or a shard cannot be written.
    """
    for pooled in encode_pooled(
        recordings,
        encoder,
        next((part.pooling for part in writers if not part.holds_frames), None),
        frame_layers=[part.layer_names[0] for part in writers if part.holds_frames],
        batch_seconds=batch_seconds,
        n_workers=n_workers,
    ):
        if pooled.error is None:
            _write(pooled, encoder.layer_names, writers, lacking)
        yield Encoded(pooled.recording.key, pooled.seconds, pooled.error)


def _write(
    pooled: Pooled,
    layer_names: Sequence[str],
    writers: Mapping[Part, StoreWriter],
    lacking: Mapping[Part, set[str]],
) -> None:
    """Hand each part what it lacks of one recording."""
    frames = iter(pooled.frames)
    for part, writer in writers.items():
        if part.holds_frames:
            layers = [next(frames)]
        else:
            layers = [pooled.layers[layer_names.index(name)] for name in part.layer_names]
        if pooled.recording.key in lacking[part]:
            writer.add(pooled.recording.key, layers)
