"""A model that answers on many machines."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from functools import partial

from ser_transfer.audio import AudioError, duration_seconds
from ser_transfer.clusters.actor import Work
from ser_transfer.clusters.batches import batches_of
from ser_transfer.clusters.cluster import Cluster, ClusterError
from ser_transfer.clusters.pool import Pool
from ser_transfer.encoders.pooled import Recording
from ser_transfer.model import Answer, EmotionModel


class ClusterModel:
    """Answers as `EmotionModel.answers` does, by the same model in each actor of a cluster.

    Args:
        cluster: Where.
        model: As it is on this machine.
        load: Reads it when it is called with a ``device``, ``"cpu"`` or ``"cuda"``; it is pickled.
    """

    def __init__(self, cluster: Cluster, model: EmotionModel, load: Callable[..., EmotionModel]) -> None:
        self._cluster, self._model, self._load = cluster, model, load

    def answers(
        self, recordings: Iterable[Recording], *, n_workers: int | None = None
    ) -> Generator[Answer, None, None]:
        """Answer each recording once, whichever machines die meanwhile.

        Args:
            recordings: Each with a key of the caller's choice.
            n_workers: Not used: each actor has as many as it has CPUs.

        Raises:
            ClusterError: If the cluster cannot be joined or is gone, or a machine has another model.
        """
        asked = list(recordings)
        if not asked:
            return
        self._cluster.join()
        gpus = self._cluster.size.gpus
        batches = batches_of(list(map(_seconds, asked)), self._cluster.n_actors(gpus=gpus))
        expected = self._model.name, self._model.fingerprint
        load = partial(self._load, device="cuda" if gpus else "cpu")
        pool = Pool(self._cluster, partial(prepared, load, expected, self._cluster.size.cpus), gpus=gpus)
        found = pool.answers(len(batches), lambda n: [asked[row] for row in batches[n]])
        with closing(found):
            for _, answers in found:
                yield from answers


def prepared(load: Callable[[], EmotionModel], expected: tuple[str, str], n_workers: int) -> Work:
    """Read a model, in an actor, and give what answers batches with it.

    Args:
        load: Reads it.
        expected: Its name and fingerprint on the machine of the user.
        n_workers: See `EmotionModel.answers`.

    Raises:
        ClusterError: If it is another model.
    """
    model = load()
    name, fingerprint = expected
    if model.fingerprint != fingerprint:
        raise ClusterError(
            f"{name} is another model on a machine of the cluster ({model.fingerprint[:12]}, and here "
            f"{fingerprint[:12]}): give all machines the same files and the same ser_transfer"
        )

    def work(recordings: Sequence[Recording]) -> list[Answer]:
        return list(model.answers(recordings, n_workers=n_workers))

    return work


def _seconds(recording: Recording) -> float:
    try:
        return duration_seconds(recording.source)
    except AudioError:
        return 0.0
