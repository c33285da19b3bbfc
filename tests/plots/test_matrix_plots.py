import numpy as np
import pytest

from ser_transfer.plots import PlotError, confusion_figure, matrix_figure

CLASSES = ("neutral", "anger", "fear")
COUNTS = np.array([[8, 1, 1], [2, 6, 0], [0, 0, 0]])
SCORES = np.array([[0.6, 0.3], [np.nan, 0.8]])


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def colour_scale(figure):
    image = figure.axes[0].images[0]
    return image.get_array().tolist(), image.get_clim()


def test_the_confusion_matrix_prints_share_and_count_of_every_cell():
    shown = texts(confusion_figure(COUNTS, CLASSES, "toy"))
    assert shown[:4] == ["0.80", "8", "0.10", "1"]
    assert len(shown) == 2 * COUNTS.size


def test_an_emotion_nobody_showed_is_an_empty_row_not_a_division_by_zero():
    assert texts(confusion_figure(COUNTS, CLASSES, "toy"))[-2:] == ["0.00", "0"]


def test_emphasising_counts_swaps_large_and_small_figures_and_colours_by_count():
    figure = confusion_figure(COUNTS, CLASSES, "toy", emphasis="counts")
    assert texts(figure)[:4] == ["8", "0.80", "1", "0.10"]
    assert colour_scale(figure) == (COUNTS.tolist(), (0, 8))


def test_shares_are_coloured_from_0_to_1_so_that_two_matrices_compare():
    values, scale = colour_scale(confusion_figure(COUNTS, CLASSES, "toy"))
    assert np.array(values).sum(axis=1).tolist() == [1.0, 1.0, 0.0]
    assert scale == (0.0, 1.0)


@pytest.mark.parametrize("emphasis", ["shares", "counts"])
def test_text_is_white_on_dark_cells_only(emphasis):
    figure = confusion_figure(COUNTS, CLASSES, "toy", emphasis=emphasis)
    assert [text.get_color() for text in figure.axes[0].texts[:4]] == ["white", "white", "#222222", "#222222"]


def test_the_cross_corpus_matrix_frames_a_corpus_on_itself_and_leaves_out_what_was_not_measured():
    axes = matrix_figure(SCORES, ["ravdess", "emodb"], ["emodb", "ravdess"], "toy").axes[0]
    assert texts(axes.figure) == ["0.60", "0.30", "–", "0.80"]
    assert [patch.get_center().tolist() for patch in axes.patches] == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("draw", [confusion_figure, matrix_figure])
def test_a_matrix_of_another_shape_than_its_names_is_refused(draw):
    names = (CLASSES,) if draw is confusion_figure else (CLASSES, CLASSES)
    with pytest.raises(PlotError, match=r"3 names of rows and 3 of columns .*, not \(2, 2\)"):
        draw(SCORES, *names, "toy")
