"""Weights of 8 bits: a smaller file that still tells emotions apart, and says what it is."""

import numpy as np
import pytest
from exporting.conftest import frozen, written
from finetuning.tiny_networks import recordings

from ser_transfer.exporting import ExportError, OnnxModel, quantise

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
    assert (narrow.training, narrow.exported_from) == (wide.training, wide.exported_from)
    waveforms = recordings((8_000, 16_000, 52_800))
    difference = narrow.probabilities_of_waveforms(waveforms) - wide.probabilities_of_waveforms(waveforms)
    assert 0 < np.abs(difference).max() < 0.2


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
