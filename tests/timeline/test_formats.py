import csv
import io
import json
import re

import numpy as np
import pytest

from ser_transfer.timeline import FORMATS, Segment, Timeline, TimelineError
from ser_transfer.timeline.formats import UNCERTAIN

TEXT = 'He said: "no, <never> & nowhere" -->\n\nand\tleft; =1+1 ärger'
NAN = [np.nan, np.nan, np.nan]
TIMELINE = Timeline(
    classes=("anger", "calm", "sadness"),
    seconds=3725.0004,
    hop_seconds=1000.0,
    probabilities=np.array([[0.7, 0.2, 0.1], NAN, [0.25, 0.35, 0.4]]),
    segments=(
        Segment(0.0, 61.0005, "anger", 0.7, TEXT),
        Segment(61.0005, 900.0, "calm", 0.2),
        Segment(2000.0, 3725.0004, None, 0.4, ""),
    ),
)

_TIMING = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def parse_webvtt(text: str) -> list[tuple[float, float, list[str]]]:
    """Cues of a WebVTT file: blocks parted by blank lines, the first of them the header."""
    header, *blocks = re.split(r"\n\n+", text.rstrip("\n"))
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        timing, *lines = block.split("\n")
        match = _TIMING.fullmatch(timing)
        assert match, timing
        numbers = [int(group) for group in match.groups()]
        start, end = (3600 * h + 60 * m + s + ms / 1000 for h, m, s, ms in (numbers[:4], numbers[4:]))
        assert start < end
        for line in lines:
            assert line.strip()
            assert not re.search(r"-->|[<>]|&(?!amp;|lt;|gt;)", line), line
        cues.append((start, end, [unescaped(line) for line in lines]))
    return cues


def unescaped(line: str) -> str:
    return line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_csv_parses_back_with_every_number_and_the_text_whole():
    header, *rows = csv.reader(io.StringIO(TIMELINE.to_csv()))
    assert header == ["start", "end", "emotion", "confidence", "text", "anger", "calm", "sadness"]
    assert [row[2] for row in rows] == ["anger", "calm", ""]
    assert rows[0][4] == TEXT
    assert rows[1][4] == rows[2][4] == ""
    for row, segment in zip(rows, TIMELINE.segments, strict=True):
        assert float(row[0]) == pytest.approx(segment.start_seconds, abs=1e-3)
        assert float(row[1]) == pytest.approx(segment.end_seconds, abs=1e-3)
        assert float(row[3]) == pytest.approx(segment.confidence, abs=1e-4)
        means = TIMELINE.probabilities_of(segment)
        assert [float(cell) for cell in row[5:]] == pytest.approx(list(means.values()), abs=1e-4)


def test_json_parses_back_to_everything_with_null_where_nothing_was_answered():
    read = json.loads(TIMELINE.to_json())
    assert read["classes"] == list(TIMELINE.classes)
    assert read["seconds"] == TIMELINE.seconds
    assert read["curve"]["probabilities"] == [[0.7, 0.2, 0.1], None, [0.25, 0.35, 0.4]]
    assert read["curve"]["times"] == pytest.approx([500.0, 1500.0, 2862.5002])
    assert [segment["emotion"] for segment in read["segments"]] == ["anger", "calm", None]
    assert read["segments"][0]["text"] == TEXT
    assert read["mean_probabilities"] == TIMELINE.mean_probabilities
    nothing = Timeline(("anger", "calm"), 4.0, 2.0, np.full((2, 2), np.nan), ())
    read = json.loads(nothing.to_json())
    assert (read["segments"], read["mean_probabilities"]) == ([], None)


def test_webvtt_parses_back_and_no_text_can_end_a_cue_or_begin_a_tag():
    cues = parse_webvtt(TIMELINE.to_webvtt())
    assert [lines[0] for _, _, lines in cues] == ["anger (70%)", "calm (20%)", UNCERTAIN]
    assert cues[0][2][1:] == ['He said: "no, <never> & nowhere" --> and left; =1+1 ärger']
    assert [len(lines) for _, _, lines in cues] == [2, 1, 1]
    for (start, end, _), segment in zip(cues, TIMELINE.segments, strict=True):
        assert (start, end) == pytest.approx((segment.start_seconds, segment.end_seconds), abs=1e-3)


def test_webvtt_rounds_up_into_the_next_minute_and_counts_hours_past_a_hundred():
    def timing(start: float, end: float) -> str:
        timeline = Timeline(("a",), end, end, np.ones((1, 1)), (Segment(start, end, "a", 1.0),))
        return timeline.to_webvtt().split("\n")[2]

    assert timing(59.9996, 3599.9999) == "00:01:00.000 --> 01:00:00.000"
    assert timing(0.0, 100 * 3600 + 0.25) == "00:00:00.000 --> 100:00:00.250"


def test_labels_are_three_columns_whatever_the_text_holds():
    rows = [line.split("\t") for line in TIMELINE.to_labels().splitlines()]
    assert [len(row) for row in rows] == [3, 3, 3]
    assert [float(row[0]) for row in rows] == [0.0, 61.0005, 2000.0]
    assert [float(row[1]) for row in rows] == [61.0005, 900.0, 3725.0004]
    assert rows[0][2] == 'anger (70%): He said: "no, <never> & nowhere" --> and left; =1+1 ärger'
    assert rows[2][2] == UNCERTAIN


@pytest.mark.parametrize("separator", ["\r", "\u2028", "\x85", "\x0b", "\x00"])
def test_no_character_parts_a_line_of_labels_or_subtitles(separator):
    timeline = TIMELINE.with_texts([f"one{separator}{separator}two", None, None])
    assert timeline.to_labels().splitlines()[0].endswith(": one two")
    assert timeline.to_webvtt().splitlines()[4] == "one two"


@pytest.mark.parametrize("extension", FORMATS)
def test_save_writes_what_the_extension_names(extension, tmp_path):
    path = tmp_path / f"talk{extension.upper()}"
    TIMELINE.save(path)
    assert path.read_bytes().decode() == FORMATS[extension](TIMELINE)


def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(TimelineError, match=r"\.srt.*\.csv, \.json, \.txt, \.vtt"):
        TIMELINE.save(tmp_path / "talk.srt")
    with pytest.raises(TimelineError, match=r"\(none\)"):
        TIMELINE.save(tmp_path / "talk")
    with pytest.raises(TimelineError, match="cannot be written"):
        TIMELINE.save(tmp_path / "missing" / "talk.csv")
    assert not list(tmp_path.iterdir())


def test_means_are_weighted_by_the_time_that_was_answered_by_hand():
    # 61.0005 s and 838.9995 s of the first cell, none of the second, 1725.0004 s of the third.
    assert TIMELINE.probabilities_of(TIMELINE.segments[2]) == pytest.approx(
        {"anger": 0.25, "calm": 0.35, "sadness": 0.4}
    )
    share = 900.0 / (900.0 + 1725.0004)
    expected = share * np.array([0.7, 0.2, 0.1]) + (1 - share) * np.array([0.25, 0.35, 0.4])
    assert list(TIMELINE.mean_probabilities.values()) == pytest.approx(expected.tolist())
    assert sum(TIMELINE.mean_probabilities.values()) == pytest.approx(1.0)


def test_the_mean_of_a_recording_in_which_nobody_speaks_is_an_error():
    nothing = Timeline(("anger", "calm"), 4.0, 2.0, np.full((2, 2), np.nan), ())
    with pytest.raises(TimelineError, match=r"4\.0 s nobody"):
        _ = nothing.mean_probabilities
