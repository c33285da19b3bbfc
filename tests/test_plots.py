import numpy as np
import pytest

from ser_transfer.plots import confusion_figure, save_figure, score_figure, speaker_figure

CLASSES = ("neutral", "anger", "fear")
COUNTS = np.array([[8, 1, 1], [2, 6, 0], [0, 0, 0]])
ROLES = {"yamnet": "encoder", "mfcc": "baseline", "majority class": "floor"}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_the_confusion_matrix_prints_share_and_count_of_every_cell():
    shown = texts(confusion_figure(COUNTS, CLASSES, "toy"))
    assert shown[:4] == ["0.80", "8", "0.10", "1"]
    assert len(shown) == 2 * COUNTS.size


def test_an_emotion_nobody_showed_is_an_empty_row_not_a_division_by_zero():
    assert texts(confusion_figure(COUNTS, CLASSES, "toy"))[-2:] == ["0.00", "0"]


def test_the_score_bars_have_the_length_of_the_uar_and_the_colour_of_the_role():
    scores = {"yamnet": (0.58, 0.54, 0.61), "mfcc": (0.44, 0.4, 0.48), "majority class": (0.33, 0.33, 0.33)}
    axes = score_figure(scores, ROLES, "toy", chance=1 / 3).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.58, 0.44, 0.33]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3


def test_speakers_stand_in_the_encoders_order_worst_first():
    uar = {"yamnet": {"a": 0.7, "b": 0.5, "c": 0.6}, "mfcc": {"a": 0.1, "b": 0.9, "c": 0.2}}
    axes = speaker_figure(uar, ROLES, "toy").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "c", "a"]
    assert axes.lines[1].get_ydata().tolist() == [0.9, 0.2, 0.1]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_figure_is_written_in_the_format_its_path_names(tmp_path, ending, start):
    path = tmp_path / f"confusion.{ending}"
    save_figure(confusion_figure(COUNTS, CLASSES, "toy"), path)
    assert path.read_bytes().startswith(start)
