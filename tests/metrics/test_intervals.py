import numpy as np
import pytest
from scipy import stats

from ser_transfer.metrics import difference_interval, resample_speakers, t_interval, uar


def test_resampling_draws_whole_speakers_and_the_same_ones_for_the_same_seed():
    by_speaker = np.zeros((5, 2, 2), dtype=np.int64)
    by_speaker[range(5), 0, 0] = 10 ** np.arange(5)  # speaker i leaves digit i
    drawn = resample_speakers(by_speaker, n_resamples=50, seed=1)[:, 0, 0]
    digits = np.array([[total // 10**speaker % 10 for speaker in range(5)] for total in drawn])
    assert (digits.sum(axis=1) == 5).all()
    assert len(np.unique(digits, axis=0)) > 20
    np.testing.assert_array_equal(resample_speakers(by_speaker, n_resamples=50, seed=1)[:, 0, 0], drawn)
    assert (resample_speakers(by_speaker, n_resamples=50, seed=2)[:, 0, 0] != drawn).any()


@pytest.mark.parametrize("n_speakers", [4, 10, 24])
def test_intervals_hold_the_truth_90_to_98_percent_of_the_time(n_speakers):
    rng = np.random.default_rng(n_speakers)

    def simulate(n_people):
        """Counts of 2 classes, 20 utterances each, by people who differ in how well they are recognised."""
        right = rng.binomial(20, 1 / (1 + np.exp(-rng.normal([0.5, 1.5], 0.7, (n_people, 2)))))
        return np.stack([right[:, 0], 20 - right[:, 0], 20 - right[:, 1], right[:, 1]], axis=1).reshape(
            -1, 2, 2
        )

    truth = float(uar(simulate(200_000).sum(axis=0)))
    hits = []
    for _ in range(400):
        sample = simulate(n_speakers)
        resampled = uar(resample_speakers(sample, n_resamples=400))
        low, high = t_interval(float(uar(sample.sum(axis=0))), resampled, n_speakers, int(sample.sum()))
        hits.append(low <= truth <= high)
    assert 0.90 <= np.mean(hits) <= 0.98


def test_the_interval_of_a_difference_is_students_where_speakers_weigh_the_same():
    rng = np.random.default_rng(3)
    right = rng.integers(0, 21, 6)  # of 20 utterances and the like of a baseline, which has 10 each
    differences = (right - 10) / 20
    counts = np.zeros((6, 1, 1), dtype=np.int64)
    counts[:, 0, 0] = right
    resampled = resample_speakers(counts, n_resamples=100_000)[:, 0, 0] / 120 - 0.5
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    interval = difference_interval(differences.mean(), resampled, 6)
    np.testing.assert_allclose(interval, expected, atol=0.01 * (expected.high - expected.low))


def test_the_interval_of_a_difference_holds_it_and_ends_at_plus_and_minus_one():
    assert difference_interval(0.9, np.array([0.2, 1.0]), 2) == (-1.0, 1.0)
    assert difference_interval(0.25, np.full(10, 0.25), 5) == (0.25, 0.25)
