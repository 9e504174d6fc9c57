"""Parameters of references from paths: known parameters come back, bounds hold, likelihoods never fall."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dynplat.arrays import random_source
from dynplat.errors import ArgumentError, InferenceError
from dynplat.model import Context
from dynplat_bridges.estimate import SMALLEST, fit_diffusion, fit_parameters, increments_of, path_log_likelihood
from dynplat_bridges.references import (
    Custom,
    GradientField,
    LinearSDE,
    LotkaVolterra,
    OrnsteinUhlenbeck,
    Repressilator,
    Vortex,
    reference_from,
)
from dynplat_bridges.simulate import simulate

#: A reference, its parameters, and the box from which paths start.
CASES = {
    "lotka-volterra": (
        LotkaVolterra(),
        {"prey_growth": 1.0, "predation": 0.4, "predator_death": 0.4, "predator_growth": 0.1},
        (4.0, 5.0, 2),
    ),
    "repressilator": (
        Repressilator(),
        {"production": 10.0, "exponent": 3.0, "threshold": 1.0, "decay": 1.0},
        (1.0, 2.0, 3),
    ),
    "vortex": (
        Vortex(current=None),
        {"centre": [0.3, 0.2], "circulation": -0.6, "radius": 0.4, "current": [0.1, 0.0]},
        (-1.0, 1.0, 2),
    ),
    "linear-sde": (LinearSDE(), {"A": [[-1.0, 0.5], [0.0, -0.3]], "b": [1.0, 2.0]}, (-1.0, 1.0, 2)),
    "ornstein-uhlenbeck": (OrnsteinUhlenbeck(), {"rate": [1.0, 0.5], "centre": [1.0, 2.0]}, (-1.0, 1.0, 2)),
    "custom": (
        Custom(
            function=lambda x, t, p: -p["pull"] * (x - p["way"] * np.sin(np.asarray(t))[..., None]),
            initial={"pull": 0.5, "way": 0.1},
            positive=("pull",),
        ),
        {"pull": 2.0, "way": 1.0},
        (-1.0, 1.0, 1),
    ),
}
GRID = np.linspace(0.0, 6.0, 241)


def _context(paths):
    names = ("x", "y", "z")[: paths.shape[-1]]
    return Context(1, names, values={"location": paths.mean((0, 1)), "scale": paths.std((0, 1)), "span": 6.0})


@lru_cache
def _case(name):
    reference, given, (low, high, size) = CASES[name]
    truth = {key: np.asarray(value, dtype=np.float64) for key, value in given.items()}
    start = np.random.default_rng(0).uniform(low, high, (100, size))
    paths = simulate(
        lambda x, t: reference.drift(x, t, truth), start, GRID, 0.1, step=0.1, random=random_source(0, start)
    )
    return reference, truth, paths, _context(paths)


@pytest.mark.parametrize("name", CASES)
def test_known_parameters_come_back_with_the_diffusion(name):
    reference, truth, paths, context = _case(name)
    data, sigma = increments_of(paths, GRID), np.full(paths.shape[-1], 0.1)
    start = reference.start(context)
    found = fit_parameters(reference, start, data, sigma)
    assert set(found) == set(truth)
    for key, value in truth.items():
        np.testing.assert_allclose(found[key], value, rtol=0.08, atol=0.02, err_msg=key)
    np.testing.assert_allclose(fit_diffusion(reference, found, data), sigma, rtol=0.02)
    # The maximum is above the truth by about half the number of parameters, and far above the start.
    reached, at_truth, at_start = (
        path_log_likelihood(reference, parameters, data, sigma) for parameters in (found, truth, start)
    )
    count = sum(value.size for value in truth.values())
    assert at_truth < reached < at_truth + 5 * count
    assert reached > at_start + 100
    again = fit_parameters(reference, found, data, sigma)
    assert path_log_likelihood(reference, again, data, sigma) >= reached - 1e-6


@pytest.mark.parametrize("name", [name for name in CASES if name != "custom"])
def test_drifts_agree_between_frameworks_and_broadcast(name):
    reference, truth, paths, _ = _case(name)
    x = paths[:7, 3] + 0.01
    expected = reference.drift(x, 0.0, truth)
    rows = {key: np.stack([value, 1.1 * value])[:, None] for key, value in truth.items()}
    in_torch = reference.drift(torch.tensor(x), 0.0, {key: torch.tensor(value) for key, value in rows.items()})
    assert in_torch.shape == (2, 1, *x.shape)
    np.testing.assert_allclose(in_torch[0, 0], expected, rtol=1e-12)
    with jax.enable_x64(True):
        traced = jax.jit(lambda x, p: reference.drift(x, 0.0, p))(jnp.asarray(x), truth)
        np.testing.assert_allclose(traced, expected, rtol=1e-12)


def test_fixed_parameters_stay_and_bounds_hold():
    _, _, paths, context = _case("lotka-volterra")
    data = increments_of(paths, GRID)
    reference = reference_from("lotka-volterra:predation=0.5")
    found = fit_parameters(reference, reference.start(context), data, np.full(2, 0.1))
    assert float(found["predation"]) == 0.5
    assert abs(float(found["predator_growth"]) - 0.1) < 0.01
    # Paths that run the other way want rates below zero: they stop at the bound.
    back = increments_of(paths[:, ::-1], GRID)
    found = fit_parameters(LotkaVolterra(), LotkaVolterra().start(context), back, np.full(2, 0.1))
    assert min(float(value) for value in found.values()) == pytest.approx(SMALLEST, rel=1e-3)


def test_a_vortex_is_smooth_in_its_middle_and_a_current_is_free_on_demand():
    parameters = {"centre": np.zeros(2), "circulation": np.array(2.0), "radius": np.array(0.5), "current": np.zeros(2)}
    x = np.array([[0.0, 0.0], [1e-5, 0.0], [4e-4, 3e-4], [3.0, 0.0]])
    velocity = Vortex().drift(x, 0.0, parameters)
    np.testing.assert_allclose(velocity, np.array([[0, 0], [0, 8e-5], [-2.4e-3, 3.2e-3], [0, 2 / 3]]), rtol=1e-5)
    assert Vortex().free(2) == ("centre", "circulation", "radius")
    assert reference_from("vortex:current=free").free(2) == ("centre", "circulation", "radius", "current")


def test_a_gradient_field_is_learned_and_is_a_gradient():
    start = np.random.default_rng(0).uniform(-2.0, 2.0, (200, 2))
    grid = np.linspace(0.0, 1.0, 21)
    paths = simulate(lambda x, t: x - x**3, start, grid, 0.1, step=0.1, random=random_source(0, start))
    reference, data, sigma = GradientField(hidden=(32.0,)), increments_of(paths, grid), np.full(2, 0.1)
    first = reference.start(_context(paths))
    found = fit_parameters(reference, first, data, sigma)
    x = data.states
    error = np.sqrt(np.mean((reference.drift(x, 0.0, found) - (x - x**3)) ** 2))
    assert error < 0.25 * np.sqrt(np.mean((x - x**3) ** 2))
    h = 1e-6 * np.eye(2)
    slopes = np.stack([(reference.drift(x + e, 0.0, found) - reference.drift(x - e, 0.0, found)) / 2e-6 for e in h], -1)
    np.testing.assert_allclose(slopes, np.swapaxes(slopes, -1, -2), atol=1e-7 * np.abs(slopes).max())


def test_what_is_refused():
    _, _, paths, context = _case("lotka-volterra")
    bad = Custom(function=lambda x, t, p: p["a"] / (0.0 * x), initial={"a": 1.0})
    with pytest.raises(InferenceError, match="drift of Custom is not finite"), np.errstate(all="ignore"):
        fit_parameters(bad, bad.start(context), increments_of(paths, GRID), np.full(2, 0.1))
    with pytest.raises(ArgumentError, match="`hidden` must be one or more widths"):
        GradientField(hidden=0)
    with pytest.raises(ArgumentError, match="`seed` must be a whole number"):
        GradientField(seed=-1)
    with pytest.raises(ArgumentError, match="`prey_growth` of LotkaVolterra must be positive"):
        LotkaVolterra(prey_growth=-1.0)
