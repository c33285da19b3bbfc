"""Heads on frames: kept with their run, and asked like any other model."""

import numpy as np
import pytest

from ser_transfer import load_encoder, train
from ser_transfer.cross_validation import HeadChoice
from ser_transfer.embed import embed_frames
from ser_transfer.model import EmotionModel, SequenceModel
from ser_transfer.train import model_of

HEAD = HeadChoice("attentive", {"max_epochs": 6, "hidden_units": (8,), "attention_units": 4}, random_state=0)


@pytest.fixture
def model(corpus, tmp_path):
    encoder = load_encoder("mfcc")
    frames = embed_frames(corpus, encoder, encoder.layer_names[0], store=tmp_path / "store", n_workers=1)
    run = train(corpus, frames, split="loso", head=HEAD)
    return model_of(run, corpus, frames, encoder, HEAD)


def test_a_sequence_model_read_back_gives_the_same_probabilities_bit_for_bit(model, corpus, tmp_path):
    assert isinstance(model, SequenceModel)
    model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "head.json",
        "head.safetensors",
    }
    again = EmotionModel.from_pretrained(tmp_path / "model")
    sources = corpus["audio"][::5]
    np.testing.assert_array_equal(again.predict_proba(sources), model.predict_proba(sources))
    assert again.fingerprint == model.fingerprint
    assert again.training["speakers"] == ["p1", "p2", "p3", "p4"]
    assert again.embed(sources).shape == (len(sources), model.encoder.dims[0])


def test_it_trained_as_long_as_its_folds_found_best(model):
    assert 1 <= model.head.max_epochs <= 6
    assert len(model.head.history_) == model.head.max_epochs


def test_the_weights_of_its_frames_give_its_pooled_statistics(model):
    rng = np.random.default_rng(0)
    waveform = (0.1 * rng.normal(size=16_000) * np.linspace(0, 2, 16_000)).astype(np.float32)
    times, weights = model.attention(waveform)
    assert weights.sum() == pytest.approx(1)
    assert len(times) == len(weights)
    assert times[-1] == pytest.approx(1.0, abs=0.05)
