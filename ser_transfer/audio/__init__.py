"""Any recording to mono float32 at the rate an encoder wants, or an error that names what is wrong with it.

libsndfile reads what it can (WAV, FLAC, Ogg, AIFF, ...) and FFmpeg, through PyAV, the rest (MP3, M4A, MP4,
WebM, ...). Channels are averaged, resampling is band-limited. A file that would quietly become a wrong
embedding (silence, half a download, a web page named .wav) is refused instead.
"""

from __future__ import annotations

import numpy as np

from ser_transfer.audio._blocks import SILENCE_PEAK, Tally, beyond_float32, none_left, read_blocks
from ser_transfer.audio._decoders import Waveform, declared_seconds, decoded, decoded_blocks
from ser_transfer.audio._source import AudioError, AudioSource, Reason, Recording, Segment

__all__ = [
    "SILENCE_PEAK",
    "AudioError",
    "AudioSource",
    "Reason",
    "audio_key",
    "duration_seconds",
    "read_audio",
    "read_blocks",
]

# Tables round the end of a segment to hundredths of a second; so much past the end is not an error.
SEGMENT_SLACK_SECONDS = 0.01
_HASH_BLOCK_BYTES = 1 << 20


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
    import xxhash

    recording = Recording.of(source)
    segment = Segment.of(start_seconds, end_seconds, recording.name)
    digest = xxhash.xxh3_128()
    with recording.open() as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    if segment != Segment():
        digest.update(f"{segment.start_seconds!r} to {segment.end_seconds!r}".encode())
    return digest.hexdigest()


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
