import pytest

from ser_transfer.plots import PlotError, layer_figure

YAMNET = {"layer_01": (0.4, 0.35, 0.45), "layer_02": (0.5, 0.44, 0.56), "layer_14": (0.3, 0.25, 0.35)}
WAV2VEC2 = {"layer_00": (0.2, 0.15, 0.25), "layer_01": (0.6, 0.5, 0.7)}
VGGISH = {"conv1": (0.3, 0.2, 0.4), "embedding": (0.5, 0.4, 0.6)}
MFCC = {"mfcc": (0.45, 0.4, 0.5)}


def curve(axes, number):
    """The points of a curve; lines and rings are drawn in the order of the encoders."""
    return axes.lines[number].get_xydata().tolist()


def ring_areas(axes):
    return [collection.get_sizes().tolist() for collection in axes.collections[1::2]]


def test_numbered_layers_stand_at_their_numbers_whatever_other_encoders_have():
    (axes,) = layer_figure({"yamnet": YAMNET, "wav2vec2": WAV2VEC2}, "toy", chance=1 / 8).axes
    assert curve(axes, 0) == [[1, 0.4], [2, 0.5], [14, 0.3]]
    assert curve(axes, 1) == [[0, 0.2], [1, 0.6]]


def test_named_layers_have_a_panel_of_their_own_and_their_names_below():
    left, right = layer_figure({"vggish": VGGISH, "yamnet": YAMNET, "mfcc": MFCC}, "toy", chance=1 / 8).axes
    assert curve(left, 0) == [[1, 0.4], [2, 0.5], [14, 0.3]]
    names = {int(label.get_position()[0]): label.get_text() for label in right.get_xticklabels()}
    assert [[names[x] for x, _ in curve(right, number)] for number in (0, 1)] == [
        ["conv1", "embedding"],
        ["mfcc"],
    ]
    assert right.get_shared_y_axes().joined(left, right)


def test_the_band_spans_the_interval():
    (axes,) = layer_figure({"yamnet": YAMNET}, "toy", chance=1 / 8).axes
    band = axes.collections[0].get_paths()[0].vertices
    assert {(x, y) for x, y in band.tolist()} >= {(1, 0.35), (1, 0.45), (2, 0.44), (2, 0.56)}


def test_a_single_layer_has_its_interval_as_a_line():
    (axes,) = layer_figure({"mfcc": MFCC}, "toy", chance=1 / 8).axes
    assert axes.collections[0].get_segments()[0].tolist() == [[0, 0.4], [0, 0.5]]


def test_the_area_of_a_ring_is_in_proportion_to_the_folds_that_chose_the_layer():
    chosen = {"yamnet": {"layer_02": 4, "layer_14": 1}, "wav2vec2": {"layer_01": 2}}
    figure = layer_figure({"yamnet": YAMNET, "wav2vec2": WAV2VEC2}, "toy", chance=1 / 8, chosen=chosen)
    (none, full, quarter), (nothing, half) = ring_areas(figure.axes[0])
    assert none == nothing == 0
    assert (quarter / full, half / full) == pytest.approx((1 / 4, 1 / 2))
    assert figure.legends[0].get_texts()[-1].get_text() == "ring: folds that chose the layer, at most 4"


def test_without_choices_there_is_no_ring_and_no_word_of_it():
    figure = layer_figure({"yamnet": YAMNET}, "toy", chance=1 / 8)
    assert ring_areas(figure.axes[0]) == [[0, 0, 0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["yamnet", "chance"]


def test_a_chosen_layer_without_a_score_is_refused():
    with pytest.raises(PlotError, match="layer_13 of yamnet was chosen, and has no score"):
        layer_figure({"yamnet": YAMNET}, "toy", chance=1 / 8, chosen={"yamnet": {"layer_13": 1}})


@pytest.mark.parametrize("curves", [{}, {"yamnet": {}}])
def test_curves_without_a_layer_are_refused(curves):
    with pytest.raises(PlotError, match="one layer of each"):
        layer_figure(curves, "toy", chance=1 / 8)
