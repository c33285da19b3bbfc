"""The tab of many files: its rows, its download, and its way through a real page."""

import csv
import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from ser_transfer.audio import AudioError, read_audio
from ser_transfer.interface.batch_files import BatchFile
from ser_transfer.interface.batch_rows import BatchRow, answer, counts, csv_text, header, summary
from ser_transfer.interface.batch_tab import panel_html
from ser_transfer.interface.limits import Limits
from ser_transfer.model import Answer

CLASSES = ("neutral", "anger")
KINDS = ("bar-number", "bar-fill")
LIMITS = Limits(max_seconds=2.0, max_megabytes=0.2)


class Loudness:
    """A model that a reader can check by hand: anger is as probable as the peak is high; last first."""

    name = "loudness"
    classes = CLASSES

    def answers(self, recordings):
        for recording in reversed(list(recordings)):
            try:
                waveform = read_audio(recording.source)
            except AudioError as error:
                yield Answer(recording.key, 0.0, None, error)
                continue
            peak = float(np.abs(waveform).max())
            yield Answer(recording.key, len(waveform) / 16_000, np.array([1 - peak, peak]))


def tone(path: Path, peak: float, seconds: float = 1.0) -> Path:
    time = np.arange(round(16_000 * seconds)) / 16_000
    soundfile.write(path, peak * np.sin(2 * np.pi * 200 * time), 16_000, subtype="FLOAT")
    return path


@pytest.fixture
def uploads(tmp_path):
    """Two sounds, one too long, one cut off, one that is no sound, and a zip of one more and a trap."""
    loud, quiet = tone(tmp_path / "loud.wav", 0.9), tone(tmp_path / "=quiet.wav", 0.2)
    long = tone(tmp_path / "long.wav", 0.5, 2.5)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(loud.read_bytes()[:3000])
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(tone(tmp_path / "inner.wav", 0.7), "inner.wav")
        file.writestr("../out.wav", b"x")
    return [loud, quiet, long, cut, text, archive]


def rows_of(files, limits=LIMITS):
    found = dict(answer(Loudness(), files, limits))
    assert sorted(found) == list(range(len(files)))
    return [found[place] for place in range(len(files))]


def test_every_file_gets_its_row_with_an_answer_or_a_reason(uploads):
    files = [BatchFile(path.name, path) for path in uploads[:-1]]
    files.append(BatchFile("more.zip/../out.wav", refusal="its path leads out of the archive"))
    rows = rows_of(files)
    assert [row.file for row in rows] == [file.name for file in files]
    assert rows[0].cells(CLASSES, 2) == ["loud.wav", 1.0, "anger", 0.9, 0.1, 0.9, None]
    assert rows[1].cells(CLASSES, 2) == ["=quiet.wav", 1.0, "neutral", 0.8, 0.8, 0.2, None]
    assert [row.error is None for row in rows] == [True, True, False, False, False, False]
    assert "longer than the 2 s" in rows[2].error
    assert rows[3].error.startswith("truncated")
    assert rows[5].error == "its path leads out of the archive"


def test_a_reason_does_not_say_where_the_file_lies(uploads):
    for row in rows_of([BatchFile("shown", path) for path in uploads[2:5]]):
        assert "/tmp" not in row.error
        assert str(uploads[0].parent) not in row.error


def test_a_length_is_measured_and_not_read_from_the_header(tmp_path):
    path = tone(tmp_path / "sound.flac.wav", 0.5, 3.0)
    mp3 = tmp_path / "sound.mp3"
    samples, rate = soundfile.read(path)
    soundfile.write(mp3, samples, rate)
    (row,) = rows_of([BatchFile("sound.mp3", mp3)])
    assert "longer than the 2 s" in row.error


def test_counts_and_summary_tell_the_same(uploads):
    rows = rows_of([BatchFile(path.name, path) for path in [*uploads[:2], uploads[0], uploads[4]]])
    assert counts(rows, CLASSES) == {"neutral": 1, "anger": 2}
    told = summary(rows, CLASSES)
    assert told == "3 of 4 files answered: anger 2, neutral 1. 1 could not be used; the table says why."
    assert summary(rows[:1], CLASSES) == "1 of 1 files answered: anger 1."


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r@", "\n+", " -", "a\r=", "a\n=", "\u2028="])
def test_no_cell_of_the_download_is_a_formula(first):
    rows = [
        BatchRow(f"{first}cmd|' /C calc'!A0", 1.0, np.array([0.25, 0.75])),
        BatchRow("a", error=f"{first}1+1"),
    ]
    text = csv_text(rows, CLASSES)
    assert len(text.splitlines()) == 3  # for those too that break lines where no CSV does
    table = list(csv.reader(io.StringIO(text)))
    assert not any(cell.lstrip().startswith(tuple("=+-@")) for row in table for cell in row)
    assert table[1][0].endswith("cmd|' /C calc'!A0")


