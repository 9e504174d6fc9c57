from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special, stats

from dynplat.errors import NoDensityError
from dynplat.posterior.mixture import mixture_cdf, mixture_log_density, mixture_moments, mixture_quantile

LEVELS = (1e-12, 1e-4, 0.025, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9)


def components(seed: int, count: int, cells: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 5 * rng.standard_normal((count, cells)), rng.gamma(0.5, 1.0, (count, cells)) + 1e-3


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("p", LEVELS)
def test_quantile_equals_root_of_scipy_cdf(count: int, p: float) -> None:
    mean, sd = components(count, count)
    found = mixture_quantile(mean, sd, p)
    for cell in range(mean.shape[1]):
        law = stats.norm(mean[:, cell], sd[:, cell])
        ends = law.ppf(p).min() - 1.0, law.ppf(p).max() + 1.0
        # The smaller tail carries the digits.
        if p < 0.5:
            root = optimize.brentq(lambda x, law=law: law.cdf(x).mean() - p, *ends, xtol=1e-13, rtol=1e-14)
        else:
            root = optimize.brentq(lambda x, law=law: (1 - p) - law.sf(x).mean(), *ends, xtol=1e-13, rtol=1e-14)
        # 1 - 1e-9 keeps seven digits of its tail in float64; the others keep nearly all. Where the law is so flat that
        # rounding of F decides, any x with F(x) = p to rounding is the quantile.
        close = found[cell] == pytest.approx(root, rel=1e-6 if p > 0.9999 else 1e-9, abs=1e-9)
        assert close or law.cdf(found[cell]).mean() == pytest.approx(p, rel=1e-14)


def test_quantile_of_one_component_is_closed_form() -> None:
    mean, sd = components(0, 1)
    np.testing.assert_array_equal(mixture_quantile(mean, sd, 0.2), stats.norm.ppf(0.2, mean[0], sd[0]))


def test_quantile_between_distant_components_is_found() -> None:
    # Between the humps the density underflows to zero, so Newton's method alone would leave for infinity.
    mean, sd = np.array([[-1e6], [1e6]]), np.array([[1e-3], [1e-3]])
    assert mixture_quantile(mean, sd, 0.25)[0] == pytest.approx(-1e6, rel=1e-12)
    assert mixture_quantile(mean, sd, 0.75)[0] == pytest.approx(1e6, rel=1e-12)
    assert -1e6 < mixture_quantile(mean, sd, 0.5)[0] < 1e6


def test_quantile_of_point_masses_is_the_generalised_inverse() -> None:
    mean, sd = np.array([[0.0], [1.0], [2.0]]), np.zeros((3, 1))
    found = [mixture_quantile(mean, sd, p)[0] for p in (0.2, 0.5, 0.9)]
    np.testing.assert_allclose(found, [0.0, 1.0, 2.0], atol=1e-14)


def test_quantile_of_a_point_mass_beside_a_normal_law() -> None:
    mean, sd = np.array([[0.0], [0.0]]), np.array([[0.0], [1.0]])
    # F jumps from 1/4 to 3/4 at zero.
    assert mixture_quantile(mean, sd, 0.5)[0] == pytest.approx(0.0, abs=1e-12)
    assert mixture_quantile(mean, sd, 0.9)[0] == pytest.approx(stats.norm.ppf(0.8), rel=1e-12)


def test_quantile_undoes_cdf_over_a_grid_of_cells() -> None:
    rng = np.random.default_rng(3)
    mean, sd = rng.standard_normal((30, 4, 50, 2)), rng.gamma(2.0, 1.0, (30, 4, 50, 2))
    x = mixture_quantile(mean, sd, 0.05)
    assert x.shape == (4, 50, 2)
    np.testing.assert_allclose(mixture_cdf(mean, sd, x), 0.05, rtol=1e-12)


def test_cell_that_is_not_known_stays_unknown() -> None:
    mean, sd = components(1, 3)
    mean[0, 2] = np.nan
    assert np.isnan(mixture_quantile(mean, sd, 0.1)).tolist() == [False, False, True, False, False, False, False]
    assert np.isnan(mixture_cdf(mean, sd, np.zeros(7)))[2]
    assert np.isnan(mixture_log_density(mean, sd, np.zeros(7)))[2]


def test_moments_equal_those_of_the_pooled_law() -> None:
    mean, sd = components(5, 4)
    mixed_mean, mixed_sd = mixture_moments(mean, sd)
    np.testing.assert_allclose(mixed_mean, mean.mean(0))
    np.testing.assert_allclose(mixed_sd**2, (sd**2 + mean**2).mean(0) - mean.mean(0) ** 2)


def test_log_density_equals_scipy_and_survives_far_tails() -> None:
    mean, sd = components(6, 9)
    x = np.array([0.0, 1.0, -3.0, 10.0, 200.0, -500.0, np.nan])
    expected = special.logsumexp(stats.norm.logpdf(x[:6], mean[:, :6], sd[:, :6]), axis=0) - np.log(9)
    found = mixture_log_density(mean, sd, x)
    np.testing.assert_allclose(found[:6], expected, rtol=1e-12)
    assert np.isnan(found[6])


def test_log_density_of_a_point_mass_is_refused() -> None:
    mean, sd = np.zeros((2, 3)), np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    with pytest.raises(NoDensityError, match=r"1 cells.*\(1,\)"):
        mixture_log_density(mean, sd, np.zeros(3))
    assert np.isnan(mixture_log_density(mean, sd, np.array([0.0, np.nan, 0.0]))[1])
