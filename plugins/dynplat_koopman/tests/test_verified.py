"""The verified spectrum: its bounds hold where the spectrum is known."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import compress, compress_moments
from dynplat_koopman.spectrum import eigenpairs, held_out_residuals, pseudospectrum
from dynplat_koopman.tests.systems import (
    cat_map_moments,
    duffing,
    exponentials,
    gauss_map,
    legendre_functions,
    rotation,
)
from dynplat_koopman.verified import verified_spectrum

OMEGA = np.sqrt(2.0)
GRID = np.add.outer(1j * np.linspace(-1.3, 1.3, 27), np.linspace(-1.3, 1.3, 27))


def test_bounds_hold_on_a_rotation():
    # The span holds five of the eigenfunctions, so that its RES(z) is the distance to the nearest of their eigenvalues.
    # The true spectrum is the whole circle, and nearer.
    psi_x, psi_y = rotation(OMEGA, modes=2)
    found = verified_spectrum(compress(psi_x, psi_y), GRID, isometry=True)
    seen = np.exp(1j * OMEGA * np.arange(-2, 3))
    distance = np.abs(found.points[:, None] - seen).min(axis=1)
    np.testing.assert_allclose(found.bounds, np.maximum(distance, np.abs(1 - np.abs(found.points))), atol=1e-10)
    # Every such eigenvalue has a point of the grid within half a diagonal, and one that was kept.
    assert (np.abs(found.points[:, None] - seen).min(axis=0) < 0.1 / np.sqrt(2)).all()
    assert found.error < 0.1 / np.sqrt(2) + 1e-9
    assert len(found) < found.candidates


def test_points_are_the_best_of_their_neighbourhood():
    psi_x, psi_y, w = gauss_map()
    compression = compress(psi_x, psi_y, w)
    found = verified_spectrum(compression, GRID, reach=5.0)
    everywhere = pseudospectrum(compression, GRID.ravel())
    expected = set()
    for z, bound in zip(everywhere.points, everywhere.bounds, strict=True):
        if bound < 1:
            near = np.abs(everywhere.points - z) < 5 * bound
            expected.add(everywhere.points[near][np.argmin(everywhere.bounds[near])])
    assert set(found.points) == expected
    np.testing.assert_allclose(
        held_out_residuals(psi_x, psi_y, found.points, found.vectors, w), found.bounds, rtol=1e-6, atol=1e-10
    )
    small = found.within(0.01)
    assert 0 < len(small) < len(found)
    assert small.error < 0.01


def test_the_circle_of_a_mixing_system_is_found():
    # The cat map's spectrum is the circle: what is kept lies on it, and all around it.
    ring = np.exp(2j * np.pi * np.arange(64) / 64)
    candidates = np.concatenate([r * ring for r in (0.6, 0.8, 1.0, 1.2)] + [[0.0]])
    errors = []
    for count in (10, 40):
        found = verified_spectrum(compress_moments(cat_map_moments(count)), candidates, isometry=True)
        assert (np.abs(1 - np.abs(found.points)) <= found.bounds).all()
        errors.append(found.error)
        np.testing.assert_allclose(np.abs(found.points), 1.0, atol=1e-12)
        gaps = np.abs(ring[:, None] - found.points).min(axis=1)
        assert (gaps < 5 * pseudospectrum(cat_map_moments(count), ring).bounds).all()
    assert errors[1] < errors[0] / 2


def test_polluted_eigenvalues_are_replaced():
    psi_x, psi_y, w = gauss_map()
    compression = compress(psi_x, psi_y, w)
    pairs = eigenpairs(compression)
    found = verified_spectrum(compression, pairs.values)
    assert found.error < pairs.residuals.max()
    assert set(found.points) <= set(pairs.values)


def test_bounds_on_held_out_data_are_honest():
    # Few pairs for the functions: the minimum over the data promises too much, and held-out pairs tell.
    first, second = duffing(seed=3, starts=16, steps=10)
    more, after = duffing(seed=4, starts=200, steps=10)
    centres = np.random.default_rng(0).uniform(-2, 2, size=(60, 2))

    def functions(x):
        return exponentials(x, centres, 1.5)

    held_out = (functions(more), functions(after), None)
    ring = np.exp(1j * np.linspace(0.2, 3.0, 40))
    compression = compress(functions(first), functions(second))
    promised = verified_spectrum(compression, ring, isometry=True)
    checked = verified_spectrum(compression, ring, isometry=True, held_out=held_out)
    np.testing.assert_array_equal(promised.points, checked.points)
    assert np.median(checked.bounds / promised.bounds) > 1.2
    outside = held_out_residuals(held_out[0], held_out[1], checked.points, checked.vectors)
    assert (checked.bounds > outside).all()
    assert (checked.bounds < 1.5 * outside).all()


def test_bounds_on_held_out_data_hold_for_the_law():
    """Residuals by a quadrature rule are the true ones: bounds of 400 pairs lie above, but for one in twenty."""
    rng = np.random.default_rng(0)

    def functions(x):
        return legendre_functions(x, 20), legendre_functions(np.exp(-2 * x**2) - 1 - np.exp(-2.0), 20)

    exact_x, exact_y, w = gauss_map(20, 400)
    grid = np.add.outer(1j * np.linspace(0, 1, 9), np.linspace(-1, 1, 17))
    kept, at_fault, optimistic = 0, 0, 0
    for _ in range(10):
        compression, held_out = compress(*functions(rng.uniform(-1, 0, 400))), functions(rng.uniform(-1, 0, 400))
        found = verified_spectrum(compression, grid, held_out=(*held_out, None))
        true = held_out_residuals(exact_x, exact_y, found.points, found.vectors, w)
        kept += len(found)
        at_fault += (found.bounds < true).sum()
        optimistic += (verified_spectrum(compression, grid).bounds < true).sum()
    assert kept > 150
    assert at_fault < 0.1 * kept
    assert optimistic > 0.5 * kept


def test_edges():
    psi_x, psi_y = rotation(OMEGA)
    with pytest.raises(ArgumentError, match=r"`reach` must be at least 1.*got 0\.5"):
        verified_spectrum(compress(psi_x, psi_y), GRID, reach=0.5)
    none = verified_spectrum(compress(psi_x, psi_y), [5.0])
    assert len(none) == none.candidates == 0
    assert np.isnan(none.error)
