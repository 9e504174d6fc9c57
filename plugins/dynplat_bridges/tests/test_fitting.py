"""Fits of references: gradients, descent, what holds at the optimum, and parameters that are known."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat_bridges.fitting import _expected, _Flat, fit_reference, gaussian_coupler
from dynplat_bridges.gaussian import fit_gaussian
from dynplat_bridges.pinned import LinearLaw
from dynplat_bridges.references import linear_reference_from
from dynplat_bridges.tests.conftest import reverting_populations, solved

DATA = reverting_populations()
CONTEXT = dp.load_model("bridges/gaussian").prepare(DATA)
GAPS = np.diff(DATA.times)
COUPLE = gaussian_coupler([fit_gaussian(particles) for particles in DATA.populations], GAPS)


def _divergence(flat, point):
    held = COUPLE(flat.law(point))
    return _expected(flat, point, GAPS, held)[0] + sum(one.information for one in held)


@pytest.mark.parametrize("text", ["brownian", "ornstein-uhlenbeck", "linear-sde:b=1,0"])
def test_gradient_of_the_divergence(text):
    # The couplings move with the reference; at the minimum over them that makes no difference to the slope.
    flat = _Flat(linear_reference_from(text), CONTEXT)
    point = flat.start + 0.1 * np.random.default_rng(0).normal(size=flat.start.shape)
    _, slope = _expected(flat, point, GAPS, COUPLE(flat.law(point)))
    h = 1e-5
    moved = [h * row for row in np.eye(len(point))]
    wanted = [(_divergence(flat, point + e) - _divergence(flat, point - e)) / (2 * h) for e in moved]
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", ["brownian", "ornstein-uhlenbeck", "linear-sde"])
def test_no_step_of_a_fit_makes_the_divergence_larger(text):
    found = fit_reference(linear_reference_from(text), CONTEXT, GAPS, COUPLE)
    assert len(found.trace) > 3
    assert (np.diff(found.trace) <= 0).all()
    assert found.divergence == found.trace[-1]


def test_fitted_brownian_diffusion_is_that_of_the_coupled_increments():
    law = fit_reference(linear_reference_from("brownian"), CONTEXT, GAPS, COUPLE).law
    squares = [
        (one.mean[2:] - one.mean[:2]) ** 2 + np.diagonal(one.cov[:2, :2] + one.cov[2:, 2:] - 2 * one.cov[:2, 2:])
        for one in COUPLE(law)
    ]
    np.testing.assert_allclose(law.diffusion**2, np.mean(np.array(squares) / GAPS[:, None], axis=0), rtol=1e-5)


def test_parameters_of_the_population_are_found():
    found = fit_reference(linear_reference_from("ornstein-uhlenbeck"), CONTEXT, GAPS, COUPLE).law
    np.testing.assert_allclose(found.diffusion, [0.5, 1.0], rtol=0.1)
    np.testing.assert_allclose(found.parameters["rate"], [0.8, 0.8], rtol=0.15)
    np.testing.assert_allclose(found.parameters["centre"], [3.0, -1.0], atol=0.15)


def test_known_parameters_stay():
    model = dp.load_model("bridges/gaussian", reference="ornstein-uhlenbeck:rate=0.5", diffusion=(0.4, 1.0))
    _, sites, _ = solved(model, DATA)
    np.testing.assert_array_equal(sites["diffusion"], [[[0.4, 1.0]]])
    np.testing.assert_array_equal(sites["rate"], [[[0.5, 0.5]]])
    assert np.ptp(sites["centre"]) > 1.0


def test_everything_known_needs_no_fit():
    reference = linear_reference_from("ornstein-uhlenbeck:rate=0.5:centre=1", diffusion=0.4)
    found = fit_reference(reference, CONTEXT, GAPS, COUPLE)
    assert len(found.trace) == 1
    assert isinstance(found.law, LinearLaw)


def test_units_of_time_and_channels_do_not_matter():
    from dynplat.data import Snapshots

    scale = np.array([100.0, 0.01])
    moved = Snapshots.from_arrays(60.0 * DATA.times, [scale * particles for particles in DATA.populations])
    for text, names in (("brownian", {}), ("ornstein-uhlenbeck", {"rate": 1 / 60, "centre": scale})):
        model = dp.load_model("bridges/gaussian", reference=text)
        (_, sites, _), (_, others, _) = solved(model, DATA), solved(model, moved)
        for name, unit in {"diffusion": scale / np.sqrt(60.0), **names}.items():
            np.testing.assert_allclose(others[name], sites[name] * unit, rtol=1e-3)
