"""Which recordings are meant by files and folders, on disk or at URLs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ser_transfer.audio._containers import CONTAINER_OF_EXTENSION
from ser_transfer.places import PlaceError, explaining, found_below, is_object, is_url, place
from ser_transfer.results.journal import ResultsError

# What a folder is searched for: the containers that `ser_transfer.audio` tells apart by name, and what else
# libsndfile and FFmpeg read under names that stand for sound, or for pictures with sound.
_OTHER_EXTENSIONS = (
    ".3gp .ac3 .aifc .amr .asf .au .caf .flv .mov .mp2 .mpga .rf64 .snd .w64 .weba .wma".split()  # noqa: SIM905
)
AUDIO_EXTENSIONS = frozenset((*CONTAINER_OF_EXTENSION, *_OTHER_EXTENSIONS))


def find_recordings(given: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Name the recordings that files and folders stand for, each once.

    A folder stands for the audio files below it, at any depth and sorted, links followed; names that begin
    with a dot, and the folder ``__MACOSX``, are the operating system's. A file given by its own name is taken
    whatever its extension, and one that is not there too: whoever reads it says so.

    Returns:
        Paths that begin as they were given.

    Raises:
        ResultsError: If a URL cannot be listed.
    """
    found: dict[str, None] = {}
    for item in given:
        path = str(item) if is_url(item) else os.fspath(item)
        if is_url(path):
            found.update(dict.fromkeys(_at_url(path)))
        elif os.path.isdir(path):  # noqa: PTH112
            found.update(dict.fromkeys(_below(path)))
        else:
            found[path] = None
    return list(found)


def _at_url(url: str) -> Iterator[str]:
    """Name the recordings below a URL, in the same order; itself where nothing is below it."""
    try:
        with explaining(url):
            folder = place(url)
            if not is_object(folder):
                yield from find_recordings([folder])
                return
            names = [each.name for each in found_below(folder)]
    except PlaceError as error:
        raise ResultsError(str(error)) from error
    if not names:  # a recording, or nothing: whoever reads it says so
        yield url
    for name in names:
        *folders, file = name.split("/")
        is_hidden = file.startswith(".") or any(each.startswith((".", "__MACOSX")) for each in folders)
        if not is_hidden and PurePosixPath(file).suffix.lower() in AUDIO_EXTENSIONS:
            yield str(folder / name)


def _below(folder: str) -> Iterator[str]:
    found: list[str] = []
    visited: set[str] = set()
    for parent, subfolders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            extension = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if not name.startswith(".") and extension in AUDIO_EXTENSIONS:
                found.append(os.path.join(parent, name))  # noqa: PTH118
    yield from sorted(found, key=lambda path: Path(path).parts)
