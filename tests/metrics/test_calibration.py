import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from ser_transfer.metrics import (
    Abstention,
    MetricError,
    abstention,
    abstention_at,
    brier,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)

CLASSES = ("neutral", "anger", "sadness", "fear")  # not in the order of the alphabet


def calibrated(n_rows=400, seed=0):
    """Probabilities, and truths that are drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.5), n_rows)
    drawn = (rng.random((n_rows, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    return probabilities, [CLASSES[column] for column in np.minimum(drawn, len(CLASSES) - 1)]


def power(probabilities, exponent):
    raised = probabilities**exponent
    return raised / raised.sum(axis=1, keepdims=True)


def sklearn_log_loss(probabilities, truth):
    order = np.argsort(CLASSES)
    return log_loss(truth, power(probabilities, 1.0)[:, order], labels=sorted(CLASSES))


def answers(probabilities):
    return [CLASSES[column] for column in probabilities.argmax(axis=1)]


@pytest.mark.parametrize("exponent", [0.4, 1.0, 2.5])
def test_the_fitted_temperature_minimises_scikit_learns_log_loss(exponent):
    probabilities, truth = calibrated()
    probabilities = power(probabilities, exponent)
    best = minimize(
        lambda x: sklearn_log_loss(power(probabilities, np.exp(-x[0])), truth), [0.0], method="Nelder-Mead"
    )
    temperature = fit_temperature(probabilities, truth, CLASSES)
    assert temperature == pytest.approx(np.exp(best.x[0]), rel=1e-3)
    scaled = with_temperature(probabilities, temperature)
    assert sklearn_log_loss(scaled, truth) == pytest.approx(best.fun)


def test_the_temperature_that_spoilt_calibrated_probabilities_is_found():
    probabilities, truth = calibrated(20_000)
    spoilt = power(probabilities, 2.0)
    temperature = fit_temperature(spoilt, truth, CLASSES)
    assert temperature == pytest.approx(2.0, rel=0.05)
    mended = with_temperature(spoilt, temperature)
    for measure in (expected_calibration_error, brier):
        assert measure(mended, truth, CLASSES) < measure(spoilt, truth, CLASSES)


def test_a_temperature_keeps_answers_and_sums_and_is_a_power():
    probabilities, _ = calibrated()
    for temperature in (0.5, 1.0, 3.0):
        scaled = with_temperature(probabilities, temperature)
        np.testing.assert_allclose(scaled, power(np.maximum(probabilities, 2.2e-16), 1 / temperature))
        np.testing.assert_array_equal(scaled.argmax(axis=1), probabilities.argmax(axis=1))


def test_rows_that_are_all_right_get_the_lowest_temperature():
    assert fit_temperature([[0.6, 0.4], [0.3, 0.7]], ["a", "b"], ["a", "b"]) == 0.1
    assert fit_temperature([[0.6, 0.4], [0.3, 0.7]], ["b", "a"], ["a", "b"]) == 10.0


@pytest.mark.parametrize("row", [[0.5, 0.5], [1.0, 0.0]])
def test_where_no_temperature_is_better_than_one_it_is_one(row):
    assert fit_temperature([row], ["a"], ["a", "b"]) == 1.0
    assert fit_temperature([[1.0]], ["a"], ["a"]) == 1.0


def test_a_truth_that_was_given_no_chance_is_costly_but_finite():
    probabilities = np.array([[0.9, 0.1, 0.0], *[[0.8, 0.1, 0.1]] * 30, [1.0, 0.0, 0.0]])
    temperature = fit_temperature(probabilities, ["c", *["a"] * 31], ["a", "b", "c"])
    assert 1 < temperature < 10
    scaled = with_temperature(probabilities, temperature)
    assert np.isfinite(scaled).all()
    assert 0 < scaled[0, 2] < scaled[0, 1]
    np.testing.assert_allclose(with_temperature(probabilities, 1.0), probabilities, atol=1e-15)


def test_the_brier_score_is_scikit_learns():
    probabilities, truth = calibrated()
    order = np.argsort(CLASSES)
    expected = brier_score_loss(truth, probabilities[:, order], labels=sorted(CLASSES), scale_by_half=False)
    assert brier(probabilities, truth, CLASSES) == pytest.approx(expected)
    assert brier([[0.8, 0.2]], ["b"], ["a", "b"]) == pytest.approx(0.64 + 0.64)


def test_reliability_is_scikit_learns_calibration_curve_of_the_answers():
    probabilities, truth = calibrated()
    right = np.array(answers(probabilities)) == truth
    accuracy, confidence = calibration_curve(right, probabilities.max(axis=1), n_bins=15)
    bins = reliability(probabilities, truth, CLASSES)
    filled = [place for place, count in enumerate(bins.counts) if count]
    np.testing.assert_allclose([bins.confidence[place] for place in filled], confidence)
    np.testing.assert_allclose([bins.accuracy[place] for place in filled], accuracy)
    edges = np.linspace(0, 1, 16)
    np.testing.assert_array_equal(bins.counts, np.histogram(probabilities.max(axis=1), edges)[0])


def test_a_bin_is_closed_above_and_an_empty_one_holds_nothing():
    bins = reliability([[0.6, 0.4], [0.61, 0.39], [0.0, 1.0]], ["a", "b", "b"], ["a", "b"], n_bins=5)
    assert bins.counts == (0, 0, 1, 1, 1)
    assert bins.accuracy == (None, None, 1.0, 0.0, 1.0)
    assert bins.confidence == (None, None, 0.6, 0.61, 1.0)


def test_the_calibration_error_is_the_hand_worked_one():
    probabilities = [[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.2, 0.8]]
    # Bins of 1/15: 0.9 twice, one right: 2 x 0.4; 0.7 right: 0.3; 0.8 wrong: 0.8.
    error = expected_calibration_error(probabilities, ["a", "b", "b", "a"], ["a", "b"])
    assert error == pytest.approx((2 * 0.4 + 0.3 + 0.8) / 4)
    assert expected_calibration_error([[1.0, 0.0]], ["a"], ["a", "b"]) == 0


def test_the_coverage_curve_is_the_accuracy_of_the_rows_above_each_threshold():
    probabilities, truth = calibrated(60)
    probabilities = power(np.round(probabilities + 0.05, 1), 1.0)  # so that confidences tie
    curve = coverage_curve(probabilities, truth, CLASSES)
    confidence, truth = probabilities.max(axis=1), np.array(truth)
    thresholds = sorted(set(confidence.round(12)), reverse=True)
    assert len(curve) == len(thresholds) < len(truth)
    for point, threshold in zip(curve, thresholds, strict=True):
        kept = confidence > threshold - 1e-9
        assert point.threshold == pytest.approx(threshold)
        assert point.coverage == pytest.approx(kept.mean())
        assert point.accuracy == pytest.approx(accuracy_score(truth[kept], answers(probabilities[kept])))
    assert curve[-1].coverage == 1


def test_rows_of_equal_confidence_stand_or_fall_together_also_after_a_temperature():
    rng = np.random.default_rng(0)
    votes = np.array([rng.permutation([0.5, 0.3, 0.1, 0.1]) for _ in range(50)])
    truth = [CLASSES[column] for column in rng.integers(0, 4, 50)]
    for probabilities in (votes, with_temperature(votes, 1.7)):
        curve = coverage_curve(probabilities, truth, CLASSES)
        assert [point.coverage for point in curve] == [1.0]


ROWS = [[0.9, 0.1], [0.8, 0.2], [0.75, 0.25], [0.7, 0.3], [0.6, 0.4]]
TRUTH = ["a", "b", "a", "a", "b"]  # right, wrong, right, right, wrong


def test_abstention_answers_the_most_rows_that_reach_the_accuracy():
    # Accuracies from the most confident row down: 1, 1/2, 2/3, 3/4, 3/5.
    assert abstention(ROWS, TRUTH, ["a", "b"], 0.7) == Abstention(0.7, 0.8, 0.75)
    assert abstention(ROWS, TRUTH, ["a", "b"], 0.75) == Abstention(0.7, 0.8, 0.75)
    assert abstention(ROWS, TRUTH, ["a", "b"], 0.76) == Abstention(0.9, 0.2, 1.0)
    assert abstention(ROWS, TRUTH, ["a", "b"], 0.5) == Abstention(0.6, 1.0, 0.6)


def test_an_accuracy_that_no_threshold_reaches_gives_none():
    assert abstention(ROWS[1:], TRUTH[1:], ["a", "b"], 0.9) is None
    assert abstention([[0.9, 0.1]], ["b"], ["a", "b"], 0.1) is None


def test_a_threshold_found_on_some_rows_is_applied_to_others():
    found = abstention(ROWS, TRUTH, ["a", "b"], 0.7)
    others = [[0.7, 0.3], [0.1, 0.9], [0.65, 0.35]]
    assert abstention_at(others, ["a", "a", "a"], ["a", "b"], found.threshold) == Abstention(0.7, 2 / 3, 0.5)
    assert abstention_at(ROWS, TRUTH, ["a", "b"], found.threshold) == found
    assert abstention_at(others, ["a", "a", "a"], ["a", "b"], 0.95) == Abstention(0.95, 0.0, None)


@pytest.mark.parametrize(
    "measure",
    [
        fit_temperature,
        brier,
        expected_calibration_error,
        reliability,
        coverage_curve,
        lambda *arguments: abstention(*arguments, 0.9),
        lambda *arguments: abstention_at(*arguments, 0.5),
        lambda probabilities, truth, classes: with_temperature(probabilities, 2.0),
    ],
)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.5, 0.5], [np.nan, 0.5]], "1 of 2 rows .* not finite, the first is row 1: .nan, 0.5."),
        ([[np.inf, 0.5], [0.5, 0.5]], "not finite, the first is row 0"),
        ([[0.5, 0.5], [0.5, 0.6]], "the first is row 1: .0.5, 0.6.; a row has values from 0 that sum to 1"),
        ([[1.5, -0.5], [0.5, 0.5]], "the first is row 0"),
        ([], "shape .rows, classes."),
        ([0.5, 0.5], "not .2,."),
    ],
)
def test_what_are_no_probabilities_are_refused(measure, rows, message):
    with pytest.raises(MetricError, match=message):
        measure(rows, ["a"] * len(rows), ["a", "b"])


def test_sizes_labels_and_settings_that_do_not_fit_are_refused():
    with pytest.raises(MetricError, match=r"2 utterances and 3 classes .* shape \(2, 2\)"):
        brier([[0.5, 0.5]] * 2, ["a", "b"], ["a", "b", "c"])
    with pytest.raises(MetricError, match=r"3 utterances and 2 classes .* shape \(2, 2\)"):
        reliability([[0.5, 0.5]] * 2, ["a", "b", "a"], ["a", "b"])
    with pytest.raises(MetricError, match="'joy' is not among the classes a, b"):
        fit_temperature([[0.5, 0.5]], ["joy"], ["a", "b"])
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MetricError, match="a number above 0, not"):
            with_temperature([[0.5, 0.5]], temperature)
    for accuracy in (0, 90, float("nan")):
        with pytest.raises(MetricError, match=f"as 0.9, not {accuracy}"):
            abstention([[0.5, 0.5]], ["a"], ["a", "b"], accuracy)
