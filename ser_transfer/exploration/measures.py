"""What one recording measures: how long, how loud, how high, and whether it is fit for use."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ser_transfer._interrupts import starting_workers
from ser_transfer.audio import AudioError, AudioSource, duration_seconds, read_audio
from ser_transfer.encoders.handcrafted.encoder import MIN_SECONDS
from ser_transfer.encoders.handcrafted.frames import HOP, SAMPLING_RATE, Frames, cut_frames
from ser_transfer.encoders.handcrafted.pitch import track_pitch

if TYPE_CHECKING:
    from datasets import Dataset

Samples = npt.NDArray[np.float32]
Segment = tuple[AudioSource, float | None, float | None]  # the recording, its start and its end in seconds

MAX_SECONDS = 60.0  # measured of one recording: the memory of a process stays below 0.5 GB
CHUNK = 16  # recordings handed to a process at once

# The largest positive sample of 16 bits; finer formats reach it too. 8 bits end a little lower.
FULL_SCALE, FULL_SCALE_8_BITS = 1 - 2.0**-15, 1 - 2.0**-7
EIGHT_BITS = ("PCM_S8", "PCM_U8")
# An MP3 decodes past full scale wherever it clipped; and libsndfile writes remarks on its tags to stderr.
NOT_LOOKED_AT = (".mp2", ".mp3")


@dataclass(frozen=True)
class ClipMeasures:
    """The numbers of one recording.

    Attributes:
        seconds: Its duration.
        level_db: RMS over its active part, in dB of full scale: a sine that fills the scale has -3.0. Active
            is what lies within 35 dB of its loud frames, so pauses do not make a clip quieter.
        f0_hz: Median fundamental frequency over voiced frames; None where none is voiced.
        clipped_share: Samples at full scale, from 0 to 1, over all channels at the file's own rate; None
            where libsndfile does not read the format.
        digest: The same for the same samples, whatever the file is called and in whichever lossless format.
        measured_seconds: How much of its beginning all of this but `seconds` was measured on.
    """

    seconds: float
    level_db: float
    f0_hz: float | None
    clipped_share: float | None
    digest: str
    measured_seconds: float


def measure_clip(
    source: AudioSource,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    max_seconds: float = MAX_SECONDS,
) -> ClipMeasures:
    """Measure a recording, or a segment of one.

    Args:
        source: As in `ser_transfer.audio.read_audio`.
        start_seconds: Where the segment begins; None for the beginning.
        end_seconds: Where the segment ends; None for the end.
        max_seconds: Of a longer one only so much of its beginning is decoded, but for its duration.

    Raises:
        AudioError: If it cannot be read, or holds no sound.
    """
    import xxhash

    waveform, seconds = read_beginning(source, start_seconds, end_seconds, max_seconds)
    measured = len(waveform) / SAMPLING_RATE
    frames = cut_frames(waveform)
    digest = xxhash.xxh3_128(waveform.tobytes())
    digest.update(f"{seconds:.3f}".encode())
    return ClipMeasures(
        seconds=seconds,
        level_db=_active_level_db(frames),
        f0_hz=_median_f0(frames) if measured >= MIN_SECONDS else None,
        clipped_share=_clipped_share(source, start_seconds or 0.0, measured),
        digest=digest.hexdigest(),
        measured_seconds=measured,
    )


def read_beginning(
    source: AudioSource, start_seconds: float | None, end_seconds: float | None, max_seconds: float
) -> tuple[Samples, float]:
    """Read at most so many seconds of a recording or segment, decoding no more of it.

    Returns:
        The waveform at `SAMPLING_RATE`, and the duration of the whole in seconds.

    Raises:
        AudioError: If it cannot be read, or holds no sound.
    """
    start = start_seconds or 0.0
    seconds = (duration_seconds(source) if end_seconds is None else end_seconds) - start
    is_long = seconds > max_seconds
    if is_long:
        end_seconds = start + max_seconds
    waveform = read_audio(source, SAMPLING_RATE, start_seconds=start_seconds, end_seconds=end_seconds)
    # Headers may be off by a fraction of a second.
    return waveform, seconds if is_long else len(waveform) / SAMPLING_RATE


def _active_level_db(frames: Frames) -> float:
    power = np.square(frames.samples, dtype=np.float64).reshape(-1, HOP).mean(axis=1)
    return frames.peak_db + 10 * float(np.log10(power[frames.active].mean()))


def _median_f0(frames: Frames) -> float | None:
    pitch = track_pitch(frames)
    return float(np.median(pitch.f0[pitch.voiced])) if pitch.voiced.any() else None


def _clipped_share(source: AudioSource, start: float, seconds: float) -> float | None:
    """Count samples at full scale before channels are averaged and resampled, which hides them."""
    import soundfile

    data, path = _bytes_or_path(source)
    if path is not None and Path(path).suffix.lower() in NOT_LOOKED_AT:
        return None
    try:
        with soundfile.SoundFile(io.BytesIO(data) if data is not None else path) as file:
            file.seek(round(start * file.samplerate))
            samples = file.read(round(seconds * file.samplerate), dtype="float32", always_2d=True)
            full_scale = FULL_SCALE_8_BITS if file.subtype in EIGHT_BITS else FULL_SCALE
    except soundfile.LibsndfileError:
        return None
    return float(np.mean(np.abs(samples) >= full_scale))


def _bytes_or_path(source: AudioSource) -> tuple[bytes | None, str | None]:
    if isinstance(source, bytes):
        return source, None
    if isinstance(source, Mapping):
        return source.get("bytes"), source.get("path")
    return None, os.fspath(source)


def measure_corpus(
    corpus: Dataset,
    *,
    n_workers: int | None = None,
    on_clip: Callable[[int, float], None] = lambda n_clips, seconds: None,
) -> list[ClipMeasures | AudioError]:
    """Measure every recording of a corpus, several at once.

    Args:
        corpus: From `ser_transfer.load_corpus`.
        n_workers: Processes; None for one per core.
        on_clip: Called after each recording with how many there are and this one's seconds.

    Returns:
        Per row its measures, or why it cannot be used.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    n_workers = n_workers or cpu_count()
    found: list[ClipMeasures | AudioError] = []
    if n_workers == 1 or len(corpus) <= CHUNK:
        done: Iterable[list[ClipMeasures | AudioError]] = map(_measured, _chunks(corpus))
    else:
        with parallel_config(backend="loky", inner_max_num_threads=1), starting_workers():
            parallel = Parallel(
                n_jobs=n_workers, batch_size=1, return_as="generator", pre_dispatch="2*n_jobs"
            )
            done = parallel(delayed(_measured)(chunk) for chunk in _chunks(corpus))
    for chunk in done:
        for each in chunk:
            found.append(each)
            on_clip(len(corpus), 0.0 if isinstance(each, AudioError) else each.seconds)
    return found


def _chunks(corpus: Dataset) -> Iterator[list[Segment]]:
    """Read rows a few at a time: a dataset may hold the audio itself, more of it than memory."""
    columns = ["audio", "start_seconds", "end_seconds"]
    batch: dict[str, list[Any]]
    for batch in corpus.select_columns(columns).iter(batch_size=CHUNK):
        yield list(zip(*(batch[name] for name in columns), strict=True))


def _measured(chunk: Sequence[Segment]) -> list[ClipMeasures | AudioError]:
    return [_measures_or_error(*segment) for segment in chunk]


def _measures_or_error(
    source: AudioSource, start: float | None, end: float | None
) -> ClipMeasures | AudioError:
    try:
        return measure_clip(source, start_seconds=start, end_seconds=end)
    except AudioError as error:
        return error
