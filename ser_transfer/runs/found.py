"""The run folders that lie below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ser_transfer.runs.files import METRICS

MAX_DEPTH = 3  # folders below the root: outputs/<name>, and groups of runs such as outputs/<paper>/<name>


def run_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Walk to the folders that hold a run, not into them, nor endlessly round a link.

    Args:
        root: Such as ``outputs/``, or the folder of one run. One that is not there holds none.

    Yields:
        Name and folder of each run; the name is the path below the root.
    """
    if (root / METRICS).is_file():
        yield root.resolve().name, root
        return
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            inside = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
        except OSError:  # not there, or closed to us: nothing of it can be told
            continue
        for path in inside:
            if (path / METRICS).is_file():
                yield path.relative_to(root).as_posix(), path
            elif depth + 1 < MAX_DEPTH:
                waiting.append((path, depth + 1))
