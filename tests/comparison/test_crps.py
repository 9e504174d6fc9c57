import numpy as np
import pytest
import scoringrules
from scipy import integrate, stats

from dynplat.comparison.scores import crps, crps_draws, crps_gaussian, crps_mixture
from dynplat.comparison.scores.crps import _by_integral, _by_pairs, half_mean_difference
from dynplat.errors import ArgumentError, CapabilityError


def random_mixtures(rng, count, num_cells, spread=1.0):
    return spread * rng.normal(size=(count, num_cells)), rng.uniform(0.3, 2.0, size=(count, num_cells))


def test_crps_gaussian_equals_closed_form_of_gneiting_and_raftery():
    # Their example after eq. 21: CRPS(N(m, s), y) = s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)].
    z = np.array([-3.1, -0.4, 0.0, 1.7])
    expected = 2.5 * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(crps_gaussian(np.ones(4), np.full(4, 2.5), 1 + 2.5 * z), expected, rtol=1e-14)


def test_crps_gaussian_at_the_mean_equals_printed_figure():
    # (sqrt 2 - 1) / sqrt pi
    np.testing.assert_allclose(crps_gaussian(np.zeros(1), np.ones(1), np.zeros(1)), 0.23369497725510916, rtol=1e-15)


def test_crps_gaussian_equals_scoringrules():
    rng = np.random.default_rng(0)
    mean, sd, values = rng.normal(size=50), rng.uniform(0.1, 3, 50), rng.normal(size=50)
    np.testing.assert_allclose(crps_gaussian(mean, sd, values), scoringrules.crps_normal(values, mean, sd), rtol=1e-12)


def test_crps_gaussian_equals_properscoring():
    properscoring = pytest.importorskip("properscoring")
    rng = np.random.default_rng(1)
    mean, sd, values = rng.normal(size=50), rng.uniform(0.1, 3, 50), rng.normal(size=50)
    np.testing.assert_allclose(
        crps_gaussian(mean, sd, values), properscoring.crps_gaussian(values, mean, sd), rtol=1e-12
    )


@pytest.mark.parametrize("count", [2, 3, 17, 150])
def test_crps_mixture_equals_scoringrules(count):
    rng = np.random.default_rng(count)
    mean, sd = random_mixtures(rng, count, 20)
    values = rng.normal(size=20)
    expected = scoringrules.crps_mixnorm(values, mean.T, sd.T, np.full((20, count), 1 / count))
    np.testing.assert_allclose(crps_mixture(mean, sd, values), expected, rtol=1e-11, atol=1e-12)


def test_crps_mixture_equals_its_defining_integral():
    rng = np.random.default_rng(5)
    mean, sd = random_mixtures(rng, 6, 3)
    values = np.array([-0.7, 0.2, 4.0])
    for cell in range(3):

        def law(x, cell=cell):
            return stats.norm.cdf((x - mean[:, cell]) / sd[:, cell]).mean()

        below, _ = integrate.quad(lambda x: law(x) ** 2, -25, values[cell], epsabs=1e-12, limit=200)
        above, _ = integrate.quad(lambda x: (1 - law(x)) ** 2, values[cell], 25, epsabs=1e-12, limit=200)
        assert crps_mixture(mean, sd, values)[cell] == pytest.approx(below + above, abs=1e-9)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 5.0])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_integral_and_pairs_give_the_same_half_mean_difference(spread, scale):
    rng = np.random.default_rng(7)
    mean, sd = random_mixtures(rng, 40, 10, spread)
    mean, sd = scale * (mean + 3.0), scale * sd
    low, high = (mean - 9 * sd).min(axis=0), (mean + 9 * sd).max(axis=0)
    nodes = int(np.ceil((high - low) / (0.5 * sd.min(axis=0))).max())
    np.testing.assert_allclose(_by_integral(mean, sd, low, high, nodes), _by_pairs(mean, sd), rtol=2e-14)


def test_half_mean_difference_of_many_alike_components_takes_the_integral_and_is_exact():
    mean, sd = np.zeros((1000, 4)), np.broadcast_to([1.0, 2.0, 3.0, 0.5], (1000, 4))
    np.testing.assert_allclose(half_mean_difference(mean, sd), sd[0] / np.sqrt(np.pi), rtol=1e-14)


