"""Weights of 8 bits: a smaller file that still tells emotions apart, and says what it is."""

import numpy as np
import pytest
from exporting.exported_models import frozen, on_waveforms, written
from finetuning.tiny_networks import recordings

from ser_transfer.audio import read_audio
from ser_transfer.encoders import load_encoder
from ser_transfer.exporting import ExportError, OnnxModel, quantise, quantising

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'ser-transfer[onnx]'")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yamnet")
    file = written(frozen("yamnet"), folder / "model.onnx")
    return file, quantise(file, folder / "int8.onnx")


def test_the_copy_is_smaller_says_what_it_is_and_answers_nearly_the_same(both):
    file, copy = both
    assert copy.stat().st_size < 0.4 * file.stat().st_size
    wide, narrow = OnnxModel.from_file(file), OnnxModel.from_file(copy)
    assert (wide.precision, narrow.precision) == ("float32", "int8")
    assert narrow.name == f"{wide.name} (int8)"
    assert narrow.fingerprint != wide.fingerprint
    assert narrow.exported_from == wide.exported_from
    # The score is float32's, and stays with it.
    assert {**narrow.training, "uar": 0.5} == wide.training
    assert "uar" not in narrow.training
    waveforms = recordings((8_000, 16_000, 52_800))
    # Of the embeddings: a head that was fitted on noise is sure of what it cannot know.
    expected = wide.embeddings_of_waveforms(waveforms)
    difference = np.linalg.norm(narrow.embeddings_of_waveforms(waveforms) - expected, axis=1)
    assert np.all(difference < 0.05 * np.linalg.norm(expected, axis=1))
    assert np.all(difference > 0)


def test_the_spectrogram_wide_convolutions_and_the_head_keep_their_digits(both):
    import onnx

    nodes = onnx.load(both[1]).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("ConvInteger") == 13  # the 1×1 ones of layers 2 to 14
    assert kinds.count("Conv") == 1 + 14  # the Fourier transform, layer 1, and the depthwise ones
    assert kinds.count("MatMul") + kinds.count("Gemm") == 2  # mel bands and head
    assert "MatMulInteger" not in kinds


def test_a_copy_of_a_copy_and_a_foreign_file_are_refused(both, tmp_path):
    with pytest.raises(ExportError, match="is int8 already"):
        quantise(both[1], tmp_path / "again.onnx")
    (tmp_path / "foreign.onnx").write_bytes(b"")
    with pytest.raises(ExportError, match="is no model of ours"):
        quantise(tmp_path / "foreign.onnx", tmp_path / "again.onnx")
    with pytest.raises(ExportError, match="cannot be read"):
        quantise(tmp_path / "none.onnx", tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_outputs_of_one_convolution_that_differ_in_size_are_all_kept():
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    sizes = np.array([1, 1e-4, 0], np.float32).reshape(3, 1, 1, 1)
    weights = rng.normal(size=(3, 4, 1, 1)).astype(np.float32) * sizes
    bias = np.array([0.5, -0.25, 2.0], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 5, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 5, 2])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    given = rng.normal(size=(1, 4, 5, 2)).astype(np.float32)
    expected = np.einsum("oi,bihw->bohw", weights[:, :, 0, 0], given) + bias.reshape(1, 3, 1, 1)
    quantising._scale_outputs(model.graph, ())
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": given})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    scaled = numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(np.abs(scaled).max(axis=(1, 2, 3)), [1, 1, 0], atol=1e-6)


def test_the_real_yamnet_hears_the_same_in_8_bits(shared, tmp_path):
    weights = shared / "weights" / "yamnet" / "yamnet.safetensors"
    clips = sorted((shared / "corpora" / "emodb_2s" / "wav").iterdir())[::20]
    if not (weights.is_file() and clips):
        pytest.skip(f"needs {weights} and EmoDB")
    loaded = load_encoder("yamnet", weights=weights, device="cpu")
    letters = [clip.stem[5] for clip in clips]  # its emotion
    model = on_waveforms(loaded, [read_audio(clip, 16_000) for clip in clips], letters)
    file = written(model, tmp_path / "model.onnx")
    narrow = OnnxModel.from_file(quantise(file, tmp_path / "int8.onnx"))
    difference = narrow.predict_proba(clips) - OnnxModel.from_file(file).predict_proba(clips)
    assert np.abs(difference).max() < 0.2  # 0.98 where all outputs of a convolution share a scale
