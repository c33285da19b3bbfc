"""From the evidence of cells to segments: where sound was answered, which emotions, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ser_transfer.timeline.grid import Grid
from ser_transfer.timeline.segments import (
    NEW_SHARE,
    Run,
    Segment,
    most_probable_path,
    runs_of,
    switching_cost,
)
from ser_transfer.timeline.settings import TimelineSettings
from ser_transfer.timeline.smoothing import FloatArray, Samples
from ser_transfer.timeline.speech import Interval
from ser_transfer.timeline.timeline import Timeline


class Stretch(NamedTuple):
    """Sound without a gap: from one sample to another, and the cells that it lies in."""

    start: int
    end: int
    first_cell: int
    end_cell: int


def stretches(
    evidence: FloatArray, edges: Samples, intervals: Sequence[Interval] | None, sampling_rate: int
) -> list[Stretch]:
    """Find what can be cut into segments: runs of cells that were answered, or stretches of speech.

    Args:
        evidence: Of the cells, NaN where there is none.
        edges: Of the cells, in samples.
        intervals: Of speech, in seconds. A pause inside of one, where no cell may have been answered, parts
            nothing. None where not only speech is heard.
        sampling_rate: Hz.
    """
    known = ~np.isnan(evidence[:, 0])
    if intervals is None:
        cuts = [0, *(np.flatnonzero(np.diff(known)) + 1).tolist(), len(known)]
        return [
            Stretch(int(edges[first]), int(edges[end]), first, end)
            for first, end in pairwise(cuts)
            if known[first]
        ]
    found = []
    for start_seconds, end_seconds in intervals:
        start, end = round(start_seconds * sampling_rate), round(end_seconds * sampling_rate)
        first = int(np.searchsorted(edges, start, side="right")) - 1
        answered = first + np.flatnonzero(known[first : np.searchsorted(edges, end, side="left")])
        if len(answered):
            first, last = int(answered[0]), int(answered[-1])
            found.append(
                Stretch(max(start, int(edges[first])), min(end, int(edges[last + 1])), first, last + 1)
            )
    return found


def runs_in(
    stretch: Stretch, evidence: FloatArray, edges: Samples, settings: TimelineSettings, grid: Grid
) -> list[Run]:
    """Cut a stretch at the switches of its most probable path."""
    cells = slice(stretch.first_cell, stretch.end_cell)
    new = min(1.0, grid.n_hop / (NEW_SHARE * grid.n_window))
    cost = switching_cost(settings.mean_segment_seconds / settings.hop_seconds, evidence.shape[1])
    # A cell that was not answered, in a pause, speaks for no emotion.
    path = most_probable_path(new * np.nan_to_num(evidence[cells]), cost, grid.min_cells)
    limits = edges[stretch.first_cell : stretch.end_cell + 1].copy()
    limits[0], limits[-1] = stretch.start, stretch.end
    return runs_of(path, limits)


def with_segments(
    curve: Timeline, runs: Sequence[Run], sampling_rate: int, min_confidence: float
) -> Timeline:
    """Name each run by its emotion, if it is sure enough; those that are not, side by side, become one.

    Args:
        curve: The timeline without segments.
        runs: In order of time.
        sampling_rate: Hz, of their samples.
        min_confidence: A run below it has no emotion.
    """
    segments: list[Segment] = []
    for run in runs:
        emotion = curve.classes[run.column]
        segment = Segment(run.start / sampling_rate, run.end / sampling_rate, emotion, 0.0)
        confidence = curve.probabilities_of(segment)[emotion]
        segment = replace(segment, confidence=confidence)
        if confidence < min_confidence:
            segment = replace(segment, emotion=None)
            last = segments[-1] if segments else segment
            if last.emotion is None and last.end_seconds == segment.start_seconds:
                segment = _joined(segments.pop(), segment)
        segments.append(segment)
    return replace(curve, segments=tuple(segments))


def _joined(first: Segment, second: Segment) -> Segment:
    lengths = [segment.end_seconds - segment.start_seconds for segment in (first, second)]
    confidence = np.average([first.confidence, second.confidence], weights=lengths)
    return replace(first, end_seconds=second.end_seconds, confidence=float(confidence))
