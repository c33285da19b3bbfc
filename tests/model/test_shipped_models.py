"""The models in the package answer at once, say what they are, and learned what they say."""

import numpy as np
import pytest
import soundfile

from ser_transfer import EmotionModel
from ser_transfer.model import SHIPPED_MODEL, SHIPPED_MODELS, ModelError
from ser_transfer.model.places import model_folder

MOST_BYTES = 2_000_000


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_a_shipped_model_is_small_and_holds_no_pickle(name):
    paths = list(model_folder(name).iterdir())
    assert {path.suffix for path in paths} == {".json", ".skops"}
    assert sum(path.stat().st_size for path in paths) < MOST_BYTES
    for path in paths:
        assert path.read_bytes()[:1] != b"\x80", f"{path} begins as a pickle does"


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_a_shipped_model_says_what_it_is(name):
    training = EmotionModel.from_pretrained(name).training
    assert training["corpus"] == "EmoDB cut to 2 s"
    assert training["speaker_independent"] is True
    assert len(training["speakers"]) == 10
    low, high = training["uar_interval"]
    assert low < training["uar"] < high


def test_it_answers_without_a_name_and_anything_that_holds_sound(tmp_path):
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.normal(size=48_000)).astype(np.float32)
    path = tmp_path / "noise.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    model = EmotionModel.from_pretrained()
    of_path = model.predict(path)
    assert sum(of_path.probabilities.values()) == pytest.approx(1)
    assert of_path.confidence == max(of_path.probabilities.values())
    assert of_path.emotion in model.classes
    for source in (path.read_bytes(), {"bytes": None, "path": str(path)}, samples):
        assert model.predict(source).probabilities == pytest.approx(of_path.probabilities, abs=1e-6)
    stereo = np.stack([samples, samples], axis=1)
    twice = model.predict([stereo, path])
    assert [each.emotion for each in twice] == [of_path.emotion] * 2
    assert model.embed([path]).shape == (1, model.head[0].n_features_in_)


def test_it_still_knows_the_clips_that_it_learned(shared):
    """A model whose features drifted since it was trained would not."""
    corpus = sorted((shared / "corpora" / "emodb_2s").rglob("*.wav"))[::20]
    of_letter = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness"}
    of_letter |= {"T": "sadness", "N": "neutral"}
    found = EmotionModel.from_pretrained(SHIPPED_MODEL).predict(corpus)
    right = [of_letter[path.stem[5]] == each.emotion for path, each in zip(corpus, found, strict=True)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((2, 16_000), np.float32), "give \\(samples,\\) or \\(samples, channels\\)"),
        (np.zeros(16_000, np.uint8), "array of uint8"),
        (np.full(16_000, np.nan), "NaN"),
        (np.ones(10), "lasts 0.001 s"),
    ],
)
def test_an_array_that_is_no_recording_is_refused(samples, words):
    with pytest.raises(ModelError, match=words):
        EmotionModel.from_pretrained().predict(samples)


def test_integers_and_another_rate_are_brought_to_what_the_model_hears():
    rng = np.random.default_rng(0)
    time = np.arange(2 * 44_100) / 44_100
    samples = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 + 0.3 * np.sin(5 * time)) + 0.01 * rng.normal(
        size=time.size
    )
    model = EmotionModel.from_pretrained()
    of_floats = model.predict_proba([samples], sampling_rate=44_100)
    of_integers = model.predict_proba([(samples * 32_768).astype(np.int16)], sampling_rate=44_100)
    np.testing.assert_allclose(of_integers, of_floats, atol=0.02)
    assert np.abs(model.predict_proba([samples], sampling_rate=16_000) - of_floats).max() > 0.02


def test_a_shipped_model_has_no_revision():
    with pytest.raises(ModelError, match="ships with this package"):
        EmotionModel.from_pretrained(SHIPPED_MODEL, revision="main")
