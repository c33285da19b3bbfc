"""Decoded blocks of mono, from libsndfile or from FFmpeg, whichever knows the format.

Both read block by block, so that memory follows what is in the file and not what its header declares.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from ser_transfer.audio._containers import Container
from ser_transfer.audio._source import AudioError, Recording, Segment

if TYPE_CHECKING:
    import soundfile
    from av import AudioFrame
    from av.container import InputContainer

Waveform = npt.NDArray[np.float32]

# Hz. No recorder writes other rates; a damaged header does, and would make gigabytes of a few samples.
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000

# No file system lets a file be sought beyond 16 TiB, as damaged sizes ask for; so bytes do not either.
_FARTHEST = 1 << 44
_BLOCK_SAMPLES = 1 << 18  # decoded at once, over all channels
_UNKNOWN_FRAMES = 2**63 - 1  # what libsndfile says of a FLAC stream whose header leaves its length open
# mpg123, inside libsndfile, writes remarks on tags straight to stderr; FFmpeg, as PyAV sets it up, is quiet.
_NOT_FOR_LIBSNDFILE = ("MP3", "MP4", "Matroska", "AAC")
# What FFmpeg may open: single files. Its playlists (HLS, concat, ...) would read others, or the network.
_FFMPEG_FORMATS = "aac,ac3,aiff,amr,asf,au,caf,flac,flv,matroska,webm,mov,mp3,mpeg,mpegts,ogg,w64,wav"
# PyAV finds a frame's planes by walking to a null pointer, which only follows in a table of eight that is not
# full: with more channels it reads foreign memory, and crashes (av/audio/frame.py, `planes`, as of 18.1).
_MOST_FFMPEG_CHANNELS = 7


class _Refused(Exception):  # noqa: N818 - a word between the two decoders, which no user sees as an error
    """A decoder does not know the format; perhaps the other does."""


class _BytesFile(io.BytesIO):
    """Bytes for libsndfile, in C code: a seek that leads nowhere fails as a file does, and raises nothing."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: len(self.getbuffer())}[whence]
        if 0 <= base + offset <= _FARTHEST:
            super().seek(base + offset)
        return self.tell()


class _FFmpegFile:
    """A file for FFmpeg: a seek that leads nowhere, as in a damaged ASF, fails, and raises nothing here."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if offset > _FARTHEST:
            return -errno.EINVAL
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):  # before the beginning: of a file, and of bytes
            return -errno.EINVAL  # as AVERROR has it


def decoded(recording: Recording, container: Container, segment: Segment) -> tuple[Waveform, int]:
    """The segment as mono at the file's own rate, whole."""
    rate, blocks = LOWEST_RATE, [np.zeros(0, np.float32)]
    for block_rate, block in decoded_blocks(recording, container, segment):
        rate = block_rate
        blocks.append(block)
    return np.concatenate(blocks), rate


def decoded_blocks(
    recording: Recording, container: Container, segment: Segment
) -> Iterator[tuple[int, Waveform]]:
    """The segment as blocks of mono, each with the rate of the file, by the first decoder that knows it.

    A decoder refuses a file as it opens it, never after its first block.
    """
    both = (_libsndfile_blocks, _ffmpeg_blocks)
    decoders = both[1:] if _is_for_ffmpeg(recording, container) else both
    refusals = []
    for decoder in decoders:
        try:
            yield from decoder(recording, segment)
        except _Refused as refusal:
            refusals.append(str(refusal))
        else:
            return
    kind = f"it looks like {container.name}, and " if container.name else ""
    raise AudioError("unreadable", recording.name, f"{kind}no decoder reads it ({'; '.join(refusals)})")


def declared_seconds(recording: Recording, container: Container) -> float | None:
    """What the header says of the duration; None where it says nothing."""
    if _is_for_ffmpeg(recording, container):
        with suppress(_Refused), _ffmpeg(recording) as file:
            return None if file.duration is None else file.duration / 1e6  # FFmpeg gives it in microseconds
    else:
        with suppress(_Refused), _libsndfile(recording) as file:
            known = file.frames != _UNKNOWN_FRAMES
            return file.frames / _plausible(file.samplerate, recording) if known else None
    return None


def _is_for_ffmpeg(recording: Recording, container: Container) -> bool:
    """Whether libsndfile need not be asked: by the content, or by the name where that is damaged."""
    return (container.name or recording.promised_container) in _NOT_FOR_LIBSNDFILE


def _plausible(rate: int, recording: Recording) -> int:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError("unreadable", recording.name, f"its header says a sampling rate of {rate} Hz")
    return rate


