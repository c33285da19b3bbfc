"""A model at a URL, under the same look as one on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_transfer.hub.download import check_settings
from ser_transfer.places import PlaceError, Snapshot

N_TRIES = 3
_SETTINGS = ("*config.json",)


def fetch_from_url(url: str, patterns: Sequence[str], *, of_run: str | None = None) -> Path:
    """Fetch what this machine lacks of a model at a URL; of one that `check_safe` refuses, only settings.

    Args:
        url: Of a folder.
        patterns: Of the files that are wanted, as of a shell.
        of_run: The folder of a run that has the model, where the URL may be a run's.

    Returns:
        A folder of this machine, all of it of one state.

    Raises:
        PlaceError: If nothing lies there, it cannot be read, or it changes all the time.
        HubError: If it is not safe.
    """
    found = Snapshot(url)
    if of_run is not None and "metrics.json" in found.names and "config.json" not in found.names:
        if not any(name.startswith(f"{of_run}/") for name in found.names):
            raise PlaceError(
                f"the run in {url} kept no {of_run}: train again on all folds, without --no-keep-model"
            )
        return fetch_from_url(f"{url.rstrip('/')}/{of_run}", patterns)
    for _ in range(N_TRIES):
        folder = found.fetch(_SETTINGS)
        check_settings(url, found.names, folder)
        found.fetch(patterns)
        if found.is_current():
            return folder
        found = Snapshot(url)
    raise PlaceError(f"{url} changes while it is read: wait until whoever writes there has ended")
