"""Autocorrelations and filtered densities: the cat map's closed form, orders of filters, errors of samples."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.autocorrelation import (
    FILTERS,
    ensemble_autocorrelations,
    spectral_density,
    trajectory_autocorrelations,
)
from dynplat_koopman.tests.systems import CAT_MAP, cat_map_density, cat_map_orbits

ORDERS = {"fejer": 1, "cosine": 2, "vand4": 4, "sharp-cosine": 8}


def test_cat_map_autocorrelations_are_the_closed_form():
    # A lattice of 256 x 256 points is a quadrature that is exact for waves up to 255, and the map sends it to itself.
    found = ensemble_autocorrelations(cat_map_orbits(5), np.ones(256**2))
    np.testing.assert_allclose(found.values, np.r_[CAT_MAP, np.zeros(3)], atol=1e-14)
    assert found.errors is None
    angles = np.linspace(-np.pi, np.pi, 101)
    # With enough lags any filter leaves the three moments as they are, up to its order.
    density = spectral_density(np.r_[found.values, np.zeros(400)], angles, filter="bump")
    np.testing.assert_allclose(density.density, cat_map_density(angles), atol=1e-14)
    assert density.errors is None
    assert density.changes.max() < 1e-14


@pytest.mark.parametrize("name", ORDERS)
def test_filters_have_their_order(name):
    angles = np.linspace(-np.pi, np.pi, 33)
    errors = []
    for lags in (20, 40, 80):
        c = np.r_[CAT_MAP, np.zeros(lags - 2)]
        errors.append(np.abs(spectral_density(c, angles, filter=name).density - cat_map_density(angles)).max())
    first, second = -np.diff(np.log2(errors))
    assert 2 * second - first == pytest.approx(ORDERS[name], abs=0.1)


@pytest.mark.parametrize("name", FILTERS)
def test_filters_go_from_one_to_zero(name):
    phi = FILTERS[name]
    x = np.linspace(0.0, 1.0, 401)
    values = phi(x)
    assert values[0] == pytest.approx(1.0, abs=1e-15)
    assert values[-1] == pytest.approx(0.0, abs=1e-15)
    assert (np.diff(values) <= 1e-15).all()
    assert phi(np.array(0.5)) == pytest.approx(0.5, abs=1e-12)


def test_fejer_densities_are_never_negative():
    rng = np.random.default_rng(0)
    g = np.exp(0.7j * np.arange(400)) + 0.1 * rng.normal(size=400)
    # The biased estimate of one record is a positive sequence.
    c = np.array([np.vdot(g[: 400 - n], g[n:]) for n in range(30)]) / 400
    assert spectral_density(c, np.linspace(-3, 3, 200), filter="fejer").density.min() > 0
    assert spectral_density(c, np.linspace(-3, 3, 200), filter="vand4").density.min() < 0


def test_a_peak_stands_at_the_eigenvalue_s_angle():
    steps = np.arange(4000)
    g = np.exp(0.7j * steps) + 0.5
    found = trajectory_autocorrelations(g, 200)
    np.testing.assert_allclose(found.values, np.exp(0.7j * np.arange(201)) + 0.25, atol=2e-3)
    angles = np.linspace(-np.pi, np.pi, 2001)
    density = spectral_density(found, angles).density
    assert angles[np.argmax(density)] == pytest.approx(0.7, abs=2e-3)
    assert np.trapezoid(density, angles) == pytest.approx(1.25, rel=1e-3)


def test_averages_equal_plain_loops():
    rng = np.random.default_rng(1)
    g = rng.normal(size=103) + 1j * rng.normal(size=103)
    found = trajectory_autocorrelations(g, 7, num_batches=4)
    # 96 starts in four parts of 24.
    batches = [
        [np.mean(g[24 * b + n : 24 * b + 24 + n] * g[24 * b : 24 * b + 24].conj()) for n in range(8)] for b in range(4)
    ]
    assert found.batches is not None
    assert found.errors is not None
    np.testing.assert_allclose(found.batches, batches, atol=1e-13)
    np.testing.assert_allclose(found.values, np.mean(batches, axis=0), atol=1e-13)
    spread = np.sqrt((np.abs(batches - np.mean(batches, axis=0)) ** 2).sum(axis=0) / 3 / 4)
    np.testing.assert_allclose(found.errors, spread, rtol=1e-10)
    rows = rng.normal(size=(21, 4))
    both = ensemble_autocorrelations(rows, num_batches=3)
    np.testing.assert_allclose(both.values, (rows * rows[:, :1]).mean(axis=0), atol=1e-14)


def test_standard_errors_of_a_sample_are_right():
    # Orbits of the cat map from random lattice points: 200 samples of 200 orbits against the closed form.
    orbits = cat_map_orbits(4, grid=1024)
    rng = np.random.default_rng(2)
    angles = np.linspace(-3, 3, 5)
    scores = []
    exact = spectral_density(np.r_[CAT_MAP, 0, 0], angles, filter="cosine").density
    for _ in range(200):
        found = ensemble_autocorrelations(orbits[rng.integers(len(orbits), size=200)], num_batches=20)
        density = spectral_density(found, angles, filter="cosine")
        assert density.errors is not None
        scores.append((density.density - exact) / density.errors)
    # Student's t with 19 degrees of freedom has variance 19/17; the mean square of 200 independent ones is within .35.
    np.testing.assert_allclose(np.mean(np.square(scores), axis=0), 19 / 17, atol=0.35)


def test_a_long_orbit_has_the_law_of_the_lattice():
    # Exact integer arithmetic: one orbit of the cat map on a lattice of 2^40 points per side.
    size, x, y = 2**40, 123_456_789_012, 987_654_321_098
    seen = np.empty((20_000, 2))
    for step in range(len(seen)):
        seen[step] = x, y
        x, y = (2 * x + y) % size, (x + y) % size
    a, b = (2 * np.pi * seen / size).T
    g = np.sin(a) + np.sin(2 * a + b) / 2 + 0.25j * np.sin(5 * a + 3 * b)
    found = trajectory_autocorrelations(g, 8, num_batches=40)
    assert found.errors is not None
    assert (np.abs(found.values - np.r_[CAT_MAP, np.zeros(6)]) < 4 * found.errors).all()
    assert found.errors.max() < 0.01
    density = spectral_density(found, np.linspace(-3, 3, 7), filter="vand4")
    assert density.errors is not None
    blur = spectral_density(np.r_[CAT_MAP, np.zeros(6)], np.linspace(-3, 3, 7), filter="vand4").density
    assert (np.abs(density.density - blur) < 4 * density.errors).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ArgumentError, match="`filter` must be one of fejer, cosine, vand4, sharp-cosine, bump; got 'hann'"
    ):
        spectral_density(CAT_MAP, [0.0], filter="hann")
    with pytest.raises(ArgumentError, match="at least 2 lags"):
        spectral_density([1.0, 0.5], [0.0])
    with pytest.raises(DataError, match="12 values are too few for 5 lags in 10 parts"):
        trajectory_autocorrelations(np.ones(12), 5)
    with pytest.raises(ArgumentError, match=r"finite numbers \(T,\)"):
        trajectory_autocorrelations(np.ones((3, 4)), 1)
    with pytest.raises(ArgumentError, match="`num_batches` must be between 2 and the number of starts, 3"):
        ensemble_autocorrelations(np.ones((3, 4)))
    with pytest.raises(ArgumentError, match="`weights` must hold 3 numbers"):
        ensemble_autocorrelations(np.ones((3, 4)), [1.0, -1.0, 1.0])
