from itertools import groupby, pairwise, product

import numpy as np
import pytest

from ser_transfer.timeline.segments import Run, most_probable_path, runs_of, switching_cost


def score(path, evidence: np.ndarray, cost: float) -> float:
    switches = sum(left != right for left, right in pairwise(path))
    return float(sum(evidence[row, column] for row, column in enumerate(path)) - cost * switches)


def shortest_stay(path) -> int:
    return min(len(list(group)) for _, group in groupby(path))


@pytest.mark.parametrize("seed", range(30))
def test_the_path_is_the_best_of_all_that_stay_long_enough(seed):
    rng = np.random.default_rng(seed)
    n_cells, n_classes = int(rng.integers(1, 8)), int(rng.integers(2, 4))
    evidence = np.log(rng.dirichlet(np.full(n_classes, 0.4), n_cells) + 1e-3)
    for least, cost in product((1, 2, 3), (0.0, 0.7, 3.0)):
        allowed = [
            path
            for path in product(range(n_classes), repeat=n_cells)
            if shortest_stay(path) >= min(least, n_cells)
        ]
        best = max(score(path, evidence, cost) for path in allowed)
        found = most_probable_path(evidence, cost, least).tolist()
        assert shortest_stay(found) >= min(least, n_cells)
        assert score(found, evidence, cost) == pytest.approx(best)


def test_a_dearer_switch_gives_no_more_segments():
    evidence = np.log(np.random.default_rng(0).dirichlet(np.full(4, 0.5), 300) + 1e-3)
    n_runs = [
        len(runs_of(most_probable_path(evidence, cost, 1), np.arange(301)))
        for cost in (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 1000.0)
    ]
    assert n_runs == sorted(n_runs, reverse=True)
    assert n_runs[-1] == 1


def test_one_class_is_one_segment():
    assert most_probable_path(np.zeros((5, 1)), 1.0, 2).tolist() == [0] * 5


def test_the_cost_of_a_switch_is_that_of_a_markov_chain_with_that_mean_stay():
    # Stays of 20 cells on average: 1 step in 20 leaves, for one of 3 others.
    assert switching_cost(20.0, 4) == pytest.approx(np.log(0.95) - np.log(0.05 / 3))
    assert 0 < switching_cost(1.0001, 2) < 1e-3


def test_runs_join_the_cells_of_a_path():
    edges = np.array([3, 10, 20, 30, 47])
    assert runs_of(np.array([1, 1, 0, 2]), edges) == [Run(3, 20, 1), Run(20, 30, 0), Run(30, 47, 2)]
