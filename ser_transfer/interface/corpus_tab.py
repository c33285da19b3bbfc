"""The tab that leafs through a corpus: one sentence in two emotions, or from two speakers, side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ser_transfer.audio import AudioError
from ser_transfer.corpora import CORPUS_CARDS
from ser_transfer.encoders.handcrafted.frames import SAMPLING_RATE
from ser_transfer.interface.corpus_browser import MAX_HEARD_SECONDS, Clip, Contrast, CorpusBrowser
from ser_transfer.interface.pictures import sound_lanes
from ser_transfer.interface.readings import in_their_words
from ser_transfer.interface.theme import colour_of

if TYPE_CHECKING:
    import gradio as gr
    from datasets import Dataset

NO_CORPUS = """\
## Browse a corpus
The page was started without a corpus. Start it with one to hear its recordings side by side:

    python -m ser_transfer.demo --corpus ravdess --root data/ravdess"""

MAX_LISTED = 200  # recordings in one list; more are narrowed down by emotion, speaker and sentence
ANY = ""  # the choice that asks for nothing
CONTRASTS: dict[Contrast, str] = {"emotion": "in another emotion", "speaker": "from another speaker"}
# No player moves along the lanes here; and half a page is too narrow for names beside them.
PLAIN_LANES = """
.lane { cursor: default !important; }
.lane-row { grid-template-columns: minmax(0, 1fr) !important; gap: .2rem !important; }
.lane-note { display: inline !important; margin-left: .6rem; }
"""

Shown = tuple[str, Any, str]  # a clip's words, its sound and its picture
NOTHING: Shown = ("", None, "")


def corpus_tab(corpus: Dataset | None) -> None:
    """Place the tab's content; called inside the open tab.

    Args:
        corpus: From `ser_transfer.load_corpus`; None where the page was given none.
    """
    import gradio as gr
    from gradio.context import get_render_context
    from gradio.events import api

    if corpus is None:
        gr.Markdown(NO_CORPUS)
        return
    browser = CorpusBrowser.of(corpus)
    first = browser.first()
    begin = (ANY, ANY, ANY) if first is None else (first.emotion, first.speaker or ANY, first.sentence or ANY)
    gr.Markdown(introduction(browser))
    with gr.Row():
        emotion = _dropdown("Emotion", browser.emotions, begin[0])
        speaker = _dropdown("Speaker", browser.speakers, begin[1])
        sentence = _dropdown("Sentence", browser.sentences, begin[2])
    with gr.Row():
        recording = gr.Dropdown(
            **_choices(browser.matching(*(each or None for each in begin))),
            label="Recording",
            min_width=260,
            elem_id="corpus-recording",
        )
        contrast = gr.Radio(
            [(words, name) for name, words in CONTRASTS.items()],
            value="emotion",
            label="Beside it, the same sentence",
            min_width=260,
            elem_id="corpus-contrast",
        )
        other = gr.Dropdown([], label="Recording beside it", min_width=260, elem_id="corpus-other")
    message = gr.HTML("", visible=False, elem_id="corpus-message", elem_classes="ser")
    with gr.Row(equal_height=False):
        with gr.Column(min_width=320):
            left = _place("left", "Recording")
        with gr.Column(min_width=320):
            alone = gr.HTML("", visible=False, elem_id="corpus-alone", elem_classes="ser")
            right = _place("right", "Recording beside it")

    def ask(emotion: str, speaker: str, sentence: str) -> tuple[gr.Dropdown, gr.HTML]:
        """List the recordings asked for, the first chosen."""
        found = browser.matching(emotion or None, speaker or None, sentence or None)
        words = "" if found else _nothing_has(emotion, speaker, sentence)
        if len(found) > MAX_LISTED:
            words = f"{len(found):,} recordings match; the first {MAX_LISTED} are listed."
        return gr.Dropdown(**_choices(found)), _message(words)

    def compare(utterance_id: str | None, contrast: Contrast) -> tuple[gr.Dropdown, gr.HTML]:
        """List the counterparts of a recording, the most alike chosen."""
        clip = browser.clip(utterance_id)
        found = [] if clip is None else browser.counterparts(clip, contrast)
        words = "" if found or clip is None else _alone(clip, contrast)
        return gr.Dropdown(**_choices(found)), _message(words)

    def show(utterance_id: str | None) -> Shown:
        """Show a recording."""
        clip = browser.clip(utterance_id)
        return NOTHING if clip is None else shown(browser, clip)

    def clips(emotion: str = ANY, speaker: str = ANY, sentence: str = ANY) -> list[dict[str, Any]]:
        """What the corpus tells of the recordings asked for; an empty text asks for nothing."""
        told = ("utterance_id", "emotion", "speaker", "sentence", "intensity", "gender")
        found = browser.matching(emotion or None, speaker or None, sentence or None)
        return [{name: getattr(clip, name) for name in told} for clip in found]

    # `change`, as `select` is not told of choices made on the keyboard, and `input` is told of all twice.
    # Each list is filled by the one before it, and draws its recording when its choice is another.
    for choice in (emotion, speaker, sentence):
        choice.change(ask, [emotion, speaker, sentence], [recording, message], api_visibility="private")
    recording.change(show, recording, [*left], api_visibility="private")
    recording.change(compare, [recording, contrast], [other, alone], api_visibility="private")
    contrast.change(compare, [recording, contrast], [other, alone], api_visibility="private")
    other.change(show, other, [*right], api_visibility="private")
    api(clips, api_name="corpus_clips")
    around = get_render_context()
    if isinstance(around, gr.Tab):  # nothing is decoded or sent to visitors who never open it
        around.select(show, recording, [*left], api_visibility="private")
        around.select(compare, [recording, contrast], [other, alone], api_visibility="private")


def introduction(browser: CorpusBrowser) -> str:
    """Say what corpus it is, in Markdown."""
    card = CORPUS_CARDS.get(browser.name)
    title = browser.name if card is None else card.title
    counts = [f"{len(browser.clips):,} recordings", f"{len(browser.emotions)} emotions"]
    counts += [f"{len(browser.speakers)} speakers"] if browser.speakers else []
    counts += [f"{len(browser.sentences):,} sentences"] if browser.sentences else []
    return (
        f"## Browse {title}\n{', '.join(counts)}. What you hear is what the models hear: one channel at "
        f"{SAMPLING_RATE // 1000} kHz."
    )


def shown(browser: CorpusBrowser, clip: Clip) -> Shown:
    """Return a recording's words, its sound for `gr.Audio` and its picture, or why it cannot be heard."""
    sentence = f"<p>“{escape(clip.sentence)}”</p>" if clip.sentence else ""
    words = (
        f'<h2><span class="dot" style="--emotion:{colour_of(clip.emotion)}" aria-hidden="true"></span>'
        f'{escape(clip.emotion)}</h2>{sentence}<p class="hint">{escape(clip.told)}</p>'
    )
    try:
        waveform, seconds = browser.sound(clip)
    except AudioError as error:
        return f'{words}<p class="cannot" role="alert">{escape(in_their_words(error))}</p>', None, ""
    if seconds > MAX_HEARD_SECONDS:
        words += f'<p class="hint">The first {MAX_HEARD_SECONDS:.0f} s of {seconds:.0f} s.</p>'
    # In 16 bits: Gradio would scale floats to full scale, and a whisper would sound as loud as a shout.
    samples = np.round(waveform.clip(-1.0, 1.0) * 32767).astype(np.int16)
    return words, (SAMPLING_RATE, samples), sound_lanes(waveform)


