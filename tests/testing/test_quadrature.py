from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dynplat.testing.quadrature import integrate

LINE = [
    stats.norm(0.0, 1.0),
    stats.norm(1e4, 1e-3),
    stats.norm(-5.0, 1e5),
    stats.t(1.0),
    stats.t(3.0, loc=100.0, scale=0.01),
    stats.laplace(2.0, 0.1),
    stats.uniform(3.0, 2.0),
]
HALF_LINE = [stats.gamma(0.5), stats.gamma(50.0, scale=1e-4), stats.lognorm(2.0), stats.halfnorm(scale=1e3)]
COUNTS = [stats.poisson(0.1), stats.poisson(700.0), stats.nbinom(2, 0.01), stats.bernoulli(0.3)]


@pytest.mark.parametrize("law", LINE, ids=lambda law: law.dist.name)
@pytest.mark.parametrize("log_factor", [0.0, -300.0])
def test_integral_over_the_line_is_exact(law, log_factor):
    found = integrate(lambda x: law.logpdf(x) + log_factor, ("real",), np.array([-1.0, 0.0, 4.0]))
    # The edges of a uniform law cost the trapezoidal rule its order.
    assert found.log_total == pytest.approx(log_factor, abs=2e-3 if law.dist.name == "uniform" else 1e-6)


@pytest.mark.parametrize("law", HALF_LINE, ids=lambda law: law.dist.name)
def test_integral_over_positive_numbers_is_exact(law):
    found = integrate(law.logpdf, ("positive",), np.array([0.5, 1.0, 3.0]))
    assert found.log_total == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("law", COUNTS, ids=lambda law: law.dist.name)
def test_sum_over_counts_is_exact(law):
    found = integrate(law.logpmf, ("count",), np.array([0.0, 2.0]))
    assert found.log_total == pytest.approx(0.0, abs=1e-9)


def test_two_narrow_modes_are_both_counted():
    def mixture(x):
        return np.logaddexp(stats.norm(-3.0, 0.05).logpdf(x), stats.norm(40.0, 0.2).logpdf(x)) - np.log(2.0)

    assert integrate(mixture, ("real",), np.array([-3.0, 40.0])).log_total == pytest.approx(0.0, abs=1e-4)


def test_spread_is_the_sd_of_a_normal_law():
    found = integrate(stats.norm(7.0, 0.3).logpdf, ("real",), np.zeros(3))
    assert found.spread == pytest.approx(0.3, rel=0.1)


def test_density_of_zero_gives_minus_infinity():
    assert integrate(lambda x: np.full(x.shape, -np.inf), ("real",), np.zeros(3)).log_total == -np.inf
