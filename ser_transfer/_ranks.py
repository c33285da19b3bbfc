"""Several processes on one job, started by torchrun or ``accelerate launch``: each takes a share of it.

They tell each other things through the key-value store at the launcher's address, not by collectives: whoever
waits looks every moment, so one that died is named instead of waited for.
"""

from __future__ import annotations

import heapq
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ser_transfer.errors import SerTransferError

BEAT_SECONDS = 2.0  # between two signs of life
SILENT_SECONDS = 60.0  # after which a process counts as dead
LOOK_SECONDS = 0.05  # between two looks of one that waits
START_SECONDS = 300.0  # for all to be there; a cluster may take its time
PREFIX = "ser_transfer"


class RankError(SerTransferError):
    """A process that started with the others and is no longer there."""


class Ranks:
    """The processes of one launch.

    Args:
        rank: Of this process, from 0.
        n_ranks: How many there are.
        store: What `torch.distributed.rendezvous` gives.
        clock: Seconds; for tests.
    """

    def __init__(
        self, rank: int, n_ranks: int, store: Any, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rank, self.n_ranks = rank, n_ranks
        self._store, self._clock = store, clock
        self._n_meetings = 0
        self._heard: dict[int, tuple[bytes, float]] = {}

    @classmethod
    @contextmanager
    def joined(cls) -> Iterator[Ranks | None]:
        """Join the other processes that a launcher started; None where there is one alone.

        Raises:
            RankError: If the address that the launcher gave does not answer.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            yield None
            return
        from torch.distributed.rendezvous import rendezvous

        try:
            store, rank, n_ranks = next(rendezvous("env://", timeout=timedelta(seconds=START_SECONDS)))
        except (RuntimeError, ValueError) as error:
            raise RankError(
                f"the other processes are not to be reached ({' '.join(str(error).split())}): start all of "
                "them with one torchrun or accelerate launch"
            ) from error
        ranks = cls(rank, n_ranks, store)
        ended = threading.Event()
        beating = threading.Thread(target=ranks._beat_until, args=(ended,), daemon=True)
        beating.start()
        try:
            yield ranks
            ranks.all_told(None)  # rank 0 may hold what the others speak through: it leaves last
            if rank == 0:
                time.sleep(10 * LOOK_SECONDS)
        finally:
            ended.set()
            beating.join()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks to the user."""
        return self.rank == 0

    def share(self, seconds: Sequence[float]) -> list[int]:
        """Take this process's part of a list, whose durations sum to about those of every other's.

        Each process is to give the same list.

        Args:
            seconds: Of each item.

        Returns:
            Which items are its own, ascending.
        """
        return sorted(shares(seconds, self.n_ranks)[self.rank])

    def count(self, name: str, amount: int) -> int:
        """Add to a number that all share, and give it."""
        return int(self._store.add(f"{PREFIX}/count/{name}", amount))

    def all_told(self, told: Any, *, on_look: Callable[[], object] = lambda: None) -> list[Any]:
        """Tell all others something, and wait until all have told theirs.

        Args:
            told: As JSON knows it.
            on_look: Called now and then while this one waits.

        Returns:
            What each told, by rank.

        Raises:
            RankError: If one died before it told.
        """
        self._n_meetings += 1
        names = [f"{PREFIX}/told/{self._n_meetings}/{rank}" for rank in range(self.n_ranks)]
        self._store.set(names[self.rank], json.dumps(told))
        begun = self._clock()
        found: dict[int, Any] = {}
        while True:
            for rank, name in enumerate(names):
                if rank not in found and self._store.check([name]):
                    found[rank] = json.loads(self._store.get(name))
            on_look()
            if len(found) == self.n_ranks:
                return [found[rank] for rank in range(self.n_ranks)]
            for rank in range(self.n_ranks):
                if rank not in found:
                    self._refuse_dead(rank, begun)
            time.sleep(LOOK_SECONDS)

    def beat(self) -> None:
        """Give a sign of life."""
        self._store.add(f"{PREFIX}/alive/{self.rank}", 1)

    def _beat_until(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                self.beat()
            except RuntimeError:  # the launcher ended
                return
            ended.wait(BEAT_SECONDS)

    def _refuse_dead(self, rank: int, begun: float) -> None:
        """Look whether a process gives signs of life.

        Raises:
            RankError: If its last one is too long ago.
        """
        name, now = f"{PREFIX}/alive/{rank}", self._clock()
        beat = self._store.get(name) if self._store.check([name]) else b""
        known = self._heard.get(rank)
        if known is None or known[0] != beat:
            self._heard[rank] = (beat, now)
            return
        most = SILENT_SECONDS if beat else START_SECONDS
        if now - max(known[1], begun) > most:
            raise RankError(
                f"process {rank} of {self.n_ranks} (counted from 0) has given no sign of life for "
                f"{most:g} s: what it had finished is kept, and the same command goes on from there"
            )


def shares(seconds: Sequence[float], n: int) -> list[list[int]]:
    """Deal items into parts of about equal duration: the longest first, each to whoever has the least.

    Args:
        seconds: Of each item.
        n: How many parts.

    Returns:
        The items of each part; the longest part is at most 4/3 of the best possible (Graham, 1969).
    """
    parts: list[list[int]] = [[] for _ in range(n)]
    heap = [(0.0, part) for part in range(n)]
    for item in sorted(range(len(seconds)), key=lambda item: (-seconds[item], item)):
        total, part = heapq.heappop(heap)
        parts[part].append(item)
        heapq.heappush(heap, (total + seconds[item], part))
    return parts


def local_share(n_cores: int) -> int:
    """Divide this machine's cores among the processes that a launcher started on it; at least one each."""
    return max(1, n_cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def local_device(device: str) -> str:
    """Name the GPU of this process where the user leaves the device open: the one of its number."""
    import torch

    if device == "auto" and torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0'))}"
    return device
