from itertools import pairwise

import numpy as np
import pytest

from ser_transfer.plots import LeaderboardRow, PlotError, leaderboard_figure, score_figure, speaker_figure

ROLES = {"yamnet": "encoder", "mfcc": "baseline", "majority class": "floor"}
ROWS = (
    LeaderboardRow("mfcc", "baseline", 0.44, (0.40, 0.48), 0.60),
    LeaderboardRow("majority class", "floor", 0.125),
    LeaderboardRow("yamnet+mfcc", "fusion", 0.63, (0.58, 0.67), 0.60),
    LeaderboardRow("yamnet", "encoder", 0.61, (0.55, 0.66), 0.72),
    LeaderboardRow("yamnet (untrained)", "untrained", 0.30, (0.27, 0.33)),
)


def tick_labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def notes(axes):
    return [text.get_text() for text in axes.texts]


def test_the_score_bars_have_the_length_of_the_uar_and_the_colour_of_the_role():
    scores = {"yamnet": (0.58, 0.54, 0.61), "mfcc": (0.44, 0.4, 0.48), "majority class": (0.33, 0.33, 0.33)}
    axes = score_figure(scores, ROLES, "toy", chance=1 / 3).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.58, 0.44, 0.33]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 3


def test_the_leaderboard_ranks_by_speaker_independent_uar_whatever_the_leak_would_say():
    axes = leaderboard_figure(ROWS, "toy", chance=1 / 8).axes[0]
    assert tick_labels(axes.yaxis) == [
        "yamnet+mfcc",
        "yamnet",
        "mfcc",
        "yamnet (untrained)",
        "majority class",
    ]
    assert [bar.get_width() for bar in axes.patches] == [0.63, 0.61, 0.44, 0.30, 0.125]
    assert axes.yaxis.get_inverted()


def test_every_role_has_a_colour_of_its_own_and_stands_in_the_legend():
    figure = leaderboard_figure(ROWS, "toy", chance=1 / 8)
    assert len({bar.get_facecolor() for bar in figure.axes[0].patches}) == 5
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("encoder", "fusion", "baseline", "untrained", "floor", "chance", "NOT SPEAKER-INDEPENDENT"),
    ]


def test_a_speaker_dependent_score_is_a_hollow_mark_with_the_gap_written_beside():
    axes = leaderboard_figure(ROWS, "toy", chance=1 / 8).axes[0]
    marks = [line for line in axes.lines if line.get_label() == "NOT SPEAKER-INDEPENDENT"]
    assert [float(mark.get_xdata()[0]) for mark in marks] == [0.60, 0.72, 0.60]
    assert {mark.get_markerfacecolor() for mark in marks} == {"white"}
    assert [note for note in notes(axes) if note[0] in "+-"] == ["-0.030", "+0.110", "+0.160"]


def test_without_speaker_dependent_scores_nothing_speaks_of_them():
    figure = leaderboard_figure([ROWS[1], ROWS[4]], "toy", chance=1 / 8)
    assert notes(figure.axes[0]) == ["0.300", "0.125", "UAR"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["untrained", "floor", "chance"]


def test_a_leaderboard_of_nothing_is_refused():
    with pytest.raises(PlotError, match="one system at least"):
        leaderboard_figure([], "toy", chance=0.25)


def test_speakers_stand_in_the_encoders_order_worst_first():
    uar = {"mfcc": {"a": 0.1, "b": 0.9, "c": 0.2}, "yamnet": {"a": 0.7, "b": 0.5, "c": 0.6}}
    axes = speaker_figure(uar, ROLES, "toy").axes[0]
    assert tick_labels(axes.xaxis) == ["b", "c", "a"]
    assert axes.lines[0].get_ydata().tolist() == [0.9, 0.2, 0.1]


def test_a_line_joins_the_worst_and_the_best_score_of_a_speaker():
    uar = {"yamnet": {"a": 0.7, "b": 0.5}, "mfcc": {"a": 0.1, "b": 0.9}}
    (joins,) = speaker_figure(uar, ROLES, "toy").axes[0].collections
    assert [segment.tolist() for segment in joins.get_segments()] == [
        [[0, 0.5], [0, 0.9]],
        [[1, 0.1], [1, 0.7]],
    ]


def test_systems_of_one_role_differ_in_colour_and_in_mark():
    names = [f"encoder {i}" for i in range(8)]
    uar = {name: {"a": 0.5, "b": 0.6} for name in names}
    lines = speaker_figure(uar, dict.fromkeys(names, "encoder"), "toy").axes[0].lines
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 8


@pytest.mark.parametrize(("n", "form"), [(10, "Ses{:02d}F_Annabel"), (24, "{:02d}"), (91, "10{:02d}")])
def test_the_names_of_speakers_do_not_overlap(n, form):
    uar = np.random.default_rng(0).random(n)
    figure = speaker_figure({"yamnet": {form.format(i): float(uar[i]) for i in range(n)}}, ROLES, "toy")
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) == n
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_more_speakers_than_have_room_for_a_name_are_counted_instead():
    figure = speaker_figure({"yamnet": {f"{i}": i / 400 for i in range(400)}}, ROLES, "toy")
    axes = figure.axes[0]
    assert tick_labels(axes.xaxis) == []
    assert axes.get_xlabel() == "speaker (n = 400), worst first"
    assert figure.get_figwidth() <= 16
