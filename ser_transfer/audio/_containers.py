"""What a file says of itself: its container, and how many bytes it must have to be whole.

A decoder reads what is there and often says nothing about what is not, so a recording cut by a
broken download would pass for a short one. The headers tell, at the cost of a few bytes.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

# The container that each extension promises. An extension that is not here promises nothing.
CONTAINER_OF_EXTENSION = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".flac": "FLAC",
    ".ogg": "Ogg",
    ".oga": "Ogg",
    ".opus": "Ogg",
    ".mp3": "MP3",
    ".m4a": "MP4",
    ".m4b": "MP4",
    ".mp4": "MP4",
    ".webm": "Matroska",
    ".mka": "Matroska",
    ".mkv": "Matroska",
    ".aac": "AAC",
    ".aif": "AIFF",
    ".aiff": "AIFF",
}

_MAGIC = (
    (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"),
    (b"\x1a\x45\xdf\xa3", "Matroska"),
    (b"FORM", "AIFF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
_HEAD_BYTES = 512
_MOST_CHUNKS = 10_000  # walked before giving up, so that a region of zeros costs no minutes
# What FFmpeg and SoX put for "as long as the stream lasts" when they cannot seek back to the header.
_STREAMED_WAV_BYTES = (0xFFFF_FFFF, 0x7FFF_F000)
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes: header, lacing table, 255 segments of 255 (RFC 3533)


class Container(NamedTuple):
    """What the first bytes say.

    Attributes:
        name: ``WAV``, ``FLAC``, ``Ogg``, ``MP3``, ``MP4``, ``Matroska``, ``AAC``, ``AIFF``, or in words what
            else it is; None where nothing is recognised.
        n_bytes: The file's size.
        n_bytes_declared: The least size that its headers call for; None where they do not tell.
    """

    name: str | None
    n_bytes: int
    n_bytes_declared: int | None


def inspect(file: BinaryIO) -> Container:
    """Read the headers of a seekable file, and nothing of the sound."""
    n_bytes = file.seek(0, os.SEEK_END)
    start = _end_of_id3(file)
    name = _name(_read_at(file, start, _HEAD_BYTES))
    if name == "WAV":
        declared = _wav_bytes(file)
    elif name == "MP4":
        declared = _mp4_bytes(file, n_bytes)
    elif name == "Matroska":
        declared = _matroska_bytes(file)
    elif name == "Ogg":
        declared = _ogg_bytes(file, n_bytes)
    elif name == "MP3":
        declared = _mp3_bytes(file, start)
    else:
        declared = start
    return Container(name, n_bytes, declared)


def _read_at(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)


def _name(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and b"WAVE".startswith(head[8:12]):
        return "WAV"
    if head[4:8] == b"ftyp":
        return "MP4"
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _mpeg_name(head)
    # Control characters other than tabs and line ends stand in no text, and early in all sound.
    if head and not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "an HTML page" if head.lstrip().startswith(b"<") else "text"
    return None


def _mpeg_name(head: bytes) -> str | None:
    """Tell MPEG audio frames from AAC's (ADTS), which open with the same eleven ones."""
    layer = head[1] >> 1 & 3
    if layer == 0:  # reserved in MPEG audio; always 0 in ADTS (ISO 13818-7, 6.2.1)
        return "AAC" if head[1] & 0xF0 == 0xF0 else None
    version, bitrate, sampling_rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    reserved = version == 1 or bitrate == 15 or sampling_rate == 3
    return None if reserved else "MP3"


def _end_of_id3(file: BinaryIO) -> int:
    """Where an ID3v2 tag ends: it may stand before MP3, AAC and FLAC, and hold whole pictures."""
    tag = _read_at(file, 0, 10)
    if tag[:3] != b"ID3" or len(tag) < 10:
        return 0
    size = 0
    for byte in tag[6:10]:  # four times seven bits
        size = size << 7 | byte & 0x7F
    return 10 + size


def _wav_bytes(file: BinaryIO) -> int | None:
    """The end of the data chunk; the start of the missing chunk where there is none."""
    order = ">" if _read_at(file, 0, 4) == b"RIFX" else "<"
    offset, n_data_rf64 = 12, None
    for _ in range(_MOST_CHUNKS):
        header = _read_at(file, offset, 8)
        if len(header) < 8:
            return offset + 8
        (size,) = struct.unpack(order + "I", header[4:])
        if header[:4] == b"ds64":
            sizes = _read_at(file, offset + 8, 16)
            n_data_rf64 = struct.unpack("<Q", sizes[8:])[0] if len(sizes) == 16 else None
        if header[:4] == b"data":
            if size == 0xFFFF_FFFF and n_data_rf64 is not None:
                size = n_data_rf64
            return None if size in _STREAMED_WAV_BYTES else offset + 8 + size
        offset += 8 + size + size % 2  # chunks start at even offsets
    return None


def _mp4_bytes(file: BinaryIO, n_bytes: int) -> int | None:
    """The end of the last of the boxes that follow one another (ISO 14496-12, 4.2)."""
    offset = 0
    for _ in range(_MOST_CHUNKS):
        if offset + 8 > n_bytes:
            return max(offset, n_bytes)
        (size,) = struct.unpack(">I", _read_at(file, offset, 4))
        if size == 1:
            large = _read_at(file, offset + 8, 8)
            size = struct.unpack(">Q", large)[0] if len(large) == 8 else 16
        if size < 8:  # 0: to the end of the file; 2 to 7 mean nothing
            return None
        offset += size
    return None


def _matroska_bytes(file: BinaryIO) -> int | None:
    """The end of the Segment, which holds everything but the EBML header (RFC 8794)."""
    header = _element_size(_read_at(file, 4, 8))
    if header is None:
        return None
    segment = 4 + sum(header)
    if _read_at(file, segment, 4) != b"\x18\x53\x80\x67":
        return segment + 4
    size = _element_size(_read_at(file, segment + 4, 8))
    return None if size is None else segment + 4 + sum(size)


def _element_size(head: bytes) -> tuple[int, int] | None:
    """The width of an EBML size and the size itself; None where it is left open, or cut."""
    width = 9 - head[0].bit_length() if head else 9
    if width > len(head):
        return None
    bits = 7 * width
    size = int.from_bytes(head[:width], "big") & (1 << bits) - 1
    return None if size == (1 << bits) - 1 else (width, size)


def _ogg_bytes(file: BinaryIO, n_bytes: int) -> int | None:
    """The end of the last page (RFC 3533, 6)."""
    tail_start = max(0, n_bytes - _LARGEST_OGG_PAGE)
    tail = _read_at(file, tail_start, _LARGEST_OGG_PAGE)
    page = tail.rfind(b"OggS")
    if page < 0:
        return None
    n_segments = tail[page + 26] if page + 26 < len(tail) else 0
    lacing = tail[page + 27 : page + 27 + n_segments]
    return tail_start + page + 27 + n_segments + sum(lacing)


def _mp3_bytes(file: BinaryIO, start: int) -> int | None:
    """The end that the Xing or Info header of a first frame declares, where it does."""
    frame = _read_at(file, start, 64)
    # The header stands behind the side information, whose size depends on version and channels.
    tag = max(frame.find(b"Xing"), frame.find(b"Info"))
    if tag < 0 or len(frame) < tag + 16:
        return None
    (flags,) = struct.unpack(">I", frame[tag + 4 : tag + 8])
    if not flags & 2:
        return None
    size_at = tag + (12 if flags & 1 else 8)  # behind the number of frames, if that is given
    return start + int(struct.unpack(">I", frame[size_at : size_at + 4])[0])
