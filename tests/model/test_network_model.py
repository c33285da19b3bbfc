"""Fine-tuned networks and foreign checkpoints behind one door; transformers' own pipeline is the oracle."""

import json

import numpy as np
import pytest
import soundfile
import torch
from finetuning.tiny_networks import CLASSES, logits, network, recordings, take_steps
from transformers import AutoModelForAudioClassification, pipeline

from ser_transfer import SerTransferError
from ser_transfer.audio import AudioError
from ser_transfer.encoders.pooled import Recording
from ser_transfer.finetuning.adapters import add_adapter, save_adapter
from ser_transfer.metrics import with_temperature
from ser_transfer.model import EmotionModel, ModelError, NetworkModel

LABELS = ("neu", "hap", "ang", "sad")
EMOTIONS = ("neutral", "happiness", "anger", "sadness")


@pytest.fixture
def foreign(tmp_path):
    """A checkpoint as others publish them: a stock class, short labels, nothing of ours."""
    folder = tmp_path / "foreign"
    stock = network("wav2vec2-base", pooling="stock")
    config = stock.model.config
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    stock.model.save_pretrained(folder)
    stock.front_end.save(str(folder))
    return folder


@pytest.fixture
def clips(tmp_path):
    paths = []
    for number, waveform in enumerate(recordings()):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.clip(waveform, -1, 1), 16_000, subtype="FLOAT")
        paths.append(path)
    return paths


def test_a_foreign_checkpoint_answers_what_transformers_pipeline_does(foreign, clips):
    model = EmotionModel.from_pretrained(foreign, device="cpu")
    assert model.classes == EMOTIONS
    assert model.training == {}
    stock = pipeline("audio-classification", model=str(foreign), device="cpu")
    for path, row in zip(clips, model.predict_proba(clips), strict=True):
        samples, _ = soundfile.read(path, dtype="float32")
        told = {each["label"]: each["score"] for each in stock(samples, top_k=None)}
        np.testing.assert_allclose(row, [told[label] for label in LABELS], atol=1e-5)


def test_labels_that_mean_one_emotion_are_added_up(foreign, clips):
    plain = EmotionModel.from_pretrained(foreign, device="cpu").predict_proba(clips)
    told = {"ang": "anger", "sad": "anger"}
    merged = EmotionModel.from_pretrained(foreign, device="cpu", label_map=told)
    assert merged.classes == ("neutral", "happiness", "anger")
    np.testing.assert_allclose(merged.predict_proba(clips)[:, 2], plain[:, 2] + plain[:, 3], atol=1e-12)


