"""The microphone's stream: pieces of audio in as the browser sends them, a reading of the last window out.

It never falls behind. While a model is busy, the browser's pieces wait or are overtaken by newer ones, and
only the last window is ever read: what a slow model misses is left out and counted, not queued.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.interface.limits import InterfaceError

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform
    from ser_transfer.model import EmotionModel

WINDOW_SECONDS = 2.0  # what one reading hears, as in the timeline
READING_SECONDS = 0.5  # from one reading to the next
SPAN_SECONDS = 30.0  # what the chart shows
# dB of full scale, mean over the window. Speech into a laptop's microphone lies near -30, a quiet room near
# -60.
QUIET_DB = -50.0
# Hz. No microphone has others; a damaged header does.
LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000
LATE_SECONDS = 1.0  # what arrival times may waver by without anything having been left out


@dataclass(frozen=True)
class Moment:
    """One reading of the stream.

    Attributes:
        at: Seconds since the stream began.
        probabilities: Of shape (n_classes,); None where it was quiet or too little was heard yet.
        latency_ms: From the arrival of the newest piece to the reading.
    """

    at: float
    probabilities: npt.NDArray[np.float64] | None
    latency_ms: float


@dataclass
class LiveStream:
    """What is remembered of one microphone: the last window, the readings of the last `SPAN_SECONDS`.

    Attributes:
        model: That reads; whoever sets another one calls `forget`.
        moments: The readings, oldest first.
        rate: Hz, of the browser's audio; 0 before the first piece.
        recent: The last `WINDOW_SECONDS` at that rate.
        seconds_heard: Of audio that arrived.
        elapsed: Seconds that the stream has lasted.
        n_pieces: Pieces that arrived.
    """

    model: EmotionModel
    moments: deque[Moment] = field(default_factory=deque)
    rate: int = 0
    recent: Waveform = field(default_factory=lambda: np.zeros(0, np.float32))
    seconds_heard: float = 0.0
    elapsed: float = 0.0
    n_pieces: int = 0
    _begun: float = 0.0

    @property
    def skipped_seconds(self) -> float:
        """How much audio was left out to keep up; 0 while that is within `LATE_SECONDS`."""
        missing = self.elapsed - self.seconds_heard
        return missing if missing > LATE_SECONDS else 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for a reading: every `READING_SECONDS`, however short the pieces."""
        # Half of it less, as pieces of that length do not arrive on the tick.
        return not self.moments or self.elapsed - self.moments[-1].at > READING_SECONDS / 2

    def use(self, model: EmotionModel) -> None:
        """Let a model read from now on; readings of another one are forgotten."""
        if model is not self.model:
            self.model = model
            self.moments.clear()

    def hear(self, piece: Waveform, rate: int, arrived: float) -> None:
        """Take a piece of audio in.

        Args:
            piece: Mono, float32.
            rate: Hz.
            arrived: When it arrived, in seconds of any clock that goes on steadily.
        """
        if rate != self.rate:
            self.rate, self.recent = rate, np.zeros(0, np.float32)
        seconds = len(piece) / rate
        self.seconds_heard += seconds
        self.n_pieces += 1
        if self.n_pieces <= 2:
            # While the first piece opens the stream, Gradio's page sends no others: time counts from then on.
            self._begun = arrived - self.seconds_heard
        self.elapsed = arrived - self._begun
        keep = round(WINDOW_SECONDS * rate)
        self.recent = np.concatenate([self.recent, piece])[-keep:]

    def read(self, arrived: float, now: Callable[[], float]) -> Moment:
        """Read the last window.

        Args:
            arrived: When the newest piece arrived.
            now: The clock that `arrived` was read from.
        """
        probabilities = None
        window = self._window()
        if window is not None:
            probabilities = self.model.probabilities_of_waveforms([window])[0]
        moment = Moment(self.elapsed, probabilities, 1000 * (now() - arrived))
        self.moments.append(moment)
        while self.moments and self.moments[0].at < self.elapsed - SPAN_SECONDS - 1:
            self.moments.popleft()
        return moment

    def level_db(self) -> float:
        """Mean level of the last window, in dB of full scale."""
        if not len(self.recent):
            return -np.inf
        return float(10 * np.log10(np.mean(np.square(self.recent), dtype=np.float64) + 1e-12))

    def _window(self) -> Waveform | None:
        """The last window at the model's rate; None where it is quiet or too short for the model."""
        if self.level_db() < QUIET_DB:
            return None
        window = self.recent
        if self.rate != self.model.sampling_rate:
            import soxr

            window = soxr.resample(window, self.rate, self.model.sampling_rate, quality="HQ")
        shortest = max(self.model.min_seconds, READING_SECONDS) * self.model.sampling_rate
        return window if len(window) >= shortest - 1 else None


def piece_of_wav(data: bytes) -> tuple[Waveform, int]:
    """Read a piece of a stream of WAV, 16 bit, whose header declares a length that no piece has.

    Browsers' recorders write one header for a stream without end, and Gradio puts it before every piece.

    Returns:
        Mono, float32, of shape (samples,), and its rate in Hz.

    Raises:
        InterfaceError: If it is no such WAV.
    """
    place, rate, n_channels = 12, 0, 0
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        while place + 8 <= len(data):
            name, size = struct.unpack_from("<4sI", data, place)
            place += 8
            if name == b"fmt " and place + 16 <= len(data):
                kind, n_channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, place)
                if (kind, bits) != (1, 16):
                    break
            elif name == b"data" and n_channels and LOWEST_RATE <= rate <= HIGHEST_RATE:
                n_frames = (len(data) - place) // (2 * n_channels)
                samples = np.frombuffer(data, "<i2", n_frames * n_channels, place)
                mono = samples.reshape(n_frames, n_channels).mean(axis=1) / 32768
                return mono.astype(np.float32), rate
            place += size + size % 2
    raise InterfaceError("the microphone's stream is no WAV of 16 bit: try another browser")
