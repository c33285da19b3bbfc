"""Parts of a store at a URL: found by one listing, and removed although nothing there can be renamed.

A part is there while its ``part.json`` is. A note is put in its place first, then the description goes, so
that no reader sees half a part; then all else, and the note last. What a kill leaves has the note still, by
which the next clearing finds it.
"""

from __future__ import annotations

from pathlib import Path

from ser_transfer.places import found_below, is_object, listed, remove_objects, status_of
from ser_transfer.store.files import write_whole
from ser_transfer.store.part import DESCRIPTION

NOTE = "cleared"


def part_folders(root: Path, containing: str = "") -> list[Path]:
    """List the folders at a URL that may hold parts, by name, with one request."""
    return [
        root / each.name
        for each in listed(root)
        if each.is_folder and each.name[0] != "." and containing in each.name
    ]


def clear_objects(folder: Path) -> None:
    """Remove a part at a URL.

    Raises:
        OSError: If it may not be removed, say. Whatever is left then counts no more.
    """
    write_whole(folder, lambda file: None, lambda _: NOTE)
    remove_objects([folder / DESCRIPTION])
    rest = [each.name for each in found_below(folder) if each.name not in (NOTE, DESCRIPTION)]
    remove_objects([folder / name for name in rest])
    remove_objects([folder / NOTE])


def remove_cleared(root: Path) -> None:
    """Remove what a clearing left that was killed; nothing on a disk, where folders are renamed first."""
    if not is_object(root):
        return
    for folder in part_folders(root):
        names = {each.name for each in listed(folder)} if status_of(folder / NOTE) is not None else set()
        if not names:
            continue
        if DESCRIPTION in names:  # it was made again since
            remove_objects([folder / NOTE])
        else:
            clear_objects(folder)
