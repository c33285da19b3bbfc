"""What the tab Listen does with a recording, for its page and for programs that call it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
from gradio import processing_utils

from ser_transfer.audio import AudioError
from ser_transfer.errors import SerTransferError
from ser_transfer.interface.answers_shown import listened_html, readings_html, timeline_html
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

if TYPE_CHECKING:
    from ser_transfer.encoders import Waveform

EMPTY = (
    '<div class="empty"><p>Record a sentence, drop a file, or press an example.<br/>'
    "Every model answers by itself, side by side with the handcrafted baseline.</p></div>"
)
WAITING = '<p class="hint waiting">…</p>'


@dataclass(frozen=True)
class Heard:
    """A recording that could be read: where it lies, and how long it is."""

    path: str
    seconds: float


@dataclass
class Visit:
    """What one visitor hears now; None before the first recording, and where it could not be read."""

    heard: Heard | None = None


class Listening:
    """What the tab does, for its page and for its API."""

    def __init__(self, models: Sequence[Speaking], limits: Limits, tracks: gr.HTML) -> None:
        self._models = models
        self._limits = limits
        self._tracks = tracks

    @property
    def default_model(self) -> str:
        """The name of the model that is asked where none is named."""
        return self._models[0].name

    def read(
        self,
        path: str | None,
        visit: Visit,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio knows
    ) -> tuple[str, str, str, str]:
        """Show what every model says of a recording, and what it looks like."""
        visit.heard = None
        if path is None:
            return EMPTY, "", "", ""
        try:
            waveform = hear(path, self._limits)
        except (InterfaceError, AudioError) as error:
            words = in_their_words(error)
            gr.Warning(words, title="This recording cannot be used")
            return f'<p class="cannot" role="alert">{escape(words)}</p>', "", "", ""
        told: list[Reading] = []
        for number, each in enumerate(self._models):
            progress(number / len(self._models), desc=f"Asking {each.name}")
            told.append(read_with(each, path))
        picture = player_html(self._tracks, waveform) + sound_lanes(waveform)
        visit.heard = Heard(path, len(waveform) / SHOWN_RATE)
        return readings_html(told), picture, "", ""

    def follow(
        self,
        visit: Visit,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio knows
    ) -> Iterator[Any]:
        """Show the timeline of every model, each as soon as it is known."""
        heard = visit.heard
        if heard is None or heard.seconds < TIMELINE_SECONDS:
            yield ""
            return
        yield WAITING
        lanes = ""
        for each in self._models:

            def on_progress(done: float, name: str = each.name) -> None:
                progress(min(done / heard.seconds, 1.0), desc=f"Following with {name}")

            with suppress(AudioError):  # its reading has said so
                lanes += timeline_html(each, timeline_of(each, heard.path, on_progress))
            if visit.heard is not heard:  # what is known too late belongs to no recording on the page
                yield gr.skip()
                return
            yield lanes

    def explain(self, visit: Visit, is_wanted: bool) -> Iterator[Any]:
        """Show what every model listened to, or hide it."""
        heard = visit.heard
        if heard is None or not is_wanted:
            yield ""
            return
        longest = self._limits.max_explained_seconds
        if heard.seconds > longest:
            yield (
                '<p class="hint">What the models listened to is shown for recordings up to '
                f"{longest:g} s; this one lasts {clock(heard.seconds)}.</p>"
            )
            return
        yield WAITING
        found = []
        for each in self._models:
            with suppress(AudioError):  # its reading has said so
                found.append(listened_to(each, heard.path))
        words = f"<h2>What the models listened to</h2>{listened_html(found, heard.seconds)}"
        yield words if visit.heard is heard else gr.skip()

    def predict(self, recording: str | None) -> dict[str, Any]:
        """Ask every model about a recording.

        Returns:
            `seconds`; `agree` (null for one model); `readings`, for every model its name, emotion,
            confidence, probabilities, and the error where it cannot hear the recording.
        """
        heard = self._heard(recording)
        return readings_as_json([read_with(each, heard.path) for each in self._models], heard.seconds)

    def timeline(self, recording: str | None, model: str | None) -> dict[str, Any]:
        """Follow emotion through a recording with one model: segments, and probabilities over time."""
        heard = self._heard(recording)
        names = [each.name for each in self._models]
        if model not in names:
            raise gr.Error(
                f"no model {model!r} on this page; there are {', '.join(names)}", print_exception=False
            )
        chosen = self._models[names.index(model)]
        try:
            return timeline_as_json(chosen.name, timeline_of(chosen, heard.path))
        except SerTransferError as error:
            raise gr.Error(in_their_words(error), print_exception=False) from None

    def _heard(self, recording: str | None) -> Heard:
        """Read the recording of an API call, or answer the call with what is wrong with it."""
        if recording is None:
            raise gr.Error(
                "no recording: give a file, such as handle_file('clip.wav')", print_exception=False
            )
        try:
            return Heard(recording, len(hear(recording, self._limits)) / SHOWN_RATE)
        except (InterfaceError, AudioError) as error:
            raise gr.Error(in_their_words(error), print_exception=False) from None


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
