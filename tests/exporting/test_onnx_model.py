"""A file is asked like any model, without torch; one that is damaged, foreign or reaches out is refused."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from exporting.exported_models import written
from finetuning.tiny_networks import recordings

from ser_transfer.audio import AudioError
from ser_transfer.encoders.heard import DIGESTS, heard_among
from ser_transfer.encoders.pooled import Recording
from ser_transfer.exporting import ExportError, OnnxModel, find_onnx, place_for
from ser_transfer.timeline import TimelineSettings

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'ser-transfer[onnx]'")


@pytest.fixture
def clips(tmp_path):
    paths = []
    for number, waveform in enumerate(recordings((9_000, 24_000, 52_000))):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], np.clip(waveform, -1, 1), 16_000, subtype="FLOAT")
    return paths


def test_it_says_of_itself_what_the_model_does(exported, model):
    for name in ("name", "classes", "sampling_rate", "min_seconds", "temperature"):
        assert getattr(exported, name) == getattr(model, name), name
    assert {**exported.training, "speakers": model.training["speakers"]} == {
        **model.training,
        DIGESTS: exported.training[DIGESTS],
    }
    assert exported.exported_from == model.fingerprint
    assert exported.max_samples == 30 * 16_000 + 399


def test_it_knows_its_speakers_without_their_names(exported, file):
    assert heard_among(exported.training, ["p0", "p1", None]) == ["p1"]
    assert exported.training["speakers"] == []
    assert b'"p1"' not in file.read_bytes()


def test_speakers_of_published_corpora_are_told(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "training", {"corpus_name": "emodb", "speakers": ["03", "08"]})
    assert OnnxModel.from_file(written(model, tmp_path / "m.onnx")).training == model.training


def test_it_answers_files_arrays_and_lists_as_the_model_does(exported, model, clips):
    expected = model.predict_proba(clips)
    np.testing.assert_allclose(exported.predict_proba(clips), expected, atol=1e-4)
    np.testing.assert_allclose(exported.predict_proba(clips).sum(axis=1), 1, atol=1e-12)
    assert [str(each) for each in exported.predict(clips)] == [str(each) for each in model.predict(clips)]
    np.testing.assert_allclose(exported.embed(clips), model.embed(clips), atol=1e-4)
    samples, rate = soundfile.read(clips[1])
    array = exported.predict_proba([samples], sampling_rate=rate)
    np.testing.assert_allclose(array, expected[1:2], atol=1e-4)


def test_many_files_are_answered_and_bad_ones_named(exported, model, clips, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    recordings_ = [Recording(path.name, path) for path in (*clips, tmp_path / "bad.wav")]
    found = {answer.key: answer for answer in exported.answers(recordings_, n_workers=2)}
    expected = {answer.key: answer for answer in model.answers(recordings_, n_workers=1)}
    assert found.keys() == expected.keys()
    assert isinstance(found["bad.wav"].error, AudioError)
    for path in clips:
        assert found[path.name].seconds == expected[path.name].seconds
        np.testing.assert_allclose(
            found[path.name].probabilities, expected[path.name].probabilities, atol=1e-4
        )


def test_a_timeline_is_the_models(exported, model, clips):
    settings = TimelineSettings(hop_seconds=1.0)
    np.testing.assert_allclose(
        exported.timeline(clips[2], settings).probabilities,
        model.timeline(clips[2], settings).probabilities,
        atol=2e-4,
    )


def test_a_recording_too_short_is_refused(exported):
    with pytest.raises(ExportError, match=r"has 300 samples, and .* needs 0\.025 s"):
        exported.probabilities_of_waveforms([np.zeros(300, np.float32)])


def test_it_is_not_pushed_in_place_of_its_model(exported):
    with pytest.raises(ExportError, match="push the one that it was made of"):
        exported.push_to_hub("user/name")


def test_neither_torch_nor_transformers_is_needed(file, clips):
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None  # importing either fails\n"
        "from ser_transfer.exporting import OnnxModel\n"
        f"model = OnnxModel.from_file({str(file)!r})\n"
        f"print(model.predict({str(clips[0])!r}))\n"
        f"print(len(model.timeline({str(clips[1])!r}).segments))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(str(OnnxModel.from_file(file).predict(clips[0])))


def test_its_fingerprint_is_the_files_content(exported, file, tmp_path):
    exported.save(tmp_path / "folder")
    assert OnnxModel.from_file(find_onnx(tmp_path / "folder")).fingerprint == exported.fingerprint
    import onnx

    changed = onnx.load(file)
    changed.doc_string = "other"
    onnx.save(changed, tmp_path / "changed.onnx")
    assert OnnxModel.from_file(tmp_path / "changed.onnx").fingerprint != exported.fingerprint


def test_files_are_found_in_runs_and_models(file, tmp_path):
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "metrics.json").write_text("{}")
    shutil.copyfile(file, tmp_path / "run" / "model.onnx")
    shutil.copytree(tmp_path / "run", tmp_path / "alone" / "model")
    for name in ("run", "run/model", "run/model.onnx"):
        assert find_onnx(tmp_path / name) == tmp_path / "run" / "model.onnx"
    for name in ("run", "run/model"):
        assert place_for(tmp_path / name) == tmp_path / "run" / "model.onnx"
    assert find_onnx(tmp_path / "alone" / "model") == tmp_path / "alone" / "model" / "model.onnx"
    assert place_for(tmp_path / "alone" / "model") == tmp_path / "alone" / "model" / "model.onnx"
    assert place_for(tmp_path / "nowhere") is None
    with pytest.raises(ExportError, match=r"has no model\.onnx: write one with python -m"):
        find_onnx(tmp_path)


def change(model, how):
    """Make one thing wrong with a ModelProto, and give the words that tell it."""
    from onnx import TensorProto, helper

    graph = model.graph
    metadata = {entry.key: entry for entry in model.metadata_props}
    if how == "no description":
        del model.metadata_props[:]
        return "is no model of ours: its metadata lack"
    if how == "newer":
        metadata["ser_transfer.format"].value = "99"
        return "written by a newer ser_transfer"
    if how == "no JSON":
        metadata["ser_transfer.classes"].value = "anger"
        return "the description in .* is damaged"
    if how == "one class":
        metadata["ser_transfer.classes"].value = '["anger"]'
        return "the description in .* is damaged"
    if how == "a class too many":
        metadata["ser_transfer.classes"].value = '["a", "b", "c", "d"]'
        return "names 4 emotions and answers 3"
    if how == "weights elsewhere":
        tensor = graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../secret.bin"
        return "keeps weights in other files"
    if how == "weights elsewhere, in a branch":
        tensor = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
        branch = helper.make_graph([], "branch", [], [], [tensor])
        graph.node.append(helper.make_node("If", ["condition"], ["x"], then_branch=branch))
        return "keeps weights in other files"
    if how == "another operator":
        graph.node[0].domain, graph.node[0].op_type = "ai.onnx.contrib", "PyOp"
        return "uses operators of 'ai.onnx.contrib'"
    if how == "another operator, in a function":
        function = model.functions.add()
        function.name, function.domain = "f", ""
        function.node.append(helper.make_node("PyOp", ["a"], ["b"], domain="evil"))
        return "uses operators of 'evil'"
    if how == "no graph":
        del graph.node[:]
        return "onnxruntime cannot run"
    assert how == "other outputs"
    del graph.output[1:]
    return "is no model of ours"


@pytest.mark.parametrize(
    "how",
    [
        *("no description", "newer", "no JSON", "one class", "a class too many", "weights elsewhere"),
        *("weights elsewhere, in a branch", "another operator", "another operator, in a function"),
        *("no graph", "other outputs"),
    ],
)
def test_what_is_not_ours_or_reaches_out_is_refused_in_one_line(file, how, tmp_path):
    import onnx

    model = onnx.load(file)
    words = change(model, how)
    (tmp_path / "changed.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=words) as caught:
        OnnxModel.from_file(tmp_path / "changed.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 10, 1000, -1])
def test_a_file_that_was_cut_off_is_refused_in_one_line(file, kept, tmp_path):
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ExportError) as caught:
        OnnxModel.from_file(tmp_path / "cut.onnx")
    assert "cut.onnx" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_is_told(tmp_path):
    with pytest.raises(ExportError, match="cannot be read"):
        OnnxModel.from_file(tmp_path / "none.onnx")
