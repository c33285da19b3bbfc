"""A corpus to leaf through: counterparts by hand-worked cases, and what is heard, seen and said."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_transfer.corpora import Utterance, corpus_dataset
from ser_transfer.interface.corpus_browser import MAX_HEARD_SECONDS, CorpusBrowser
from ser_transfer.interface.corpus_tab import introduction, shown


def browser_of(*utterances):
    return CorpusBrowser.of(corpus_dataset(utterances))


def utterance(id_, emotion, speaker="1", sentence="Hello", intensity=None, **settings):
    return Utterance(id_, f"{id_}.wav", emotion, speaker, sentence, intensity, **settings)


SMALL = browser_of(
    utterance("a", "anger", "2", intensity="strong"),
    utterance("b", "neutral", "2", intensity="normal"),
    utterance("c", "fear", "2", intensity="strong"),
    utterance("d", "anger", "10", intensity="normal"),
    utterance("e", "anger", "3", intensity="normal"),
    utterance("f", "anger", "4", intensity="strong"),
    utterance("g", "anger", "2", "Another sentence"),
    utterance("h", "neutral", "3", "Another sentence"),
    utterance("i", "anger", "2", intensity="strong"),
)


def ids(clips):
    return [clip.utterance_id for clip in clips]


def test_choices_are_in_the_order_of_the_vocabulary_and_of_numbers():
    assert SMALL.emotions == ("neutral", "anger", "fear")
    assert SMALL.speakers == ("2", "3", "4", "10")
    assert SMALL.sentences == ("Another sentence", "Hello")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "abcdefghi"),
        ({"emotion": "fear"}, "c"),
        ({"speaker": "3"}, "eh"),
        ({"emotion": "anger", "speaker": "2", "sentence": "Hello"}, "ai"),
        ({"emotion": "fear", "speaker": "3"}, ""),
        ({"emotion": "unheard of"}, ""),
    ],
)
def test_recordings_have_all_that_is_asked_for(asked, found):
    assert ids(SMALL.matching(**asked)) == list(found)


def test_counterparts_differ_in_one_thing_alone_the_most_alike_first():
    a = SMALL.clip("a")
    # Speaker 2, the same sentence, other emotions; strong as `a` is before normal.
    assert ids(SMALL.counterparts(a, "emotion")) == ["c", "b"]
    # The same sentence and emotion; strong before normal, then speaker 3 before 10.
    assert ids(SMALL.counterparts(a, "speaker")) == ["f", "e", "d"]
    assert SMALL.counterparts(SMALL.clip("g"), "speaker") == []


@pytest.mark.parametrize("contrast", ["emotion", "speaker"])
def test_whoever_is_a_counterpart_has_one(contrast):
    for one, other in product(SMALL.clips, repeat=2):
        forth = other in SMALL.counterparts(one, contrast)
        assert forth == (one in SMALL.counterparts(other, contrast))


def test_what_the_corpus_does_not_tell_has_no_counterpart():
    browser = browser_of(
        utterance("a", "anger", sentence=None),
        utterance("b", "fear", sentence=None),
        utterance("c", "anger", None, "Hello"),
        utterance("d", "fear", None, "Hello"),
    )
    for clip, contrast in product(browser.clips, ("emotion", "speaker")):
        assert browser.counterparts(clip, contrast) == []
    assert browser.clip("nowhere") is None


def test_the_tab_begins_where_a_sentence_is_there_in_most_emotions():
    assert ids([SMALL.first()]) == ["a"]
    untold = browser_of(utterance("x", "anger", None, None), utterance("y", "fear", "1", "Hello"))
    assert ids([untold.first()]) == ["y"]


@pytest.fixture
def heard(tmp_path: Path):
    """A loud recording and its quiet double, a long one, a segment of it, and one that is missing."""
    time = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 220 * time)
    for name, samples in (("loud", 0.8 * tone), ("quiet", 0.01 * tone), ("long", np.tile(0.5 * tone, 40))):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16_000)
    rows = [
        Utterance("loud", str(tmp_path / "loud.wav"), "anger", "1", "Who's <there>?", "strong", "female"),
        Utterance("quiet", str(tmp_path / "quiet.wav"), "fear", "1", "Who's <there>?", "normal", "female"),
        Utterance("long", str(tmp_path / "long.wav"), "anger", "2", "Who's <there>?"),
        Utterance(
            "segment", str(tmp_path / "long.wav"), "fear", "2", "Hello", start_seconds=2.25, end_seconds=2.75
        ),
        Utterance("missing", str(tmp_path / "missing.wav"), "anger", "3", "Hello"),
    ]
    return corpus_dataset(rows)


def test_what_is_quiet_in_the_corpus_is_quiet_on_the_page(heard):
    browser = CorpusBrowser.of(heard)
    peaks = {}
    for name in ("loud", "quiet"):
        _, (rate, samples), _ = shown(browser, browser.clip(name))
        assert rate == 16_000
        assert samples.dtype == np.int16  # anything else Gradio scales to full scale
        peaks[name] = np.abs(samples.astype(float)).max() / 32767
    assert peaks == pytest.approx({"loud": 0.8, "quiet": 0.01}, rel=0.01)


def test_of_a_segment_only_its_own_samples_are_heard_and_of_a_long_recording_the_beginning(heard):
    browser = CorpusBrowser.of(heard)
    _, (_, samples), _ = shown(browser, browser.clip("segment"))
    assert len(samples) == 8_000
    words, (_, samples), _ = shown(browser, browser.clip("long"))
    assert len(samples) == MAX_HEARD_SECONDS * 16_000
    assert "The first 30 s of 40 s" in words


def test_words_are_escaped_and_a_missing_file_is_told_without_its_place(heard, tmp_path):
    browser = CorpusBrowser.of(heard)
    words, _, picture = shown(browser, browser.clip("loud"))
    assert "“Who&#x27;s &lt;there&gt;?”" in words
    assert "speaker 1 (female) · strong intensity · loud" in words
    assert "Mel spectrogram" in picture
    words, sound, picture = shown(browser, browser.clip("missing"))
    assert (sound, picture) == (None, "")
    assert "missing.wav: missing" in words
    assert str(tmp_path) not in words


def test_the_introduction_counts_what_the_corpus_tells():
    told = introduction(SMALL)
    assert "9 recordings, 3 emotions, 4 speakers, 2 sentences" in told
    assert "speakers" not in introduction(browser_of(utterance("a", "anger", None, None)))


@pytest.fixture
def functions(heard):
    """What the tab does, by the name of its event's function, with the labels of what it puts out."""
    gradio = pytest.importorskip("gradio")
    from ser_transfer.interface.corpus_tab import corpus_tab

    with gradio.Blocks(analytics_enabled=False) as page, gradio.Tab("Corpus"):
        corpus_tab(heard)
    return {event.fn.__name__: event.fn for event in page.fns.values() if event.fn is not None}


