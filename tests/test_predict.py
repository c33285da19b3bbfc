"""Emotions of many recordings: one table, resumed where it stopped, whatever single files are like."""

import csv
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

import ser_transfer.predict
from ser_transfer.audio import AudioError, read_audio
from ser_transfer.model import Answer, EmotionModel
from ser_transfer.predict import predict

PITCHES = {"anger": 1500.0, "fear": 2700.0, "neutral": 300.0}  # those of the fixture `tones`


class Ear(EmotionModel):
    """A model that a reader can check by hand: the nearer the pitch, the more probable the emotion."""

    name = "ear"
    classes = tuple(PITCHES)
    sampling_rate = 16_000
    min_seconds = 0.05
    temperature = 1.0
    fingerprint = "ea" * 32

    def __init__(self, *, dies_after=None, seconds_each=0.0):
        self.heard = []
        self.training = {"uar": 0.875, "uar_interval": [0.75, 1.0], "split": "leave one out"}
        self.dies_after, self.seconds_each = dies_after, seconds_each

    def probabilities_of_waveforms(self, waveforms):
        rows = []
        for waveform in waveforms:
            spectrum = np.abs(np.fft.rfft(waveform))
            pitch = spectrum.argmax() * self.sampling_rate / len(waveform)
            scores = np.exp([-4 * abs(np.log(pitch / each)) for each in PITCHES.values()])
            rows.append(scores / scores.sum())
        return np.array(rows)

    def answers(self, recordings, *, n_workers=None):
        for recording in recordings:
            if self.dies_after is not None and len(self.heard) >= self.dies_after:
                raise KeyboardInterrupt
            time.sleep(self.seconds_each)
            self.heard.append(recording.key)
            try:
                waveform = read_audio(recording.source, self.sampling_rate, min_seconds=self.min_seconds)
            except AudioError as error:
                yield Answer(recording.key, 0.0, None, error)
                continue
            [row] = self.probabilities_of_waveforms([waveform])
            yield Answer(recording.key, len(waveform) / self.sampling_rate, row)

    def embeddings_of_waveforms(self, waveforms):
        raise NotImplementedError

    def _answers(self, *_):
        raise NotImplementedError

    def save(self, folder):
        raise NotImplementedError


class Deaf(Ear):
    """The same answer to everything."""

    name = "deaf"
    fingerprint = "de" * 32

    def probabilities_of_waveforms(self, waveforms):
        return np.tile([0.2, 0.5, 0.3], (len(waveforms), 1))


class Writer:
    """A speech recognition that counts samples."""

    name = "writer"
    sampling_rate = 16_000

    def transcribe_blocks(self, blocks):
        return f"{sum(map(len, blocks))} samples"


@pytest.fixture
def models(monkeypatch):
    """What the names of models stand for."""
    known = {"ear": Ear(), "deaf": Deaf(), "emodb-handcrafted": Ear()}

    def from_pretrained(name, **_):
        return known[str(name)]

    monkeypatch.setattr(EmotionModel, "from_pretrained", from_pretrained)
    return known


@pytest.fixture
def broken(tones):
    """The tones, and a file that is none."""
    (tones / "fear" / "broken.wav").write_bytes(b"RIFF")
    return tones


def run(*arguments):
    return ser_transfer.predict.main([str(argument) for argument in arguments])


