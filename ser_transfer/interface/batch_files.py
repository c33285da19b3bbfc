"""Uploads, loose or in zip archives, as files that lie in one folder under names of ours.

An archive comes from a stranger. Nothing in it says where anything is written; what it claims of itself is
not believed; and what it may cost in members, bytes and memory is bounded before it is unpacked.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

MAX_FILES = 1000  # of one batch
MAX_UNPACKED_BYTES = 2_000_000_000  # of all archives of one batch together
# The directory of an archive is read in one piece, before its members can be counted: 2000 of them with
# names of 500 letters need no more, and a million of them would take a gigabyte of memory.
MAX_DIRECTORY_BYTES = 1 << 20
COPIED_BYTES = 1 << 18  # at a time
MAX_NAME = 200  # letters of a name that are shown

ZIP = b"PK\x03\x04"
# How archives begin (zip, gzip, bzip2, 7z, rar, xz, zstd): one in another is not opened.
ARCHIVES = (
    ZIP,
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # LZMA may claim gigabytes of memory to unpack
ENCRYPTED = 0x1


@dataclass(frozen=True)
class BatchFile:
    """A file of a batch, or why it is none.

    Attributes:
        name: As its owner knows it; of a member of an archive with the archive's name before it.
        path: Where it lies; None where it is refused.
        refusal: Why it is refused; None where it is not.
    """

    name: str
    path: Path | None = None
    refusal: str | None = None


def collect(uploads: Sequence[str | Path], folder: Path, max_bytes: int) -> list[BatchFile]:
    """List what was uploaded, archives unpacked.

    Folders in an archive, and files that systems leave there by themselves (``.DS_Store``, ``__MACOSX/``),
    are passed over; whatever else cannot be taken is listed with the reason.

    Args:
        uploads: Files. Those that begin as a zip archive are unpacked.
        folder: Empty; members are unpacked into it, under numbers.
        max_bytes: The largest file that is taken.

    Returns:
        In the order of the uploads, and within an archive of its directory.
    """
    found: list[BatchFile] = []
    unpacking = _Unpacking(folder, max_bytes)
    for upload in map(Path, uploads):
        name = shown_name(upload.name)
        n_taken = sum(file.path is not None for file in found)
        if _beginning(upload).startswith(ZIP):
            found += unpacking.members(upload, MAX_FILES - n_taken)
        elif n_taken >= MAX_FILES:
            found.append(BatchFile(name, refusal=f"more than {MAX_FILES} files: give the rest by themselves"))
        elif upload.stat().st_size > max_bytes:
            found.append(BatchFile(name, refusal=_too_large(upload.stat().st_size, max_bytes)))
        else:
            found.append(BatchFile(name, upload))
    return found


def shown_name(name: str) -> str:
    """Return a name without what cannot be printed, and not too long."""
    printed = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return printed if len(printed) <= MAX_NAME else f"…{printed[-MAX_NAME:]}"


class _SmallReads:
    """A file that is never read in a piece larger than the directory of a decent archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, n: int = -1) -> bytes:
        if n > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its directory is larger than that of any archive this page takes")
        return self._file.read(MAX_DIRECTORY_BYTES if n < 0 else n)


# Whatever a damaged or hostile archive makes zipfile raise.
DAMAGES = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    ValueError,
    OverflowError,
)


class _Unpacking:
    """Archives of one batch, unpacked into one folder until they have cost what they may."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._n_bytes_left = MAX_UNPACKED_BYTES
        self._numbers = count(1)

    def members(self, upload: Path, n_left: int) -> list[BatchFile]:
        """Unpack an archive; it is refused as a whole where it holds more files than are left to take."""
        archive_name = shown_name(upload.name)
        with upload.open("rb") as file:
            try:
                archive = zipfile.ZipFile(_SmallReads(file))
                members = [member for member in archive.infolist() if not _passed_over(member)]
            except DAMAGES as error:
                return [BatchFile(archive_name, refusal=f"this archive cannot be opened: {_words(error)}")]
            if len(members) > n_left:
                refusal = (
                    f"it holds {len(members):,} files, and {n_left:,} can be taken: {MAX_FILES:,} at a time"
                )
                return [BatchFile(archive_name, refusal=refusal)]
            if not members:
                return [BatchFile(archive_name, refusal="this archive holds no file")]
            return [self._member(archive, member, archive_name) for member in members]

    def _member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, archive_name: str) -> BatchFile:
        name = f"{archive_name}/{shown_name(member.filename)}"
        path = self._folder / f"{next(self._numbers):06d}{_suffix(member.filename)}"
        refusal = _refusal(member, self._max_bytes) or self._extracted(archive, member, path)
        if refusal is None:
            return BatchFile(name, path)
        path.unlink(missing_ok=True)
        return BatchFile(name, refusal=refusal)

    def _extracted(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str | None:
        """Write a member to a path, no more of it than may be; say why if it is not to be kept."""
        n_bytes = 0
        try:
            with archive.open(member) as source, path.open("xb") as target:
                while block := source.read(COPIED_BYTES):
                    if n_bytes == 0 and block.startswith(ARCHIVES):
                        return "it is an archive inside an archive: unpack it first"
                    n_bytes += len(block)
                    if n_bytes > self._max_bytes:
                        return _too_large(n_bytes, self._max_bytes)
                    if n_bytes > self._n_bytes_left:
                        return (
                            f"archives of more than {MAX_UNPACKED_BYTES / 1e9:g} GB are not unpacked at once"
                        )
                    target.write(block)
        except DAMAGES as error:
            return f"it cannot be unpacked: {_words(error)}"
        self._n_bytes_left -= n_bytes
        return None


def _passed_over(member: zipfile.ZipInfo) -> bool:
    parts = _parts(member.filename)
    return (
        member.is_dir() or "__MACOSX" in parts or (parts[-1].startswith(".") and parts[-1] not in (".", ".."))
    )


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _suffix(name: str) -> str:
    """Return the ending, by which a recording that is not what it is called is known."""
    ending = Path(_parts(name)[-1]).suffix
    return ending if ending[1:].isascii() and ending[1:].isalnum() and len(ending) <= 8 else ""


def _refusal(member: zipfile.ZipInfo, max_bytes: int) -> str | None:
    """Say why a member is not even begun with."""
    parts, kind = _parts(member.filename), stat.S_IFMT(member.external_attr >> 16)
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        return "its path leads out of the archive"
    if kind == stat.S_IFLNK:
        return "it is a link, not a file"
    if kind not in (0, stat.S_IFREG):
        return "it is not a plain file"
    if member.flag_bits & ENCRYPTED:
        return "it is encrypted: unpack it first"
    if member.compress_type not in METHODS:
        return "it is packed by a method that this page does not take: pack it again as an ordinary zip"
    if member.file_size > max_bytes:
        return _too_large(member.file_size, max_bytes)
    return None


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(ZIP))


def _too_large(n_bytes: int, max_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB, and {max_bytes / 1e6:g} MB are taken at most"


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
