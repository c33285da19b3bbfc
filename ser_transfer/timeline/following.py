"""From a recording to its timeline: windows answered a few at a time, smoothed, cut into segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from ser_transfer.audio import SILENCE_PEAK, AudioSource, read_blocks
from ser_transfer.timeline.boundaries import Refinement
from ser_transfer.timeline.cutting import runs_in, stretches, with_segments
from ser_transfer.timeline.grid import Grid
from ser_transfer.timeline.settings import TimelineSettings
from ser_transfer.timeline.smoothing import FloatArray, cell_edges, cell_evidence
from ser_transfer.timeline.speech import MIN_SPEECH_SECONDS, SpeechDetector, SpeechTrack
from ser_transfer.timeline.timeline import Timeline
from ser_transfer.timeline.windows import Waveform, Window, windows, windows_at

Answerer = Callable[[Sequence[Waveform]], FloatArray]
Reader = Callable[[int], Iterable[Waveform]]

WINDOWS_AT_ONCE = 16  # of 2 s: 2 MB, and a batch large enough for a GPU
BLOCK_SECONDS = 60.0  # 4 MB at 16 kHz


def follow(
    answer: Answerer,
    classes: Sequence[str],
    source: AudioSource,
    sampling_rate: int,
    settings: TimelineSettings | None = None,
    *,
    min_seconds: float = 0.0,
    detector: SpeechDetector | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Timeline:
    """Follow emotion through a recording of any length, in memory that does not grow with its sound.

    It is read for the windows, and again for the shorter ones around the boundaries that were found; for
    `speech_only` once more, beside the first time.

    Args:
        answer: From waveforms, mono float32 at `sampling_rate`, to probabilities, (n_waveforms, n_classes).
            They are a window long, or half that and at least `min_seconds`; a recording shorter than a
            window comes whole. Windows of digital silence are not asked.
        classes: The emotions, in the order of the columns.
        source: As in `ser_transfer.audio.read_audio`.
        sampling_rate: Hz.
        settings: None for the defaults.
        min_seconds: The shortest waveform that `answer` takes.
        detector: Of speech, for `speech_only`; None for Silero's.
        on_progress: Called during the first reading with the seconds read so far.

    Raises:
        AudioError: If the recording cannot be used, or is shorter than `min_seconds`.
        TimelineError: If the settings do not fit `min_seconds`, or the speech detector is not installed.
    """

    def read(rate: int) -> Iterator[Waveform]:
        return read_blocks(source, rate, block_seconds=BLOCK_SECONDS, min_seconds=min_seconds)

    return follow_blocks(
        answer,
        classes,
        read,
        sampling_rate,
        settings,
        min_seconds=min_seconds,
        detector=detector,
        on_progress=on_progress,
    )


def follow_blocks(
    answer: Answerer,
    classes: Sequence[str],
    read: Reader,
    sampling_rate: int,
    settings: TimelineSettings | None = None,
    *,
    min_seconds: float = 0.0,
    detector: SpeechDetector | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> Timeline:
    """Follow emotion through a recording that comes from elsewhere than a file.

    Args:
        answer: As in `follow`, and so are all others but the next.
        classes: The emotions.
        read: From a sampling rate to the blocks of the recording at that rate, from its beginning at each
            call. Of an array it is ``lambda rate: [waveform]``, where no detector wants another rate.
        sampling_rate: Hz.
        settings: None for the defaults.
        min_seconds: The shortest waveform that `answer` takes, and the least length of the recording.
        detector: Of speech.
        on_progress: Called with the seconds read so far.
    """
    settings = settings or TimelineSettings()
    grid = Grid.of(settings, sampling_rate, min_seconds)
    track = None
    if settings.speech_only:
        detector = detector or _silero()
        track = SpeechTrack(read(detector.sampling_rate), detector)
    cut = windows(read(sampling_rate), grid.n_window, grid.n_hop)
    sieve = _Sieve(cut, sampling_rate, track, on_progress)
    answered = list(_answers(sieve, answer, len(classes)))
    edges = cell_edges(sieve.n_samples, grid.n_hop)
    evidence = cell_evidence(
        edges,
        np.array([start for start, _, _ in answered], np.int64),
        np.array([end for _, end, _ in answered], np.int64),
        np.array([row for _, _, row in answered]).reshape(-1, len(classes)),
        np.array(sieve.trust),
    )
    intervals = None if track is None else track.intervals(settings.max_pause_seconds)
    found = stretches(evidence, edges, intervals, sampling_rate)
    refinements = [Refinement(runs_in(stretch, evidence, edges, settings, grid), grid) for stretch in found]
    starts = sorted({start for refinement in refinements for start in refinement.starts})
    again = windows_at(read(sampling_rate), starts, grid.n_short) if starts else iter(())
    short = {start: row for start, _, row in _answers(filter(_has_sound, again), answer, len(classes))}
    runs = [run for refinement in refinements for run in refinement.refined(short)]
    in_a_stretch = np.zeros(len(evidence), bool)
    for stretch in found:
        in_a_stretch[stretch.first_cell : stretch.end_cell] = True
    curve = Timeline(
        classes=tuple(classes),
        seconds=sieve.n_samples / sampling_rate,
        hop_seconds=grid.n_hop / sampling_rate,
        probabilities=np.where(in_a_stretch[:, None], np.exp(evidence), np.nan),
        segments=(),
    )
    return with_segments(curve, runs, sampling_rate, settings.min_confidence or 0.0)


class _Sieve:
    """Windows that are worth asking: with sound, and with speech where a track is given.

    Attributes:
        n_samples: Of the recording, once all windows are drawn.
        trust: How much each window that passed is to be believed: the share of it that is speech.
    """

    def __init__(
        self,
        cut: Iterable[Window],
        sampling_rate: int,
        track: SpeechTrack | None,
        on_progress: Callable[[float], object] | None,
    ) -> None:
        self._cut = cut
        self._sampling_rate = sampling_rate
        self._track = track
        self._on_progress = on_progress
        self.n_samples = 0
        self.trust: list[float] = []

    def __iter__(self) -> Iterator[Window]:
        for window in self._cut:
            self.n_samples = window.end
            start, end = window.start / self._sampling_rate, window.end / self._sampling_rate
            if self._on_progress is not None:
                self._on_progress(end)
            speech = end - start if self._track is None else self._track.seconds_of_speech(start, end)
            # A recording shorter than that is answered all the same, if any of it is speech.
            if speech >= min(MIN_SPEECH_SECONDS, (end - start) / 2) and _has_sound(window):
                self.trust.append(speech / (end - start))
                yield window


def _answers(
    asked: Iterable[Window], answer: Answerer, n_classes: int
) -> Iterator[tuple[int, int, FloatArray]]:
    """Start, end and probabilities of each window, of which only a few are held at once."""
    iterator = iter(asked)
    while batch := list(islice(iterator, WINDOWS_AT_ONCE)):
        rows = np.asarray(answer([window.waveform for window in batch]), np.float64)
        if rows.shape != (len(batch), n_classes) or not np.isfinite(rows).all():
            raise ValueError(
                f"{len(batch)} windows were answered by an array of shape {rows.shape}, of which "
                f"{np.count_nonzero(~np.isfinite(rows))} are not finite; {(len(batch), n_classes)} is wanted"
            )
        for window, row in zip(batch, rows, strict=True):
            yield window.start, window.end, row


def _has_sound(window: Window) -> bool:
    """Whether `read_audio` would take the window for a recording that is not silent."""
    return (float(window.waveform.max()) - float(window.waveform.min())) / 2 > SILENCE_PEAK


def _silero() -> SpeechDetector:
    from ser_transfer.timeline.silero import SileroSpeech

    return SileroSpeech()
