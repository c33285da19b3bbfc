"""Places: files and folders on this machine, or at any URL that fsspec knows, by the calls of pathlib."""

from ser_transfer.places.place import PlaceError, explaining, is_url, place

__all__ = ["PlaceError", "explaining", "is_url", "place"]
