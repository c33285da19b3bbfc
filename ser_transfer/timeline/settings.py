"""How a recording is followed: windows, smoothing, segments, and whether only speech is heard."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ser_transfer._setting import setting
from ser_transfer.errors import SerTransferError


class TimelineError(SerTransferError):
    """Settings that fit no timeline, or a timeline that cannot give what is asked of it."""


@dataclass(frozen=True, kw_only=True)
class TimelineSettings:
    """How a recording is cut into windows, and their answers into segments.

    Raises:
        TimelineError: If a number is out of its range, or two do not fit each other.
    """

    window_seconds: float = setting(2.0, help="length of the windows that the model answers")
    hop_seconds: float = setting(0.5, help="from one window to the next; what the curve resolves")
    mean_segment_seconds: float = setting(
        5.0, help="how long an emotion lasts on average; the longer, the fewer switches are believed"
    )
    min_segment_seconds: float = setting(
        1.0, help="no segment is shorter, unless the speech between two gaps is"
    )
    min_confidence: float | None = setting(
        None, help="from 0 to 1: a segment less sure than this has no emotion; default: each has one"
    )
    speech_only: bool = setting(
        False, help="answer only where someone speaks (needs the extra: ser-transfer[vad])"
    )
    max_pause_seconds: float = setting(1.0, help="a longer silence, with speech_only, ends a segment")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_seconds") and not (math.isfinite(value) and value > 0):
                raise TimelineError(f"{field.name} is {value}; give a positive number of seconds")
        if self.hop_seconds > self.window_seconds:
            raise TimelineError(
                f"hop_seconds is {self.hop_seconds} and window_seconds {self.window_seconds}: sound between "
                "the windows would be left out; give a hop of at most one window"
            )
        if self.mean_segment_seconds < 2 * self.hop_seconds:
            raise TimelineError(
                f"mean_segment_seconds is {self.mean_segment_seconds}; a hop of {self.hop_seconds} s cannot "
                f"follow that; give at least {2 * self.hop_seconds}, or a smaller hop_seconds"
            )
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise TimelineError(f"min_confidence is {self.min_confidence}; give a probability, from 0 to 1")
