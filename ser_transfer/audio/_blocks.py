"""A recording of any length, a block at a time: decoded, mixed and resampled as it is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ser_transfer.audio._decoders import Waveform, decoded_blocks
from ser_transfer.audio._source import AudioError, AudioSource, Recording, Segment

# Full scale is 1. One step of 16-bit sound, -90.3 dBFS: less than that about the mean is the flicker of
# a muted channel, and no recording of a voice, however quiet, stays below it.
SILENCE_PEAK = 2.0**-15
# 32-bit integers that were written as floats reach it; what goes beyond is a damaged exponent, whose square
# float32 may not hold.
LOUDEST_PEAK = 2.0**31


class Tally:
    """What decides whether a recording is usable, gathered over its blocks.

    Attributes:
        n_samples: So far, at the recording's own rate.
        n_not_finite: Of them, NaN or infinite.
        lowest: The least sample.
        highest: The greatest sample.
    """

    def __init__(self) -> None:
        self.n_samples = 0
        self.n_not_finite = 0
        self.lowest = math.inf
        self.highest = -math.inf

    def add(self, block: Waveform) -> None:
        """Count a block in."""
        self.n_samples += len(block)
        self.n_not_finite += int(np.count_nonzero(~np.isfinite(block)))
        if len(block):
            self.lowest = min(self.lowest, float(block.min()))
            self.highest = max(self.highest, float(block.max()))

    @property
    def peak(self) -> float:
        return max(-self.lowest, self.highest)

    def refuse_not_finite(self, name: str) -> None:
        """Raise an AudioError if a sample so far is NaN or infinite."""
        if self.n_not_finite:
            raise AudioError("non_finite", name, f"{self.n_not_finite} samples are NaN or infinite")
        if self.n_samples and self.peak > LOUDEST_PEAK:
            raise AudioError("non_finite", name, f"its samples reach {self.peak:.1g}, and full scale is 1")

    def refuse(self, rate: int, name: str, min_seconds: float) -> None:
        """Raise the AudioError that the recording deserves now that it has ended, if it deserves one."""
        if not self.n_samples:
            raise AudioError("empty", name, "it holds no samples")
        self.refuse_not_finite(name)
        seconds = self.n_samples / rate
        # Half the range: an offset, which some recorders add, is no sound.
        if (self.highest - self.lowest) / 2 <= SILENCE_PEAK:
            level = 20 * math.log10(max(self.peak, 1e-10))
            raise AudioError(
                "silent", name, f"all {seconds:.2f} s, channels averaged, are silence (peak {level:.0f} dBFS)"
            )
        if seconds < min_seconds:
            raise AudioError(
                "too_short", name, f"it lasts {seconds:.3f} s, and at least {min_seconds:.3f} s are needed"
            )


def beyond_float32(name: str, peak: float) -> AudioError:
    """The error of samples that are finite, and are not once they are resampled."""
    return AudioError("non_finite", name, f"its samples reach {peak:.1g}, beyond float32")


def none_left(name: str, n_samples: int, rate: int, sampling_rate: int) -> AudioError:
    """The error of a recording so short that resampling leaves nothing of it."""
    found = f"its {n_samples} samples at {rate} Hz are none at {sampling_rate} Hz"
    return AudioError("too_short", name, found)


def read_blocks(
    source: AudioSource,
    sampling_rate: int = 16_000,
    *,
    block_seconds: float = 60.0,
    min_seconds: float = 0.0,
) -> Iterator[Waveform]:
    """Read a recording as mono at a given rate, a block at a time, so that its length costs no memory.

    Laid end to end, the blocks are the samples of `ser_transfer.audio.read_audio`: soxr's resampler carries
    its state from block to block, and gave the same bits wherever it was tried (five rates, five formats).

    Args:
        source: As in `read_audio`.
        sampling_rate: Hz, of the result.
        block_seconds: Length of each block but the last, which is what is left.
        min_seconds: A shorter recording is an error.

    Yields:
        Arrays of shape (samples,), full scale 1, at least one sample each.

    Raises:
        AudioError: For the same reasons as `read_audio`, each as soon as it can be known: what the headers
            tell, before the first block; NaN, at the block that holds it; silence and a recording too
            short, after the last, where the blocks before were as good as any.
        ValueError: If `block_seconds` is not positive.
    """
    if not 0 < block_seconds < math.inf:
        raise ValueError(f"block_seconds is {block_seconds}; it must be positive and finite")
    n_block = max(1, round(block_seconds * sampling_rate))
    return _of_length(_resampled(Recording.of(source), sampling_rate, min_seconds), n_block)


def _resampled(recording: Recording, sampling_rate: int, min_seconds: float) -> Iterator[Waveform]:
    """Pieces as the decoder and the resampler give them, some of them empty."""
    tally, rate, stream, n_out = Tally(), sampling_rate, None, 0
    for rate, mono in decoded_blocks(recording, recording.inspected(), Segment()):
        tally.add(mono)
        tally.refuse_not_finite(recording.name)
        if rate == sampling_rate:
            yield mono
            continue
        if stream is None:
            import soxr

            stream = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32", quality="HQ")
        piece = stream.resample_chunk(mono)
        n_out += len(piece)
        yield _finite(piece, recording.name, tally)
    tally.refuse(rate, recording.name, min_seconds)
    if stream is None:
        return
    last = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    if not n_out + len(last):
        raise none_left(recording.name, tally.n_samples, rate, sampling_rate)
    yield _finite(last, recording.name, tally)


def _finite(piece: Waveform, name: str, tally: Tally) -> Waveform:
    if not np.isfinite(piece).all():
        raise beyond_float32(name, tally.peak)
    return piece


def _of_length(pieces: Iterable[Waveform], n_block: int) -> Iterator[Waveform]:
    """Cut a stream of pieces of any length into blocks of one."""
    held: list[Waveform] = []
    n_held = 0
    for piece in pieces:
        held.append(piece)
        n_held += len(piece)
        if n_held < n_block:
            continue
        joined = np.concatenate(held)
        whole = n_held - n_held % n_block
        for first in range(0, whole, n_block):
            yield joined[first : first + n_block]
        held, n_held = [joined[whole:].copy()], n_held - whole
    if n_held:
        yield np.concatenate(held)
