"""Places: files and folders on this machine, or at any URL that fsspec knows, by the calls of pathlib."""

from ser_transfer.places.fetched import Snapshot, fetched, local_folder, put_together
from ser_transfer.places.mirrored import Output, mirrored
from ser_transfer.places.place import PlaceError, explaining, is_url, place

__all__ = [
    "Output",
    "PlaceError",
    "Snapshot",
    "explaining",
    "fetched",
    "is_url",
    "local_folder",
    "mirrored",
    "place",
    "put_together",
]
