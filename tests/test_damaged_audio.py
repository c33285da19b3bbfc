"""Damaged recordings: an answer or a reason each; no crash, no hang, bounded memory."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ser_transfer.predict
from ser_transfer.audio import AudioError, read_audio
from ser_transfer.model import EmotionModel
from ser_transfer.predict import predict

PATH = Path(__file__).parents[1] / "benchmarks" / "damaged_audio.py"


@pytest.fixture(scope="module")
def damage():
    """The benchmark, whose mutations and process these tests use."""
    spec = importlib.util.spec_from_file_location("damaged_audio", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_damaged_file_gets_an_answer_or_a_reason_in_bounded_memory_and_time(damage, tmp_path):
    made = damage.damaged(tmp_path / "files", 160, seed=20)
    assert set(made.values()) == set(damage.MUTATIONS)
    outcomes, _ = damage.one_by_one(list(made), seconds=60.0, mebibytes=256)
    assert [outcome for outcome in outcomes if not outcome.is_sound] == []
    reasons = {outcome.reason for outcome in outcomes}
    assert reasons >= {None, "truncated", "unreadable", "mislabelled", "empty", "non_finite"}


def test_the_decoder_says_the_same_of_a_path_of_bytes_and_block_by_block(damage, tmp_path):
    made = damage.damaged(tmp_path / "files", 440, seed=23)
    outcomes, _ = damage.one_by_one(list(made), seconds=60.0, mebibytes=256, decoder=True)
    assert [outcome for outcome in outcomes if not outcome.is_sound] == []
    assert {Path(path).suffix for path in made} > {".wav", ".flac", ".mp3", ".m4a", ".mp4", ".webm", ".au"}


def test_the_table_says_of_each_what_is_said_of_it_alone(damage, tmp_path):
    made = damage.damaged(tmp_path / "files", 40, seed=21)
    model = EmotionModel.from_pretrained()
    rows = predict(list(made), model, n_workers=1).to_dict("records")
    assert [row["file"] for row in rows] == list(made)
    for row in rows:
        [alone] = predict(row["file"], model).to_dict("records")
        assert (row["emotion"], row["error"]) == (alone["emotion"], alone["error"])
        assert (row["emotion"] is None) != (row["error"] is None)


def test_the_same_seed_damages_the_same_way_and_another_another_way(damage, tmp_path):
    def contents(folder, seed):
        return [Path(path).read_bytes() for path in damage.damaged(tmp_path / folder, 40, seed)]

    first = contents("a", 1)
    time.sleep(1.1)  # formats that tell the time tell seconds
    assert first == contents("b", 1)
    assert sum(map(bytes.__ne__, first, contents("c", 2))) > 30


def test_whole_recordings_of_every_format_are_answered(damage, tmp_path):
    sources = damage.sources()
    for number, source in enumerate(sources):
        (tmp_path / f"{number:02d}.{source.extension}").write_bytes(source.data)
    table = predict(tmp_path)
    assert len(table) == len(sources)
    assert table["error"].isna().all()
    np.testing.assert_allclose(table["seconds"], damage.SECONDS, atol=0.15)


def test_a_process_that_dies_or_hangs_is_told_from_one_that_answers(damage, monkeypatch):
    """The oracle of the tests above: a stand-in process that does what the path says."""
    script = (
        "import json, os, sys, time; print(1, flush=True)\n"
        "answer = dict(emotion='fear', reason=None, seconds=0.0, mebibytes=1)\n"
        "for line in sys.stdin:\n"
        "    path = json.loads(line)\n"
        "    if path == 'die': os.abort()\n"
        "    if path == 'hang': time.sleep(600)\n"
        "    print(json.dumps(dict(path=path, **answer)), flush=True)"
    )

    def start(server, *_):
        server._command = [sys.executable, "-c", script]
        server._start()

    monkeypatch.setattr(damage.Server, "__init__", start)
    outcomes, _ = damage.one_by_one(["a", "die", "b", "hang", "c"], seconds=5.0, mebibytes=0)
    assert [outcome.reason for outcome in outcomes] == [None, "crash", None, "hang", None]
    assert [outcome.is_sound for outcome in outcomes] == [True, False, True, False, True]


def test_a_seek_before_the_beginning_is_the_files_fault(damage, tmp_path):
    [whole] = [source for source in damage.sources() if source.format == "wma"]
    damaged = bytearray(whole.data)
    damaged[47] = 2  # the size of a header object, which then ends before it begins
    (tmp_path / "seek.wma").write_bytes(damaged)
    for source in (tmp_path / "seek.wma", bytes(damaged)):
        with pytest.raises(AudioError, match=r"unreadable|truncated|empty"):
            read_audio(source)


@pytest.mark.parametrize("model", ["emodb-handcrafted", "emodb-mfcc"])
@pytest.mark.parametrize("level", [-1.0, 0.99999994, 0.3])
def test_a_recorder_that_hung_at_one_sample_is_answered(model, level, damage, tmp_path):
    samples = damage.voice()
    samples[2_000:9_000] = level
    path = tmp_path / "stuck.wav"
    path.write_bytes(damage._by_libsndfile(samples, damage.RATE, subtype="FLOAT"))
    [row] = predict(path, model).to_dict("records")
    assert row["error"] is None
    assert 0 < row["confidence"] <= 1


@pytest.mark.parametrize("exponent", [10, 20, 38])
def test_samples_beyond_any_scale_are_one_bad_file_and_no_error_of_the_encoder(exponent, damage, tmp_path):
    samples = damage.voice()
    samples[100] = 10.0**exponent
    (tmp_path / "loud.wav").write_bytes(damage._by_libsndfile(samples, damage.RATE, subtype="FLOAT"))
    (tmp_path / "good.wav").write_bytes(damage._by_libsndfile(damage.voice(), damage.RATE))
    good, loud = predict(tmp_path).to_dict("records")
    assert good["emotion"]
    assert loud["error"].startswith("non_finite: its samples reach 1e+")


def test_the_command_tells_how_many_failed_and_why(damage, tmp_path, capsys):
    made = damage.damaged(tmp_path / "files", 40, seed=22)
    arguments = [*made, "--out", tmp_path / "r.csv", "--n-workers", "1"]
    assert ser_transfer.predict.main(list(map(str, arguments))) == 1
    summary = capsys.readouterr().err.splitlines()[-1]
    table = predict(list(made), n_workers=1)
    reasons = table["error"].dropna().str.split(":").str[0].value_counts()
    assert f"40 recordings: {40 - reasons.sum()} done, {reasons.sum()} could not be used" in summary
    for reason, count in reasons.items():
        assert f"{reason} {count}" in summary
