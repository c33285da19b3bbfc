"""Timelines as text that spreadsheets, programs, Audacity and browsers read."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ser_transfer.timeline.segments import Segment
    from ser_transfer.timeline.timeline import Timeline

UNCERTAIN = "uncertain"  # what people read of a segment without an emotion; programs read an empty field


def to_csv(timeline: Timeline) -> str:
    """One row per segment, times in seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["start", "end", "emotion", "confidence", "text", *timeline.classes])
    for segment in timeline.segments:
        means = timeline.probabilities_of(segment).values()
        writer.writerow(
            [
                f"{segment.start_seconds:.3f}",
                f"{segment.end_seconds:.3f}",
                segment.emotion or "",
                f"{segment.confidence:.4f}",
                segment.text or "",
                *(f"{mean:.4f}" for mean in means),
            ]
        )
    return text.getvalue()


def to_json(timeline: Timeline) -> str:
    """Everything; null where there is no emotion, no text, no answer."""
    answered = ~(timeline.probabilities != timeline.probabilities).any(axis=1)
    rows = timeline.probabilities.round(6).tolist()
    return json.dumps(
        {
            "seconds": timeline.seconds,
            "classes": timeline.classes,
            "mean_probabilities": timeline.mean_probabilities if timeline.segments else None,
            "segments": [
                {
                    "start_seconds": round(segment.start_seconds, 6),
                    "end_seconds": round(segment.end_seconds, 6),
                    "emotion": segment.emotion,
                    "confidence": segment.confidence,
                    "text": segment.text,
                    "probabilities": timeline.probabilities_of(segment),
                }
                for segment in timeline.segments
            ],
            "curve": {
                "hop_seconds": timeline.hop_seconds,
                "times": timeline.times.round(6).tolist(),
                "probabilities": [row if known else None for row, known in zip(rows, answered, strict=True)],
            },
        },
        allow_nan=False,
        ensure_ascii=False,
    )


def to_labels(timeline: Timeline) -> str:
    """Start, end and label, parted by tabs: https://manual.audacityteam.org/man/importing_and_exporting_labels.html."""
    lines = (
        f"{segment.start_seconds:.6f}\t{segment.end_seconds:.6f}\t"
        f"{': '.join(part for part in (_heading(segment), _one_line(segment.text)) if part)}\n"
        for segment in timeline.segments
    )
    return "".join(lines)


def to_webvtt(timeline: Timeline) -> str:
    """A cue per segment: https://www.w3.org/TR/webvtt1/."""
    cues = ["WEBVTT\n"]
    for segment in timeline.segments:
        lines = [_heading(segment), _one_line(segment.text)]
        timing = f"{_timestamp(segment.start_seconds)} --> {_timestamp(segment.end_seconds)}"
        cues.append("\n".join([timing, *(_escaped(line) for line in lines if line)]) + "\n")
    return "\n".join(cues)


def _heading(segment: Segment) -> str:
    return f"{segment.emotion} ({segment.confidence:.0%})" if segment.emotion else UNCERTAIN


def _one_line(text: str | None) -> str:
    """Without what would end a label or a cue: line ends, tabs, other control characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text or "")
    return " ".join(printable.split())


def _escaped(line: str) -> str:
    """With what WebVTT takes for tags; its arrow, ``-->``, is one of them."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _timestamp(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{milliseconds:03d}"
