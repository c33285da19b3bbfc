"""A file answers what the model does, at lengths it was not traced with; some models are refused."""

import errno
import os

import numpy as np
import pytest
import soundfile
import torch
from exporting.exported_models import EMOTIONS, N_ASKED, encoder, frozen, on_frames, on_waveforms, written
from finetuning.tiny_networks import CLASSES, network, recordings, take_steps

from ser_transfer.audio import read_audio
from ser_transfer.encoders import load_encoder
from ser_transfer.exporting import ExportError, OnnxModel, export_onnx, writing
from ser_transfer.finetuning.adapters import add_adapter
from ser_transfer.model import EmotionModel, NetworkModel

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'ser-transfer[onnx]'")


def same_answers(model, path, n_samples=N_ASKED):
    found = OnnxModel.from_file(path)
    waveforms = recordings(n_samples)
    probabilities = model.probabilities_of_waveforms(waveforms)
    assert np.ptp(probabilities, axis=0).max() > 1e-3, (
        "the model hears no difference between these recordings"
    )
    np.testing.assert_allclose(found.probabilities_of_waveforms(waveforms), probabilities, atol=1e-4)
    embeddings = model.embeddings_of_waveforms(waveforms)
    scale = np.abs(embeddings).max()
    np.testing.assert_allclose(
        found.embeddings_of_waveforms(waveforms) / scale, embeddings / scale, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "pooling", "head"),
    [
        ("wav2vec2-base", "mean_std", "logistic_regression"),  # group norm, input normalised
        ("wav2vec2-large", "mean", "linear_svm"),  # layer norm
        ("hubert-base", "functionals", "mlp"),
        ("hubert-large", "mean", "layer_mix"),
        ("wavlm-base", "mean_std", "lda"),  # input as it is; relative positions
        ("wavlm-large", "mean", "logistic_regression"),
        ("whisper", "mean_std", "logistic_regression"),  # filled up to 30 s
        ("yamnet", "mean_std", "logistic_regression"),
    ],
)
def test_a_head_on_a_frozen_encoder(name, pooling, head, tmp_path):
    model = frozen(name, head, pooling)
    same_answers(model, written(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_two_classes_and_more(n_classes, tmp_path):
    model = frozen("wav2vec2-base", n_classes=n_classes)
    same_answers(model, written(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize(
    ("head", "settings"),
    [
        ("mean_mlp", {}),
        ("attentive", {}),
        ("lstm", {"units": (6, 5), "bidirectional": True}),
        ("cnn", {"n_frames": 100, "hidden_units": (8,)}),
    ],
)
def test_a_head_on_frames(head, settings, tmp_path):
    model = on_frames("wav2vec2-base", head, **settings)
    same_answers(model, written(model, tmp_path / "model.onnx"))


def steps_of(net, n_steps=3):
    """Train the same way each time: dropout now and then leaves a network that hears no difference."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        take_steps(net, n_steps)


def trained(name, **options) -> NetworkModel:
    net = network(name, **options)
    # With more YAMNet is sure of one emotion, whatever it hears.
    steps_of(net, 1 if name == "yamnet" else 3)
    net.classes = ("anger", "fear", "happiness", "neutral")
    return NetworkModel(net.eval(), f"{name}, fine-tuned", {"corpus": "a corpus"}, 1.4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wav2vec2-base", {"pooling": "stock"}),
        ("wav2vec2-large", {"pooling": "attentive", "layer": "mix"}),
        ("wavlm-base", {"pooling": "stock"}),
        ("whisper", {"pooling": "stock"}),
        ("whisper", {"pooling": "mean"}),
        ("yamnet", {"pooling": "mean_std"}),
        ("yamnet", {"layer": "layer_05,layer_07", "exits": True, "whole": True}),
    ],
)
def test_a_fine_tuned_network(name, options, tmp_path):
    model = trained(name, **options)
    state = {key: value.clone() for key, value in model.network.state_dict().items()}
    same_answers(model, written(model, tmp_path / "model.onnx"))
    for key, value in model.network.state_dict().items():
        assert value.equal(state[key]), f"the export changed {key}"


def test_an_adapter_is_merged_in_the_file_and_not_in_the_model(tmp_path):
    net = network("wav2vec2-base", pooling="stock")
    add_adapter(net, "lora")
    steps_of(net)
    net.classes = ("anger", "fear", "happiness", "neutral")
    model = NetworkModel(net.eval(), "with an adapter", {})
    same_answers(model, written(model, tmp_path / "model.onnx"))
    assert model.network.adapter is not None


def test_labels_that_mean_one_emotion_or_none_and_more_than_a_window(tmp_path):
    net = network("wav2vec2-base", pooling="stock")
    net.max_samples = 20_000
    told = {"joy": None, "fear": "anger"}
    model = NetworkModel(net, "foreign", {}, 0.6, label_map=told)
    assert len(model.classes) < len(CLASSES) - 1
    path = written(model, tmp_path / "model.onnx")
    assert OnnxModel.from_file(path).max_samples == 20_000
    same_answers(model, path, (8_000, 20_000, 20_001, 52_800))


@pytest.fixture(scope="module")
def speech(shared):
    """Clips of RAVDESS, and halves, thirds and quarters of others, at 16 kHz."""
    clips = sorted((shared / "corpora" / "ravdess").rglob("*.flac"))[::60][:24]
    if not clips:
        pytest.skip(f"needs RAVDESS in {shared / 'corpora'}")
    waveforms = [read_audio(clip, 16_000) for clip in clips]
    return [each[: len(each) // part] for each, part in zip(waveforms, (1, 2, 3, 4) * 6, strict=True)]


def same_on(speech, loaded, tmp_path):
    model = on_waveforms(loaded, speech, EMOTIONS[np.arange(len(speech)) % 3])
    found = OnnxModel.from_file(written(model, tmp_path / "model.onnx"))
    expected = model.probabilities_of_waveforms(speech)
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(found.probabilities_of_waveforms(speech), expected, atol=1e-4)


def test_real_speech_through_the_real_yamnet(shared, speech, tmp_path):
    weights = shared / "weights" / "yamnet" / "yamnet.safetensors"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    same_on(speech, load_encoder("yamnet", weights=weights, device="cpu"), tmp_path)


@pytest.mark.parametrize("name", ["wav2vec2-base", "wav2vec2-large"])  # group norm, layer norm
def test_real_speech_through_wav2vec2(name, speech, tmp_path):
    same_on(speech, encoder(name), tmp_path)


def refused(model, tmp_path, words):
    with pytest.raises(ExportError, match=words) as caught:
        export_onnx(model, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_encoders_that_are_no_network_are_refused(tmp_path):
    refused(EmotionModel.from_pretrained(), tmp_path, "no graph holds it: exported are wav2vec2")


def test_spectrograms_that_transformers_computes_are_refused(tmp_path):
    refused(frozen("ast", layers=(-1,)), tmp_path, "is in no graph: exported are wav2vec2")


def test_heads_without_a_graph_are_refused(tmp_path):
    refused(frozen("wav2vec2-base", "knn"), tmp_path, "WeightedKNN: train one of logistic_regression")


def test_embeddings_in_half_precision_are_refused(tmp_path, model, monkeypatch):
    monkeypatch.setattr(model.encoder, "precision", "bf16")
    refused(model, tmp_path, "in bf16, and a graph is float32")


def test_networks_that_resample_are_refused(tmp_path):
    net = network("yamnet", speeds=(0.9, 1.0))
    refused(NetworkModel(net, "tiny", {}), tmp_path, "at speeds 0.9, 1, and no graph resamples")


def test_more_than_one_file_holds_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MOST_BYTES", 1_000)
    refused(model, tmp_path, "one ONNX file holds 2: export a smaller model")


def test_a_graph_that_answers_otherwise_is_not_kept_and_the_old_file_stays(model, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"the old one")
    asked = model.probabilities_of_waveforms
    monkeypatch.setattr(model, "probabilities_of_waveforms", lambda waveforms: asked(waveforms) + 0.01)
    with pytest.raises(ExportError, match=r"differs from PyTorch by 0\.01 on .* s, and 0\.0001 is allowed"):
        export_onnx(model, tmp_path / "model.onnx")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"the old one"]


def test_a_folder_that_cannot_be_written_is_told(model, tmp_path):
    soundfile.write(tmp_path / "no_folder", np.zeros(100), 16_000, format="WAV")
    with pytest.raises(ExportError, match=r"cannot be written, .*: name another place"):
        export_onnx(model, tmp_path / "no_folder" / "model.onnx")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(model, tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"the old one")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match=r"model\.onnx cannot be written, the disk is full"):
        export_onnx(model, tmp_path / "model.onnx")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"the old one"]


def test_recordings_that_are_given_are_compared_too(model, tmp_path):
    seconds = 1.25
    comparison = export_onnx(model, tmp_path / "model.onnx", recordings((int(seconds * 16_000),)))
    without = export_onnx(model, tmp_path / "model.onnx")
    assert (comparison.n_signals, comparison.n_agreed) == (without.n_signals + 1,) * 2
    assert (comparison.shortest_seconds, comparison.longest_seconds) == (model.min_seconds, 11.0)
    assert 0 < comparison.largest < 1e-4


def test_of_a_recording_longer_than_the_graph_hears_at_once_its_beginning_is_compared(model, tmp_path):
    told = export_onnx(model, tmp_path / "model.onnx", recordings((31 * 16_000,)))
    assert told.longest_seconds == (30 * 16_000 + 399) / 16_000


def test_a_graph_that_gives_no_number_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "probabilities_of_waveforms", lambda waveforms: np.full((1, 3), np.nan))
    with pytest.raises(ExportError, match="differs from PyTorch by nan"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
