"""Iterative proportional fitting with regression drifts: Gaussian pairs against their closed form, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dynplat.errors import ArgumentError, InferenceError
from dynplat_bridges.drifts import KernelRidge
from dynplat_bridges.ipf import IPF
from dynplat_bridges.references import OrnsteinUhlenbeck


def _standardised(rng, count, mean, sd):
    x = rng.standard_normal((count, 1))
    return mean + sd * (x - x.mean()) / x.std()


def _zero(x, t):
    return 0.0 * x


# Every turn adds the sampling error of its paths to the law half-way, which no later turn takes off.
@pytest.mark.parametrize(
    ("inducing", "num_paths", "tolerance"), [(0, 20_000, 0.06), (30, 6_000, 0.1)], ids=["linear", "kernel"]
)
def test_a_gaussian_pair_has_the_covariance_and_the_spread_half_way_of_the_closed_form(inducing, num_paths, tolerance):
    # N(0, 1) to N(2, 1/4), sigma^2 = 1, T = 1: cov (x_0, x_1) = 0.207107, var x_1/2 = 0.666053.
    rng = np.random.default_rng(0)
    first, last = _standardised(rng, 3000, 0.0, 1.0), _standardised(rng, 3000, 2.0, 0.5)
    ipf = IPF(num_iterations=4, regression=KernelRidge(num_inducing=inducing), num_paths=num_paths)
    bridge = ipf.solve(first, last, np.linspace(0.0, 1.0, 21), _zero, 1.0, seed=0)
    for paths in (bridge.run_forward(first, rng), bridge.run_backward(last, rng)):
        x = paths[..., 0]
        assert abs(np.cov(x[:, 0], x[:, -1])[0, 1] - 0.207107) < 0.04
        assert abs(x[:, 10].var() - 0.666053) < tolerance
        np.testing.assert_allclose([x[:, 0].var(), x[:, -1].var()], [1.0, 0.25], rtol=0.1)
        np.testing.assert_allclose([x[:, 0].mean(), x[:, -1].mean()], [0.0, 2.0], atol=0.06)
    assert bridge.misfit[0] > 3 * bridge.misfit[-1]
    # The drift of the bridge at time 0 is linear: E(x_1 | x_0) - x_0 = 2 + (0.207107 - 1) x_0, averaged over a step.
    slope = np.polyfit(first[:, 0], bridge.forward.drift(0, first)[:, 0], 1)[0]
    assert abs(slope - (0.207107 - 1.0)) < 0.15


def test_a_reference_that_fits_is_left_alone():
    # An Ornstein-Uhlenbeck process that leads from one population to the other is its own bridge.
    reference, parameters = OrnsteinUhlenbeck(), {"rate": np.array([1.0]), "centre": np.array([2.0])}
    rng = np.random.default_rng(1)
    decay, first = np.exp(-1.0), _standardised(rng, 3000, 0.0, 1.0)
    last = _standardised(rng, 3000, 2 * (1 - decay), np.sqrt(decay**2 + 0.125 * (1 - decay**2)))
    bridge = IPF(num_iterations=2, regression=KernelRidge(num_inducing=0)).solve(
        first, last, np.linspace(0.0, 1.0, 41), lambda x, t: reference.drift(x, t, parameters), 0.5, seed=0
    )
    x = bridge.run_forward(first, rng)[..., 0]
    assert abs(np.cov(x[:, 0], x[:, -1])[0, 1] - decay) < 0.03
    away = bridge.forward.drift(20, first) - (2.0 - first)
    assert np.sqrt(np.mean(away**2)) < 0.15


def test_seeds_more_paths_and_unequal_snapshots():
    rng = np.random.default_rng(2)
    first, last = rng.standard_normal((40, 2)), rng.standard_normal((25, 2)) + 1.0
    grid = np.linspace(0.0, 1.0, 6)

    def drift(seed, **options):
        ipf = IPF(num_iterations=2, regression=KernelRidge(num_inducing=10), **options)
        return ipf.solve(first, last, grid, _zero, (0.5, 1.0), seed=seed).forward.drift(1, first)

    np.testing.assert_array_equal(drift(0), drift(0))
    assert not np.array_equal(drift(0), drift(1))
    assert np.isfinite(drift(0, num_paths=100)).all()


def test_what_is_refused():
    def solve(first, last, **options: Any):
        given: dict[str, Any] = {"grid": np.linspace(0, 1, 5), "drift": _zero, "diffusion": 1.0, "seed": 0}
        return IPF().solve(first, last, **{**given, **options})

    x = np.random.default_rng(0).standard_normal((5, 2))
    with pytest.raises(ArgumentError, match=r"same number of channels; got \(5, 2\) and \(5, 1\)"):
        solve(x, x[:, :1])
    with pytest.raises(ArgumentError, match="times of a bridge must increase"):
        solve(x, x, grid=np.array([0.0, 0.5, 0.5]))
    with pytest.raises(ArgumentError, match="`diffusion` must be positive: without noise there is no bridge; got 0"):
        solve(x, x, diffusion=0.0)
    with pytest.raises(ArgumentError, match="a number or one for each of 2 channels"):
        solve(x, x, diffusion=(1.0, 2.0, 3.0))
    with pytest.raises(ArgumentError, match="`num_iterations` must be at least 1"):
        IPF(num_iterations=0)
    with pytest.raises(ArgumentError, match="`num_paths` must be at least 2"):
        IPF(num_paths=1)
    with pytest.raises(InferenceError, match="left all bounds"), np.errstate(all="ignore"):
        solve(x, x, drift=lambda x, t: 1e200 * x**3)
