"""A path, or a URL in place of one: ``cache/``, ``s3://bucket/cache``, ``gs://``, ``hf://``, ``memory://``."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from ser_transfer.errors import SerTransferError

# A scheme of two letters or more: C:\ is a drive.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

# What a scheme needs beyond this package, by the name of its extra.
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}

# Whose errors a file system on the network lets through as they are, by the first word of their module.
LIBRARIES = frozenset(
    {"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "httpx", "huggingface_hub", "s3fs"}
)


class PlaceError(SerTransferError):
    """A file or folder, mostly at a URL, that cannot be read or written."""


def is_url(text: str | os.PathLike[str]) -> bool:
    """Whether something names a place by a URL, and not a path of this machine."""
    return URL.match(str(text)) is not None


def place(text: str | os.PathLike[str]) -> Path:
    """Name a file or folder; nothing is read or written for it.

    Args:
        text: A path, or a URL that fsspec knows.

    Returns:
        A `pathlib.Path` where it is a path. Of a URL a `upath.UPath`, which has the calls of a path, but no
        `rename` that is one step, no locks, and nothing to map into memory. It is typed as a path, so that
        whoever only lists, reads and writes whole files need not ask which of the two it is.

    Raises:
        PlaceError: If nothing here knows the URL's scheme.
    """
    if not is_url(text):
        return Path(text)
    from upath import UPath

    scheme = str(text).partition("://")[0].lower()
    try:
        # Not what is remembered of folders: another process may have just written there.
        found = UPath(text, use_listings_cache=False)
        _ = found.fs  # made at first use: a library that is missing is told now
    except ImportError as error:
        what = f"ser-transfer[{EXTRAS[scheme]}]" if scheme in EXTRAS else str(error)
        raise PlaceError(f"{scheme}:// needs a library that is not here: pip install '{what}'") from error
    except ValueError as error:
        raise PlaceError(
            f"{text}: no file system is called {scheme}:// ({error}); known are s3://, gs://, hf://, "
            "memory:// and what fsspec lists"
        ) from error
    return Path(found.path) if scheme in ("file", "local") else cast(Path, found)


@contextmanager
def explaining(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the errors of a file system, on a disk or on the network, into a line that names the place.

    Raises:
        PlaceError: In their stead.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in LIBRARIES:
            raise
        raise PlaceError(f"{where} cannot be read or written: {cause_of(error)}") from error


def cause_of(error: Exception) -> str:
    """Say what is wrong, and what to do where that is known."""
    if isinstance(error, FileNotFoundError):
        return "it is not there; check the name"
    if isinstance(error, PermissionError):
        return f"access is refused ({in_a_line(error)}); check the credentials or permissions"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{in_a_line(error)}; free some, and run the same command again"
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return "there are no credentials for it; set them as its own tools want them"
    return f"{in_a_line(error)}; check the address and the network, and run the same command again"


def in_a_line(error: Exception) -> str:
    """Say in a line what an error says of itself."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return " ".join(str(strerror or error).split()) or type(error).__name__
