"""What holds for every figure: it can be drawn, nothing is cut off, and nothing global is touched."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from ser_transfer import plots
from ser_transfer.metrics import Abstention, GroupScore, Reliability
from ser_transfer.plots import LeaderboardRow, save_figure

CLASSES = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
TITLE = (
    "RAVDESS · emobox, 6 folds as published · n = 1440, 24 speakers\nNOT SPEAKER-INDEPENDENT: " + "why " * 40
)
LONG = "facebook/wav2vec2-large-xlsr-53-finetuned+handcrafted (mean of probabilities)"
RNG = np.random.default_rng(0)
PROBABILITIES = RNG.dirichlet(np.ones(8), 64)
TRUTH = list(CLASSES) * 8
BINS = Reliability((0.2, 0.5, None, 0.9), (0.3, 0.4, None, 0.8), (4, 30, 0, 30))
HISTORY = [
    {"epoch": i, "train_loss": 2 / i, "validation_loss": 3 / i, "validation_uar": 0.1 * i}
    for i in range(1, 6)
]
SPEAKERS = {f"{i:02d}": i / 24 for i in range(24)}

FIGURES = {
    "confusion_figure": (RNG.integers(0, 200, (8, 8)), CLASSES),
    "coverage_figure": ([0.1, 0.5, 1.0], [0.9, 0.8, 0.6], Abstention(0.5, 0.5, 0.8)),
    "group_figure": ({"sentence": {"Kids are " * 9: GroupScore(720, 12, CLASSES, 0.6, 0.6, (0.5, 0.7))}},),
    "layer_figure": (
        {LONG: {f"layer_{i:02d}": (0.5, 0.4, 0.6) for i in range(14)}, "mfcc": {"mfcc": (0.4, 0.3, 0.5)}},
    ),
    "leaderboard_figure": (
        [LeaderboardRow(f"{LONG} {i}", "fusion", 0.9, (0.8, 0.95), 0.99) for i in range(12)],
    ),
    "map_figure": (RNG.random((64, 2)), TRUTH, [f"{i % 24:02d}" for i in range(64)]),
    "matrix_figure": (RNG.random((2, 3)), ["ravdess", LONG], ["ravdess", "emodb", LONG]),
    "per_class_figure": (
        dict.fromkeys(CLASSES, 0.5),
        dict.fromkeys(CLASSES, 0.6),
        dict.fromkeys(CLASSES, 0.55),
    ),
    "precision_recall_figure": (PROBABILITIES, TRUTH, CLASSES),
    "reliability_figure": (BINS, BINS),
    "roc_figure": (PROBABILITIES, TRUTH, CLASSES),
    "score_figure": ({LONG: (0.5, 0.4, 0.6)}, {LONG: "encoder"}),
    "speaker_figure": ({LONG: SPEAKERS, "mfcc": SPEAKERS}, {LONG: "encoder", "mfcc": "baseline"}),
    "training_figure": ({f"{i}": HISTORY for i in range(24)},),
}
WITH_CHANCE = ("layer_figure", "leaderboard_figure", "score_figure")


def figure_of(name):
    options = {"chance": 1 / 8} if name in WITH_CHANCE else {}
    return getattr(plots, name)(*FIGURES[name], title=TITLE, **options)


def test_every_figure_of_the_room_is_tested_here():
    assert set(FIGURES) == {name for name in plots.__all__ if name.endswith("_figure")} - {"save_figure"}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_without_a_warning_and_carries_the_whole_title(name, tmp_path):
    figure = figure_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "figure.png")
    assert figure.get_suptitle().split() == TITLE.split()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_leaves_the_figure_and_axes_keep_most_of_it_whatever_the_names(name):
    figure = figure_of(name)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= -0.1
    assert drawn.y0 >= -0.1
    assert drawn.x1 <= width + 0.1
    assert drawn.y1 <= height + 0.1
    boxes = [axes.get_position() for axes in figure.axes]
    assert sum(box.width for box in boxes) > 0.25
    assert sum(box.height for box in boxes) > 0.25


@pytest.mark.parametrize("name", FIGURES)
def test_a_legend_below_covers_no_axes(name):
    figure = figure_of(name)
    figure.draw_without_rendering()
    for legend in figure.legends:
        top = legend.get_window_extent().y1
        assert all(top <= axes.get_tightbbox().y0 for axes in figure.axes)


def test_a_long_title_takes_nothing_from_the_axes():
    heights = []
    for title in ("toy", TITLE):
        figure = plots.coverage_figure([0.1, 1.0], [0.9, 0.6], None, title)
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_window_extent().height)
    assert heights[1] == pytest.approx(heights[0], rel=0.05)


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_written_in_the_format_its_path_names(tmp_path, ending, start):
    path = tmp_path / f"figure.{ending}"
    save_figure(figure_of("reliability_figure"), path)
    assert path.read_bytes().startswith(start)


def test_importing_the_room_imports_nothing_heavy_and_drawing_no_pyplot():
    code = (
        "import sys; from ser_transfer.plots import score_figure;"
        "print({'matplotlib', 'sklearn', 'pandas', 'scipy'} & set(sys.modules));"
        "score_figure({'a': (.5, .4, .6)}, {'a': 'encoder'}, 'toy', .25);"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n")[:2] == ["set()", "False"]
