"""A Ray cluster: a running one that is joined, or one of this machine alone that is started and stopped."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ser_transfer.clusters.reaching import answers_at, host_and_port
from ser_transfer.errors import SerTransferError

SHUTDOWN_SECONDS = 15.0  # after which a cluster that does not answer is left to itself


class ClusterError(SerTransferError):
    """A cluster that cannot be joined, is gone, or cannot do what was asked of it."""


@dataclass(frozen=True)
class PoolSize:
    """How many actors work, and what each takes of a machine.

    Attributes:
        n_actors: None for as many as the cluster has room for when the work begins.
        cpus: Of each; as many recordings are encoded at once, or decoded ahead of a GPU.
        gpus: Of each; a share such as 0.5 lets two actors use one GPU.
    """

    n_actors: int | None = None
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.n_actors is not None and self.n_actors < 1:
            raise ClusterError(f"{self.n_actors} actors do nothing: give --n-actors 1 or more")
        if self.cpus < 1:
            raise ClusterError(f"an actor of {self.cpus} CPUs cannot run: give --cpus-per-actor 1 or more")
        if not (self.gpus == int(self.gpus) >= 0 or 0 < self.gpus < 1):
            raise ClusterError(
                f"an actor cannot have {self.gpus:g} GPUs: give --gpus-per-actor 1, more, or a share, 0.5"
            )


class Cluster:
    """Machines that Ray holds together. Nothing is joined or started before it is needed.

    Use it as a context manager: what was started is stopped again, and what was joined is left, whatever
    happens inside. Where the process uses Ray already, that is used, and stays.

    Args:
        address: Of a running cluster, as `ray.init` takes it; None starts Ray on this machine.
        size: Of the pool of actors.
        options: For `ray.init`, where Ray is started here; for tests.
    """

    def __init__(self, address: str | None = None, size: PoolSize | None = None, **options: Any) -> None:
        self.address, self.size = address, size or PoolSize()
        self._options = options
        self._is_joined = self._is_ours = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            import ray

            # A daemon: where the cluster is dead, leaving it might wait for an answer for ever.
            leaving = threading.Thread(target=ray.shutdown, daemon=True)
            leaving.start()
            leaving.join(SHUTDOWN_SECONDS)
        self._is_joined = self._is_ours = False

    def join(self) -> None:
        """Join or start Ray, quietly, once.

        Raises:
            ClusterError: If ray is not installed, or nothing answers at the address.
        """
        if self._is_joined:
            return
        ray = _imported()
        if not ray.is_initialized():
            self._refuse_unreachable()
            # It is ours from here on: what was half started is stopped too.
            self._is_ours = True
            try:
                with warnings.catch_warnings(), _silent():
                    warnings.simplefilter("ignore")
                    ray.init(**self._how())
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                at = f"at {self.address}" if self.address else "on this machine"
                raise ClusterError(
                    f"no Ray {at} ({_one_line(error)}): start one with ray start --head and give its address "
                    "with --address, or leave --address out to start Ray on this machine alone; one that "
                    "asks for a token wants RAY_AUTH_MODE=token, and the same ~/.ray/auth_token"
                ) from error
        self._is_joined = True

    def n_actors(self, *, gpus: float) -> int:
        """Say how many actors there are to be.

        Args:
            gpus: Of each.

        Raises:
            ClusterError: If no machine has room for one: Ray would wait for such a machine for ever.
        """
        cpus = self.size.cpus
        machines = self.machines()
        room = [_room(machine, cpus, gpus) for machine in machines]
        if not any(room):
            most_cpus = int(max((machine.get("CPU", 0.0) for machine in machines), default=0.0))
            most_gpus = max((machine.get("GPU", 0.0) for machine in machines), default=0.0)
            wanted = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
            raise ClusterError(
                f"no machine of the cluster has the {wanted} that one actor is to have: the most are "
                f"{most_cpus} CPUs (--cpus-per-actor) and {most_gpus:g} GPUs (--gpus-per-actor)"
            )
        return self.size.n_actors or sum(room)

    def machines(self) -> list[dict[str, float]]:
        """Give what each machine that is alive has, by the names of Ray: ``CPU``, ``GPU``.

        Raises:
            ClusterError: If the cluster is gone.
        """
        import ray

        try:
            return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
            raise self.gone(error) from error

    def is_there(self) -> bool:
        """Whether the machine that leads the cluster answers."""
        import ray

        reached = host_and_port(ray.get_runtime_context().gcs_address)
        return reached is None or answers_at(*reached) is None

    def gone(self, error: BaseException | None = None) -> ClusterError:
        """Say that the cluster cannot be reached any more."""
        why = "" if error is None else f" ({_one_line(error)})"
        return ClusterError(
            f"the Ray cluster does not answer any more{why}: what was finished is kept, and the same command "
            "goes on from there"
        )

    def _how(self) -> dict[str, Any]:
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address is not None:
            return {"address": self.address, **quiet}
        started = {"address": "local", "include_dashboard": False}
        return {**started, **quiet, **self._options}

    def _refuse_unreachable(self) -> None:
        """Ray itself would try for two minutes, and then end the process.

        Raises:
            ClusterError: If nothing that may be Ray answers, or the address is one of Ray Client.
        """
        if (self.address or "").startswith("ray://"):
            raise ClusterError(
                f"{self.address} is an address of Ray Client, under which Ray Data does not run: on a "
                "machine of the cluster give --address auto; from outside, use ray job submit"
            )
        reached = None if self.address is None else host_and_port(self.address)
        why = None if reached is None else answers_at(*reached)
        if why is not None:
            raise ClusterError(
                f"no Ray at {self.address} ({why}): give the address that ray start --head told, such as "
                "10.0.0.1:6379, or auto on one of its machines"
            )


@contextmanager
def _silent() -> Iterator[None]:
    """Keep from the terminal what Ray's core, which is not Python, writes there."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _imported() -> Any:
    """Import ray so that it says nothing to the user's terminal.

    Raises:
        ClusterError: If it is not installed.
    """
    # Read by Ray's own processes and by its core, which writes to standard error by itself.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A thread that still asks Ray for something after it was left would join or start another.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError("--engine ray needs Ray: pip install 'ser-transfer[ray]'") from error
    # Of a machine that dies Ray prints sixty lines on standard output; the pool says it in one.
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *given, **options: None
    for name in ("ray", "ray.data"):
        logger = logging.getLogger(name)
        logger.handlers = [each for each in logger.handlers if not _writes_to_terminal(each)]
        logger.setLevel(logging.CRITICAL)
    return ray


def _writes_to_terminal(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream in (sys.stdout, sys.stderr) or type(handler).__name__ == "PlainRayHandler"


def _room(machine: dict[str, float], cpus: int, gpus: float) -> int:
    """How many actors a machine has room for, in CPUs and in GPUs."""
    room = int(machine.get("CPU", 0.0) // cpus)
    if not gpus:
        return room
    n_gpus = machine.get("GPU", 0.0)
    return min(room, int(n_gpus // gpus) if gpus >= 1 else int(n_gpus) * int(1 / gpus))


def _one_line(error: BaseException) -> str:
    told = " ".join(str(error).split()) or type(error).__name__
    return told if len(told) <= 200 else told[:200] + "..."
