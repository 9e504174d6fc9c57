"""The compressed operator: both forms against each other, dense twins and exact arithmetic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.polynomial.legendre import leg2poly

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import compress, compress_blocks, compress_moments, compress_pairs
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.spectrum import eigenpairs
from dynplat_koopman.tests.systems import Galerkin, moments_of


def random_data(seed, M=60, N=7, is_complex=True):
    rng = np.random.default_rng(seed)
    psi_x, psi_y = rng.normal(size=(2, M, N))
    if is_complex:
        psi_x, psi_y = psi_x + 1j * rng.normal(size=(M, N)), psi_y + 1j * rng.normal(size=(M, N))
    return psi_x * 10.0 ** rng.uniform(-3, 3, N), psi_y, rng.gamma(1.0, size=M)


@pytest.mark.parametrize("is_complex", [False, True])
def test_both_forms_equal_the_definitions(is_complex):
    psi_x, psi_y, w = random_data(0, is_complex=is_complex)
    moments = moments_of(psi_x, psi_y, w)
    K = np.linalg.pinv(moments.gram, rcond=1e-14) @ moments.cross
    rng = np.random.default_rng(1)
    values = rng.normal(size=5) + 1j * rng.normal(size=5)
    vectors = rng.normal(size=(7, 5)) + 1j * rng.normal(size=(7, 5))
    misses = psi_y @ vectors - psi_x @ vectors * values
    expected = np.sqrt((w @ np.abs(misses) ** 2) / (w @ np.abs(psi_x @ vectors) ** 2))
    for form in (compress(psi_x, psi_y, w), compress_moments(moments)):
        np.testing.assert_allclose(form.koopman_matrix, K, rtol=1e-7, atol=1e-7 * np.abs(K).max())
        np.testing.assert_allclose(form.residuals(values, vectors), expected, rtol=1e-7)
        np.testing.assert_allclose(form.coordinates @ form.basis, np.eye(7), atol=1e-12)
        np.testing.assert_allclose(form.basis.conj().T @ moments.gram @ form.basis, np.eye(7), atol=1e-12)
        target = form.basis.conj().T @ moments.target @ form.basis
        np.testing.assert_allclose(
            form.matrix.conj().T @ form.matrix + form.defect.conj().T @ form.defect,
            target,
            atol=1e-12 * abs(target).max(),
        )


def test_blocks_and_pairs_give_the_same_operator():
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=(5000, 2))
    y = x @ np.array([[0.9, 0.2], [-0.1, 0.7]]) + 0.1 * x**2
    pairs = Pairs(x, y, weights=rng.gamma(1.0, size=5000))
    dictionary = Monomials(2, 4)
    whole = compress(dictionary(x), dictionary(y), pairs.weights)
    cuts = [slice(0, 17), slice(17, 2100), slice(2100, 5000)]
    pieces = [Pairs(x[c], y[c], weights=pairs.weights[c]) for c in cuts]
    in_blocks = compress_blocks((dictionary(p.first), dictionary(p.second), p.weights) for p in pieces)
    for other in (compress_pairs(pairs, dictionary), compress_pairs(iter(pieces), dictionary), in_blocks):
        np.testing.assert_allclose(other.koopman_matrix, whole.koopman_matrix, atol=1e-11)
        np.testing.assert_allclose(
            np.linalg.norm(other.defect @ other.coordinates, axis=0),
            np.linalg.norm(whole.defect @ whole.coordinates, axis=0),
            atol=1e-12,
        )


def test_values_keep_the_digits_that_moments_lose():
    # x -> a x + d x^2 with the one function x: the residual is d |x^2| / |x|, eleven decades below the function.
    x, a, d = np.linspace(0.1, 1.0, 50), 0.5, 1e-11
    with mpmath.workdps(40):
        points = [mpmath.mpf(float(v)) for v in x]
        exact = float(d * mpmath.sqrt(sum(p**4 for p in points) / sum(p**2 for p in points)))
    psi_x, psi_y = x[:, None], (a * x + d * x**2)[:, None]
    stable, plain = compress(psi_x, psi_y), compress_moments(moments_of(psi_x, psi_y))
    assert abs(stable.residuals([a], [[1.0]])[0] - exact) < 1e-15
    norm = np.sqrt(np.mean(x**2))
    assert abs(plain.residuals([a], [[1.0]])[0] - exact) < plain.floors(np.array([a]), np.array([[1 / norm]]))[0]
    assert stable.floors(np.array([a]), np.array([[1 / norm]]))[0] < 1e-14


def test_floors_tell_what_rounding_leaves_of_sums_that_cancel():
    # The reflection x -> -x: Legendre polynomials are eigenfunctions, and of monomials they are sums that cancel.
    x = np.linspace(-1.0, 1.0, 201)
    powers = np.arange(19)
    psi_x, psi_y = x[:, None] ** powers, (-x[:, None]) ** powers
    values = (-1.0) ** powers
    vectors = np.stack([np.r_[leg2poly(row), np.zeros(18 - n)] for n, row in enumerate(np.eye(19))], axis=1)
    vectors /= np.sqrt(np.mean((psi_x @ vectors) ** 2, axis=0))
    stable = compress(psi_x, psi_y)
    plain = compress_moments(moments_of(psi_x, psi_y), tolerance=0.0)
    for form in (stable, plain):
        assert (form.residuals(values, vectors) < form.floors(values, vectors)).all()
    assert stable.floors(values, vectors)[-1] < 1e-8
    assert plain.floors(values, vectors)[-1] > 1e-3
    # Monomials themselves are eigenfunctions without any cancellation.
    simple = np.eye(19) / np.sqrt(np.mean(psi_x**2, axis=0))
    assert (stable.residuals(values, simple) < stable.floors(values, simple)).all()
    assert stable.floors(values, simple).max() < 1e-13


def test_dependent_functions_are_dropped_only_when_asked():
    psi_x, psi_y, w = random_data(3, N=5)
    mix = np.array([1.0, -2.0, 0.5, 0.0, 1.0])
    wide_x, wide_y = np.c_[psi_x, psi_x @ mix], np.c_[psi_y, psi_y @ mix]
    with pytest.raises(DataError, match="6 functions have rank 5"):
        compress(wide_x, wide_y, w)
    with pytest.raises(DataError, match="6 functions have rank 5"):
        compress_moments(moments_of(wide_x, wide_y, w))
    kept = compress(wide_x, wide_y, w, tolerance=1e-20)
    assert kept.rank == 5
    expected = np.sort_complex(eigenpairs(compress(psi_x, psi_y, w)).values)
    np.testing.assert_allclose(np.sort_complex(eigenpairs(kept).values), expected, rtol=1e-8)
    assert compress(psi_x, psi_y, w, rank=3).rank == 3


def test_projection_of_an_observable():
    psi_x, psi_y, w = random_data(4)
    rng = np.random.default_rng(5)
    g = rng.normal(size=60)
    coefficients, missed = compress(psi_x, psi_y, w).project(psi_x, g, w)
    root = np.sqrt(w / w.sum())
    expected = np.linalg.lstsq(root[:, None] * psi_x / np.abs(psi_x).max(0), root * g, rcond=None)[0]
    np.testing.assert_allclose(coefficients * np.abs(psi_x).max(0), expected, rtol=1e-9)
    assert missed == pytest.approx(np.linalg.norm(root * (g - psi_x @ coefficients)), rel=1e-10)


def test_what_cannot_be_is_refused():
    psi_x, psi_y, w = random_data(6)
    with pytest.raises(DataError, match=r"larger than the data: 7 functions for 7 snapshot pairs.*every residual is 0"):
        compress(psi_x[:7], psi_y[:7])
    with pytest.raises(DataError, match="larger than the data"):
        compress(psi_x, psi_y, np.r_[np.ones(7), np.zeros(53)])
    with pytest.raises(DataError, match="rank 6"):
        compress(psi_x * (np.arange(7) != 2), psi_y)
    with pytest.raises(DataError, match="no pair of states"):
        compress_blocks([])
    with pytest.raises(ArgumentError, match="not finite"):
        compress(np.where(np.arange(60)[:, None] == 3, np.nan, psi_x), psi_y)
    with pytest.raises(ArgumentError, match="a real number for each of the 60 pairs; got complex128"):
        compress(psi_x, psi_y, w + 1j)
    with pytest.raises(ArgumentError, match="`psi_x` must hold numbers"):
        compress([["a", "b"]] * 3, psi_y)
    with pytest.raises(ArgumentError, match="negative number on its diagonal"):
        compress_moments(Galerkin(-np.eye(2), np.eye(2), np.eye(2)))
    with pytest.raises(ArgumentError, match=r"one shape \(M, N\)"):
        compress(psi_x, psi_y[:, :3])
    with pytest.raises(ArgumentError, match="not negative"):
        compress(psi_x, psi_y, -w)
    with pytest.raises(ArgumentError, match=r"`rank` must be in 1, \.\.\., 7; got 8"):
        compress(psi_x, psi_y, rank=8)
    with pytest.raises(ArgumentError, match=r"`tolerance` must be in \[0, 1\)"):
        compress(psi_x, psi_y, tolerance=1.0)
    moments = moments_of(psi_x, psi_y)
    moments.target = moments.target / 100.0
    with pytest.raises(ArgumentError, match="not those of one set of pairs"):
        compress_moments(moments)
    pairs = Pairs(np.zeros((5, 1)), np.zeros((5, 1)), inputs=np.ones((5, 1)))
    with pytest.raises(ArgumentError, match="have inputs"):
        compress_pairs(pairs, Monomials(1, 1))