def _dropdown(label: str, names: tuple[str, ...], value: str) -> gr.Dropdown:
    import gradio as gr

    return gr.Dropdown(
        [(f"any {label.lower()}", ANY), *((name, name) for name in names)],
        value=value,
        label=label,
        min_width=200,
        visible=bool(names),
        elem_id=f"corpus-{label.lower()}",
    )


def _place(side: str, label: str) -> tuple[gr.HTML, gr.Audio, gr.HTML]:
    """Place what shows one recording."""
    import gradio as gr

    words = gr.HTML("", elem_id=f"corpus-{side}-words", elem_classes="ser")
    audio = gr.Audio(
        label=label,
        interactive=False,
        buttons=[],
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),  # it is drawn below
        elem_id=f"corpus-{side}-audio",
    )
    picture = gr.HTML("", css_template=PLAIN_LANES, elem_id=f"corpus-{side}-picture", elem_classes="ser")
    return words, audio, picture


def _choices(clips: list[Clip]) -> dict[str, Any]:
    listed = [(str(clip), clip.utterance_id) for clip in clips[:MAX_LISTED]]
    return {"choices": listed, "value": listed[0][1] if listed else None}


def _message(words: str) -> gr.HTML:
    import gradio as gr

    told = f'<p class="agreement disagree" role="status">{escape(words)}</p>'
    return gr.HTML(told if words else "", visible=bool(words))


def _nothing_has(emotion: str, speaker: str, sentence: str) -> str:
    asked = (emotion, speaker and f"speaker {speaker}", sentence and f"“{sentence}”")
    wanted = ", ".join(filter(None, asked))
    return f"No recording matches {wanted}: choose “any” in one of the lists to find the nearest."


def _alone(clip: Clip, contrast: Contrast) -> str:
    if clip.sentence is None or clip.speaker is None:
        missing = "sentences" if clip.sentence is None else "speakers"
        return f"This corpus does not tell its {missing}, so nothing can be set beside this recording."
    if contrast == "emotion":
        return f"Speaker {clip.speaker} says this sentence in no other emotion."
    return f"No other speaker says this sentence with the emotion {clip.emotion}."
