"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ser_transfer.exporting.errors import ExportError
from ser_transfer.store.disk import write_whole


def write_file(path: Path, content: bytes) -> None:
    """Write a file; what was there stays until all of the new one is on the disk.

    Raises:
        ExportError: If it cannot be written.
    """

    def fill(file: BinaryIO) -> None:
        file.write(content)

    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.parent, fill, lambda _: path.name)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn what the operating system says of a file that is being written into one line.

    Raises:
        ExportError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full: free some space, or name another place"
        else:
            reason = f"{error.strerror or error}: name another place"
        raise ExportError(f"{path} cannot be written, {reason}") from error
