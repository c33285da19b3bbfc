"""Without the extra `[onnx]` everything imports, and using it says what to type."""

import subprocess
import sys

import pytest

USES = {
    "running": "exporting.OnnxModel.from_file(__file__)",
    "exporting": "exporting.export_onnx(EmotionModel.from_pretrained(), 'model.onnx')",
    "quantising": "exporting.quantise(__file__, 'int8.onnx')",
}


@pytest.mark.parametrize("use", USES)
def test_each_use_says_how_to_install_it(use, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "sys.modules['onnx'] = sys.modules['onnxruntime'] = None  # as if they were not installed\n"
        "from ser_transfer import EmotionModel, exporting\n"
        f"{USES[use]}\n"
    )
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "ExportError: ONNX files need onnx" in answer.stderr
    assert "pip install 'ser-transfer[onnx]'" in answer.stderr.splitlines()[-1]
