"""Rules against exact integrals."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_koopman.quadrature import gauss_hermite, gauss_legendre, monte_carlo, periodic_trapezoid


def test_gauss_rules_are_exact_for_polynomials():
    points, weights = gauss_legendre(5, [-1.0, 2.0], [0.0, 6.0])
    assert points.shape == (25, 2)
    assert weights.sum() == pytest.approx(1.0, rel=1e-14)
    assert weights @ (points[:, 0] ** 9 * points[:, 1] ** 8) == pytest.approx(-0.1 * (6**9 - 2**9) / 9 / 4, rel=1e-12)
    points, weights = gauss_hermite(6, [1.0, 0.0], [0.5, 2.0])
    assert weights @ ((points[:, 0] - 1) ** 4 * points[:, 1] ** 6) == pytest.approx(3 * 0.5**4 * 15 * 2**6, rel=1e-12)
    assert weights @ points[:, 0] == pytest.approx(1.0, rel=1e-13)


def test_the_trapezoidal_rule_is_exact_for_waves():
    points, weights = periodic_trapezoid(7, [2 * np.pi, 1.0])
    for k, m in ((0, 0), (3, 1), (6, -6), (0, 5)):
        mean = weights @ np.exp(1j * (k * points[:, 0] + 2 * np.pi * m * points[:, 1]))
        assert abs(mean - (k == m == 0)) < 1e-14


def test_monte_carlo():
    points, weights = monte_carlo(40_000, [0.0, -1.0], [2.0, 1.0], seed=1)
    assert (points >= [0, -1]).all()
    assert (points < [2, 1]).all()
    np.testing.assert_allclose(weights @ points, [1, 0], atol=0.02)
    np.testing.assert_allclose(weights @ points**2, [4 / 3, 1 / 3], atol=0.03)
    np.testing.assert_array_equal(points, monte_carlo(40_000, [0.0, -1.0], [2.0, 1.0], seed=1).points)
    assert not np.array_equal(points, monte_carlo(40_000, [0.0, -1.0], [2.0, 1.0], seed=2).points)


def test_pairs_of_a_map():
    rule = gauss_legendre(4, [0.0], [1.0])
    pairs = rule.pairs(lambda x: x**2, step=0.5)
    np.testing.assert_array_equal(pairs.second, rule.points**2)
    np.testing.assert_array_equal(pairs.weights, rule.weights)
    assert pairs.step == 0.5


def test_refusals():
    with pytest.raises(ArgumentError, match="a box must have finite ends, each upper one above the lower"):
        gauss_legendre(3, [0.0], [0.0])
    with pytest.raises(ArgumentError, match="`sd` must be positive, one for each of 2 means"):
        gauss_hermite(3, [0.0, 1.0], [1.0, 0.0])
    with pytest.raises(ArgumentError, match="there must be at least 1 node; got 0"):
        periodic_trapezoid(0, [1.0])
    with pytest.raises(
        ArgumentError, match=r"100 nodes in each of 4 variables are more than 10,000,000.*`monte_carlo`"
    ):
        gauss_legendre(100, [0.0] * 4, [1.0] * 4)
    with pytest.raises(ArgumentError, match="a box must have finite ends"):
        periodic_trapezoid(4, [-1.0])
