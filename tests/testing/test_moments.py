"""False alarms: every comparison below is repeated 300 times at a false-alarm probability of 1e-6 each, 3e-4 in all."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dynplat.testing import CheckFailed
from dynplat.testing.moments import compare_correlation, compare_moments, compare_samples

MEAN, VARIANCE = np.array([[1.0, -200.0], [1e-3, 0.0]]), np.array([[4.0, 1e-6], [1e-2, 0.0]])


def normal(rng, scale=1.0, shift=0.0):
    return MEAN + shift * np.sqrt(VARIANCE) + scale * np.sqrt(VARIANCE) * rng.standard_normal((1000, 2, 2))


def test_moments_of_the_stated_law_raise_no_alarm():
    rng = np.random.default_rng(0)
    for _ in range(300):
        compare_moments("draws", normal(rng), MEAN, VARIANCE, "")


@pytest.mark.parametrize(
    ("scale", "shift", "message"),
    [(1.3, 0.0, "variance of draws"), (0.75, 0.0, "variance of draws"), (1.0, 0.3, "mean of draws")],
)
def test_other_moments_are_noticed(scale, shift, message):
    rng = np.random.default_rng(1)
    with pytest.raises(CheckFailed, match=message):
        compare_moments("draws", normal(rng, scale, shift), MEAN, VARIANCE, "")


def test_noise_where_none_is_stated_is_noticed():
    drawn = normal(np.random.default_rng(2))
    drawn[:, 1, 1] += 1e-3 * np.random.default_rng(3).standard_normal(1000)
    with pytest.raises(CheckFailed, match=r"index \(1, 1\)"):
        compare_moments("draws", drawn, MEAN, VARIANCE, "")


def test_draws_that_are_not_finite_are_noticed():
    drawn = normal(np.random.default_rng(2))
    drawn[0, 0, 0] = np.nan
    with pytest.raises(CheckFailed, match=r"index \(0, 0\)"):
        compare_moments("draws", drawn, MEAN, VARIANCE, "")


@pytest.mark.parametrize("law", [stats.cauchy(), stats.poisson(0.5)], ids=["heavy", "discrete"])
def test_samples_of_one_law_raise_no_alarm(law):
    rng = np.random.default_rng(4)
    for _ in range(150):
        first, second = (law.rvs(size=(500, 2), random_state=rng) for _ in range(2))
        compare_samples("first", first, "second", second, "")


def test_samples_of_two_laws_are_noticed():
    rng = np.random.default_rng(5)
    with pytest.raises(CheckFailed, match="different marginals in cell 1"):
        compare_samples("a", rng.normal(size=(1000, 2)), "b", rng.normal(size=(1000, 2)) * [1.0, 1.5], "")


@pytest.mark.parametrize("correlation", [0.0, 0.7, -0.9999, 1.0])
def test_correlation_of_the_stated_law_raises_no_alarm(correlation):
    rng = np.random.default_rng(6)
    for _ in range(75):
        first, other = rng.standard_normal((2, 500))
        second = correlation * first + np.sqrt(1.0 - correlation**2) * other
        compare_correlation("draws", first, 3.0 * second, 3.0 * correlation, (1.0, 9.0), "")


@pytest.mark.parametrize(("found", "stated"), [(0.0, 0.4), (0.9, 0.99), (0.99, 1.0), (0.5, -0.5)])
def test_another_correlation_is_noticed(found, stated):
    first, other = np.random.default_rng(7).standard_normal((2, 1000))
    with pytest.raises(CheckFailed, match=f"where the law has {stated:.3g}"):
        compare_correlation("draws", first, found * first + np.sqrt(1 - found**2) * other, stated, (1.0, 1.0), "")
