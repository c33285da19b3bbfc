import numpy as np
import pytest

from ser_transfer.timeline.smoothing import DOUBT, cell_edges, cell_evidence, doubted_logs


def spread(probabilities: np.ndarray) -> np.ndarray:
    return (1 - DOUBT) * probabilities + DOUBT / probabilities.shape[-1]


def normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


def test_cells_are_a_hop_long_and_the_last_takes_what_is_left():
    assert cell_edges(100, 25).tolist() == [0, 25, 50, 75, 100]
    assert cell_edges(124, 25).tolist() == [0, 25, 50, 75, 124]
    assert cell_edges(10, 25).tolist() == [0, 10]


def test_a_cell_is_the_weighted_geometric_mean_of_its_windows_by_hand():
    # Windows of 4 hops: the middles of the cells under the first lie 0.75, 0.25, 0.25, 0.75 half-windows from
    # its own, and so weigh 0.25, 0.75, 0.75, 0.25; under the second, a hop later, the same a cell later.
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    edges = cell_edges(50, 10)
    evidence = np.exp(cell_evidence(edges, np.array([0, 10]), np.array([40, 50]), probabilities, np.ones(2)))
    first, second = spread(probabilities)
    np.testing.assert_allclose(evidence[0], first)
    np.testing.assert_allclose(evidence[4], second)
    np.testing.assert_allclose(evidence[1], normalised(first**0.75 * second**0.25))
    np.testing.assert_allclose(evidence[2], normalised(first**0.5 * second**0.5))


def test_cells_that_no_answered_window_is_over_have_no_evidence():
    evidence = cell_evidence(
        cell_edges(100, 10), np.array([0, 80]), np.array([20, 100]), np.full((2, 3), 1 / 3), np.ones(2)
    )
    assert np.isnan(evidence[:, 0]).tolist() == [False] * 2 + [True] * 6 + [False] * 2


def test_every_cell_has_evidence_where_every_window_was_answered():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n_window = int(rng.integers(1, 60))
        n_hop = int(rng.integers(1, n_window + 1))
        n_samples = int(rng.integers(1, 300))
        regular = np.arange(0, max(1, n_samples - n_window + 1), n_hop)
        starts = np.append(regular, max(0, n_samples - n_window))
        ends = np.minimum(starts + n_window, n_samples)
        edges = cell_edges(n_samples, n_hop)
        evidence = cell_evidence(edges, starts, ends, np.full((len(starts), 2), 0.5), np.ones(len(starts)))
        np.testing.assert_allclose(np.exp(evidence), 0.5)


def test_cells_move_with_the_sound():
    # Three hops of another sound before: the same cells three later, but for those under windows on both.
    rng = np.random.default_rng(1)
    n_hop, n_window = 10, 40
    starts = np.arange(0, 400 - n_window + 1, n_hop)
    probabilities = normalised(rng.random((len(starts), 4)))
    before = normalised(rng.random((3, 4)))
    alone = cell_evidence(
        cell_edges(400, n_hop), starts, starts + n_window, probabilities, np.ones(len(starts))
    )
    later = np.concatenate([[0, 10, 20], starts + 3 * n_hop])
    moved = cell_evidence(
        cell_edges(430, n_hop),
        later,
        later + n_window,
        np.concatenate([before, probabilities]),
        np.ones(len(later)),
    )
    np.testing.assert_allclose(moved[3 + 3 :], alone[3:])


def test_a_window_of_half_the_trust_counts_half():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    edges = cell_edges(10, 10)
    evidence = cell_evidence(edges, np.array([0, 0]), np.array([10, 10]), probabilities, np.array([1.0, 0.5]))
    first, second = spread(probabilities)
    np.testing.assert_allclose(np.exp(evidence[0]), normalised(first ** (2 / 3) * second ** (1 / 3)))


def test_a_window_that_is_entirely_sure_is_not_believed_entirely():
    logs = doubted_logs(np.array([[1.0, 0.0, 0.0, 0.0]]))
    assert logs[0, 0] - logs[0, 1] == pytest.approx(np.log((1 - DOUBT + DOUBT / 4) / (DOUBT / 4)))
