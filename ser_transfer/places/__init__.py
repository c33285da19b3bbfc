"""Places: files and folders on this machine, or at any URL that fsspec knows, by the calls of pathlib."""

from ser_transfer.places.objects import (
    ATTEMPTS,
    Status,
    cause_of,
    download,
    found_below,
    is_object,
    listed,
    read_object,
    remove_objects,
    status_of,
    upload,
)
from ser_transfer.places.place import PlaceError, explaining, is_url, place

__all__ = [
    "ATTEMPTS",
    "PlaceError",
    "Status",
    "cause_of",
    "download",
    "explaining",
    "found_below",
    "is_object",
    "is_url",
    "listed",
    "place",
    "read_object",
    "remove_objects",
    "status_of",
    "upload",
]
