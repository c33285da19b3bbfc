"""Several files that belong together, written so that they change together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_together(folder: str | Path, *, last: str | None = None) -> Iterator[Path]:
    """Give an empty folder to write to; its files take their places in `folder` once all of them are there.

    What lies in `folder` stays as it was until then: when the disk is full, or the process is killed. Files
    of other names stay.

    Args:
        folder: Made if it is not there.
        last: Name of the file that takes its place after all others: the one by which readers find them.

    Yields:
        A folder within it, whose name begins with a dot.
    """
    folder = Path(folder)
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        yield part
        files = [path for path in sorted(part.rglob("*")) if path.is_file()]
        for path in sorted(files, key=lambda path: path.name == last):
            place = folder / path.relative_to(part)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
