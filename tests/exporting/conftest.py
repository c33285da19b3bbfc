"""A model and its file, which tests share."""

import pytest
from exporting.exported_models import frozen, written

from ser_transfer.exporting import OnnxModel
from ser_transfer.model import FrozenModel


@pytest.fixture(scope="session")
def model() -> FrozenModel:
    return frozen("wav2vec2-large")


@pytest.fixture(scope="session")
def file(model, tmp_path_factory):
    """The model's file; tests that change it copy it first."""
    pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'ser-transfer[onnx]'")
    return written(model, tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture(scope="session")
def exported(file) -> OnnxModel:
    return OnnxModel.from_file(file)
