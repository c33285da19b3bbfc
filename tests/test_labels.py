import unicodedata

import pytest

from ser_transfer.labels import EMOTIONS, LABEL_MAPS, LabelError, parse_emotion, resolve_label_map


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_emotion_is_its_own_name_in_any_capitals(emotion):
    assert parse_emotion(emotion) == parse_emotion(f" {emotion.upper()} ") == emotion


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("Happy", "happiness"),
        ("ANGRY", "anger"),
        ("ps", "surprise"),
        ("Pleasant surprise", "surprise"),
        ("pleasant-surprised", "surprise"),
        ("Freude", "happiness"),
        ("Ärger", "anger"),
        (unicodedata.normalize("NFD", "Ärger"), "anger"),  # as macOS writes a folder's name
        ("Neutral state", "neutral"),
        ("exc", "excitement"),
    ],
)
def test_the_usual_other_names_are_understood(name, emotion):
    assert parse_emotion(name) == emotion


@pytest.mark.parametrize("name", ["A", "anxiety", "hapy", "", "3"])
def test_what_could_mean_two_emotions_or_none_is_refused_with_the_vocabulary(name):
    with pytest.raises(LabelError, match=r"names no emotion; known are neutral, calm"):
        parse_emotion(name)


@pytest.mark.parametrize("name", LABEL_MAPS)
def test_every_named_map_covers_the_vocabulary_and_stays_in_it(name):
    label_map = LABEL_MAPS[name]
    assert list(label_map) == list(EMOTIONS)
    assert set(label_map.values()) <= {*EMOTIONS, None}
    classes = {target for target in label_map.values() if target}
    assert all(label_map[target] == target for target in classes), "mapping twice changes nothing"


def test_the_four_classes_count_excitement_as_happiness_and_drop_the_rest():
    kept = {emotion: target for emotion, target in LABEL_MAPS["four_classes"].items() if target}
    assert kept == {
        "neutral": "neutral",
        "happiness": "happiness",
        "excitement": "happiness",
        "sadness": "sadness",
        "anger": "anger",
    }


def test_a_users_map_may_use_other_names_but_must_be_of_one_mind():
    assert resolve_label_map({"happy": "joy", "calm": None}) == {"happiness": "happiness", "calm": None}
    with pytest.raises(LabelError, match="sends happiness both to neutral and to calm"):
        resolve_label_map({"happy": "neutral", "joy": "calm"})
    with pytest.raises(LabelError, match="'grumpy' names no emotion"):
        resolve_label_map({"anger": "grumpy"})


def test_an_unknown_map_is_refused_with_the_known_ones():
    with pytest.raises(LabelError, match="known are four_classes, calm_as_neutral, excitement_as_happiness"):
        resolve_label_map("five_classes")
