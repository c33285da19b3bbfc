"""The verb, and the verbs that ask what it wrote: the same answers as PyTorch's, or one line and no file."""

import csv
import json
import shutil
import sys

import numpy as np
import pytest
from exporting.exported_models import frozen
from finetuning.tiny_networks import recordings
from sklearn.metrics import balanced_accuracy_score

import ser_transfer.evaluate
import ser_transfer.export
import ser_transfer.predict
from ser_transfer import load_corpus
from ser_transfer.cross_validation import Labels
from ser_transfer.exporting import OnnxModel, writing
from ser_transfer.model import EmotionModel

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'ser-transfer[onnx]'")

PATTERN = "(?P<speaker>p[0-9])_"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a model with its ONNX files in it, as the verb writes them."""
    folder = tmp_path_factory.mktemp("saved")
    model = frozen("wav2vec2-large")
    model.training = {
        **model.training,
        "corpus_name": "folder",
        "speakers": ["p1", "p2", "p3", "p4"],
        "speaker_independent": True,
    }
    model.save(folder)
    assert export(folder, "--quantise") == 0
    return folder


@pytest.fixture
def plain(saved, tmp_path):
    """The folder of a model that was not exported."""
    folder = tmp_path / "plain"
    EmotionModel.from_pretrained(saved).save(folder)
    return folder


def export(*arguments):
    return ser_transfer.export.main([str(each) for each in arguments])


def predict(*arguments):
    return ser_transfer.predict.main([str(each) for each in arguments])


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_predict_finds_the_file_beside_the_model_and_answers_as_pytorch_does(saved, tones, tmp_path):
    (tones / "broken.wav").write_bytes(b"RIFF")
    shared = [tones, "--model", saved, "--min-confidence", "0.4"]
    assert predict(*shared, "--out", tmp_path / "torch.csv") == 1  # one file is broken
    assert predict(*shared, "--out", tmp_path / "onnx.csv", "--backend", "onnx") == 1
    expected, found = rows_of(tmp_path / "torch.csv"), rows_of(tmp_path / "onnx.csv")
    assert found.keys() == expected.keys()
    for file, row in found.items():
        assert (row["emotion"], row["seconds"]) == (expected[file]["emotion"], expected[file]["seconds"])
        for emotion in ("anger", "fear", "happiness") if row["seconds"] else ():
            assert float(row[emotion]) == pytest.approx(float(expected[file][emotion]), abs=1e-4)
    assert sum(row["error"] != "" for row in found.values()) == 1


def test_a_file_is_a_model_and_a_baseline_by_its_name_alone(saved, tones, tmp_path):
    clips = sorted(tones.rglob("*.wav"))[:3]
    out = tmp_path / "both.jsonl"
    int8 = saved / "model.int8.onnx"
    assert predict(*clips, "--model", int8, "--baseline", saved / "model.onnx", "--out", out) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    expected = OnnxModel.from_file(int8).predict_proba(clips)
    np.testing.assert_allclose([row["anger"] for row in rows], expected[:, 0], atol=1e-9)
    assert ser_transfer.predict.predict(clips, saved / "model.onnx")["emotion"].notna().all()


def test_a_timeline_is_pytorchs(saved, tmp_path, capsys):
    import soundfile

    soundfile.write(tmp_path / "long.wav", np.clip(recordings((64_000,))[0], -1, 1), 16_000)
    told = []
    for backend in ("torch", "onnx"):
        assert predict(tmp_path / "long.wav", "--model", saved, "--backend", backend, "--timeline") == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert "anger" in told[0] or "fear" in told[0] or "happiness" in told[0]


def test_answers_of_pytorch_are_not_gone_on_with_by_onnx(saved, tones, tmp_path, capsys):
    out = tmp_path / "r.csv"
    assert predict(tones, "--model", saved, "--out", out) == 0
    before = out.read_bytes()
    assert predict(tones, "--model", saved, "--out", out, "--backend", "onnx") == 1
    assert "--restart" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_it_tells_how_near_it_answers_and_what_8_bits_change(saved, plain, tones, capsys):
    assert export(plain, "--quantise", "--check", tones) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{plain / 'model.onnx'}: 0.")
    assert "29 signals of 0.03 to 11.00 s, probabilities at most" in told[0]
    assert f"{plain / 'model.int8.onnx'}: " in told[1]
    clips = sorted(tones.rglob("*.wav"))
    answers = [
        OnnxModel.from_file(plain / name).predict_proba(clips) for name in ("model.onnx", "model.int8.onnx")
    ]
    assert f"probabilities at most {np.abs(answers[0] - answers[1]).max():.2g} apart" in told[1]
    n_same = (answers[0].argmax(axis=1) == answers[1].argmax(axis=1)).sum()
    assert told[1].endswith(f"the same emotion for {n_same} of 24")
    assert "ser_transfer.evaluate --model" in told[2]
    assert OnnxModel.from_file(plain / "model.int8.onnx").precision == "int8"


def test_a_file_elsewhere_is_named_by_out(plain, tmp_path):
    out = tmp_path / "new folder" / "mine.onnx"
    assert export("--model", plain, "--out", out) == 0
    assert list(out.parent.iterdir()) == [out]
    assert not (plain / "model.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no model: give one"),
        (["PLAIN", "other"], "2 models: give one"),
        (["PLAIN", "--out", "file"], "file is no name of an ONNX file: give --out file.onnx"),
        (["PLAIN", "--check", "EMPTY"], "no audio files below"),
        (["PLAIN", "--check", "nowhere.wav"], "nowhere.wav"),
        (["emodb-handcrafted"], "give --out model.onnx"),
        (["emodb-handcrafted", "--out", "EMPTY/model.onnx"], "by other means than a network"),
        (["model.onnx"], "model.onnx is an ONNX file already"),
        (["EMPTY"], "holds no model"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line_and_leaves_nothing(
    arguments, words, plain, tmp_path, capsys
):
    empty = tmp_path / "empty"
    empty.mkdir()
    before = sorted(tmp_path.rglob("*"))
    places = {"PLAIN": str(plain), "EMPTY": str(empty), "EMPTY/model.onnx": str(empty / "model.onnx")}
    assert export(*(places.get(each, each) for each in arguments)) == 1
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith("error: ")]) == 1
    assert words in told[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_difference_above_the_tolerance_fails_and_leaves_no_file(plain, monkeypatch, capsys):
    monkeypatch.setattr(writing, "TOLERANCE", 1e-12)
    assert export(plain) == 1
    assert "differs from PyTorch by" in capsys.readouterr().err
    assert not (plain / "model.onnx").exists()


def test_a_file_that_a_later_training_has_left_is_refused(saved, plain, tones, capsys):
    shutil.copyfile(saved / "model.onnx", plain / "model.onnx")
    clip = next(tones.rglob("*.wav"))
    assert predict(clip, "--model", plain, "--backend", "onnx") == 0
    config = json.loads((plain / "config.json").read_text())
    config["training"]["uar"] = 0.625
    (plain / "config.json").write_text(json.dumps(config))
    assert predict(clip, "--model", plain, "--backend", "onnx") == 1
    assert "is of another model than the one beside it" in capsys.readouterr().err
    assert predict(clip, "--model", plain / "model.onnx") == 0


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(module, plain, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert export(plain) == 1
    assert "pip install 'ser-transfer[onnx]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["PLAIN", "--backend", "onnx"], "write one with python -m ser_transfer.export PLAIN, or"),
        (["user/name", "--backend", "onnx"], "python -m ser_transfer.export user/name --out model.onnx"),
        (["gone.onnx"], "there is no file gone.onnx"),
        (["SAVED", "--backend", "onnx", "--weights", "w"], "leave --weights away"),
        (["SAVED", "--backend", "onnx", "--device", "cuda"], "leave --device away"),
    ],
)
def test_predict_says_what_is_missing_or_too_much(flags, words, plain, saved, tones, capsys):
    places = {"PLAIN": str(plain), "SAVED": str(saved)}
    clip = next(tones.rglob("*.wav"))
    assert predict(clip, "--model", *(places.get(each, each) for each in flags)) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words.replace("PLAIN", str(plain)) in told


def test_evaluate_scores_a_file_and_refuses_speakers_that_its_model_has_heard(saved, tones, tmp_path, capsys):
    file = saved / "model.int8.onnx"
    shared = ["--corpus", "folder", "--root", str(tones), "--speaker-pattern", PATTERN, "--no-plots"]
    asked = [*shared, "--model", str(file), "--out", str(tmp_path / "scored")]
    assert ser_transfer.evaluate.main(asked) == 1
    assert "trained on 4 of the corpus's speakers" in capsys.readouterr().err
    assert ser_transfer.evaluate.main([*asked, "--allow", "shared-speakers"]) == 0
    labels = Labels.of(load_corpus("folder", tones, speaker_pattern=PATTERN))
    model = OnnxModel.from_file(file)
    known = {path: path.parent.name for path in sorted(tones.rglob("*.wav")) if path.parent.name != "neutral"}
    told = model.predict_proba(list(known))[:, :2]  # anger and fear: happiness is not in the corpus
    uar = balanced_accuracy_score(list(known.values()), np.array(["anger", "fear"])[told.argmax(axis=1)])
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    assert metrics["systems"][model.name]["uar"] == pytest.approx(uar)
    assert set(labels.classes) == {"anger", "fear", "neutral"}
