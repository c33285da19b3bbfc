"""All that the store asks of a file system, wherever its files lie.

Write a whole file, list a folder, tell a file's size, map it, remove it: no file is changed once it is there,
and what counts is said by a file that names others (`ser_transfer.store.manifest`), never by a rename. So an
object store can stand behind these calls as well as a disk. Each of them takes a path first: on a disk it is
the function of `ser_transfer.store.disk`, at a URL that of `ser_transfer.store.objects` with the same name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from ser_transfer.places import is_object
from ser_transfer.store import disk

P = ParamSpec("P")
T = TypeVar("T")


def _wherever(on_disk: Callable[P, T]) -> Callable[P, T]:
    """Give what does on a disk what a function does, and at a URL what `objects` has by its name."""

    @functools.wraps(on_disk)
    def call(*args: P.args, **named: P.kwargs) -> T:
        path: Any = args[0]
        if not is_object(path):
            return on_disk(*args, **named)
        from ser_transfer.store import objects  # where nothing lies at a URL it is not needed

        return cast(T, getattr(objects, on_disk.__name__)(*args, **named))

    return call


checksum = _wherever(disk.checksum)
forget_copies = _wherever(disk.forget_copies)
is_sound = _wherever(disk.is_sound)
list_files = _wherever(disk.list_files)
list_status = _wherever(disk.list_status)
make_folder = _wherever(disk.make_folder)
map_file = _wherever(disk.map_file)
n_bytes_of = _wherever(disk.n_bytes_of)
read_small = _wherever(disk.read_small)
remove_file = _wherever(disk.remove_file)
remove_leftovers = _wherever(disk.remove_leftovers)
status_of_each = _wherever(disk.status_of_each)
status_written = _wherever(disk.status_written)
write_whole = _wherever(disk.write_whole)
