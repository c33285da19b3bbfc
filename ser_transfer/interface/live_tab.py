"""The tab Live: the microphone, a reading every half second, and the last half minute on a chart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

import gradio as gr

from ser_transfer.interface.answers_shown import bars, headline, live_chart
from ser_transfer.interface.limits import InterfaceError, Limits
from ser_transfer.interface.pictures import clock
from ser_transfer.interface.readings import Speaking
from ser_transfer.interface.stream import (
    QUIET_DB,
    READING_SECONDS,
    SPAN_SECONDS,
    WINDOW_SECONDS,
    LiveStream,
    piece_of_wav,
)
from ser_transfer.interface.theme import styled_html

# The browser's pieces are files of 50 kB. One that was read is deleted, not at once: pieces of digital
# silence are the same file to Gradio, which may have just been written anew.
KEPT_SECONDS = 10.0
IDLE = (
    '<div class="empty"><p>Press “Record” and speak.<br/>'
    f"A reading every {READING_SECONDS:g} s, each over the last {WINDOW_SECONDS:g} s.</p></div>"
)


class LiveState:
    """What the server keeps for one visitor: the stream, and the pieces that are still on the disk."""

    def __init__(self, model: Any) -> None:
        self.stream = LiveStream(model)
        self.pieces: dict[str, None] = {}

    def forget_pieces(self, now: float) -> None:
        """Delete pieces that nobody will ask for again."""
        for path in list(self.pieces):
            with suppress(OSError):
                if now - Path(path).stat().st_mtime < KEPT_SECONDS:
                    continue
                Path(path).unlink()
            del self.pieces[path]


def live_tab(models: Sequence[Speaking], limits: Limits) -> None:
    """Place the tab's content; called inside the open tab.

    Args:
        models: Of which one, the visitor's choice, reads.
        limits: Of how long a microphone stays on, and how many at once.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            which = gr.Radio(
                [(each.name, number) for number, each in enumerate(models)],
                value=0,
                label="Model",
                elem_id="live-model",
                visible=len(models) > 1,
            )
            audio = gr.Audio(
                sources=["microphone"],
                streaming=True,
                type="filepath",
                label="Microphone",
                elem_id="live-audio",
                buttons=[],
            )
            styled_html(
                f'<p class="hint">The microphone goes off after {clock(limits.max_seconds)}. The sound is '
                "not kept: what was read is deleted seconds later, all else after an hour.</p>"
            )
        with gr.Column(scale=7, min_width=300):
            now_shown = styled_html(IDLE, elem_id="live-now")
    chart = styled_html("", elem_id="live-chart")
    state = gr.State(None, time_to_live=3600)

    def listen(path: str | None, kept: LiveState | None, number: int) -> tuple[LiveState | None, str, str]:
        """Take a piece of the stream in, and read the last window."""
        if path is None:
            return kept, gr.skip(), gr.skip()
        model = models[number].model
        kept = kept or LiveState(model)
        kept.stream.use(model)
        try:
            arrived, piece, rate = _piece(path)
        except FileNotFoundError:  # a piece of digital silence, deleted as its twin: see KEPT_SECONDS
            return kept, gr.skip(), gr.skip()
        except InterfaceError as error:
            raise gr.Error(str(error), print_exception=False) from None
        kept.pieces[path] = None
        kept.stream.hear(piece, rate, arrived)
        kept.forget_pieces(time.time())
        if not kept.stream.is_due:
            return kept, gr.skip(), gr.skip()
        kept.stream.read(arrived, time.time)
        return kept, live_html(kept.stream), live_chart_html(kept.stream)

    # Mounted after the page, as in a tab, Gradio's recorder (6.31) forgets `stream_every` and sends a piece
    # every 0.1 s. Between this event and its first piece lies the opening of the microphone.
    audio.start_recording(
        None,
        None,
        audio,
        js=f"() => ({{__type__: 'update', stream_every: {READING_SECONDS}}})",
        api_visibility="private",
    )
    audio.start_recording(lambda: (None, IDLE, ""), None, [state, now_shown, chart], api_visibility="private")
    audio.stream(
        listen,
        [audio, state, which],
        [state, now_shown, chart],
        stream_every=READING_SECONDS,
        time_limit=round(limits.max_seconds),
        concurrency_limit=limits.n_live,
        show_progress="hidden",
        api_visibility="private",
    )


def _piece(path: str) -> tuple[float, Any, int]:
    """Read a piece of the stream: when it arrived, its samples, their rate."""
    arrived = Path(path).stat().st_mtime
    return arrived, *piece_of_wav(Path(path).read_bytes())


def live_html(stream: LiveStream) -> str:
    """Show the newest reading, the latency, and what was left out."""
    from ser_transfer.model import Prediction

    moment = stream.moments[-1]
    if moment.probabilities is None:
        quiet = stream.level_db() < QUIET_DB
        words = "Nobody speaks" if quiet else "Listening …"
        shown = f'<p class="answer quiet"><strong>{words}</strong></p>'
    else:
        prediction = Prediction.of(stream.model.classes, moment.probabilities)
        shown = headline(prediction) + bars(prediction)
    typical = median(each.latency_ms for each in stream.moments)
    figures = "".join(
        f'<div><dt>{name}</dt><dd data-figure="{key}">{value}</dd></div>'
        for key, name, value in (
            ("latency", "latency of this reading", f"{moment.latency_ms:.0f} ms"),
            ("typical", f"median of {SPAN_SECONDS:.0f} s", f"{typical:.0f} ms"),
            ("level", "level", f"{max(stream.level_db(), -99):.0f} dB"),
            ("seconds", "since the start", clock(round(stream.elapsed))),
        )
    )
    skipped = stream.skipped_seconds
    behind = (
        f'<p class="dropped" data-skipped="{skipped:.1f}">{skipped:.1f} s of sound were left out to keep up: '
        "this model, or the way to it, is slower than the stream.</p>"
        if skipped
        else ""
    )
    name = escape(stream.model.name)
    return (
        '<div class="live-now"><section class="card" aria-label="Newest reading">'
        f"<h3>{name}</h3>{shown}</section>"
        '<section class="card" aria-label="The stream"><h3>The stream</h3>'
        f'<dl class="figures">{figures}</dl>'
        f"{behind}</section></div>"
    )


def live_chart_html(stream: LiveStream) -> str:
    """Show the readings of the last `SPAN_SECONDS`."""
    chart = live_chart(
        [moment.at for moment in stream.moments],
        [moment.probabilities for moment in stream.moments],
        stream.model.classes,
        max(stream.elapsed, READING_SECONDS),
        SPAN_SECONDS,
    )
    return f"<h2>The last {SPAN_SECONDS:.0f} seconds</h2>{chart}"