def test_a_label_that_is_left_out_leaves_the_others_in_their_proportions(foreign, clips):
    plain = EmotionModel.from_pretrained(foreign, device="cpu").predict_proba(clips)
    without = EmotionModel.from_pretrained(foreign, device="cpu", label_map={"sad": None})
    expected = plain[:, :3] / plain[:, :3].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(without.predict_proba(clips), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("label_map", "words"),
    [
        ({"sad": "blue"}, "names no emotion: tell what each means"),
        ({"sadness": "sadness"}, "has no label 'sadness'; it has neu, hap, ang, sad"),
        ({"hap": None, "ang": None, "sad": None}, "fewer than two emotions"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused(foreign, label_map, words):
    with pytest.raises(ModelError, match=words):
        EmotionModel.from_pretrained(foreign, label_map=label_map)


@pytest.mark.parametrize(
    ("name", "pooling"), [("wavlm-base", "stock"), ("whisper", "mean"), ("yamnet", "mean_std")]
)
def test_a_network_of_ours_answers_calibrated_what_it_was_trained_to(name, pooling, clips, tmp_path):
    net = network(name, pooling=pooling)
    take_steps(net)
    net.classes = ("anger", "fear", "happiness", "neutral")
    if hasattr(net, "model"):
        net.model.config.id2label = dict(enumerate(net.classes))
    told = {"corpus": "a corpus", "speakers": ["p1"], "temperature": 1.7}
    net.save(tmp_path / "model", told)
    model = EmotionModel.from_pretrained(tmp_path / "model", device="cpu")
    assert isinstance(model, NetworkModel)
    assert model.training["speakers"] == ["p1"]
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in clips]
    alone = [logits(net, [each]).double().softmax(dim=1)[0].numpy() for each in waveforms]
    expected = with_temperature(np.stack(alone), 1.7)
    np.testing.assert_allclose(model.predict_proba(clips), expected, atol=1e-5)
    np.testing.assert_allclose(model.probabilities_of_waveforms(waveforms), expected, atol=1e-5)
    model.save(tmp_path / "again")
    again = EmotionModel.from_pretrained(tmp_path / "again", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(clips), model.predict_proba(clips))
    assert again.fingerprint == model.fingerprint


@pytest.mark.parametrize("layer", ["last", "layer_01"])
def test_an_adapter_alone_is_put_back_on_its_encoder(clips, tmp_path, layer):
    net = network("wav2vec2-base", pooling="stock", layer=layer)
    add_adapter(net, "lora")
    take_steps(net)
    net.classes = ("anger", "fear", "happiness", "neutral")
    save_adapter(net, tmp_path / "adapter", {"corpus": "a corpus"})
    model = EmotionModel.from_pretrained(tmp_path / "adapter", device="cpu")
    waveforms = [soundfile.read(path, dtype="float32")[0] for path in clips]
    expected = torch.cat([logits(net, [each]) for each in waveforms]).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(model.predict_proba(clips), expected, atol=1e-5)


def test_what_cannot_run_at_once_is_heard_in_equal_windows(clips):
    net = network("whisper", pooling="mean")
    net.classes = EMOTIONS
    model = NetworkModel(net, "tiny", {})
    most = net.max_samples
    assert most is not None
    rng = np.random.default_rng(1)
    long = rng.normal(0, 0.1, most + 1001).astype(np.float32)
    halves = [long[: len(long) // 2], long[len(long) // 2 :]]
    expected = model.probabilities_of_waveforms(halves).mean(axis=0)
    np.testing.assert_allclose(model.probabilities_of_waveforms([long])[0], expected, atol=1e-6)
    assert model.embeddings_of_waveforms([long]).shape[0] == 1


def test_one_bad_file_does_not_cost_the_others(foreign, clips, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"<html>no sound here</html>")
    model = EmotionModel.from_pretrained(foreign, device="cpu")
    found = {each.key: each for each in model.answers([Recording(str(p), p) for p in [*clips, bad]])}
    assert found[str(bad)].error.reason == "mislabelled"
    assert sum(each.error is None for each in found.values()) == len(clips)
    with pytest.raises(AudioError, match="mislabelled"):
        model.predict_proba([clips[0], bad])


def test_attention_tells_what_the_pooling_weighed(clips):
    net = network("wavlm-base", pooling="attentive")
    take_steps(net)
    net.classes = EMOTIONS
    model = NetworkModel(net, "tiny", {})
    waveform, _ = soundfile.read(clips[0], dtype="float32")
    times, weights = model.attention(waveform)
    assert len(times) == len(weights) == net.front_end.n_frames(len(waveform))
    assert weights.sum() == pytest.approx(1.0)
    assert weights.std() > 0
    assert 0 < times[0] < times[-1] < len(waveform) / 16_000
    assert NetworkModel(network("wavlm-base", pooling="mean"), "x", {}).attention(waveform) is None


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no model: it has no config\.json"):
        EmotionModel.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(SerTransferError, match="has neither"):
        EmotionModel.from_pretrained(tmp_path)


def test_the_stock_class_of_a_saved_model_still_loads_in_plain_transformers(tmp_path):
    net = network("wav2vec2-base", pooling="stock")
    NetworkModel(net, "tiny", {}).save(tmp_path)
    config = AutoModelForAudioClassification.from_pretrained(tmp_path).config
    assert tuple(config.id2label.values()) == CLASSES