@contextmanager
def _libsndfile(recording: Recording) -> Iterator[soundfile.SoundFile]:
    import soundfile

    if recording.data is None and recording.name.lower().endswith(".raw"):
        raise _Refused("libsndfile: a .raw file tells neither its rate nor its format")
    # Bytes where the system has bytes: a name on disk need not be UTF-8, which soundfile would make of it.
    path = recording.name if sys.platform == "win32" else os.fsencode(recording.name)
    try:
        file = soundfile.SoundFile(path if recording.data is None else _BytesFile(recording.data))
    except soundfile.LibsndfileError as error:
        raise _Refused(f"libsndfile: {error.error_string.rstrip('.')}") from error
    with file:
        if (
            file.format == "RAW"
        ):  # by names like .au, .snd and .vox it takes anything for 8 kHz telephone sound
            raise _Refused("libsndfile: nothing in it says which format it has")
        if file.subtype.startswith("MPEG"):
            raise _Refused(f"libsndfile: {file.subtype} is left to FFmpeg")
        yield file


def _libsndfile_blocks(recording: Recording, segment: Segment) -> Iterator[tuple[int, Waveform]]:
    import soundfile

    with _libsndfile(recording) as file:
        rate = _plausible(file.samplerate, recording)
        first, end = segment.frames(rate)
        n_left = int(min(end, file.frames)) - first
        block_frames = max(1, _BLOCK_SAMPLES // file.channels)
        try:
            if first and n_left > 0:
                file.seek(first)
            while n_left > 0:
                block = file.read(min(n_left, block_frames), dtype="float32", always_2d=True)
                if not len(block):
                    break
                n_left -= len(block)
                yield rate, block[:, 0] if file.channels == 1 else block.mean(axis=1)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                "truncated", recording.name, f"decoding breaks off ({error.error_string})"
            ) from error
        if n_left > 0 and file.frames != _UNKNOWN_FRAMES:
            found = (
                f"its header declares {file.frames} samples per channel, and {n_left} of them are not there"
            )
            raise AudioError("truncated", recording.name, found)


@contextmanager
def _ffmpeg(recording: Recording) -> Iterator[InputContainer]:
    import av

    # A file object and never a path: FFmpeg would take "http:..." or "concat:..." for what they say.
    with recording.open() as opened:
        try:
            container = av.open(
                _FFmpegFile(opened), options={"format_whitelist": _FFMPEG_FORMATS}, metadata_errors="replace"
            )
        except av.FFmpegError as error:
            raise _Refused(f"FFmpeg: {error.strerror}") from error
        with container:
            if not container.streams.audio:
                raise AudioError("unreadable", recording.name, "it holds no sound")
            # PyAV 17, the last for Python 3.10, does not refuse to decode such a stream: it crashes.
            if not container.streams.audio[0].codec_context:
                raise AudioError("unreadable", recording.name, "FFmpeg has no decoder for its sound")
            yield container


def _ffmpeg_blocks(recording: Recording, segment: Segment) -> Iterator[tuple[int, Waveform]]:
    import av

    with _ffmpeg(recording) as container:
        position, rate = 0, 0
        try:
            for frame in container.decode(audio=0):
                if rate not in (0, frame.sample_rate):
                    found = f"its sampling rate changes from {rate} to {frame.sample_rate} Hz"
                    raise AudioError("unreadable", recording.name, found)
                rate = _plausible(frame.sample_rate, recording)
                if frame.layout.nb_channels > _MOST_FFMPEG_CHANNELS:
                    found = f"it has {frame.layout.nb_channels} channels, and its format is read with up to 7"
                    raise AudioError("unreadable", recording.name, found)
                first, end = segment.frames(rate)
                block = _mono(frame)
                yield rate, block[max(0, first - position) : int(max(0, min(end - position, len(block))))]
                position += len(block)
                if position >= end:
                    return
        except av.FFmpegError as error:
            seconds = position / rate if rate else 0.0
            found = f"decoding breaks off after {seconds:.2f} s ({error.strerror})"
            raise AudioError("truncated", recording.name, found) from error


def _mono(frame: AudioFrame) -> Waveform:
    """Average the channels of a decoded frame, of any sample format, to full scale 1."""
    samples = frame.to_ndarray()  # (channels, samples), or (1, samples * channels) where they are interleaved
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if np.issubdtype(samples.dtype, np.integer):
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        offset = half if samples.dtype == np.uint8 else 0.0  # 8-bit samples are unsigned
        samples = (samples - offset) / half
    return np.asarray(samples.mean(axis=0), np.float32)
