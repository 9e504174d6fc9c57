import numpy as np
import pytest
import scoringrules
from scipy import stats

from dynplat.comparison.scores import (
    absolute_error,
    coverage,
    error,
    interval_score,
    log_score,
    pit,
    squared_error,
    width,
)
from dynplat.errors import ArgumentError, CapabilityError


@pytest.fixture
def gaussian(prediction_from, cells):
    truth, hidden, rng = cells
    mean, sd = rng.normal(size=(1, *truth.shape)), rng.uniform(0.5, 2, size=(1, *truth.shape))
    return prediction_from(mean=mean, sd=sd), mean[0], sd[0], truth, hidden


def test_squared_and_signed_errors_are_those_of_the_mean(gaussian):
    prediction, mean, _, truth, hidden = gaussian
    gap = (mean - truth)[hidden]
    np.testing.assert_allclose(error(prediction, truth, hidden).values, gap)
    np.testing.assert_allclose(squared_error(prediction, truth, hidden).values, gap**2)


def test_absolute_error_is_that_of_the_median_not_of_the_mean(prediction_from):
    # A skew mixture: three of four components at 0, one at 8; its mean is 2, its median near 0.43.
    mean, sd = np.array([0.0, 0.0, 0.0, 8.0]).reshape(4, 1, 1, 1), np.ones((4, 1, 1, 1))
    prediction, hidden = prediction_from(mean=mean, sd=sd), np.ones((1, 1, 1), dtype=bool)
    median = stats.norm.ppf(2 / 3)
    assert absolute_error(prediction, np.zeros((1, 1, 1)), hidden).values[0] == pytest.approx(median, rel=1e-9)


def test_log_score_is_minus_the_log_density_of_a_gaussian(gaussian):
    prediction, mean, sd, truth, hidden = gaussian
    expected = -stats.norm.logpdf(truth, mean, sd)[hidden]
    np.testing.assert_allclose(log_score(prediction, truth, hidden).values, expected, rtol=1e-12)
    np.testing.assert_allclose(
        log_score(prediction, truth, hidden).values,
        scoringrules.logs_normal(truth[hidden], mean[hidden], sd[hidden]),
        rtol=1e-12,
    )


def test_log_score_of_a_mixture_equals_scoringrules(prediction_from, cells):
    truth, hidden, rng = cells
    mean, sd = rng.normal(size=(5, *truth.shape)), rng.uniform(0.5, 2, size=(5, *truth.shape))
    found = log_score(prediction_from(mean=mean, sd=sd), truth, hidden).values
    weights = np.full((hidden.sum(), 5), 0.2)
    expected = scoringrules.logs_mixnorm(truth[hidden], mean[:, hidden].T, sd[:, hidden].T, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_log_score_of_far_tails_is_finite_and_exact(prediction_from):
    hidden = np.ones((1, 1, 1), dtype=bool)
    prediction = prediction_from(mean=np.zeros((2, 1, 1, 1)), sd=np.ones((2, 1, 1, 1)))
    found = log_score(prediction, np.full((1, 1, 1), 1000.0), hidden).values[0]
    assert found == pytest.approx(0.5 * 1000.0**2 + 0.5 * np.log(2 * np.pi), rel=1e-14)


def test_log_score_refuses_a_prediction_of_draws_alone(prediction_from, cells):
    truth, hidden, rng = cells
    with pytest.raises(CapabilityError, match="no closed form"):
        log_score(prediction_from(rng.normal(size=(9, *truth.shape))), truth, hidden)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_score_equals_gneiting_and_raftery_and_scoringrules(gaussian, level):
    prediction, mean, sd, truth, hidden = gaussian
    half = stats.norm.ppf(0.5 + level / 2) * sd[hidden]
    low, high, y = mean[hidden] - half, mean[hidden] + half, truth[hidden]
    alpha = 1 - level
    by_hand = (high - low) + 2 / alpha * (low - y) * (y < low) + 2 / alpha * (y - high) * (y > high)
    found = interval_score(prediction, truth, hidden, level=level).values
    np.testing.assert_allclose(found, by_hand, rtol=1e-10)
    np.testing.assert_allclose(found, scoringrules.interval_score(y, low, high, alpha), rtol=1e-10)
    np.testing.assert_allclose(width(prediction, truth, hidden, level=level).values, high - low, rtol=1e-10)
    np.testing.assert_array_equal(
        coverage(prediction, truth, hidden, level=level).values, ((low <= y) & (y <= high)).astype(float)
    )


def test_coverage_counts_the_ends_as_inside(prediction_from):
    places = np.zeros((1, 1, 1, 1))
    hidden = np.ones((1, 1, 1), dtype=bool)
    assert coverage(prediction_from(mean=places, sd=places), np.zeros((1, 1, 1)), hidden).values.tolist() == [1.0]


def test_coverage_of_a_cell_without_prediction_is_nan_and_not_a_miss(prediction_from):
    mean = np.full((1, 1, 2, 1), np.nan)
    mean[..., 0, 0] = 0.0
    prediction = prediction_from(mean=mean, sd=np.ones_like(mean))
    found = coverage(prediction, np.zeros((1, 2, 1)), np.ones((1, 2, 1), dtype=bool)).values
    assert found[0] == 1.0
    assert np.isnan(found[1])


@pytest.mark.parametrize("level", [0.0, 1.0, 90, -0.1])
def test_interval_scores_refuse_a_level_that_is_no_probability(gaussian, level):
    prediction, _, _, truth, hidden = gaussian
    with pytest.raises(ArgumentError, match="strictly between 0 and 1"):
        interval_score(prediction, truth, hidden, level=level)


def test_pit_is_the_distribution_function_at_the_truth(gaussian):
    prediction, mean, sd, truth, hidden = gaussian
    np.testing.assert_allclose(
        pit(prediction, truth, hidden).values, stats.norm.cdf(truth, mean, sd)[hidden], rtol=1e-12
    )


def test_pit_of_a_calibrated_law_is_uniform(prediction_from):
    # Kolmogorov-Smirnov at 1e-4.
    rng = np.random.default_rng(8)
    mean = rng.normal(size=(1, 1, 2000, 1))
    truth = mean[0] + 2.0 * rng.normal(size=(1, 2000, 1))
    prediction = prediction_from(mean=mean, sd=np.full_like(mean, 2.0))
    found = pit(prediction, truth, np.ones_like(truth, dtype=bool)).values
    assert stats.kstest(found, "uniform").pvalue > 1e-4


WRONG = {
    "a mask of numbers": (lambda t, h: (t, h.astype(int)), "`hidden` must be a boolean array"),
    "a flat mask": (lambda t, h: (t, h.reshape(-1)), "`hidden` must be a boolean array"),
    "another truth": (
        lambda t, h: (t[:, 1:], h),
        r"`truth` must have the shape \(3, 7, 2\) of `hidden`; got \(3, 6, 2\)",
    ),
    "other rows": (lambda t, h: (t[:, 1:], h[:, 1:]), r"about the rows of the data, \(3, 6, 2\); got \(3, 7, 2\)"),
    "nothing hidden": (lambda t, h: (t, np.zeros_like(h)), "nothing is held out"),
    "a hole in the truth": (
        lambda t, h: (np.where(np.indices(t.shape)[1] == 2, np.nan, t), h),
        r"finite wherever `hidden` is True; at \(series, time, channel\) \(0, 2, 0\) it is nan",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_scores_name_what_does_not_fit(gaussian, case):
    prediction, _, _, truth, hidden = gaussian
    change, message = WRONG[case]
    with pytest.raises(ArgumentError, match=message):
        squared_error(prediction, *change(truth, hidden))
