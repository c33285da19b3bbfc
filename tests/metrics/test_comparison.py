import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from ser_transfer.metrics import MetricError, difference, holm

CLASSES = ("neutral", "happiness", "sadness", "anger")


def two_systems(n_speakers, n_rows=240, seed=0, right=(0.6, 0.5)):
    """Truth, two systems' answers with the given accuracies, and speakers, uneven in classes and speakers."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(CLASSES, n_rows, p=[0.4, 0.3, 0.2, 0.1])
    answers = [np.where(rng.random(n_rows) < share, truth, rng.choice(CLASSES, n_rows)) for share in right]
    speakers = [f"p{number}" for number in rng.integers(0, n_speakers, n_rows)]
    return truth, *answers, speakers


@pytest.mark.parametrize("seed", range(3))
def test_the_difference_and_its_p_value_are_scikit_learns_and_scipys(seed):
    truth, predicted, baseline, speakers = two_systems(7, seed=seed)
    owner = np.unique(speakers, return_inverse=True)[1]

    def statistic(first, second):
        """UAR of the first minus the second, each taking a speaker's answers from system 0 or 1."""
        uars = [
            balanced_accuracy_score(truth, np.where(system[owner] == 0, predicted, baseline))
            for system in (first, second)
        ]
        return uars[0] - uars[1]

    systems = (np.zeros(7, dtype=int), np.ones(7, dtype=int))
    expected = stats.permutation_test(
        systems, statistic, permutation_type="samples", vectorized=False, n_resamples=np.inf
    )
    found = difference(truth, predicted, baseline, CLASSES, speakers)
    assert found.uar == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


def one_class(right, baseline_right, n_rows):
    """Speakers with so many right answers of `n_rows` each, by two systems, truth all anger."""
    speakers = np.repeat([f"p{number}" for number in range(len(right))], n_rows)
    answers = [
        np.concatenate([["anger"] * count + ["sadness"] * (n_rows - count) for count in counts])
        for counts in (right, baseline_right)
    ]
    return np.full(len(speakers), "anger"), *answers, CLASSES, speakers


def test_with_more_speakers_swaps_are_drawn_and_their_p_value_is_close_to_the_exact_one():
    rng = np.random.default_rng(1)
    right, baseline_right = rng.integers(3, 16, 16), rng.integers(0, 13, 16)
    found = difference(*one_class(right, baseline_right, 15))
    exact = stats.permutation_test(
        (right, baseline_right),
        lambda first, second, axis: np.mean(first - second, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    ).pvalue
    assert 0.005 < exact < 0.2
    assert found.p_value != exact
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))
    assert difference(*one_class(right, baseline_right, 15)) == found


def test_a_difference_that_no_swap_reaches_has_the_least_p_value_and_never_zero():
    assert difference(*one_class([9, 8, 9, 7, 9], [1, 2, 0, 3, 1], 10)).p_value == 2 / 2**5
    assert difference(*one_class([9] * 14, [1] * 14, 10)).p_value == 2 / 2**14
    assert difference(*one_class([9] * 40, [1] * 40, 10)).p_value == 1 / 10_000


def test_the_interval_is_paired_so_that_what_all_speakers_share_has_no_width():
    found = difference(*one_class([9, 6, 3, 1], [8, 5, 2, 0], 10))
    assert found.uar == pytest.approx(0.1)
    np.testing.assert_allclose(found.interval, (0.1, 0.1))


def test_the_interval_is_the_paired_t_interval_where_speakers_weigh_the_same():
    right, baseline_right = np.array([9, 6, 3, 8, 7, 10]), np.array([8, 2, 4, 5, 5, 6])
    expected = stats.ttest_rel(right / 10, baseline_right / 10).confidence_interval(0.95)
    found = difference(*one_class(right, baseline_right, 10), n_resamples=50_000)
    np.testing.assert_allclose(found.interval, expected, atol=0.01 * (expected.high - expected.low))


def test_swapping_the_systems_turns_the_sign_and_keeps_the_p_value():
    truth, predicted, baseline, speakers = two_systems(8)
    ours = difference(truth, predicted, baseline, CLASSES, speakers)
    theirs = difference(truth, baseline, predicted, CLASSES, speakers)
    assert ours.uar == -theirs.uar > 0
    np.testing.assert_allclose(ours.interval, (-theirs.interval[1], -theirs.interval[0]))
    assert ours.p_value == theirs.p_value


def test_a_system_does_not_differ_from_itself():
    truth, predicted, _, speakers = two_systems(20)
    found = difference(truth, predicted, predicted, CLASSES, speakers)
    assert (found.uar, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_a_true_null_is_rejected_no_more_often_than_stated():
    rng = np.random.default_rng(0)
    p_values = [
        difference(*one_class(*rng.binomial(12, rng.beta(4, 3, 8), (2, 8)), 12), n_resamples=2).p_value
        for _ in range(400)
    ]
    # 0.05 and three standard errors of 400 tries: an exact test keeps its level, and is not idle either.
    assert 0.01 < np.mean(np.array(p_values) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_two_speakers_suffice_for_an_interval_which_is_wide_and_a_test_which_finds_nothing():
    found = difference(*one_class([9, 6], [5, 5], 10))
    assert found.interval[0] < -0.5 < 1.0 == found.interval[1]
    assert found.p_value == 0.5


def test_without_two_known_speakers_only_the_difference_is_given():
    truth, predicted, baseline, speakers = two_systems(6)
    known = difference(truth, predicted, baseline, CLASSES, speakers)
    for lacking in (None, [None, *speakers[1:]], ["p0"] * len(truth)):
        found = difference(truth, predicted, baseline, CLASSES, lacking)
        assert (found.uar, found.interval, found.p_value) == (known.uar, None, None)


def test_systems_that_cannot_be_compared_are_refused():
    with pytest.raises(MetricError, match="'joy' is not among the classes"):
        difference(["anger"], ["anger"], ["joy"], CLASSES, None)
    with pytest.raises(MetricError, match="there are 2, 1 and 2"):
        difference(["anger"] * 2, ["anger"] * 2, ["anger"], CLASSES, None)


def test_holm_adjusts_as_in_the_worked_example():
    # 0.01, 0.04, 0.03, 0.005: 4 x 0.005 = 0.02; 3 x 0.01 = 0.03; 2 x 0.03 = 0.06; 0.04 may not fall below it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.4, 0.7, 0.02]) == pytest.approx((0.8, 0.8, 0.06))
    assert holm([0.6, 0.9]) == (1.0, 1.0)


def test_holm_leaves_out_what_was_not_tested():
    assert holm([None, 0.02, None, 0.04]) == pytest.approx((None, 0.04, None, 0.04))
    assert holm([None]) == (None,)
    assert holm([]) == ()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(MetricError, match=f"between 0 and 1.*{wrong}"):
        holm([0.5, wrong])
