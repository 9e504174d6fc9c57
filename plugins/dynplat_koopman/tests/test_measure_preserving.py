"""Measure-preserving EDMD: rotations, clusters of eigenvalues, and the Duffing oscillator's figures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial.legendre import legvander
from scipy.linalg import polar

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import compress, compress_moments
from dynplat_koopman.measure_preserving import measure_preserving
from dynplat_koopman.spectrum import eigenpairs, pseudospectrum
from dynplat_koopman.tests.systems import cat_map_moments, duffing, exponentials, moments_of, rotation

OMEGA = np.sqrt(2.0)


def test_rotation_is_exact():
    psi_x, psi_y = rotation(OMEGA)
    expected = np.exp(1j * OMEGA * np.arange(-5, 6))
    for source in (compress(psi_x, psi_y), moments_of(psi_x, psi_y)):
        for pairs in (eigenpairs(source), measure_preserving(source).pairs):
            off = np.abs(pairs.values[:, None] - expected).min(axis=0)
            assert off.max() < 3e-15
            assert pairs.residuals.max() < 1e-7
    fitted = measure_preserving(compress(psi_x, psi_y))
    assert fitted.pairs.residuals.max() < 1e-14
    assert fitted.change < 1e-14


def test_spectral_measure_of_a_rotation():
    psi_x, psi_y = rotation(OMEGA)
    coefficients = np.zeros(11, dtype=complex)
    coefficients[[3, 6, 10]] = 1.0, 2.0j, -0.5
    measure = measure_preserving(compress(psi_x, psi_y)).spectral_measure(coefficients)
    assert measure.total == pytest.approx(5.25)
    heavy = measure.masses > 1e-20
    angles = np.angle(np.exp(1j * OMEGA * np.array([-2, 1, 5])))
    order = np.argsort(angles)
    np.testing.assert_allclose(measure.angles[heavy], angles[order], atol=1e-14)
    np.testing.assert_allclose(measure.masses[heavy], np.array([1.0, 4.0, 0.25])[order], rtol=1e-13)
    n = np.arange(9)[:, None]
    np.testing.assert_allclose(
        measure.moments(8), np.exp(1j * n * OMEGA * np.array([-2, 1, 5])) @ [1.0, 4.0, 0.25], atol=1e-12
    )
    middle = angles[order][1]
    np.testing.assert_allclose(
        measure.distribution([-np.pi, middle - 1e-9, middle + 1e-9, np.pi]),
        [0.0, *np.cumsum(np.array([1.0, 4.0, 0.25])[order])[[0, 1]], 5.25],
        atol=1e-12,
    )


def test_the_isometry_is_the_nearest_one():
    rng = np.random.default_rng(0)
    psi_x, psi_y = rng.normal(size=(2, 90, 8))
    psi_x[:, 3] *= 1e3
    moments, compression = moments_of(psi_x, psi_y), compress(psi_x, psi_y)
    fitted = measure_preserving(compression)
    K = fitted.matrix
    np.testing.assert_allclose(
        K.conj().T @ moments.gram @ K, moments.gram, atol=1e-12 * np.sqrt(np.outer(*[np.diag(moments.gram)] * 2)).max()
    )
    unitary = polar(compression.matrix)[0]
    np.testing.assert_allclose(compression.coordinates @ K @ compression.basis, unitary, atol=1e-12)
    assert fitted.change == pytest.approx(np.linalg.norm(unitary - compression.matrix, 2))
    V = fitted.pairs.vectors
    np.testing.assert_allclose(V.conj().T @ moments.gram @ V, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(K @ V, V * fitted.pairs.values, atol=1e-11 * np.abs(V).max())
    np.testing.assert_allclose(
        fitted.pairs.residuals, compression.residuals(fitted.pairs.values, fitted.pairs.vectors), rtol=1e-10
    )


def test_functions_stay_orthonormal_where_eigenvalues_coincide():
    # A reflection has the eigenvalues 1 and -1 only. A general eigensolver gives any functions of them.
    x = np.linspace(-1.0, 1.0, 301)
    rng = np.random.default_rng(1)
    mix = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    psi_x, psi_y = legvander(x, 9) @ mix, legvander(-x, 9) @ mix
    compression = compress(psi_x, psi_y)
    fitted = measure_preserving(compression)
    assert np.abs(fitted.columns.conj().T @ fitted.columns - np.eye(10)).max() < 1e-13
    np.testing.assert_allclose(fitted.columns, compression.coordinates @ fitted.pairs.vectors, atol=1e-12)
    assert np.abs(np.abs(fitted.pairs.values) - 1.0).max() < 4e-15
    assert np.sort(np.real(fitted.pairs.values)).round(8).tolist() == [-1.0] * 5 + [1.0] * 5
    general = np.linalg.eig(compression.matrix)[1]
    assert np.abs(general.conj().T @ general - np.eye(10)).max() > 1e-3


@pytest.fixture(scope="module")
def duffing_values():
    first, second = duffing(seed=0)
    rng = np.random.default_rng(100)
    centres = first[rng.choice(len(first), 100, replace=False)]
    width = np.linalg.norm(first - first.mean(axis=0), axis=1).mean()
    return exponentials(first, centres, width), exponentials(second, centres, width)


def test_duffing_figures(duffing_values):
    # 300 starts, 50 steps of .25, 100 functions exp(-r/d) at states of the data. The figures to be met are those of one
    # draw of starts and centres: largest modulus .99992, residuals of median .733 and at most .9985, one below .05,
    # RES .0107, .4998, .2616 and .164. The intervals hold the figures of 12 draws.
    compression = compress(*duffing_values)
    pairs = eigenpairs(compression)
    assert 0.9998 < np.abs(pairs.values).max() < 1.0
    assert 0.66 < np.median(pairs.residuals) < 0.77
    assert 0.98 < pairs.residuals.max() < 1.04
    assert (pairs.residuals < 0.05).sum() == 1
    assert abs(pairs.values[0] - 1.0) < 1e-3
    found = pseudospectrum(compression, [1.0, 0.5, 1j, 0.7 + 0.7j]).residuals
    assert 0.0087 < found[0] < 0.0155
    assert 0.499 < found[1] < 0.5005
    assert 0.25 < found[2] < 0.35
    assert 0.15 < found[3] < 0.185
    # Of an isometry no residual is below | 1 - |z| |; of 15,000 random pairs it may be by their noise.
    assert found[1] > 0.5 - 1e-3


def test_duffing_s_isometry(duffing_values):
    compression = compress(*duffing_values)
    fitted = measure_preserving(compression)
    assert np.abs(np.abs(fitted.pairs.values) - 1.0).max() <= 4e-15
    columns = fitted.columns
    assert np.abs(columns.conj().T @ columns - np.eye(100)).max() < 1e-13
    # They are the nearest isometry's own, not only brought to the circle.
    unitary = polar(compression.matrix)[0]
    assert np.abs(unitary @ columns - columns * fitted.pairs.values).max() < 1e-13
    inner = np.sqrt(np.full(15_000, 1 / 15_000))[:, None] * duffing_values[0] @ fitted.pairs.vectors
    np.testing.assert_allclose(inner.conj().T @ inner, np.eye(100), atol=1e-8)
    weights = np.abs(inner.conj().T @ duffing_values[0][:, 0]) ** 2 / 15_000
    measure = fitted.spectral_measure(np.eye(100)[0])
    assert measure.total == pytest.approx(np.mean(duffing_values[0][:, 0] ** 2), rel=1e-10)
    np.testing.assert_allclose(np.sort(measure.masses), np.sort(weights), atol=1e-12)


def test_point_measures_converge_weakly_on_the_cat_map():
    # The true measure has a density, and moments c_0, c_1, c_2, 0, ...: with N functions the first N - 1 are right.
    fitted = measure_preserving(compress_moments(cat_map_moments(40)))
    measure = fitted.spectral_measure(np.eye(40)[0])
    found = measure.moments(20)
    np.testing.assert_allclose(found[:3], [0.65625, 0.25 - 0.0625j, -0.125j], atol=1e-3)
    np.testing.assert_allclose(found[3:], 0.0, atol=1e-3)
    assert (measure.residuals > 1e-3).all()


def test_smoothing_point_masses_is_a_sum_of_kernels():
    psi_x, psi_y = rotation(OMEGA)
    fitted = measure_preserving(compress(psi_x, psi_y))
    rng = np.random.default_rng(2)
    coefficients = rng.normal(size=11) + 1j * rng.normal(size=11)
    measure, angles = fitted.spectral_measure(coefficients), np.linspace(-3.0, 3.0, 50)
    poisson = measure.smoothed(angles, smoothing=0.1, order=1)
    r = np.exp(-0.1)
    gaps = np.cos(angles[:, None] - measure.angles)
    expected = (measure.masses * (1 - r**2) / (1 - 2 * r * gaps + r**2)).sum(axis=1) / (2 * np.pi)
    np.testing.assert_allclose(poisson, expected, rtol=1e-10)
    for order in (1, 2, 5):
        found = fitted.smoothed_measure(coefficients, angles, smoothing=0.1, order=order)
        np.testing.assert_allclose(found.density, measure.smoothed(angles, smoothing=0.1, order=order), rtol=1e-9)
        assert found.bounds.max() < 1e-8


def test_projected_observables_say_what_they_miss():
    psi_x, psi_y = rotation(OMEGA, modes=3)
    x = 2 * np.pi * np.arange(64) / 64
    compression = compress(psi_x, psi_y)
    coefficients, missed = compression.project(psi_x, np.cos(x) + np.cos(5 * x))
    measure = measure_preserving(compression).spectral_measure(coefficients, missed=missed)
    assert measure.total == pytest.approx(0.5)
    assert measure.missed == pytest.approx(0.5)
    with pytest.raises(ArgumentError, match=r"each of the 7 functions; got shape \(3,\).*`Compression.project`"):
        measure_preserving(compression).spectral_measure(np.ones(3))
    with pytest.raises(ArgumentError, match="`smoothing` must be positive"):
        measure.smoothed([0.0], smoothing=0.0)
