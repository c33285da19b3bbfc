"""One pass over a corpus: what the store lacks of it is encoded, once for all that is wanted of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from ser_transfer.augment import Copies
from ser_transfer.encoders import Encoder
from ser_transfer.fill.missing import Missing, find_wanted
from ser_transfer.fill.report import FillReport
from ser_transfer.fill.writing import Encode, Job, encode_here
from ser_transfer.store import EmbeddingStore, Part

if TYPE_CHECKING:
    from datasets import Dataset


def fill_store(
    corpus: Dataset,
    encoder: Encoder,
    store: EmbeddingStore,
    part: Part | None,
    *,
    frames: Sequence[Part] = (),
    copies: Copies | None = None,
    skip_bad: bool = False,
    batch_seconds: float | None = None,
    n_workers: int | None = None,
    on_recording: Callable[[int, float], None] = lambda n_missing, seconds: None,
    share: Callable[[Sequence[float]], Sequence[int]] | None = None,
    encode: Encode = encode_here,
) -> FillReport:
    """Encode what the store lacks of a corpus, each recording once for all that is wanted of it.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        encoder: What to encode with.
        store: Where to.
        part: Which embeddings, from `part_of`; None for frames alone.
        frames: Which layers' frames, from `frames_part_of`.
        copies: Encode these augmented copies of the recordings, in place of the recordings themselves.
        skip_bad: Go on after a recording that cannot be used.
        batch_seconds: Padded audio per batch; see `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: Threads or processes; see there.
        on_recording: Called after each recording with how many were missing and this one's seconds.
        share: Where several processes fill the store: given the seconds of what is missing, it says which of
            them this one is to encode.
        encode: Who encodes and writes; by default this process.

    Raises:
        AudioError: At the first recording that cannot be used, unless `skip_bad`.
        StoreError: If a layer is not finite, or its frames are beyond float16.
    """
    report = FillReport()
    wanted = find_wanted(corpus, copies, report, skip_bad=skip_bad)
    parts = [*frames] if part is None else [part, *frames]
    lacking = {each: set(store.missing(each, wanted)) for each in parts}
    lacking = {each: keys for each, keys in lacking.items() if keys}
    keys = [key for key in wanted if any(key in of_part for of_part in lacking.values())]
    if not keys:
        return report
    missing = Missing(corpus, keys, wanted)
    if share is not None:
        missing = missing.only(share(missing.seconds()))
    job = Job(missing, encoder, store, lacking, batch_seconds, n_workers)
    begun = time.perf_counter()
    with closing(encode(job)) as done:  # one that stops half way writes what it has
        for encoded in done:
            if encoded.error is not None:
                report.count_bad(wanted[encoded.key].ids, encoded.error, skip_bad=skip_bad)
            else:
                report.n_encoded += 1
                report.audio_seconds += encoded.seconds
            on_recording(len(keys), encoded.seconds)
    report.start_seconds = job.start_seconds
    report.wall_seconds = time.perf_counter() - begun - job.start_seconds
    report.kept = None if part is None else part.kept
    report.cosine_cost = job.cosine_cost
    return report
