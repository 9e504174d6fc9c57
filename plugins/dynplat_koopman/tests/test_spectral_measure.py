"""Smoothed spectral measures: published residues, orders of convergence, and bounds that hold."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import compress, compress_moments
from dynplat_koopman.measure_preserving import measure_preserving
from dynplat_koopman.spectral_measure import rational_kernel, smoothed_spectral_measure
from dynplat_koopman.tests.systems import CAT_MAP, cat_map_density, cat_map_moments, duffing, exponentials, fourier

#: Residues of the kernels of order 1 to 6 in the SIAM Review article of Colbrook, Horning and Townsend, table 1.
PUBLISHED = [
    [1],
    [(1 + 3j) / 2, (1 - 3j) / 2],
    [-2 + 1j, 5, -2 - 1j],
    [(-39 - 65j) / 24, (17 + 85j) / 8, (17 - 85j) / 8, (-39 + 65j) / 24],
    [(15 - 10j) / 4, (-39 + 13j) / 2, 65 / 2, (-39 - 13j) / 2, (15 + 10j) / 4],
    [
        (725 + 1015j) / 192,
        (-2775 - 6475j) / 192,
        (1073 + 7511j) / 96,
        (1073 - 7511j) / 96,
        (-2775 + 6475j) / 192,
        (725 - 1015j) / 192,
    ],
]


@pytest.mark.parametrize("order", range(1, 7))
def test_residues_are_the_published_ones(order):
    np.testing.assert_allclose(rational_kernel(order).residues, PUBLISHED[order - 1], rtol=1e-13)


@pytest.mark.parametrize("order", [1, 2, 7, 12, 20])
def test_residues_solve_the_vandermonde_system(order):
    kernel = rational_kernel(order)
    with mpmath.workdps(40):
        poles = [mpmath.mpc(mpmath.mpf(2 * j) / (order + 1) - 1, 1) for j in range(1, order + 1)]
        system = mpmath.matrix(order, order)
        for k in range(order):
            for j in range(order):
                system[k, j] = poles[j] ** k
        exact = mpmath.lu_solve(system, mpmath.matrix([1] + [0] * (order - 1)))
        expected = np.array([complex(value) for value in exact])
    np.testing.assert_allclose(kernel.residues, expected, rtol=1e-12)


def test_a_kernel_has_mass_one_and_is_even():
    x = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 200_001)[1:-1])
    for order in (1, 2, 3, 4):
        kernel = rational_kernel(order)
        np.testing.assert_allclose(kernel(x), kernel(-x), atol=1e-12)
        assert np.trapezoid(kernel(x) * (1 + x**2), np.arctan(x)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6, 8])
def test_order_of_convergence_is_the_kernel_s(order):
    # Resolvents of the compressed cat map against its exact density, a trigonometric polynomial.
    compression = compress_moments(cat_map_moments(300))
    angles = np.linspace(-np.pi, np.pi, 17)
    widths = np.array([0.4, 0.2, 0.1])
    errors = []
    for smoothing in widths:
        found = smoothed_spectral_measure(compression, np.eye(300)[0], angles, smoothing=smoothing, order=order)
        errors.append(np.abs(found.density - cat_map_density(angles)).max())
    first, second = np.diff(np.log(errors)) / np.diff(np.log(widths))
    # The next term of the error is one order smaller, and extrapolation takes it off.
    assert 2 * second - first == pytest.approx(order, abs=0.05)


def test_smoothed_density_of_the_cat_map_is_its_filtered_sum():
    angles = np.linspace(-np.pi, np.pi, 33)
    for order in (1, 3, 6):
        weights = rational_kernel(order).multipliers(2, 0.15)
        waves = np.exp(-1j * angles[:, None] * np.arange(3)) * CAT_MAP * weights
        exact = np.real(waves[:, 0] + 2 * waves[:, 1:].sum(axis=1)) / (2 * np.pi)
        found = smoothed_spectral_measure(cat_map_moments(250), np.eye(250)[0], angles, smoothing=0.15, order=order)
        np.testing.assert_allclose(found.density, exact, atol=1e-9)
        assert (np.abs(found.density - exact) <= found.bounds + 1e-12).all()


def test_bounds_hold_with_few_functions_and_fall_with_more():
    angles = np.linspace(-np.pi, np.pi, 21)
    weights = rational_kernel(2).multipliers(2, 0.3)
    waves = np.exp(-1j * angles[:, None] * np.arange(3)) * CAT_MAP * weights
    exact = np.real(waves[:, 0] + 2 * waves[:, 1:].sum(axis=1)) / (2 * np.pi)
    largest = []
    for count in (4, 8, 16, 32, 64):
        compression = compress_moments(cat_map_moments(count))
        for found in (
            smoothed_spectral_measure(compression, np.eye(count)[0], angles, smoothing=0.3),
            measure_preserving(compression).smoothed_measure(np.eye(count)[0], angles, smoothing=0.3),
        ):
            assert (np.abs(found.density - exact) <= found.bounds + 1e-7).all()
        largest.append(found.bounds.max())
    assert largest[0] > 0.1
    assert largest[-1] < 1e-4 * largest[0]


def test_an_isometry_that_is_not_onto():
    # Doubling the angle: e^(ix) is orthogonal to all its images, and its measure uniform. With 8 modes its images leave
    # the span after three steps.
    x = 2 * np.pi * np.arange(64) / 64
    compression = compress(fourier(x, 8), fourier(2 * x, 8))
    found = smoothed_spectral_measure(compression, np.eye(17)[9], np.linspace(-3, 3, 7), smoothing=0.5, order=4)
    np.testing.assert_allclose(found.density, 1 / (2 * np.pi), atol=1e-12)
    assert (found.bounds > 0.01).all()
    constant = smoothed_spectral_measure(compression, np.eye(17)[8], [0.0, 2.0], smoothing=0.5, order=1)
    r = np.exp(-0.5)
    np.testing.assert_allclose(
        constant.density, (1 - r**2) / (1 - 2 * r * np.cos([0.0, 2.0]) + r**2) / (2 * np.pi), rtol=1e-10
    )
    assert constant.bounds.max() < 1e-12


def test_eigenvalues_have_their_mass_at_their_angle():
    x = 2 * np.pi * np.arange(64) / 64
    compression = compress(fourier(x, 5), fourier(x + 0.7, 5))
    angles = np.linspace(-np.pi, np.pi, 721)
    found = smoothed_spectral_measure(compression, np.eye(11)[7], angles, smoothing=0.05, order=2)
    assert angles[np.argmax(found.density)] == pytest.approx(2 * 0.7, abs=0.01)
    assert np.trapezoid(found.density, angles) == pytest.approx(1.0, abs=1e-6)


def test_smoothing_below_the_quadrature_is_refused():
    first, second = duffing(seed=1, starts=20, steps=10)
    centres = first[::10]
    compression = compress(exponentials(first, centres, 1.0), exponentials(second, centres, 1.0))
    with pytest.raises(ArgumentError, match=r"norm 1\.\d+, which is not below e\^smoothing.*`measure_preserving`"):
        smoothed_spectral_measure(compression, np.eye(20)[0], [0.0], smoothing=1e-4)
    assert measure_preserving(compression).smoothed_measure(np.eye(20)[0], [0.0], smoothing=1e-4).bounds[0] > 1.0
    with pytest.raises(ArgumentError, match="`order` must be a whole number from 1 on; got 0"):
        rational_kernel(0)
    with pytest.raises(ArgumentError, match=r"`order` must be a whole number from 1 on; got 1\.5"):
        rational_kernel(1.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match="`smoothing` must be positive"):
        smoothed_spectral_measure(cat_map_moments(4), np.eye(4)[0], [0.0], smoothing=-1.0)
