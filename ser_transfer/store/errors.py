"""What goes wrong in a store, said so that the user knows what to do."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from ser_transfer.errors import SerTransferError
from ser_transfer.places import cause_of, is_object


class StoreError(SerTransferError):
    """An embedding store that cannot be written, read, or joined with what was asked for."""


class Damaged(Exception):  # noqa: N818 - a finding that readers act on, not an error of the user's
    """An object whose bytes are not those that its name is the checksum of."""


@contextlib.contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn an operating system's error on the files under `path` into a line that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(_what_to_do(path, error)) from error


def _what_to_do(path: Path, error: OSError) -> str:
    intact = "All that was written before is intact, and the same command goes on from there."
    if is_object(path):
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return f"{error.filename or path} cannot be read or written: {cause_of(error)}. {intact}"
        from ser_transfer.store.fetched import copies_folder

        return (
            f"no space left on the disk of {copies_folder()}, where copies of what {path} holds lie: free "
            f"some, or set SER_TRANSFER_CACHE to a folder on another disk. {intact}"
        )
    file = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left on the disk of {path}. Free some (`ser-transfer embed --list` shows what each "
            f"encoder takes, `--clear` removes one), or name a folder on another disk with --store. {intact}"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{file} may not be accessed ({error.strerror}): change its permissions, or name another folder "
            f"with --store. {intact}"
        )
    if error.errno == errno.ENOENT:
        return f"{file} was removed while it was in use: run the same command again"
    return f"{file} cannot be used ({error.strerror or error}): check the disk. {intact}"
