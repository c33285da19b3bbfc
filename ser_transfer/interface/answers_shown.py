"""What models answer, as accessible HTML: bars of probabilities, timelines, the chart of Live."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ser_transfer.interface.pictures import clock, curve_svg, lane
from ser_transfer.interface.readings import Listened, Reading, Speaking, agreement, agrees
from ser_transfer.interface.theme import colour_of

if TYPE_CHECKING:
    from ser_transfer.model import Prediction
    from ser_transfer.timeline import Segment, Timeline

Floats = npt.NDArray[np.floating]

MAX_CELLS = 400  # of a timeline that are drawn: more cannot be told apart on a page's width
STANDS_SECONDS = 1.0  # a reading of Live, where the next one is late: twice the time between two


def readings_html(readings: Sequence[Reading]) -> str:
    """Show what every model says, side by side, below a line on whether they agree."""
    state = {True: "agree", False: "disagree", None: "single"}[agrees(readings)]
    cards = "".join(map(_card, readings))
    return (
        f'<p class="agreement {state}" role="status">{escape(agreement(readings))}</p>'
        f'<div class="cards">{cards}</div>'
    )


def _card(reading: Reading) -> str:
    name = escape(reading.speaking.name)
    badge = '<span class="badge">handcrafted baseline</span>' if reading.speaking.is_baseline else ""
    if reading.prediction is None:
        answer = f'<p class="cannot">{escape(reading.error or "")}</p>'
    else:
        answer = headline(reading.prediction) + bars(reading.prediction)
    return (
        f'<section class="card" data-model="{name}" aria-label="{name}">'
        f"<h3>{name} {badge}</h3>{answer}</section>"
    )


def headline(prediction: Prediction) -> str:
    """Show the emotion, and how sure the model is."""
    return (
        f'<p class="answer" style="--emotion:{colour_of(prediction.emotion)}">'
        f'<span class="dot" aria-hidden="true"></span><strong>{escape(prediction.emotion)}</strong> '
        f'<span class="confidence">{percent(prediction.confidence)}</span></p>'
    )


def bars(prediction: Prediction) -> str:
    """Show all probabilities as bars; each is a meter with its number, for eyes, readers and tests."""
    rows = []
    for emotion, probability in prediction.probabilities.items():
        name, value = escape(emotion), float(probability)
        top = " top" if emotion == prediction.emotion else ""
        rows.append(
            f'<li class="bar{top}" data-emotion="{name}" data-probability="{value:.6f}" '
            f'style="--emotion:{colour_of(emotion)}"><span class="bar-name">{name}</span>'
            f'<span class="bar-track" role="meter" aria-label="{name}" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{100 * value:.1f}" aria-valuetext="{percent(value)}">'
            f'<span class="bar-fill" style="width:{100 * value:.2f}%"></span></span>'
            f'<span class="bar-number" aria-hidden="true">{percent(value)}</span></li>'
        )
    return f'<ul class="bars">{"".join(rows)}</ul>'


def percent(probability: float) -> str:
    """Write a probability: 93 %, 0.4 %."""
    return f"{100 * probability:.1f} %" if probability < 0.0995 else f"{100 * probability:.0f} %"


def timeline_html(speaking: Speaking, timeline: Timeline) -> str:
    """Show a timeline: the course of probabilities, below it buttons that play a segment each, and a list."""
    seconds = float(timeline.seconds)
    starts, ends, thinned = _thinned(np.asarray(timeline.edges), timeline.probabilities)
    course = bands_svg(starts, ends, thinned, timeline.classes, seconds)
    buttons = "".join(_segment_button(segment, seconds) for segment in timeline.segments)
    name = escape(speaking.name)
    strip = lane(
        speaking.name,
        f'<div role="group" aria-label="Segments, by {name}">{course}{buttons}</div>',
        note="probabilities, and segments to press and hear",
        extra="lane-segments",
    )
    if len(timeline.segments) < 2:
        return strip
    listed = "".join(f"<li>{_segment_words(segment)}</li>" for segment in timeline.segments)
    return (
        f'{strip}<details class="segment-list"><summary>The {len(timeline.segments)} segments of {name} '
        f"as a list</summary><ol>{listed}</ol></details>"
    )


def _thinned(edges: Floats, probabilities: Floats) -> tuple[Floats, Floats, Floats]:
    """Average neighbouring cells where there are more than `MAX_CELLS`; NaN spreads over its neighbours."""
    size = -(-len(probabilities) // MAX_CELLS)
    firsts = np.arange(0, len(probabilities), size)
    lengths = np.diff(np.append(firsts, len(probabilities)))
    rows = np.add.reduceat(probabilities, firsts, axis=0) / lengths[:, None]
    return edges[firsts], edges[firsts + lengths], rows


def bands_svg(
    starts: Floats, ends: Floats, probabilities: Floats, classes: Sequence[str], seconds: float
) -> str:
    """Draw probabilities over time as stacked bands, one colour per emotion, the first at the bottom.

    Args:
        starts: Of each stretch, in seconds from the left edge, of shape (n,).
        ends: Of each stretch.
        probabilities: Of each stretch, of shape (n, n_classes); a row of NaN leaves a gap.
        classes: The emotions.
        seconds: Of the whole width.
    """
    drawn = []
    for start, end, row in zip(starts, ends, probabilities, strict=True):
        if not np.isfinite(row).all():
            continue
        x, top = 1000 * start / seconds, 100.0
        # A little wider than the stretch: no seam shows between neighbours.
        width = 1000 * (end - start) / seconds + 0.6
        for emotion, value in zip(classes, row, strict=True):
            height = 100 * float(value)
            top -= height
            if height >= 0.2:
                drawn.append(
                    f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
                    f'fill="{colour_of(emotion)}"/>'
                )
    return (
        '<svg class="course" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(drawn)}</svg>"
    )


def _segment_button(segment: Segment, seconds: float) -> str:
    start, end = float(segment.start_seconds), float(segment.end_seconds)
    emotion = segment.emotion or "unsure"
    share = (end - start) / seconds
    label = f"{escape(emotion)} <small>{percent(segment.confidence)}</small>"
    words = f"Play {clock(start)} to {clock(end)}: {emotion}, {percent(segment.confidence)}"
    return (
        f'<button type="button" class="segment" data-start="{start:.3f}" data-end="{end:.3f}" '
        f'data-emotion="{escape(emotion)}" title="{escape(words)}" aria-label="{escape(words)}" '
        f'style="left:{100 * start / seconds:.3f}%;width:{100 * share:.3f}%;'
        f'--emotion:{colour_of(emotion)}"><span>{label}</span></button>'
    )


def _segment_words(segment: Segment) -> str:
    start, end = float(segment.start_seconds), float(segment.end_seconds)
    emotion = segment.emotion or "unsure"
    text = f" “{escape(segment.text)}”" if segment.text else ""
    return (
        f'<button type="button" class="listed" data-start="{start:.3f}" data-end="{end:.3f}" '
        f'style="--emotion:{colour_of(emotion)}"><span class="dot" aria-hidden="true"></span>'
        f"{clock(start)} – {clock(end)} <strong>{escape(emotion)}</strong> "
        f"{percent(segment.confidence)}{text}</button>"
    )


def listened_html(listened: Sequence[Listened], seconds: float) -> str:
    """Show what each model listened to: a lane each."""
    lanes = []
    for each in listened:
        peak = float(each.times[int(np.argmax(each.weights))]) if len(each.times) else 0.0
        words = f"{each.name}: {each.words}; highest at {peak:.1f} s"
        lanes.append(
            lane(
                each.name,
                curve_svg(each.times, each.weights, seconds, words),
                note=each.words,
                extra="lane-listened",
            )
        )
    return "".join(lanes)


def live_chart(
    times: Sequence[float],
    probabilities: Sequence[npt.NDArray[np.float64] | None],
    classes: Sequence[str],
    now: float,
    span: float,
) -> str:
    """Show the last seconds of Live as stacked bands; silence, and what never came, leave gaps.

    Args:
        times: When each reading was taken, in seconds of the stream.
        probabilities: Of each reading, of shape (n_classes,); None where nobody spoke.
        classes: The emotions.
        now: Where the stream stands; the right edge of the chart.
        span: How many seconds are shown.
    """
    starts = np.asarray(times) - (now - span)
    # A reading stands until the next one, or for `STANDS_SECONDS` if that is late.
    ends = np.minimum(np.append(starts[1:], span), starts + STANDS_SECONDS)
    rows = np.array([np.full(len(classes), np.nan) if row is None else row for row in probabilities])
    seen = ends > 0
    course = bands_svg(starts[seen].clip(0), ends[seen], rows[seen], classes, span)
    legend = "".join(
        f'<li style="--emotion:{colour_of(emotion)}"><span class="dot" aria-hidden="true"></span>'
        f"{escape(emotion)}</li>"
        for emotion in classes
    )
    n_shown = int(np.isfinite(rows[seen]).all(axis=1).sum())
    words = f"Probabilities over the last {span:.0f} s, {n_shown} readings"
    ticks = "".join(
        f'<span class="tick{edge}" style="left:{at}%">{text}</span>'
        for at, text, edge in (
            (0, f"−{span:.0f} s", " first"),
            (50, f"−{span / 2:.0f} s", ""),
            (100, "now", " last"),
        )
    )
    return (
        f'<div class="live-chart"><div role="img" aria-label="{escape(words)}">{course}</div>'
        f'<div class="axis" aria-hidden="true">{ticks}</div><ul class="legend">{legend}</ul></div>'
    )
