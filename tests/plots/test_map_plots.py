import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.preprocessing import StandardScaler

from ser_transfer.plots import PlotError, map_figure, map_of


@pytest.fixture(scope="module")
def blobs():
    """Three emotions of 30 rows that lie far apart in 60 dimensions; the last ones in units of thousands."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (90, 60)) + np.repeat(rng.normal(0, 6, (3, 60)), 30, axis=0)
    rows[:, 40:] = rng.normal(0, 1000, (90, 20))
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def plane(blobs):
    return map_of(blobs)


def drawn(axes):
    return {c.get_label(): c.get_offsets().tolist() for c in axes.collections}


def test_neighbours_stay_neighbours_and_no_feature_counts_more_for_its_unit(blobs, plane):
    assert trustworthiness(StandardScaler().fit_transform(blobs), plane) > 0.8
    emotion = np.repeat(np.arange(3), 30)
    distance = np.linalg.norm(plane[:, None] - plane, axis=-1) + np.diag(np.full(90, np.inf))
    assert np.mean(emotion[distance.argmin(axis=1)] == emotion) > 0.95


def test_the_same_seed_gives_the_same_map(blobs, plane):
    assert np.array_equal(map_of(blobs), plane)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("dim", [1, 2, 60])
def test_a_few_rows_have_a_map_too(n, dim, blobs):
    plane = map_of(blobs[::10][:n, :dim])
    assert plane.shape == (n, 2)
    assert np.isfinite(plane).all()


def test_fewer_than_eight_rows_lie_on_their_principal_components(blobs):
    rows = blobs[::13]
    expected = PCA(2).fit_transform(StandardScaler().fit_transform(rows.astype(float)))
    assert np.abs(map_of(rows)) == pytest.approx(np.abs(expected), abs=1e-6)


def test_identical_rows_lie_on_one_point():
    assert map_of(np.full((20, 5), 0.1)).tolist() == [[0.0, 0.0]] * 20


def test_many_copies_of_two_clips_have_a_map(blobs):
    plane = map_of(np.repeat(blobs[[0, 40]], 30, axis=0))
    assert np.isfinite(plane).all()


def test_rows_that_are_not_finite_are_refused(blobs):
    spoilt = blobs.copy()
    spoilt[[3, 5], 0] = np.nan
    with pytest.raises(PlotError, match="2 of 90 rows are not finite"):
        map_of(spoilt)
    with pytest.raises(PlotError, match=r"one of each at least, not \(0, 60\)"):
        map_of(blobs[:0])


def test_both_panels_show_every_point_once_under_its_name():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 5.0], [3.0, 3.0]])
    left, right = map_figure(points, ["fear", "anger", "fear", "anger"], ["b", "b", "a", None], "toy").axes
    assert drawn(left) == {"anger": [[1, 0], [3, 3]], "fear": [[0, 0], [2, 5]]}
    assert drawn(right) == {"a": [[2, 5]], "b": [[0, 0], [1, 0]], "unknown": [[3, 3]]}


def test_emotions_are_coloured_in_the_order_of_the_vocabulary_as_in_the_other_figures():
    left = map_figure(np.zeros((3, 2)), ["fear", "neutral", "zeal"], ["a"] * 3, "toy").axes[0]
    assert list(drawn(left)) == ["neutral", "fear", "zeal"]


def test_eighty_speakers_differ_in_colour_or_mark_and_are_counted_rather_than_listed():
    speakers = [f"{i:02d}" for i in range(80)]
    right = map_figure(np.random.default_rng(0).random((80, 2)), ["fear"] * 80, speakers, "toy").axes[1]
    looks = {
        (str(c.get_facecolor().tolist()), str(c.get_paths()[0].vertices.tolist())) for c in right.collections
    }
    assert len(looks) == 80
    assert right.get_legend() is None
    assert right.get_title(loc="left") == "by speaker (n = 80)"


def test_points_without_an_emotion_each_are_refused():
    with pytest.raises(PlotError, match=r"not \(3, 2\), 2 and 3"):
        map_figure(np.zeros((3, 2)), ["fear"] * 2, ["a"] * 3, "toy")
