"""Where someone speaks in a recording, heard a little ahead of its windows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ser_transfer.timeline.windows import Waveform

# Speech begins at the one probability and ends under the other; what is shorter is no speech. All three are
# Silero's own defaults, and so is the padding but for its length: 30 ms cut the ends of quiet words.
SPEECH_FROM, SPEECH_UNTIL = 0.5, 0.35
MIN_SPEECH_SECONDS = 0.25
PADDING_SECONDS = 0.1

Interval = tuple[float, float]  # start and end, in seconds


class SpeechDetector(Protocol):
    """What tells of each short frame how probably someone speaks; it hears a recording from first to last.

    Attributes:
        sampling_rate: Hz, of what it hears.
        frame_samples: Samples of a frame.
    """

    sampling_rate: int
    frame_samples: int

    def reset(self) -> None:
        """Begin a new recording."""

    def probabilities(self, waveform: Waveform) -> npt.NDArray[np.float32]:
        """Go on by a whole number of frames, and give a probability for each."""


class SpeechTrack:
    """What a detector hears in one recording, a flag per frame, drawn from its blocks when asked for.

    Three hours of 32 ms frames are 340 kB; of the sound only a block is held.
    """

    def __init__(self, blocks: Iterable[Waveform], detector: SpeechDetector) -> None:
        """Take a recording from its beginning, in blocks at the detector's rate."""
        detector.reset()
        self._blocks = iter(blocks)
        self._detector = detector
        self._frame_seconds = detector.frame_samples / detector.sampling_rate
        self._rest = np.zeros(0, np.float32)  # less than a frame
        self._speaking = False
        self._flags = bytearray()
        self._seconds = 0.0
        self._ended = False

    def seconds_of_speech(self, start_seconds: float, end_seconds: float) -> float:
        """Tell how much speech lies between two times; it listens on as far as the later one."""
        while not self._ended and len(self._flags) * self._frame_seconds < end_seconds:
            self._listen()
        first = round(start_seconds / self._frame_seconds)
        last = round(end_seconds / self._frame_seconds)
        return sum(self._flags[first:last]) * self._frame_seconds

    def intervals(self, max_pause_seconds: float) -> list[Interval]:
        """Give all stretches of speech, from first to last; it listens to the end.

        Args:
            max_pause_seconds: A longer silence parts two stretches; over a shorter one, speech goes on.
        """
        while not self._ended:
            self._listen()
        found: list[Interval] = []
        at = 0
        for speaks, group in groupby(self._flags):
            first, at = at, at + len(list(group))
            if not speaks or (at - first) * self._frame_seconds < MIN_SPEECH_SECONDS:
                continue
            start = max(0.0, first * self._frame_seconds - PADDING_SECONDS)
            end = min(self._seconds, at * self._frame_seconds + PADDING_SECONDS)
            if found and start - found[-1][1] <= max_pause_seconds:
                start = found.pop()[0]
            found.append((start, end))
        return found

    def _listen(self) -> None:
        """Hear one more block; the last frame is filled up with silence."""
        n_frame = self._detector.frame_samples
        block = next(self._blocks, None)
        if block is None:
            self._ended = True
            missing = math.ceil(len(self._rest) / n_frame) * n_frame - len(self._rest)
            heard = np.concatenate([self._rest, np.zeros(missing, np.float32)])
        else:
            self._seconds += len(block) / self._detector.sampling_rate
            heard = np.concatenate([self._rest, block])
        whole = len(heard) - len(heard) % n_frame
        self._rest = heard[whole:]
        if whole:
            for probability in self._detector.probabilities(heard[:whole]).tolist():
                self._speaking = probability >= (SPEECH_UNTIL if self._speaking else SPEECH_FROM)
                self._flags.append(self._speaking)
