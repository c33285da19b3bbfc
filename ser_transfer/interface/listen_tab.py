"""The tab Listen: where its parts stand, and what sets them in motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from ser_transfer.interface.examples import Example, Examples
from ser_transfer.interface.limits import Limits
from ser_transfer.interface.listening import EMPTY, Listening, Visit
from ser_transfer.interface.pictures import clock
from ser_transfer.interface.readings import Speaking
from ser_transfer.interface.theme import player_script, styled_html


def listen_tab(models: Sequence[Speaking], examples: Examples, limits: Limits) -> None:
    """Place the tab's content; called inside the open tab.

    Args:
        models: Of which each answers.
        examples: Offered below the recorder.
        limits: Of size, duration and requests at once.
    """
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            audio = gr.Audio(
                sources=["upload", "microphone"],
                type="filepath",
                label="Recording",
                elem_id="listen-audio",
                buttons=[],
                waveform_options=gr.WaveformOptions(
                    waveform_color="#8fa3b3", waveform_progress_color="#1780bb"
                ),
            )
            styled_html(
                f'<p class="hint">Up to {clock(limits.max_seconds)} and {limits.max_megabytes:g} MB. '
                "It stays on the machine that serves this page, and is deleted an hour later. "
                f"Or try one of these {escape(examples.kind)}:</p>"
            )
            with gr.Row(elem_classes="examples", elem_id="listen-examples"):
                buttons = [(gr.Button(each.label, size="sm", min_width=90), each) for each in examples.all()]
            explain = gr.Checkbox(
                label="Show what the models listened to",
                info=f"For recordings up to {limits.max_explained_seconds:g} s; takes a moment.",
                elem_id="listen-explain",
            )
        with gr.Column(scale=7, min_width=300):
            readings = styled_html(EMPTY, elem_id="listen-readings")
    with gr.Column(elem_id="listen-sound"):
        tracks = styled_html("", elem_id="listen-tracks", script=player_script())
        timelines = styled_html("", elem_id="listen-timelines")
        listened = styled_html("", elem_id="listen-listened")
    visit = gr.State(Visit())  # copied for every visitor

    tab = Listening(models, limits, tracks)
    private: dict[str, Any] = {"api_visibility": "private", **_queued(limits)}
    shown = audio.change(
        tab.read,
        [audio, visit],
        [readings, tracks, timelines, listened],
        show_progress_on=readings,
        **private,
    )
    # Each is an event of its own, so that its progress covers what it makes and not what can be read already.
    followed = shown.then(tab.follow, visit, timelines, **private)
    followed.then(tab.explain, [visit, explain], listened, **private)
    explain.change(tab.explain, [visit, explain], listened, **private)
    for button, example in buttons:
        button.click(_giving(example), None, audio, **private)
    _place_api(tab, audio, limits)


def _place_api(tab: Listening, audio: gr.Audio, limits: Limits) -> None:
    """Place the endpoints that programs call."""
    answer = gr.JSON(visible=False, label="Answer")
    model = gr.Textbox(tab.default_model, visible=False, label="Model")
    queued = _queued(limits)
    gr.Button(visible=False).click(tab.predict, audio, answer, api_name="predict", **queued)
    gr.Button(visible=False).click(tab.timeline, [audio, model], answer, api_name="timeline", **queued)


def _queued(limits: Limits) -> dict[str, Any]:
    """How requests that ask models wait: in one line."""
    return {"concurrency_limit": limits.n_at_once, "concurrency_id": "models"}


def _giving(example: Example) -> Callable[[], str]:
    """Make the function of an example's button."""
    return lambda: str(example.make())
