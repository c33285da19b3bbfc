import pytest

from ser_transfer.plots import PlotError, training_figure


def history(uars):
    return [
        {
            "epoch": i,
            "train_loss": 2.0 / i,
            "validation_loss": None if uar is None else 1.0 + i,
            "validation_uar": uar,
        }
        for i, uar in enumerate(uars, 1)
    ]


def marks(axes):
    return [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata()) == 1]


def test_the_best_epoch_is_the_first_of_highest_validation_uar_on_both_panels():
    left, right = training_figure({"1": history([0.3, 0.5, 0.5, 0.4]), "2": history([0.2, 0.1])}, "toy").axes
    assert marks(right) == [[[2, 0.5]], [[1, 0.2]]]
    assert marks(left) == [[[2, 3.0]], [[1, 2.0]]]


def test_the_epoch_that_was_kept_is_marked_where_it_is_told():
    curves = {"1": history([0.3, 0.5, 0.5, 0.4]), "2": history([0.2, 0.1])}
    left, right = training_figure(curves, "toy", {"1": 3, "2": None}).axes
    assert marks(right) == [[[3, 0.5]], [[1, 0.2]]]
    assert marks(left) == [[[3, 4.0]], [[1, 2.0]]]


def test_every_fold_has_its_training_and_its_validation_line():
    left, right = training_figure({"1": history([0.3, 0.5]), "2": history([0.2, 0.1])}, "toy").axes
    lines = [line for line in left.lines if len(line.get_xdata()) > 1]
    assert [line.get_ydata().tolist() for line in lines] == [[2.0, 1.0], [2.0, 3.0]] * 2
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 2
    assert [line.get_color() for line in lines[::2]] == [line.get_color() for line in right.lines[::2]]


def test_where_nothing_validates_there_is_the_training_loss_alone():
    figure = training_figure({"1": history([None, None])}, "toy")
    assert len(figure.axes) == len(figure.axes[0].lines) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "fold 1"]


@pytest.mark.parametrize("histories", [{}, {"1": []}])
def test_a_curve_without_an_epoch_is_refused(histories):
    with pytest.raises(PlotError, match="one epoch of each"):
        training_figure(histories, "toy")
