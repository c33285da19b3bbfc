"""The folder of a user in which things from and for URLs lie, and who may write in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_transfer.places.place import PlaceError, explaining

if sys.platform != "win32":
    import fcntl


def url_cache(kind: str) -> Path:
    """Name the folder of this user in which things from and for URLs lie.

    It is in the user's cache folder, or where the environment variable SER_TRANSFER_CACHE says.
    """
    given = os.environ.get("SER_TRANSFER_CACHE")
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ser_transfer"
    return (Path(given) if given else own).resolve() / "urls" / kind


@contextmanager
def locked(home: Path, url: str) -> Iterator[None]:
    """Keep a second process of this machine out; the lock of one that dies is gone with it."""
    with explaining(home):
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "lock").open("ab")
    with file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PlaceError(
                    f"another process of this machine is writing to {url}: wait until it has ended, or give "
                    "another --out"
                ) from None
        yield