def test_half_mean_difference_of_point_masses_is_that_of_an_ensemble():
    places = np.array([[0.0], [1.0], [4.0]])
    # Pairs of three points: |0-1| + |0-4| + |1-4| = 8, counted twice, over 9, halved.
    np.testing.assert_allclose(half_mean_difference(places, np.zeros((3, 1))), [8 / 9])


def test_crps_of_a_point_mass_is_the_absolute_error():
    np.testing.assert_allclose(crps_mixture(np.full((1, 2), 3.0), np.zeros((1, 2)), np.array([1.0, 3.0])), [2.0, 0.0])


def test_crps_mixture_of_a_component_and_a_point_mass_equals_the_limit_of_small_spread():
    mean, values = np.array([[0.0], [1.0]]), np.array([0.4])
    near = crps_mixture(mean, np.array([[1.0], [1e-9]]), values)
    np.testing.assert_allclose(crps_mixture(mean, np.array([[1.0], [0.0]]), values), near, rtol=1e-8)


@pytest.mark.parametrize("num_draws", [2, 3, 10, 101])
def test_crps_draws_equals_the_fair_estimator_of_scoringrules(num_draws):
    rng = np.random.default_rng(num_draws)
    draws, values = rng.normal(size=(num_draws, 30)) + 100.0, rng.normal(size=30) + 100.0
    expected = scoringrules.crps_ensemble(values, draws.T, estimator="fair")
    np.testing.assert_allclose(crps_draws(draws, values), expected, rtol=1e-10, atol=1e-12)


def test_crps_draws_is_unbiased_for_the_exact_score():
    # Mean of 20000 estimates from 5 draws against the exact score; 5 standard errors: false alarm 6e-7.
    rng = np.random.default_rng(3)
    estimates = crps_draws(rng.normal(size=(5, 20_000)), np.full(20_000, 0.8))
    exact = crps_gaussian(np.zeros(1), np.ones(1), np.array([0.8]))[0]
    assert abs(estimates.mean() - exact) < 5 * estimates.std() / np.sqrt(20_000)


def test_crps_of_a_prediction_says_whether_it_is_exact(prediction_from, cells):
    truth, hidden, rng = cells
    draws = rng.normal(size=(50, *truth.shape))
    one = np.zeros((1, *truth.shape)), np.ones((1, *truth.shape))
    many = rng.normal(size=(30, *truth.shape)), np.ones((30, *truth.shape))
    assert crps(prediction_from(draws, *one), truth, hidden).method == "exact, Gaussian"
    assert crps(prediction_from(draws, *many), truth, hidden).method == "exact, mixture of 30 Gaussians"
    assert crps(prediction_from(draws), truth, hidden).method == "fair estimator from 50 draws"


def test_crps_of_a_prediction_lists_held_out_cells_in_order(prediction_from, cells):
    truth, hidden, rng = cells
    mean, sd = rng.normal(size=(1, *truth.shape)), rng.uniform(0.5, 2, size=(1, *truth.shape))
    found = crps(prediction_from(mean=mean, sd=sd), truth, hidden)
    expected = [crps_gaussian(mean[0][i], sd[0][i], truth[i]) for i in map(tuple, np.argwhere(hidden))]
    assert found.per == "cell"
    np.testing.assert_allclose(found.values, np.array(expected).ravel(), rtol=1e-13)


def test_crps_refuses_a_prediction_without_law(prediction_from, cells):
    truth, hidden, _ = cells
    with pytest.raises(CapabilityError, match="at least two draws"):
        crps(prediction_from(np.zeros((1, *truth.shape))), truth, hidden)
    with pytest.raises(ArgumentError, match="at least two draws"):
        crps_draws(np.zeros((1, 3)), np.zeros(3))


def test_crps_of_a_cell_without_prediction_is_nan(prediction_from):
    mean = np.zeros((60, 1, 2, 1))
    mean[:, 0, 1] = np.nan
    found = crps(prediction_from(mean=mean, sd=np.ones_like(mean)), np.zeros((1, 2, 1)), np.ones((1, 2, 1), dtype=bool))
    assert np.isnan(found.values).tolist() == [False, True]