def rows_of(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_recording_gets_the_emotion_of_its_pitch(tones, models, tmp_path):
    assert run(tones, "--model", "ear", "--out", tmp_path / "r.csv") == 0
    rows = rows_of(tmp_path / "r.csv")
    assert [row["file"] for row in rows] == sorted(map(str, tones.rglob("*.wav")))
    for row in rows:
        assert row["emotion"] == Path(row["file"]).parent.name
        probabilities = [float(row[emotion]) for emotion in PITCHES]
        assert sum(probabilities) == pytest.approx(1)
        assert float(row["confidence"]) == max(probabilities)
        assert float(row["seconds"]) == soundfile.info(row["file"]).duration
        assert row["error"] == ""


def test_every_format_holds_the_same_and_the_function_gives_it_too(broken, models, tmp_path):
    tables = []
    for extension, read in {
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True, precise_float=True),
        "parquet": pd.read_parquet,
    }.items():
        path = tmp_path / f"r.{extension}"
        assert run(broken, "--model", "ear", "--baseline", "deaf", "--out", path) == 1
        tables.append(read(path))
    tables.append(predict(broken, models["ear"], baseline=models["deaf"]))
    kept = ["file", "emotion", "baseline_emotion", "error"]
    for table in tables:
        assert list(table.columns) == list(tables[0].columns)
        assert table[kept].fillna("").values.tolist() == tables[0][kept].fillna("").values.tolist()
        for column in ("seconds", "confidence", "fear", "baseline_confidence"):
            np.testing.assert_allclose(table[column], tables[0][column], rtol=1e-15)
        assert [None if pd.isna(x) else bool(x) for x in table["agree"]] == [
            None if pd.isna(x) else x == "fear" for x in tables[0]["emotion"]
        ]


def test_one_bad_file_costs_no_other_and_is_told_with_its_reason(broken, models, tmp_path, capsys):
    assert run(broken, broken / "nothing.wav", "--model", "ear", "--out", tmp_path / "r.csv") == 1
    rows = rows_of(tmp_path / "r.csv")
    assert sum(bool(row["emotion"]) for row in rows) == 24
    errors = {Path(row["file"]).name: row["error"] for row in rows if not row["emotion"]}
    assert set(errors) == {"broken.wav", "nothing.wav"}
    assert errors["broken.wav"].startswith("truncated: its headers call for")
    assert errors["nothing.wav"] == "missing: there is no such file"
    told = capsys.readouterr().err
    assert "26 recordings: 24 done, 2 could not be used" in told
    assert "truncated 1" in told
    assert "missing 1" in told


def test_without_out_the_table_stands_on_the_screen_alone(broken, models, capsys):
    assert run(broken / "fear") == 1
    out, err = capsys.readouterr()
    header, _, *lines = out.splitlines()
    assert header.split() == ["file", "seconds", "emotion", "confidence", *PITCHES, "error"]
    assert len(lines) == 9
    assert lines[0].split()[0].endswith("broken.wav")
    assert lines[0].split()[1:] == ["truncated"]
    assert lines[1].split()[2] == "fear"
    assert "model: ear, UAR 0.875 (0.750 to 1.000) on speakers that it had not heard" in err
    assert "ships with this package" in err


def test_too_many_rows_for_a_screen_are_refused_before_anything_is_heard(models, tmp_path, capsys):
    for number in range(201):
        (tmp_path / f"{number}.wav").write_bytes(b"")
    assert run(tmp_path, "--model", "ear") == 1
    assert "201 recordings are too many for the screen: give a file, --out" in capsys.readouterr().err
    assert models["ear"].heard == []


@pytest.mark.parametrize("threshold", [0.0, 0.95, 1.0])
def test_below_the_threshold_the_emotion_is_left_empty_and_nothing_else(
    threshold, tones, models, tmp_path, capsys
):
    run(tones, "--model", "ear", "--baseline", "deaf", "--out", tmp_path / "all.csv")
    run(
        tones,
        "--model",
        "ear",
        "--baseline",
        "deaf",
        "--out",
        tmp_path / "r.csv",
        "--min-confidence",
        threshold,
    )
    n_empty = 0
    for row, whole in zip(rows_of(tmp_path / "r.csv"), rows_of(tmp_path / "all.csv"), strict=True):
        if float(whole["confidence"]) < threshold:
            n_empty += 1
            assert row == {**whole, "emotion": "", "agree": ""}
        else:
            assert row == whole
    assert f"{n_empty} below {threshold:g}, without an emotion" in capsys.readouterr().err
    assert (n_empty == 0) == (threshold == 0)


