"""The tab Listen: one recording, what every model says of it, how it sounds and looks, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
from gradio import processing_utils

from ser_transfer.audio import AudioError
from ser_transfer.errors import SerTransferError
from ser_transfer.interface.answers_shown import listened_html, readings_html, timeline_html
from ser_transfer.interface.examples import Examples
from ser_transfer.interface.limits import InterfaceError, Limits
from ser_transfer.interface.pictures import clock, sound_lanes
from ser_transfer.interface.readings import (
    SHOWN_RATE,
    TIMELINE_SECONDS,
    Reading,
    Speaking,
    hear,
    in_their_words,
    listened_to,
    read_with,
    readings_as_json,
    timeline_as_json,
    timeline_of,
)
from ser_transfer.interface.theme import player_script, styled_html

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform

EMPTY = (
    '<div class="empty"><p>Record a sentence, drop a file, or press an example.<br/>'
    "Every model answers by itself, side by side with the handcrafted baseline.</p></div>"
)
NOTHING = ("", "", "")


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
                "It stays on this machine, and is deleted an hour later. "
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

    def read(
        path: str | None,
        wants_reasons: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio knows
    ) -> Iterator[tuple[str, str, str, str]]:
        """Show all there is to say of a recording, each part as soon as it is known."""
        if path is None:
            yield EMPTY, *NOTHING
            return
        try:
            waveform = hear(path, limits)
        except (InterfaceError, AudioError) as error:
            words = in_their_words(error)
            gr.Warning(words, title="This recording cannot be used")
            yield f'<p class="cannot" role="alert">{escape(words)}</p>', *NOTHING
            return
        told: list[Reading] = []
        for number, each in enumerate(models):
            progress(number / len(models), desc=f"Asking {each.name}")
            told.append(read_with(each, path))
        same: Any = gr.skip()  # an output that is sent again would stop what is being played
        yield readings_html(told), player_html(tracks, waveform) + sound_lanes(waveform), "", ""
        followed = ""
        if len(waveform) >= TIMELINE_SECONDS * SHOWN_RATE:
            for reading in told:
                if reading.prediction is not None:
                    followed += _followed(reading.speaking, path, len(waveform) / SHOWN_RATE, progress)
                    yield same, same, followed, same
        if wants_reasons:
            yield same, same, same, _reasons(told_models(told), path, waveform, limits)

    def reasons(path: str | None, wants_reasons: bool) -> str:
        """Show what the models listened to, or hide it."""
        if path is None or not wants_reasons:
            return ""
        try:
            return _reasons(models, path, hear(path, limits), limits)
        except (InterfaceError, AudioError):
            return ""  # the reading of the same file has said so

    def predict(recording: str | None) -> dict[str, Any]:
        """Ask every model about a recording.

        Returns:
            `seconds`; `agree` (null for one model); `readings`, for every model its name, emotion,
            confidence, probabilities, and the error where it cannot hear the recording.
        """
        waveform = _heard_or_refused(recording, limits)
        told = [read_with(each, str(recording)) for each in models]
        return readings_as_json(told, len(waveform) / SHOWN_RATE)

    def timeline(recording: str | None, model: str | None) -> dict[str, Any]:
        """Follow emotion through a recording with one model: segments, and probabilities over time."""
        _heard_or_refused(recording, limits)
        chosen = {each.name: each for each in models}.get(model or models[0].name)
        if chosen is None:
            raise gr.Error(
                f"no model {model!r} on this page; there are {', '.join(each.name for each in models)}",
                print_exception=False,
            )
        try:
            return timeline_as_json(chosen.name, timeline_of(chosen, str(recording)))
        except SerTransferError as error:
            raise gr.Error(in_their_words(error), print_exception=False) from None

    shared: dict[str, Any] = {"concurrency_limit": limits.n_at_once, "concurrency_id": "models"}
    audio.change(
        read,
        [audio, explain],
        [readings, tracks, timelines, listened],
        show_progress_on=readings,
        api_visibility="private",
        **shared,
    )
    explain.change(reasons, [audio, explain], listened, api_visibility="private", **shared)
    for button, example in buttons:
        button.click(
            lambda example=example: str(example.make()), None, audio, api_visibility="private", **shared
        )
    answer = gr.JSON(visible=False, label="Answer")
    which = gr.Textbox(models[0].name, visible=False, label="Model")
    gr.Button(visible=False).click(predict, audio, answer, api_name="predict", **shared)
    gr.Button(visible=False).click(timeline, [audio, which], answer, api_name="timeline", **shared)


def told_models(readings: Sequence[Reading]) -> list[Speaking]:
    """Those models that could hear the recording."""
    return [reading.speaking for reading in readings if reading.prediction is not None]


def player_html(component: gr.HTML, waveform: Waveform) -> str:
    """Write the recording as it was heard, mono and at 16 kHz, and show what plays it.

    Browsers do not play all that we read (AIFF, AMR, ...), and what is played should be what was heard.

    Args:
        component: That shows it; the file is deleted with its others.
        waveform: At `SHOWN_RATE`.
    """
    import soundfile

    file = BytesIO()
    soundfile.write(file, waveform.clip(-1, 1), SHOWN_RATE, format="WAV", subtype="PCM_16")
    path = processing_utils.save_bytes_to_cache(file.getvalue(), "heard.wav", component.GRADIO_CACHE)
    component.temp_files.add(path)
    seconds = len(waveform) / SHOWN_RATE
    return (
        f'<h2>The sound</h2><div class="player"><audio preload="auto" data-seconds="{seconds:.3f}" '
        f'src="gradio_api/file={quote(path)}"></audio><button type="button">Play</button>'
        f'<input type="range" min="0" max="{seconds:.3f}" step="0.1" value="0" aria-label="Position"/>'
        f"<output>{clock(seconds)}</output></div>"
    )


def _followed(speaking: Speaking, path: str, seconds: float, progress: gr.Progress) -> str:
    """Show the timeline of one model, or why there is none."""

    def on_progress(done: float) -> None:
        progress(min(done / seconds, 1.0), desc=f"Following with {speaking.name}")

    try:
        return timeline_html(speaking, timeline_of(speaking, path, on_progress))
    except AudioError as error:
        return f'<p class="cannot">{escape(in_their_words(error))}</p>'


def _reasons(models: Sequence[Speaking], path: str, waveform: Waveform, limits: Limits) -> str:
    """Show what each model listened to."""
    seconds = len(waveform) / SHOWN_RATE
    if seconds > limits.max_explained_seconds:
        return (
            f'<p class="hint">What the models listened to is shown for recordings up to '
            f"{limits.max_explained_seconds:g} s; this one lasts {clock(seconds)}.</p>"
        )
    found = []
    for each in models:
        try:
            found.append(listened_to(each, path))
        except AudioError:
            continue  # its reading has said so
    return f"<h2>What the models listened to</h2>{listened_html(found, seconds)}"


def _heard_or_refused(path: str | None, limits: Limits) -> Waveform:
    """Read the recording of an API call, or answer the call with what is wrong with it."""
    if path is None:
        raise gr.Error("no recording: give a file, such as handle_file('clip.wav')", print_exception=False)
    try:
        return hear(Path(path), limits)
    except (InterfaceError, AudioError) as error:
        raise gr.Error(in_their_words(error), print_exception=False) from None