def test_what_is_asked_for_is_listed_with_the_first_chosen(functions):
    recordings, message = functions["ask"]("anger", "", "Who's <there>?")
    assert [id_ for _, id_ in recordings.choices] == ["loud", "long"]
    assert recordings.value == "loud"
    assert not message.visible


@pytest.mark.parametrize(("contrast", "found"), [("emotion", "quiet"), ("speaker", "long")])
def test_a_recording_gets_its_counterparts(contrast, found, functions):
    others, message = functions["compare"]("loud", contrast)
    assert others.value == found
    assert not message.visible


def test_a_recording_is_shown_with_words_sound_and_picture(functions):
    words, (_, loud), picture = functions["show"]("loud")
    assert "anger" in words
    assert "mel spectrogram" in picture
    words, (_, quiet), _ = functions["show"]("quiet")
    assert "fear" in words
    assert np.abs(loud).max() > 10 * np.abs(quiet).max()


def test_where_nothing_matches_the_tab_says_so(functions):
    recordings, message = functions["ask"]("fear", "3", "")
    assert (recordings.choices, recordings.value) == ([], None)
    assert "No recording matches fear, speaker 3: choose “any”" in message.value
    assert message.visible
    assert functions["show"](None) == ("", None, "")
    assert functions["compare"](None, "emotion")[0].value is None


def test_a_list_too_long_to_choose_from_is_cut_and_says_so(functions, monkeypatch):
    from ser_transfer.interface import corpus_tab

    monkeypatch.setattr(corpus_tab, "MAX_LISTED", 2)
    recordings, message = functions["ask"]("", "", "")
    assert len(recordings.choices) == 2
    assert "5 recordings match; the first 2 are listed" in message.value


def test_where_nothing_can_be_set_beside_it_the_tab_says_why(functions):
    others, message = functions["compare"]("segment", "speaker")
    assert others.value is None
    assert "No other speaker says this sentence with the emotion fear" in message.value


@pytest.mark.parametrize("name", ["/etc/passwd", "../missing.wav", "nothing"])
def test_a_recording_that_is_none_of_the_corpus_is_not_opened(name, functions):
    assert functions["show"](name) == ("", None, "")
    assert functions["compare"](name, "emotion")[0].value is None


def test_the_api_tells_the_recordings_asked_for(functions):
    assert [each["utterance_id"] for each in functions["clips"](emotion="fear")] == ["quiet", "segment"]
    assert functions["clips"]("fear", "2")[0]["sentence"] == "Hello"


def test_without_a_corpus_the_tab_says_how_to_start_with_one():
    gradio = pytest.importorskip("gradio")
    from ser_transfer.interface.corpus_tab import corpus_tab

    with gradio.Blocks(analytics_enabled=False) as page:
        corpus_tab(None)
    (only,) = page.blocks.values()
    assert "python -m ser_transfer.demo --corpus" in only.value


def test_real_recordings_have_counterparts_that_differ_in_one_thing(shared):
    from ser_transfer import load_corpus

    root = shared / "corpora" / "ravdess"
    if not root.is_dir():
        pytest.skip(f"needs RAVDESS in {root}")
    browser = CorpusBrowser.of(load_corpus("ravdess", root))
    clip = browser.clip("03-01-05-01-01-01-01")
    # Eight emotions in two intensities, neutral in one only, each said twice: 6 * 4 + 2 others.
    assert len(browser.counterparts(clip, "emotion")) == 26
    assert len(browser.counterparts(clip, "speaker")) == 23 * 4
    words, (rate, samples), _ = shown(browser, clip)
    assert "Kids are talking by the door" in words
    assert 3.0 < len(samples) / rate < 4.5
