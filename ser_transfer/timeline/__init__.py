"""Emotion over time in recordings of any length, in bounded memory.

    windows    a few seconds each, a hop apart, cut from a stream of blocks
    smoothing  what the windows over each hop-long cell say together
    segments   the path through the cells that pays for every switch
    boundaries placed anew by windows half as long
    speech     where someone speaks, for timelines of nothing else

It knows nothing of models: `follow` is given a function from waveforms to probabilities.
"""

from ser_transfer.timeline.following import Answerer, Reader, follow, follow_blocks
from ser_transfer.timeline.segments import Segment
from ser_transfer.timeline.settings import TimelineError, TimelineSettings
from ser_transfer.timeline.speech import SpeechDetector
from ser_transfer.timeline.timeline import FORMATS, Timeline

__all__ = [
    "FORMATS",
    "Answerer",
    "Reader",
    "Segment",
    "SpeechDetector",
    "Timeline",
    "TimelineError",
    "TimelineSettings",
    "follow",
    "follow_blocks",
]
