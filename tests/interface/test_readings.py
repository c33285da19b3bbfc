"""What the page says of a recording, before it is drawn."""

import json

import numpy as np
import pytest
from page_helpers import RATE, Pitched

from ser_transfer.audio import AudioError
from ser_transfer.interface import InterfaceError, Limits
from ser_transfer.interface.readings import (
    Reading,
    Speaking,
    agreement,
    described,
    hear,
    in_their_words,
    listened_to,
    read_with,
    readings_as_json,
    speaking_models,
    timeline_as_json,
)
from ser_transfer.model import Prediction
from ser_transfer.timeline import Segment, Timeline


def reading(emotion: str | None) -> Reading:
    if emotion is None:
        return Reading(Speaking(Pitched()), None, "too short")
    other = {"anger": "sadness", "sadness": "anger"}[emotion]
    return Reading(Speaking(Pitched()), Prediction({emotion: 0.75, other: 0.25}))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (["anger", "anger"], "Both models hear anger."),
        (["anger", "anger", "anger"], "All 3 models hear anger."),
        (["sadness", "anger", "anger"], "The models disagree: anger (2 of 3), sadness (1 of 3)."),
        (["anger", None], "One model answers: anger."),
        ([None, None], "No model could hear this recording."),
    ],
)
def test_agreement_counts_the_models_that_could_hear(answers, words):
    assert agreement([reading(each) for each in answers]) == words


def test_a_baseline_that_is_one_of_the_models_is_listed_once():
    model, again = Pitched("a"), Pitched("b")  # the same fingerprint
    assert [(each.name, each.is_baseline) for each in speaking_models([model], again)] == [("a", True)]
    other = Pitched("c", contrary=True)
    assert [(each.name, each.is_baseline) for each in speaking_models([model], other)] == [
        ("a", False),
        ("c", True),
    ]


def test_a_recording_is_heard_whole_at_16_khz(write_tones):
    assert hear(write_tones((200, 1.5)), Limits()).shape == (24_000,)


@pytest.mark.parametrize("limits", [Limits(max_seconds=1.4), Limits(max_megabytes=0.04)])
def test_too_much_is_refused_with_the_flag_that_allows_it(write_tones, limits):
    with pytest.raises(InterfaceError, match=r"tones\.wav: .*--max-(seconds|megabytes)"):
        hear(write_tones((200, 1.5)), limits)


def test_a_header_that_says_too_little_does_not_let_a_long_recording_in(write_tones, monkeypatch):
    clip = write_tones((200, 3.0))
    monkeypatch.setattr("ser_transfer.interface.readings.duration_seconds", lambda path: 0.1)
    assert len(hear(clip, Limits(max_seconds=3.1))) == 3 * RATE
    with pytest.raises(InterfaceError, match="longer than the 2 s"):
        hear(clip, Limits(max_seconds=2))


def test_a_limit_that_lets_nothing_in_is_refused():
    with pytest.raises(InterfaceError, match="max_seconds must be above 0"):
        Limits(max_seconds=0)


def test_that_a_model_cannot_hear_a_recording_is_its_reading(write_tones):
    found = read_with(Speaking(Pitched()), write_tones((200, 0.05)))
    assert found.prediction is None
    assert found.error.startswith("tones.wav: too_short: ")


def test_an_error_names_the_visitors_file_and_not_where_it_lies():
    error = AudioError("empty", "/tmp/gradio/0123/clip.wav", "it holds no samples")
    assert in_their_words(error).startswith("clip.wav: empty: it holds no samples")


def test_the_json_of_readings_holds_every_model_and_survives_json():
    told = readings_as_json([reading("anger"), reading(None)], 1.5)
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "seconds": 1.5,
        "agree": None,
        "readings": [
            {
                "model": "pitched",
                "baseline": False,
                "emotion": "anger",
                "confidence": 0.75,
                "probabilities": {"anger": 0.75, "sadness": 0.25},
                "error": None,
            },
            {
                "model": "pitched",
                "baseline": False,
                "emotion": None,
                "confidence": None,
                "probabilities": None,
                "error": "too short",
            },
        ],
    }


def test_the_json_of_a_timeline_has_null_where_nobody_spoke():
    timeline = Timeline(
        classes=("sadness", "anger"),
        seconds=1.2,
        hop_seconds=0.5,
        probabilities=np.array([[0.2, 0.8], [np.nan, np.nan], [0.2, 0.8]]),
        segments=(Segment(0.0, 0.5, "anger", 0.8), Segment(1.0, 1.2, None, 0.5)),
    )
    told = json.loads(json.dumps(timeline_as_json("m", timeline), allow_nan=False))
    assert told["probabilities"] == [[0.2, 0.8], None, [0.2, 0.8]]
    assert told["times"] == pytest.approx([0.25, 0.75, 1.1])
    assert told["segments"][1] == {"start": 1.0, "end": 1.2, "emotion": None, "confidence": 0.5}


def test_attention_goes_before_occlusion(write_tones):
    class Attentive(Pitched):
        def attention(self, waveform):
            return np.array([0.5]), np.array([1.0])

    clip = write_tones((300, 1.0))
    assert "attention" in listened_to(Speaking(Attentive()), clip).words
    assert "drop in the probability of anger" in listened_to(Speaking(Pitched()), clip).words


def test_an_explanation_takes_no_more_answers_the_longer_the_recording(write_tones):
    model = Pitched()
    listened_to(Speaking(model), write_tones((300, 25.0)))
    assert len(model.lengths) <= 61  # MAX_ANSWERS, and the recording itself


def test_a_model_is_described_by_its_score_on_unheard_speakers():
    model = Pitched()
    assert described(model) == "trained on tones · 2 speakers · 2 emotions · UAR 0.500 on unheard speakers"
    model.training = {}
    assert described(model) == "2 emotions"