def test_as_sure_as_asked_is_sure_enough(tones, models):
    table = predict(tones, models["deaf"], min_confidence=0.5)
    assert set(table["confidence"]) == {0.5}
    assert set(table["emotion"]) == {"fear"}


def test_a_folder_stands_for_its_sound_and_a_named_file_for_itself(tones, models, tmp_path, capsys):
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    wav = next((tones / "anger").iterdir()).read_bytes()
    for name in ("b.wav", "sub/a.WAV", "sub/._a.wav", ".hidden.wav", "notes.txt", "sound.dat", "a.csv"):
        (folder / name).write_bytes(wav)
    (folder / ".trash").mkdir()
    (folder / ".trash" / "c.wav").write_bytes(wav)
    (folder / "sub" / "back").symlink_to(folder)
    files = predict([folder, folder / "sound.dat", folder / "b.wav"], models["ear"])["file"]
    assert list(files) == [str(folder / name) for name in ("b.wav", "sub/a.WAV", "sound.dat")]
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == 1
    assert "no audio files below" in capsys.readouterr().err


def test_every_extension_that_the_audio_room_knows_is_found(tmp_path):
    from ser_transfer.audio._containers import CONTAINER_OF_EXTENSION
    from ser_transfer.results import find_recordings

    expected = sorted(f"{tmp_path}/x{extension}" for extension in CONTAINER_OF_EXTENSION)
    for path in expected:
        Path(path).write_bytes(b"")
    assert find_recordings([tmp_path]) == expected


def test_a_name_that_is_not_utf8_is_no_error(tones, models, tmp_path):
    name = os.fsdecode(b"\xff\xfe.wav")
    source = next((tones / "anger").iterdir())
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        (folder / name).write_bytes(source.read_bytes())
    except OSError:
        pytest.skip("this file system takes no such names")
    (folder / os.fsdecode(b"\xffbroken.wav")).write_bytes(b"RIFF")
    for out in ("r.csv", "r.jsonl", "r.parquet"):
        assert run(folder, "--model", "ear", "--out", tmp_path / out) == 1
        n_heard = len(models["ear"].heard)
        assert run(folder, "--model", "ear", "--out", tmp_path / out) == 1
        assert len(models["ear"].heard) == n_heard + 1, "only the broken one is tried again"
    assert sorted(row["emotion"] for row in rows_of(tmp_path / "r.csv")) == ["", "anger"]


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_anywhere_it_ends_the_same_and_asks_nothing_twice(seed, broken, models, tmp_path, capsys):
    flags = ["--baseline", "deaf", "--min-confidence", "0.5"]
    assert run(broken, "--model", "ear", *flags, "--out", tmp_path / "whole.csv") == 1
    rng = random.Random(seed)
    ear, deaf = Ear(), Deaf()
    models |= {"ear": ear, "deaf": deaf}
    out = tmp_path / "r.csv"
    for _ in range(100):
        ear.dies_after = len(ear.heard) + rng.randrange(1, 9)
        deaf.dies_after = len(deaf.heard) + rng.randrange(1, 9)
        code = run(broken, "--model", "ear", *flags, "--out", out)
        if code != 130:
            break
        assert not out.exists(), "a table that is there is complete"
        if rng.random() < 0.5:  # a power cut tears the last line
            with (tmp_path / "r.csv.journal").open("ab") as file:
                file.write(b'{"part": "mod')
    assert code == 1
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    usable = [file for file in ear.heard if not file.endswith("broken.wav")]
    assert len(usable) == len(set(usable)) == 24
    assert sorted(deaf.heard) == sorted(usable)
    assert "interrupted; what was finished is kept" in capsys.readouterr().err


