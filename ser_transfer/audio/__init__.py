"""Any recording to mono float32 at the rate an encoder wants, or an error that names what is wrong with it.

libsndfile reads what it can (WAV, FLAC, Ogg, AIFF, ...) and FFmpeg, through PyAV, the rest (MP3, M4A, MP4,
WebM, ...). Channels are averaged, resampling is band-limited. A file that would quietly become a wrong
embedding (silence, half a download, a web page named .wav) is refused instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np

from ser_transfer.audio._blocks import SILENCE_PEAK, Tally, beyond_float32, none_left, read_blocks
from ser_transfer.audio._decoders import Waveform, declared_seconds, decoded, decoded_blocks
from ser_transfer.audio._source import AudioError, AudioSource, Reason, Recording, Segment
from ser_transfer.places import is_url

__all__ = [
    "SILENCE_PEAK",
    "AudioError",
    "AudioSource",
    "Reason",
    "audio_key",
    "duration_seconds",
    "held",
    "read_audio",
    "read_blocks",
    "refuse_changed",
]

# Tables round the end of a segment to hundredths of a second; so much past the end is not an error.
SEGMENT_SLACK_SECONDS = 0.01
_HASH_BLOCK_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000  # after which a file's times tell that it changed; FAT tells even seconds


def read_audio(
    source: AudioSource,
    sampling_rate: int = 16_000,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    min_seconds: float = 0.0,
) -> Waveform:
    """Read a recording, or a segment of one, as mono at a given rate.

    Channels are averaged. Resampling is soxr's HQ: what it adds and what it aliases lies below -120 dB, under
    the rounding of 16-bit recordings (-98 dB), and it is flat to 0.9 of the Nyquist frequency. VHQ would gain
    digits that such recordings do not have. librosa's default is HQ too, so its features can be compared.

    Of a segment only its own samples are decoded where libsndfile reads the format; what FFmpeg reads is
    decoded from the beginning, because seeking in MP3 or AAC is not exact to a sample. AAC keeps what its
    encoder filled the last frames with, up to 0.1 s.

    Args:
        source: A path, the bytes of a file, or a row's ``{"bytes": ..., "path": ...}`` of `datasets`.
        sampling_rate: Hz, of the result.
        start_seconds: Where the segment begins; None for the beginning.
        end_seconds: Where the segment ends; None for the end. It may lie `SEGMENT_SLACK_SECONDS` too late.
        min_seconds: A shorter recording or segment is an error.

    Returns:
        Array of shape (samples,), full scale 1.

    Raises:
        AudioError: If the recording cannot be read, or holds no sound; `AudioError.reason` says which of the
            reasons it is.
    """
    recording = Recording.of(source)
    segment = Segment.of(start_seconds, end_seconds, recording.name)
    container = recording.inspected()
    mono, rate = decoded(recording, container, segment)
    _refuse_unusable(mono, rate, recording.name, segment, min_seconds)
    if rate == sampling_rate:
        return mono
    import soxr

    waveform: Waveform = soxr.resample(mono, rate, sampling_rate, quality="HQ")
    if not len(waveform):
        raise none_left(recording.name, len(mono), rate, sampling_rate)
    if not np.isfinite(waveform).all():
        raise beyond_float32(recording.name, float(np.abs(mono).max()))
    return waveform


def audio_key(
    source: AudioSource, *, start_seconds: float | None = None, end_seconds: float | None = None
) -> str:
    """Name the bytes of a recording and the segment of it, whatever it is called and wherever it lies.

    The hash is XXH3 of 128 bits. It keeps up with the disk on any machine, where SHA-256 needs a processor
    with instructions for it, and chance gives two of a billion recordings one key in one of 10^20 such
    corpora. It does not withstand someone who wants a collision; a store of one's own has no such enemy.

    Args:
        source: As in `read_audio`; a dict's bytes go before its path.
        start_seconds: Where the segment begins; None and 0 are the same.
        end_seconds: Where the segment ends; None for the end.

    Returns:
        32 hexadecimal digits.

    Raises:
        AudioError: If there is no such file, or it cannot be opened, or the segment is none.
    """
    recording = Recording.of(source)
    segment = Segment.of(start_seconds, end_seconds, recording.name)
    if segment == Segment():
        return str(_digest(recording).hexdigest())
    digest = _digest_of_many(recording).copy()
    digest.update(f"{segment.start_seconds!r} to {segment.end_seconds!r}".encode())
    return str(digest.hexdigest())


def held(source: AudioSource) -> AudioSource:
    """Fetch what lies at a URL, for whoever looks at it more than once; give all else as it is.

    Raises:
        AudioError: If there is no such file, or it cannot be fetched.
    """
    path = source.get("path") if isinstance(source, Mapping) else source
    if isinstance(path, bytes) or path is None or not is_url(path):
        return source
    recording = Recording.of(source)
    return {"bytes": recording.data, "path": recording.name}


def refuse_changed(
    source: AudioSource, key: str, *, start_seconds: float | None = None, end_seconds: float | None = None
) -> None:
    """Refuse a recording that is no longer the one it was.

    Called after it was decoded, it tells that what was decoded is what the key names: or else the embedding
    of other audio would be kept under that key, and found there for good.

    Args:
        source: As in `audio_key`; bytes in memory do not change, and are not looked at, unless they were
            fetched from a URL (see `held`): then these are what was decoded.
        key: What `audio_key` gave before.
        start_seconds: As there.
        end_seconds: As there.

    Raises:
        AudioError: If the file holds other bytes now, or is gone.
    """
    recording = Recording.of(source)
    if (recording.data is None or is_url(recording.name)) and (
        audio_key(source, start_seconds=start_seconds, end_seconds=end_seconds) != key
    ):
        raise AudioError("changed", recording.name, "it was written to after it was listed")


def _digest(recording: Recording) -> Any:
    import xxhash

    digest = xxhash.xxh3_128()
    with recording.open() as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest


def _digest_of_many(recording: Recording) -> Any:
    """Hash a file that has many segments once, and not for each.

    It is known again by its size, inode and times, unless it was written so recently that it could be
    written again within one tick of the file system's clock.
    """
    if recording.data is None:
        with suppress(OSError, ValueError):
            status = os.stat(recording.name)  # noqa: PTH116 - the name may be bytes that are no UTF-8
            times = (status.st_mtime_ns, status.st_ctime_ns)
            if time.time_ns() - max(times) > _SETTLED_NS:
                return _remembered(recording, (status.st_size, status.st_ino, *times))
    return _digest(recording)


@lru_cache(maxsize=16)
def _remembered(recording: Recording, stamp: tuple[int, ...]) -> Any:
    del stamp  # part of what it is remembered by
    return _digest(recording)


def duration_seconds(source: AudioSource) -> float:
    """Tell how long a recording is, from its header where that says so, and else by decoding it.

    It is for sorting and for progress bars: headers of MP3 and WebM may be off by a fraction of a second.

    Args:
        source: As in `read_audio`.

    Raises:
        AudioError: If the file is missing, empty, mislabelled, truncated or unreadable.
    """
    recording = Recording.of(source)
    container = recording.inspected()
    seconds = declared_seconds(recording, container)
    if seconds is not None:
        return seconds
    return sum(len(block) / rate for rate, block in decoded_blocks(recording, container, Segment()))


def _refuse_unusable(mono: Waveform, rate: int, name: str, segment: Segment, min_seconds: float) -> None:
    """Raise the AudioError that a decoded waveform deserves, if it deserves one."""
    seconds = len(mono) / rate
    wanted = (segment.end_seconds or segment.start_seconds) - segment.start_seconds
    from_beginning = not len(mono) and segment.start_seconds == 0  # of nothing: no segment is to blame
    if not from_beginning and (not len(mono) or seconds < wanted - SEGMENT_SLACK_SECONDS):
        ends = segment.start_seconds + seconds if len(mono) else segment.start_seconds
        found = f"the recording ends {'at' if len(mono) else 'before'} {ends:.3f} s"
        raise AudioError("segment", name, f"{found}, and the segment is {segment}")
    tally = Tally()
    tally.add(mono)
    tally.refuse(rate, name, min_seconds)
