"""What was said of each recording, kept as it comes, so that a run that dies goes on where it was.

A journal is a file of JSON lines beside what it stands for: first the settings that the answers follow from,
then a line per answer. A line is handed to the operating system in one piece, so killing the process loses
what was not answered yet, and nothing else; a line that a power cut tore is cut off.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ser_transfer.audio import AudioError
from ser_transfer.errors import SerTransferError
from ser_transfer.places import PlaceError, is_object, is_url, place, status_of

FORMAT = 1  # of the first line


class ResultsError(SerTransferError):
    """Results that cannot be written, or that others would be mixed with."""


class Journal:
    """Answers by part and file: in memory, and in a file where there is one.

    A part is one of those who are asked: the model, its baseline, the speech recognition. An answer stands
    for the file as it was: one that has since changed, by its size or time, has none. What could not be used
    in an earlier run is asked for again, since it may have been put right.

    Attributes:
        n_gone: Answers that an earlier run of the same command left of files that are not there any more.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], dict[str, Any]] = {}
        self._stamps: dict[str, list[int] | None] = {}
        self._file: io.FileIO | None = None
        self.n_gone = 0

    @classmethod
    def open(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        given: Iterable[str],
        files: Iterable[str],
        *,
        restart: bool = False,
    ) -> Journal:
        """Open the journal beside results, with what it holds, or begin it.

        Args:
            path: Of the journal.
            settings: All that the answers follow from, as JSON has it: texts, numbers, None.
            given: The files and folders that were asked for, as they were typed.
            files: The recordings that they stand for now.
            restart: Throw away what it holds.

        Raises:
            ResultsError: If it holds answers of other settings, or of recordings that were not asked for now;
                or it cannot be read or written.
        """
        journal = cls()
        header = {"format": FORMAT, "settings": dict(settings), "given": list(given)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if restart or not path.is_file():
                path.write_bytes(_line(header))
            else:
                journal._read(path, header, set(files))
            journal._file = path.open("ab", buffering=0)
        except OSError as error:
            raise ResultsError(f"cannot write {path}: {error.strerror}; name another with --out") from error
        return journal

    def close(self) -> None:
        """Close the file; what is held in memory can still be asked."""
        if self._file is not None:
            self._file.close()

    def add(self, part: str, file: str, **content: Any) -> None:
        """Keep what a part said of a file.

        Raises:
            ResultsError: If the disk is full, say.
        """
        stamp = _stamp(file)
        entry = {"part": part, "file": file, "stamp": stamp, **content}
        self._answers[part, file] = entry
        self._stamps[file] = stamp
        if self._file is not None:
            line = _line(entry)
            try:
                if self._file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise ResultsError(
                    f"cannot write {self._file.name}: {error.strerror}; what was written before is kept, and "
                    "the same command goes on from there"
                ) from error

    def add_error(self, part: str, file: str, error: AudioError) -> None:
        """Keep why a part could say nothing of a file."""
        self.add(part, file, reason=error.reason, found=error.found)

    def get(self, part: str, file: str) -> dict[str, Any] | None:
        """Give what was said of a file, or why nothing was; None where it was not asked for yet."""
        return self._answers.get((part, file))

    def missing(self, part: str, files: Iterable[str]) -> list[str]:
        """Name the files that a part was not asked for yet."""
        return [file for file in files if (part, file) not in self._answers]

    def failures(self, parts: Iterable[str], files: Iterable[str]) -> dict[str, tuple[str, AudioError]]:
        """Say which files could not be used, by which part first, and why."""
        found = {}
        parts = list(parts)
        for file in files:
            for part in parts:
                entry = self.get(part, file) or {}
                if "reason" in entry:
                    found[file] = part, AudioError(entry["reason"], printable(file), entry["found"])
                    break
        return found

    def _read(self, path: Path, header: Mapping[str, Any], files: set[str]) -> None:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)
        lines = content[:whole].splitlines()
        if not lines:
            path.write_bytes(_line(header))
            return
        results = str(path.with_suffix(""))
        first = _parsed(lines[0], 1, path)
        _check_settings(first, header, results)
        for number, line in enumerate(lines[1:], 2):
            entry = _parsed(line, number, path)
            file = entry["file"]
            if file not in files:
                if first["given"] == header["given"]:
                    self.n_gone += 1
                    continue
                raise ResultsError(
                    f"{results} holds results of recordings that were not given now, such as "
                    f"{printable(file)}: name another --out, or start over with --restart"
                )
            if file not in self._stamps:
                self._stamps[file] = _stamp(file)
            if entry["stamp"] == self._stamps[file] and "reason" not in entry:
                self._answers[entry["part"], file] = entry


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there complete or not at all, however the process ends.

    Raises:
        ResultsError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror}; name another with --out") from error


def _line(content: Mapping[str, Any]) -> bytes:
    # ASCII: a file name that is not UTF-8 comes back as it was.
    return json.dumps(content).encode("ascii") + b"\n"


def printable(path: str) -> str:
    """Write a file's name as UTF-8 allows it, where the disk has other bytes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _parsed(line: bytes, number: int, path: Path) -> dict[str, Any]:
    keys = ("format", "settings", "given") if number == 1 else ("part", "file", "stamp")
    try:
        content = json.loads(line)
        if all(key in content for key in keys):
            return dict(content)
    except (ValueError, TypeError):
        pass
    raise ResultsError(
        f"line {number} of {path} is damaged: start over with --restart, or name another --out"
    )


def _stamp(file: str) -> list[int] | None:
    """What changes when a file does; None where there is none, or a URL does not answer."""
    try:
        found = place(file) if is_url(file) else None
        if found is not None and is_object(found):
            told = status_of(found)
            return None if told is None else [told.n_bytes, int(1e9 * (told.modified or 0))]
        status = os.stat(file)  # noqa: PTH116
    except (OSError, ValueError, PlaceError):
        return None
    return [status.st_size, status.st_mtime_ns]


def _check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], results: str) -> None:
    if found["format"] != FORMAT:
        raise ResultsError(f"{results} was written by another version: name another --out, or --restart")
    before, now = found["settings"], wanted["settings"]
    changed = [
        f"{name.replace('_', ' ')} was {_told(before.get(name))} and is {_told(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise ResultsError(
            f"{results} holds other results ({'; '.join(changed)}): name another --out, or start over with "
            "--restart"
        )


def _told(value: Any) -> str:
    return "none" if value is None else str(value)