def test_killed_it_goes_on_and_ends_the_same(tones, models, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_predict as t; "
        "t.EmotionModel.from_pretrained = lambda name, **_: t.Ear(seconds_each=0.03); "
        "sys.exit(t.ser_transfer.predict.main(sys.argv[1:]))"
    )
    out, journal = tmp_path / "r.csv", tmp_path / "r.csv.journal"
    arguments = [str(tones), "--model", "ear", "--out", str(out)]
    kept = []
    for n_wanted in (4, 11):
        process = subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while not journal.is_file() or journal.read_bytes().count(b"\n") < 1 + n_wanted:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        lines = journal.read_bytes().splitlines(keepends=True)[1:]
        assert lines[: len(kept)] == kept, "what was kept is kept"
        kept = [line for line in lines if line.endswith(b"\n")]
        assert n_wanted <= len(kept) < 24
        assert not out.exists()
    assert run(*arguments) == 0
    answered = [json.loads(line)["file"] for line in kept]
    assert sorted(answered + models["ear"].heard) == sorted(map(str, tones.rglob("*.wav")))
    assert run(tones, "--model", "ear", "--out", tmp_path / "whole.csv") == 0
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_finished_results_are_done_again_only_when_asked(tones, models, tmp_path, capsys):
    out = tmp_path / "r.csv"
    arguments = [tones, "--model", "ear", "--out", out]
    assert run(*arguments) == 0
    out.write_text("edited by hand")
    assert run(*arguments) == 0
    assert len(models["ear"].heard) == 24
    assert out.read_text() == "edited by hand"
    assert "all of it was there already" in capsys.readouterr().err
    assert run(*arguments, "--restart") == 0
    assert len(models["ear"].heard) == 48
    assert len(rows_of(out)) == 24


def test_new_and_changed_recordings_are_answered_and_those_gone_leave_the_table(tones, models, tmp_path):
    out = tmp_path / "r.csv"
    run(tones, "--model", "ear", "--out", out)
    models["ear"].heard.clear()
    clips = sorted((tones / "anger").iterdir())
    changed, moved, gone = clips[0], clips[1], clips[2]
    changed.write_bytes((tones / "fear" / "p1_0.wav").read_bytes())
    moved.rename(tones / "anger" / "z.wav")
    gone.unlink()
    run(tones, "--model", "ear", "--out", out)
    assert models["ear"].heard == [str(changed), str(tones / "anger" / "z.wav")]
    emotions = {row["file"]: row["emotion"] for row in rows_of(out)}
    assert emotions[str(changed)] == "fear"
    assert str(gone) not in emotions
    assert str(moved) not in emotions
    assert len(emotions) == 23


def test_a_file_that_was_put_right_is_answered_when_asked_again(broken, models, tmp_path):
    arguments = [broken, "--model", "ear", "--out", tmp_path / "r.csv"]
    assert run(*arguments) == 1
    assert run(*arguments) == 1
    assert models["ear"].heard[25:] == [str(broken / "fear" / "broken.wav")], "it may be readable by now"
    (broken / "fear" / "broken.wav").write_bytes((broken / "fear" / "p1_0.wav").read_bytes())
    assert run(*arguments) == 0
    assert len(models["ear"].heard) == 27
    assert not any(row["error"] for row in rows_of(tmp_path / "r.csv"))


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (["--model", "deaf"], r"model was ear \(eaeaeaeaeaea\) and is deaf \(dededededede\)"),
        (["--model", "ear", "--baseline", "deaf"], r"baseline was none and is deaf"),
        (["--model", "ear", "--min-confidence", "0.6"], "min confidence was none and is 0.6"),
    ],
)
def test_results_of_other_settings_are_refused_by_what_differs(
    other, difference, tones, models, tmp_path, capsys
):
    out = tmp_path / "r.csv"
    assert run(tones, "--model", "ear", "--out", out) == 0
    before = out.read_bytes(), (tmp_path / "r.csv.journal").read_bytes()
    assert run(tones, *other, "--out", out) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert re.search(difference, said)
    assert (out.read_bytes(), (tmp_path / "r.csv.journal").read_bytes()) == before


