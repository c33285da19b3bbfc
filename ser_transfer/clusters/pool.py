"""A pool of actors that Ray Data feeds with batches, until each batch is answered once."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, runtime_checkable

from ser_transfer.clusters.actor import Actor, Outcome, Work, in_a_line
from ser_transfer.clusters.cluster import Cluster, ClusterError

ROUND_BYTES = (
    512 << 20
)  # of batches in Ray's object store at a time: audio that travels with its rows is large
MAX_ATTEMPTS = 3  # at batches whose actors die
IN_FLIGHT = 2  # batches per actor: the next one is there when one is done
LOOK_SECONDS = 2.0  # between two looks whether the cluster is there
STOP_SECONDS = 5.0  # for a pipeline to end
PATIENCE_SECONDS = 30.0  # without the leading machine, or with none that has room for an actor


class Pool:
    """Actors that answer batches.

    Args:
        cluster: Where they run.
        prepare: Called in each actor; gives what answers a batch. It is pickled.
        gpus: Of each actor.

    Attributes:
        n_again: Batches that were given out again, since the machine or the process that had them died.
        start_seconds: How long it took until the first batch was begun.
    """

    def __init__(self, cluster: Cluster, prepare: Callable[[], Work], *, gpus: float) -> None:
        self._cluster, self._prepare, self._gpus = cluster, prepare, gpus
        self.n_again, self.start_seconds = 0, 0.0
        self._told: set[str] = set()
        self._is_started = False
        self._begun = time.perf_counter()

    def answers(
        self, n_batches: int, content: Callable[[int], Sequence[Any]]
    ) -> Generator[tuple[int, Any], None, None]:
        """Have each batch answered, and give its number and the answer as it comes.

        A batch counts as answered when its answer is here. One that was lost on the way is given out again.

        Args:
            n_batches: How many there are.
            content: Reads a batch by its number, from 0; maybe more than once.

        Raises:
            ClusterError: If the cluster is gone, an actor raised, or all batches of `MAX_ATTEMPTS` rounds
                were lost.
        """
        n_actors = self._cluster.n_actors(gpus=self._gpus)
        waiting = deque(range(n_batches))
        n_in_vain = 0
        while waiting:
            tables = self._next_round(waiting, content)
            left = set(tables)
            with contextlib.closing(self._round(list(tables.values()), n_actors)) as outcomes:
                for outcome in outcomes:
                    if outcome.batch in left:
                        left.discard(outcome.batch)
                        yield outcome.batch, outcome.answer
            # A dead actor fails what it is given at once, so a death may cost a round most of its batches.
            # What tells that a batch itself ends its actors is that no other is left to be answered.
            n_in_vain = n_in_vain + 1 if len(left) == len(tables) else 0
            if n_in_vain == MAX_ATTEMPTS:
                raise ClusterError(
                    f"{len(left)} batches have ended their actors {MAX_ATTEMPTS} times: is a machine short "
                    "of memory? Give each actor more of one, --cpus-per-actor 2, or start fewer, --n-actors"
                )
            waiting.extendleft(sorted(left, reverse=True))
            self.n_again += len(left)
            if left:
                warnings.warn(
                    f"{len(left)} batches were lost with a machine or a process of the cluster and are done "
                    "again; nothing that was finished is lost",
                    stacklevel=2,
                )

    def _next_round(self, waiting: deque[int], content: Callable[[int], Sequence[Any]]) -> dict[int, Any]:
        """Take as many batches as may be held at a time, at least one."""
        import pyarrow as pa
        from ray import cloudpickle

        tables, n_bytes = {}, 0
        while waiting and n_bytes < ROUND_BYTES:
            batch = waiting.popleft()
            packed = cloudpickle.dumps(list(content(batch)))
            n_bytes += len(packed)
            tables[batch] = pa.table({"batch": [batch], "content": pa.array([packed], pa.large_binary())})
        return tables

    def _round(self, tables: list[Any], n_actors: int) -> Generator[Outcome, None, None]:
        """Run one pipeline of Ray Data; what is lost with a machine or process is left out."""
        import ray.data
        from ray import cloudpickle

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # an actor returns its errors: what raises is a death
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that Ray 2.64 will do without the last two
            pipeline = ray.data.from_arrow(tables).map_batches(
                Actor,
                fn_constructor_args=(cloudpickle.dumps(self._prepare), os.getcwd()),  # noqa: PTH109
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=min(n_actors, len(tables)), max_tasks_in_flight_per_actor=IN_FLIGHT
                ),
                num_cpus=self._cluster.size.cpus,
                num_gpus=self._gpus or None,
                # An actor that died starts again where there is room; its batches do not wait for that.
                max_restarts=-1,
                max_task_retries=0,
            )
        name = f"ser_transfer_{secrets.token_hex(4)}"
        pipeline.set_name(name)
        found: queue.Queue[Outcome | BaseException | None] = queue.Queue()
        ended = threading.Event()
        reader = threading.Thread(target=_read, args=(pipeline, found, ended), daemon=True)
        reader.start()
        try:
            while (outcome := self._next(found)) is not None:
                if isinstance(outcome, ray.exceptions.RayActorError):  # others are counted as lost batches
                    raise ClusterError(
                        f"no actor could be started on the cluster ({in_a_line(outcome)}): all machines need "
                        "the same ser_transfer, pip install 'ser-transfer[ray]'"
                    ) from outcome
                if isinstance(outcome, BaseException):
                    raise self._cluster.gone(outcome) from outcome
                self._tell(outcome)
                yield outcome
        finally:
            ended.set()
            if reader.is_alive():
                _stop(name)
                reader.join(STOP_SECONDS)

    def _next(self, found: queue.Queue[Outcome | BaseException | None]) -> Outcome | BaseException | None:
        """Wait for the next outcome as long as there is a cluster that it can come from.

        Raises:
            ClusterError: If there is none any more.
        """
        lonely_since: float | None = None
        while True:
            try:
                return found.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                pass
            try:
                if not self._cluster.is_there():
                    raise self._cluster.gone()
                self._cluster.n_actors(gpus=self._gpus)
                lonely_since = None
            except ClusterError:
                lonely_since = lonely_since or time.monotonic()
                if time.monotonic() - lonely_since > PATIENCE_SECONDS:
                    raise

    def _tell(self, outcome: Outcome) -> None:
        """Pass on what an actor warned of, each warning once, and raise what it could not do.

        Raises:
            ClusterError: If it could not do its batch.
        """
        if not self._is_started:
            self._is_started = True
            self.start_seconds = max(0.0, time.perf_counter() - self._begun - outcome.seconds)
        for warning in outcome.warnings:
            if warning not in self._told:
                self._told.add(warning)
                warnings.warn(warning, stacklevel=2)
        if outcome.failed is not None:
            raise ClusterError(outcome.failed)


def _stop(name: str) -> None:
    """End a pipeline whose reader has left it: its thread would go on asking Ray, and maybe the next one."""
    for thread in threading.enumerate():
        if thread.name.startswith(f"StreamingExecutor-{name}") and isinstance(thread, Executor):
            # A daemon: where the cluster is dead, this might wait for an answer for ever.
            stopping = threading.Thread(target=thread.shutdown, kwargs={"force": True}, daemon=True)
            stopping.start()
            stopping.join(STOP_SECONDS)


@runtime_checkable
class Executor(Protocol):
    """What of Ray Data runs a pipeline, in a thread."""

    def shutdown(self, force: bool) -> None:
        """Stop, and end the actors."""


def _read(pipeline: Any, found: queue.Queue[Outcome | BaseException | None], ended: threading.Event) -> None:
    """Read a pipeline's outcomes in a thread of its own: who waits for them can look at other things too."""
    from ray import cloudpickle

    batches = iter(pipeline.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    try:
        for table in batches:
            for packed in table.column("outcome"):
                found.put(cloudpickle.loads(packed.as_py()))
            if ended.is_set():
                break
        batches.close()
        found.put(None)
    except BaseException as error:
        found.put(error)
