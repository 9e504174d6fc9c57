import numpy as np
import pytest
import scoringrules
from scipy import special

from dynplat.comparison.scores import crps, crps_draws, energy_draws, energy_score, energy_score_series
from dynplat.errors import CapabilityError

ALL = 10**9


def everything(values):
    return np.ones(values.shape, dtype=bool)


@pytest.mark.parametrize("num_draws", [2, 3, 8, 25, 40])
def test_energy_of_all_pairs_equals_the_fair_estimator_of_scoringrules(num_draws):
    rng = np.random.default_rng(num_draws)
    draws, values = rng.normal(size=(num_draws, 6, 3)), rng.normal(size=(6, 3))
    expected = scoringrules.es_ensemble(values, np.moveaxis(draws, 0, 1), estimator="fair")
    np.testing.assert_allclose(energy_draws(draws, values, everything(values), max_pairs=ALL), expected, rtol=1e-12)


def test_energy_in_one_dimension_is_the_crps():
    rng = np.random.default_rng(0)
    draws, values = rng.normal(size=(31, 12, 1)), rng.normal(size=(12, 1))
    found = energy_draws(draws, values, everything(values), max_pairs=ALL)
    np.testing.assert_allclose(found, crps_draws(draws[..., 0], values[..., 0]), rtol=1e-12, atol=1e-13)


def test_energy_of_a_budget_of_pairs_is_unbiased():
    # 4000 independent estimates with 3 of 10 lags; 5 standard errors: false alarm 6e-7.
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(20, 4000, 2))
    values = np.zeros((4000, 2))
    few = energy_draws(draws, values, everything(values), max_pairs=50)
    every = energy_draws(draws, values, everything(values), max_pairs=ALL)
    gap = few - every
    assert np.any(gap != 0)
    assert abs(gap.mean()) < 5 * gap.std() / np.sqrt(4000)


def test_energy_equals_the_closed_form_for_a_standard_normal_law():
    # E|Z| in d dimensions is sqrt(2) G((d+1)/2)/G(d/2), and Z - Z' is sqrt(2) Z: the score of 0 is its (1 - 1/sqrt 2).
    # 20000 draws in 2000 estimates; 5 standard errors: false alarm 6e-7.
    rng = np.random.default_rng(2)
    for dimension in (1, 2, 5):
        values = np.zeros((2000, dimension))
        found = energy_draws(rng.normal(size=(10, 2000, dimension)), values, everything(values), max_pairs=ALL)
        length = np.sqrt(2) * special.gamma((dimension + 1) / 2) / special.gamma(dimension / 2)
        assert abs(found.mean() - (1 - 1 / np.sqrt(2)) * length) < 5 * found.std() / np.sqrt(2000)


def test_energy_score_of_rows_counts_hidden_channels_only(prediction_from, cells):
    truth, hidden, rng = cells
    draws = rng.normal(size=(30, *truth.shape))
    prediction = prediction_from(draws)
    found = energy_score(prediction, truth, hidden)
    assert found.per == "row"
    rows = list(zip(*np.nonzero(hidden.any(axis=2)), strict=True))
    assert found.values.shape == (len(rows),)
    for score, (series, row) in zip(found.values, rows, strict=True):
        seen = hidden[series, row]
        expected = scoringrules.es_ensemble(truth[series, row][seen], draws[:, series, row][:, seen], estimator="fair")
        assert score == pytest.approx(float(expected), rel=1e-12)


def test_energy_score_of_a_single_channel_equals_the_crps_of_its_draws(prediction_from):
    rng = np.random.default_rng(4)
    truth, hidden = rng.normal(size=(2, 9, 1)), rng.random((2, 9, 1)) < 0.6
    prediction = prediction_from(rng.normal(size=(50, *truth.shape)))
    np.testing.assert_allclose(
        energy_score(prediction, truth, hidden).values, crps(prediction, truth, hidden).values, rtol=1e-11, atol=1e-13
    )


def test_energy_score_of_series_joins_all_its_cells(prediction_from, cells):
    truth, hidden, rng = cells
    draws = rng.normal(size=(30, *truth.shape))
    found = energy_score_series(prediction_from(draws), truth, hidden)
    assert found.per == "series"
    for index in range(3):
        seen = hidden[index]
        expected = scoringrules.es_ensemble(truth[index][seen], draws[:, index][:, seen], estimator="fair")
        assert found.values[index] == pytest.approx(float(expected), rel=1e-12)


def test_energy_score_of_series_prefers_the_right_dependence_to_right_marginals_alone(prediction_from):
    # 40 paths of a random walk; the rival has the same marginals and independent times. Five standard errors.
    rng = np.random.default_rng(5)
    truth = rng.normal(size=(40, 20, 1)).cumsum(axis=1)
    hidden = np.ones(truth.shape, dtype=bool)
    walks = rng.normal(size=(200, *truth.shape)).cumsum(axis=2)
    shuffled = np.stack([walks[rng.permutation(200), :, row] for row in range(20)], axis=2)
    right = energy_score_series(prediction_from(walks), truth, hidden).values
    wrong = energy_score_series(prediction_from(shuffled), truth, hidden).values
    gap = wrong - right
    assert gap.mean() > 5 * gap.std() / np.sqrt(40)


def test_energy_score_says_how_many_pairs_it_used(prediction_from):
    truth, hidden = np.zeros((1, 2, 1)), np.ones((1, 2, 1), dtype=bool)
    rng = np.random.default_rng(6)
    assert energy_score(prediction_from(rng.normal(size=(100, 1, 2, 1))), truth, hidden).method == (
        "fair estimator from 100 draws"
    )
    assert (
        "and 8400 of their pairs"
        in energy_score(prediction_from(rng.normal(size=(400, 1, 2, 1))), truth, hidden).method
    )


def test_energy_score_refuses_a_prediction_without_draws(prediction_from, cells):
    truth, hidden, _ = cells
    shape = (1, *truth.shape)
    with pytest.raises(CapabilityError, match="two joint draws; the prediction holds 0"):
        energy_score(prediction_from(mean=np.zeros(shape), sd=np.ones(shape)), truth, hidden)