def test_other_recordings_never_take_the_place_of_those_in_a_file(tones, models, tmp_path, capsys):
    out = tmp_path / "r.csv"
    assert run(tones / "anger", "--model", "ear", "--out", out) == 0
    assert run(tones / "fear", "--model", "ear", "--out", out) == 1
    assert "holds results of recordings that were not given now" in capsys.readouterr().err
    assert run(tones / "anger", tones / "fear", "--model", "ear", "--out", out) == 0
    assert len(rows_of(out)) == 16
    mine = tmp_path / "mine.csv"
    mine.write_text("my own table")
    assert run(tones, "--model", "ear", "--out", mine) == 1
    assert "is there already" in capsys.readouterr().err
    assert mine.read_text() == "my own table"


def test_a_damaged_journal_is_refused_by_its_line(tones, models, tmp_path, capsys):
    out, journal = tmp_path / "r.csv", tmp_path / "r.csv.journal"
    run(tones, "--model", "ear", "--out", out)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:4], b"\x00\x01\n", *lines[5:]]))
    assert run(tones, "--model", "ear", "--out", out) == 1
    assert f"line 5 of {journal} is damaged" in capsys.readouterr().err
    assert run(tones, "--model", "ear", "--out", out, "--restart") == 0


def test_the_words_of_a_recording_are_a_column(broken, models):
    table = predict(broken / "anger", models["ear"], transcriber=Writer())
    for file, text in zip(table["file"], table["text"], strict=True):
        assert text == f"{len(read_audio(file))} samples"
    assert predict(broken / "fear" / "broken.wav", models["ear"], transcriber=Writer())["text"].tolist() == [
        None
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no recordings: give files and folders"),
        (["a.wav", "--out", "r.txt"], "r.txt is no table: name it"),
        (["a.wav", "--hop-seconds", "0.25"], "--hop-seconds says how to follow a recording: add --timeline"),
        (["a.wav", "--format", "vtt"], "--format says how to follow"),
        (["a.wav", "--timeline", "--baseline", "deaf"], "--timeline follows one model"),
        (["a.wav", "--timeline", "--out", "a.vtt"], "give --out a --format vtt"),
        (["a.wav", "b.wav", "--timeline"], "2 recordings are too many for the screen: give a folder"),
        (["a.wav", "--min-confidence", "1.5"], "min_confidence is 1.5"),
    ],
)
def test_flags_that_mean_nothing_together_are_refused_in_one_line(arguments, message, models, capsys):
    assert run(*arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.fixture
def talk(tmp_path):
    """Nine seconds: three of each pitch."""
    rng = np.random.default_rng(0)
    tones = [0.2 * np.sin(2 * np.pi * hertz * np.arange(48_000) / 16_000) for hertz in PITCHES.values()]
    path = tmp_path / "talks" / "talk.wav"
    path.parent.mkdir()
    soundfile.write(path, np.concatenate(tones) + rng.normal(0, 0.001, 144_000), 16_000)
    return path


def test_a_timeline_on_the_screen_names_what_follows_what(talk, models, capsys):
    assert run(talk, "--timeline", "--model", "ear") == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["start", "end", "emotion", "confidence"]
    assert [line.split()[2] for line in lines] == list(PITCHES)
    for number, line in enumerate(lines):
        start, end = (60 * int(m) + float(s) for m, s in (text.split(":") for text in line.split()[:2]))
        assert (start, end) == pytest.approx((3 * number, 3 * number + 3), abs=0.5)


@pytest.mark.parametrize("format_", ["csv", "json", "txt", "vtt"])
def test_timelines_are_what_the_model_says_of_each_recording(format_, talk, broken, models, tmp_path, capsys):
    from ser_transfer.timeline import FORMATS, TimelineSettings

    out = tmp_path / "lines"
    flags = ["--timeline", "--model", "ear", "--format", format_, "--hop-seconds", "0.25", "--out", out]
    assert run(talk, broken / "fear", *flags) == 1
    paths = {path for path in out.rglob("*") if path.is_file() and path.suffix != ".journal"}
    sources = [talk, *(broken / "fear").glob("p*.wav")]
    expected = {
        out / source.relative_to(tmp_path).with_suffix(f".{format_}"): models["ear"].timeline(
            source, TimelineSettings(hop_seconds=0.25)
        )
        for source in sources
    }
    assert paths == set(expected)
    for path, timeline in expected.items():
        assert path.read_text(encoding="utf-8") == FORMATS[f".{format_}"](timeline)
    told = capsys.readouterr().err
    n_segments = sum(len(timeline.segments) for timeline in expected.values())
    assert f"10 recordings: 9 done, 1 could not be used (truncated 1); {n_segments} segments" in told


def test_timelines_that_are_there_are_not_made_again(talk, broken, models, tmp_path, monkeypatch, capsys):
    followed = []
    timeline = EmotionModel.timeline

    def counted(self, source, *arguments, **options):
        if len(followed) == 4:
            followed.append("interrupted")
            raise KeyboardInterrupt
        followed.append(source)
        return timeline(self, source, *arguments, **options)

    monkeypatch.setattr(EmotionModel, "timeline", counted)
    arguments = [broken / "anger", "--timeline", "--model", "ear", "--out", tmp_path / "lines"]
    assert run(*arguments) == 130
    assert run(*arguments) == 0
    assert len(followed) == len(set(followed)) == 9
    (tmp_path / "lines" / "p1_0.csv").unlink()
    assert run(*arguments) == 0
    assert followed[9:] == [str(broken / "anger" / "p1_0.wav")]
    assert run(*arguments, "--hop-seconds", "0.25") == 1
    assert "hop seconds was 0.5 and is 0.25" in capsys.readouterr().err
    assert run(*arguments, "--hop-seconds", "0.25", "--restart") == 0
    assert len(followed) == 18


def test_recordings_of_one_name_keep_their_timelines_apart(tmp_path):
    from ser_transfer.results import timeline_paths

    files = ["a/x.wav", "a/x.mp3", "b/x.wav", "b/y.wav"]
    paths = timeline_paths([f"{tmp_path}/{file}" for file in files], Path("out"), "vtt")
    assert [str(path) for path in paths.values()] == [
        "out/a/x.wav.vtt",
        "out/a/x.mp3.vtt",
        "out/b/x.vtt",
        "out/b/y.vtt",
    ]
    assert list(timeline_paths([f"{tmp_path}/a/x.wav"], Path("out"), "csv").values()) == [Path("out/x.csv")]


def test_each_segment_is_written_down_from_its_own_samples(talk, models):
    from ser_transfer.results import followed
    from ser_transfer.timeline import TimelineSettings

    heard = []

    class Recorder(Writer):
        def transcribe_blocks(self, blocks):
            heard.append(np.concatenate(list(blocks)))
            return str(len(heard))

    timeline = followed(str(talk), models["ear"], TimelineSettings(), Recorder())
    assert [segment.text for segment in timeline.segments] == ["1", "2", "3"]
    for segment, samples in zip(timeline.segments, heard, strict=True):
        expected = read_audio(talk, start_seconds=segment.start_seconds, end_seconds=segment.end_seconds)
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("seed", range(10))
def test_spans_of_a_stream_are_its_samples_wherever_blocks_end(seed):
    from ser_transfer.results.timelines import _Reader

    rng = np.random.default_rng(seed)
    waveform = np.arange(1_000, dtype=np.float32)
    blocks = np.split(waveform, np.unique(rng.integers(1, 1_000, 12)))
    edges = np.unique(rng.integers(0, 1_100, 9))
    reader = _Reader(iter(blocks))
    for start, end in itertools.pairwise(edges):
        if rng.integers(0, 3):  # gaps are allowed
            pieces = [np.zeros(0, np.float32), *reader.between(int(start), int(end))]
            np.testing.assert_array_equal(np.concatenate(pieces), waveform[start:end])
