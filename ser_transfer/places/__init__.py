"""Places: files and folders on this machine, or at any URL that fsspec knows, by the calls of pathlib."""

from ser_transfer.places.cache import url_cache
from ser_transfer.places.fetched import Snapshot, fetched, local_folder, put_together
from ser_transfer.places.mirrored import Output, mirrored
from ser_transfer.places.objects import (
    ATTEMPTS,
    Status,
    download,
    found_below,
    is_object,
    listed,
    read_object,
    remove_objects,
    status_of,
    upload,
)
from ser_transfer.places.place import PlaceError, cause_of, explaining, is_url, place

__all__ = [
    "ATTEMPTS",
    "Output",
    "PlaceError",
    "Snapshot",
    "Status",
    "cause_of",
    "download",
    "explaining",
    "fetched",
    "found_below",
    "is_object",
    "is_url",
    "listed",
    "local_folder",
    "mirrored",
    "place",
    "put_together",
    "read_object",
    "remove_objects",
    "status_of",
    "upload",
    "url_cache",
]
