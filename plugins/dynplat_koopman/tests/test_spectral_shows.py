"""Known spectra through the family's dictionaries and pairs, end to end."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import compress, compress_pairs
from dynplat_koopman.dictionaries.combined import Scaled
from dynplat_koopman.dictionaries.fourier import Fourier
from dynplat_koopman.dictionaries.orthogonal import Hermite, Legendre
from dynplat_koopman.dictionaries.radial import RadialBasis
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.generator import Rates, fit_generator, rates_of
from dynplat_koopman.measure_preserving import measure_preserving
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.quadrature import gauss_hermite, gauss_legendre, periodic_trapezoid
from dynplat_koopman.spectral_measure import rational_kernel, smoothed_spectral_measure
from dynplat_koopman.spectrum import eigenpairs, pseudospectrum
from dynplat_koopman.tests.systems import CAT_MAP, cat_map_orbits, duffing
from dynplat_koopman.verified import verified_spectrum


def test_gauss_map_with_legendre_functions():
    nodes = gauss_legendre(100, -1.0, 0.0)
    pairs = Pairs(nodes.points, np.exp(-2 * nodes.points**2) - 1 - np.exp(-2.0), weights=nodes.weights)
    dictionary = Scaled(Legendre(1, 39), location=np.array([-0.5]), scale=np.array([0.5]))
    operator = fit_edmd(pairs, dictionary)
    for source in (operator, compress_pairs(pairs, dictionary)):
        found = eigenpairs(source)
        assert len(found.accepted(0.01)) == 16
        assert found.residuals.max() == pytest.approx(0.4886, abs=5e-5)
    assert np.abs(operator.moments.gram - np.eye(40)).max() < 1e-13
    # The multiplier of the fixed point -1 and its powers are no eigenvalues of EDMD, yet hardly missed as such: the
    # functions nearest to solutions have residuals that those of other points far exceed.
    multiplier = 4 * np.exp(-2.0)
    assert pseudospectrum(operator, multiplier ** np.arange(4)).residuals.max() < 1e-3
    assert pseudospectrum(operator, np.array([-0.5, 0.5j, 1.2])).residuals.min() > 0.02


def test_rotation_with_complex_exponentials():
    omega = np.pi * (np.sqrt(5.0) - 1.0)
    x = periodic_trapezoid(64, 2 * np.pi).points
    compression = compress_pairs(Pairs(x, x + omega), Fourier(1, 6, is_complex=True))
    found = eigenpairs(compression)
    expected = np.exp(1j * omega * np.arange(-6, 7))
    assert np.abs(found.values[:, None] - expected).min(axis=0).max() < 4e-15
    assert found.residuals.max() < 1e-14
    # Real sines and cosines span the same, and RES is the distance to the eigenvalues.
    z = np.array([0.3 + 0.2j, 1j, -1.2])
    real = compress_pairs(Pairs(x, x + omega), Fourier(1, 6))
    distance = np.abs(z[:, None] - expected).min(axis=1)
    for form in (compression, real):
        np.testing.assert_allclose(pseudospectrum(form, z).residuals, distance, atol=1e-12)


def test_ornstein_uhlenbeck_generator_with_hermite_functions():
    # L f = -a x f' + a f'' has the eigenvalues -k a with Hermite polynomials.
    nodes, a = gauss_hermite(40, 0.0, 1.0), 0.7
    rates = Rates(nodes.points, -a * nodes.points, np.array([[2.0 * a]]), nodes.weights)
    generator = fit_generator(rates, Hermite(1, 7))
    for found in (
        eigenpairs(generator),
        eigenpairs(compress(Hermite(1, 7)(nodes.points), rates_of(Hermite(1, 7), *rates[:3]), nodes.weights)),
    ):
        np.testing.assert_allclose(np.sort(np.real(found.values)), -a * np.arange(8)[::-1], atol=1e-9)
        assert (found.residuals < found.floors).all()
    assert found.residuals.max() < 1e-11
    # A normal operator: RES is the distance to its spectrum, on the span.
    z = np.array([-1.0, 0.5 + 0.3j])
    distance = np.abs(z[:, None] + a * np.arange(8)).min(axis=1)
    np.testing.assert_allclose(pseudospectrum(generator, z).residuals, distance, rtol=1e-8)
    for call in (measure_preserving, lambda source: verified_spectrum(source, z, isometry=True)):
        with pytest.raises(ArgumentError, match="a generator is no isometry"):
            call(generator)
    assert len(verified_spectrum(generator, -a * np.arange(8)).within(1e-5)) == 8


def test_duffing_with_radial_functions():
    first, second = duffing(seed=5)
    rng = np.random.default_rng(6)
    width = np.linalg.norm(first - first.mean(axis=0), axis=1).mean()
    dictionary = RadialBasis(first[rng.choice(len(first), 100, replace=False)], width, kernel="exponential")
    compression = compress_pairs(Pairs(first, second, step=0.25), dictionary)
    found = eigenpairs(compression)
    assert (found.residuals < 0.05).sum() == 1
    assert 0.66 < np.median(found.residuals) < 0.77
    assert np.abs(np.abs(measure_preserving(compression).pairs.values) - 1).max() < 4e-15


@pytest.fixture(scope="module")
def cat_map_delays():
    # The map on 127 x 127 points has the period 128, and the waves of g meet again, reversed, after 64 steps: before
    # that averages over the lattice are exact.
    return cat_map_orbits(51, grid=127)


def test_cat_map_s_measure_from_delays(cat_map_delays):
    psi_x, psi_y = cat_map_delays[:, :50], cat_map_delays[:, 1:51]
    compression = compress(psi_x, psi_y)
    g = np.eye(50)[0]
    angles = np.linspace(-np.pi, np.pi, 61)
    for order in (1, 2, 4):
        weights = rational_kernel(order).multipliers(2, 0.4)
        waves = np.exp(-1j * angles[:, None] * np.arange(3)) * CAT_MAP * weights
        exact = np.real(waves[:, 0] + 2 * waves[:, 1:].sum(axis=1)) / (2 * np.pi)
        for found in (
            smoothed_spectral_measure(compression, g, angles, smoothing=0.4, order=order),
            measure_preserving(compression).smoothed_measure(g, angles, smoothing=0.4, order=order),
        ):
            assert (np.abs(found.density - exact) <= found.bounds).all()
            assert found.bounds.max() < 1e-3
    # There is no eigenvalue: every residual is far from 0.
    assert eigenpairs(compression).residuals.min() > 0.02


def test_cat_map_s_distribution_from_point_masses(cat_map_delays):
    # Point masses have the right distribution up to the mass of one of N points.
    angles = np.linspace(-np.pi, np.pi, 400)
    n = np.array([1, 2])
    part = CAT_MAP[1:] * (np.exp(-1j * angles[:, None] * n) - np.exp(1j * np.pi * n)) / (-1j * n)
    exact = (CAT_MAP[0].real * (angles + np.pi) + 2 * np.real(part.sum(axis=1))) / (2 * np.pi)
    errors = []
    for count in (12, 48):
        compression = compress(cat_map_delays[:, :count], cat_map_delays[:, 1 : count + 1])
        measure = measure_preserving(compression).spectral_measure(np.eye(count)[0])
        assert measure.total == pytest.approx(0.65625)
        errors.append(np.abs(measure.distribution(angles) - exact).max())
    assert errors[0] < 1.5 * 0.65625 * 2 / 12
    assert errors[1] < errors[0] / 3
