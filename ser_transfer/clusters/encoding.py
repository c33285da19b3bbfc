"""A corpus through an encoder on many machines, into the store that all of them see."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

from ser_transfer.clusters.actor import Work
from ser_transfer.clusters.batches import batches_of
from ser_transfer.clusters.cluster import Cluster, ClusterError
from ser_transfer.clusters.pool import Pool
from ser_transfer.encoders import Encoder
from ser_transfer.encoders.pooled import Recording, encode_noise
from ser_transfer.fill import Encoded, Job, write_recordings
from ser_transfer.fill.writing import open_writers
from ser_transfer.places import is_url
from ser_transfer.store import EmbeddingStore, Part

FIRST_USE = f"ser_transfer-{getattr(os, 'getuid', int)()}.lock"  # in a machine's folder for temporary files


class ClusterEncoder:
    """Does for `ser_transfer.fill.fill_store` what a process does by itself, on a cluster.

    Recordings are decoded where they are encoded, in the actor: so only paths travel (or bytes, where the
    corpus holds those), never waveforms, memory is bounded as it is in one process, and the very calls of the
    local engine are made. On a CPU each recording is encoded alone on one thread, so its embedding is the
    local engine's to the last bit.

    An actor answers for a batch when its shards count in the store. If the answer is lost with a machine,
    the batch is given out again, and whoever gets it finds what is there.

    Args:
        cluster: Where.
        load: Makes the encoder when it is called with a ``device``, ``"cpu"`` or ``"cuda"``; it is pickled.

    Attributes:
        n_again: Batches that were given out again.
    """

    def __init__(self, cluster: Cluster, load: Callable[..., Encoder]) -> None:
        self._cluster, self._load = cluster, load
        self.n_again = 0

    def encode(self, job: Job) -> Generator[Encoded, None, None]:
        """Do a job; see `ser_transfer.fill.writing.encode_here`.

        Raises:
            ClusterError: If the cluster cannot be joined or is gone, an actor raised, a machine has another
                encoder by the same name, or does not see the store.
        """
        self._cluster.join()
        gpus = self._cluster.size.gpus if job.encoder.runs_on == "device" else 0.0
        root = str(job.store.root if is_url(job.store.root) else job.store.root.absolute())
        prepare = partial(
            prepared,
            partial(self._load, device="cuda" if gpus else "cpu"),
            (job.encoder.name, job.encoder.fingerprint),
            root,
            list(job.lacking),
            job.batch_seconds,
            self._cluster.size.cpus,
        )
        seconds = job.missing.seconds()
        batches = batches_of(seconds, self._cluster.n_actors(gpus=gpus))
        done: list[str] = []
        with ExitStack() as stack:
            open_writers(stack, job.store, job.lacking)  # makes the parts, and tidies their manifests after
            pool = Pool(self._cluster, prepare, gpus=gpus)
            answers = pool.answers(len(batches), lambda n: [job.missing[row] for row in batches[n]])
            known = dict(zip(job.missing.keys, seconds, strict=True))
            try:
                for _, (encoded, cosine_cost) in answers:
                    job.start_seconds = pool.start_seconds
                    job.cosine_cost = max(job.cosine_cost, cosine_cost)
                    for each in encoded:
                        yield each if each.seconds >= 0 else Encoded(each.key, known[each.key])
                        if each.error is None:
                            done.append(each.key)
            finally:
                answers.close()
                self.n_again += pool.n_again
        _refuse_lost(job, done)


def prepared(
    load: Callable[[], Encoder],
    expected: tuple[str, str],
    root: str,
    parts: Sequence[Part],
    batch_seconds: float | None,
    n_workers: int,
) -> Work:
    """Make an encoder, in an actor, and give what encodes batches with it.

    Args:
        load: Makes it.
        expected: Its name and fingerprint on the machine of the user.
        root: Of the store.
        parts: What is to be written.
        batch_seconds: See `ser_transfer.encoders.pooled.encode_pooled`.
        n_workers: See there.

    Raises:
        ClusterError: If it is another encoder, or the store is not there.
    """
    from filelock import FileLock

    encoder = load()
    name, fingerprint = expected
    if encoder.fingerprint != fingerprint:
        raise ClusterError(
            f"{name} is another encoder on a machine of the cluster ({encoder.fingerprint[:12]}, and here "
            f"{fingerprint[:12]}): give all machines the same files, a Hub id with --revision, and the same "
            "ser_transfer"
        )
    store = EmbeddingStore(root)
    seen = {stored.part for stored in store.parts()}
    if not seen.issuperset(parts):
        raise ClusterError(
            f"a machine of the cluster does not see the store at {root}: give --store a folder that all "
            "machines share, or a URL such as s3://bucket/embeddings"
        )
    one_by_one = encoder.runs_on == "processes"  # what librosa compiles at its first use
    with FileLock(Path(tempfile.gettempdir()) / FIRST_USE) if one_by_one else nullcontext():
        encode_noise(encoder)
    writers = open_writers(ExitStack(), store, parts, by_time=False)

    def work(recordings: Sequence[Recording]) -> tuple[list[Encoded], float]:
        keys = [recording.key for recording in recordings]
        lacking = {part: set(store.missing(part, keys)) for part in parts}
        missing = set().union(*lacking.values())
        # What an actor that died had committed of this batch is not done again.
        encoded = [Encoded(key, -1.0) for key in keys if key not in missing]
        encoded += write_recordings(
            [recording for recording in recordings if recording.key in missing],
            encoder,
            writers,
            lacking,
            batch_seconds=batch_seconds,
            n_workers=n_workers,
        )
        for writer in writers.values():
            writer.flush()
        return encoded, max(writer.cosine_cost for writer in writers.values())

    return work


def _refuse_lost(job: Job, done: Sequence[str]) -> None:
    """Look whether all that was answered for is in the store, as this machine sees it.

    Raises:
        ClusterError: If it is not.
    """
    for part, keys in job.lacking.items():
        lost = job.store.missing(part, [key for key in done if key in keys])
        if lost:
            raise ClusterError(
                f"{len(lost)} embeddings that the cluster wrote are not in {job.store.root} on this machine: "
                "give --store a folder that all machines share, or a URL"
            )