def test_names_that_are_no_formula_stay_as_they_are():
    names = ["03a01Fa.wav", "more.zip/a=b.wav", "Grüße 日本.wav", "'quoted'.wav"]
    table = list(csv.reader(io.StringIO(csv_text([BatchRow(name, error="x") for name in names], CLASSES))))
    assert [row[0] for row in table[1:]] == names


def test_the_download_holds_every_digit_and_reads_back():
    probabilities = np.array([1 / 3, 2 / 3])
    text = csv_text([BatchRow('a "quoted", name.wav', 1 / 7, probabilities)], CLASSES)
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == header(CLASSES)
    assert row["file"] == 'a "quoted", name.wav'
    assert [float(row[emotion]) for emotion in CLASSES] == probabilities.tolist()
    assert float(row["seconds"]) == 1 / 7


def test_the_panel_tells_each_emotion_and_each_reason_and_runs_no_name():
    name = "<img src=x onerror=alert(1)>.wav"
    rows = [BatchRow("a.wav", 1.0, np.array([0.9, 0.1])), BatchRow(name, error="<b>too long</b>")]
    told = panel_html(rows, CLASSES)
    parsed = ElementTree.fromstring(f"<div>{told}</div>")
    text = " ".join(parsed.itertext())
    assert name in text
    assert "<b>too long</b>" in text
    assert not parsed.findall(".//img")
    spans = {kind: [each for each in parsed.iter("span") if each.get("class") == kind] for kind in KINDS}
    assert [each.text for each in spans["bar-number"]] == ["1", "0"]
    assert [each.get("style").split(";")[0] for each in spans["bar-fill"]] == ["width:100.0%", "width:0.0%"]


@pytest.fixture(scope="module")
def client():
    """The tab on a page that is served."""
    gradio = pytest.importorskip("gradio")
    from gradio_client import Client

    from ser_transfer.interface.batch_tab import batch_tab

    with gradio.Blocks(analytics_enabled=False) as page:
        batch_tab([Loudness(), SimpleNamespace(name="another", classes=CLASSES)], LIMITS)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    yield Client(url, verbose=False)
    page.close()


def test_the_page_answers_files_and_archives_and_gives_a_download(client, uploads):
    from gradio_client import handle_file

    told, _, table, download = client.predict(
        [handle_file(str(path)) for path in uploads], "loudness", api_name="/batch"
    )
    assert told.startswith("3 of 7 files answered: anger 2, neutral 1.")
    names = [row[0] for row in table["value"]["data"]]
    assert names[0] == "loud.wav"
    assert names[-2:] == ["more.zip/inner.wav", "more.zip/../out.wav"]
    assert table["value"]["headers"] == header(CLASSES)
    with Path(download["value"]).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["emotion"] for row in rows] == ["anger", "neutral", "", "", "", "anger", ""]
    assert Path(download["value"]).name == "emotions.csv"


def test_the_page_leaves_no_temporary_folder_behind(client, uploads, tmp_path, monkeypatch):
    from gradio_client import handle_file

    from ser_transfer.interface import batch_tab

    made = []

    def temporary(prefix):
        made.append(TemporaryDirectory(prefix=prefix, dir=tmp_path))
        return made[-1]

    monkeypatch.setattr(batch_tab, "TemporaryDirectory", temporary)
    told, _, _, _ = client.predict([handle_file(str(uploads[-1]))], "loudness", api_name="/batch")
    assert told.startswith("1 of 2")
    assert len(made) == 1
    assert not list(tmp_path.glob("ser_transfer_batch_*"))


def test_a_model_that_is_not_on_the_page_is_refused_in_words(client, uploads):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="none"):
        client.predict([handle_file(str(uploads[0]))], "none", api_name="/batch")


def test_no_file_at_all_is_no_error(client):
    assert client.predict([], "loudness", api_name="/batch") is not None
