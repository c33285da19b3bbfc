"""Settings of commands that run on this machine or on many."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from ser_transfer._command import SettingsError
from ser_transfer._setting import setting
from ser_transfer.clusters import Cluster, PoolSize

Engine = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What does the work, and where."""

    engine: Engine = setting(
        "local", help="local: this machine; ray: a pool of actors on a Ray cluster, or on this machine"
    )
    address: str | None = setting(
        None,
        help="ray: of a running cluster that this machine is part of: auto, or 10.0.0.1:6379; default: Ray "
        "is started here",
    )
    n_actors: int | None = setting(
        None, help="ray: how many work at once; default: as many as the cluster has room for"
    )
    cpus_per_actor: int = setting(
        1, help="ray: CPUs of each, and recordings that it encodes at once, or decodes ahead of its GPU"
    )
    gpus_per_actor: float = setting(
        0.0, help="ray: GPUs of each, 0.5 for two on one; default: 0, which encodes on CPUs"
    )

    def check_engine(self, **local: object) -> None:
        """Refuse flags that do not go with the engine.

        Args:
            local: Settings that say how one machine works, None where they were left alone.

        Raises:
            SettingsError: If there are any.
        """
        if self.engine == "ray":
            stray = [name for name, value in local.items() if value is not None]
            told = (
                "is for one machine: leave it out with --engine ray, whose actors take --cpus-per-actor and "
                "--gpus-per-actor"
            )
        else:
            ours = (item for item in fields(EngineSettings) if item.name != "engine")
            stray = [item.name for item in ours if getattr(self, item.name) != item.default]
            told = "says how a Ray cluster works: add --engine ray"
        if stray:
            raise SettingsError(f"{', '.join('--' + name.replace('_', '-') for name in stray)} {told}")

    def cluster(self) -> Cluster | None:
        """Name the cluster that these settings ask for; None for this machine. Nothing is started yet."""
        if self.engine == "local":
            return None
        return Cluster(self.address, PoolSize(self.n_actors, self.cpus_per_actor, self.gpus_per_actor))
