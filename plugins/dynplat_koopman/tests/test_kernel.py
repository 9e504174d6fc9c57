"""Kernel EDMD and its residuals: the dictionary that a kernel stands for, held-out data, and the adjoint."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import compress, compress_pairs
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.kernel import GaussianKernel, LaplaceKernel, LorentzKernel, fit_kernel_edmd, kernel_from
from dynplat_koopman.measure_preserving import measure_preserving
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.spectrum import eigenpairs, held_out_residuals, pseudospectrum
from dynplat_koopman.tests.systems import fourier


def cubic(x, y):
    """The kernel of all monomials up to degree 3."""
    return (1.0 + x @ y.T) ** 3


def curved_map(seed, count):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(count, 2))
    return Pairs(x, np.stack([0.9 * x[:, 0] + 0.1 * x[:, 1] ** 2, -0.6 * x[:, 1] + 0.2 * x[:, 0] * x[:, 1]], axis=1))


def on_circle(theta):
    return np.stack([np.cos(theta), np.sin(theta)], axis=1)


def circle(seed, count, omega):
    theta = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    return Pairs(on_circle(theta), on_circle(theta + omega))


def doubling(seed, count):
    theta = np.random.default_rng(seed).uniform(0, 2 * np.pi, count)
    return Pairs(on_circle(theta), on_circle(2 * theta))


def test_a_polynomial_kernel_is_its_dictionary():
    # Ten monomials span what the kernel spans: operator, held-out residuals and pseudospectra are the dictionary's.
    training, held_out = curved_map(0, 80), curved_map(1, 400)
    dictionary = Monomials(2, 3)
    fitted = fit_kernel_edmd(training, cubic)
    assert fitted.rank == 10
    operator = fit_edmd(training, dictionary)
    found = fitted.eigenpairs(held_out)
    known = eigenpairs(operator)
    expected = held_out_residuals(dictionary(held_out.first), dictionary(held_out.second), known.values, known.vectors)
    order = np.argsort(expected)
    np.testing.assert_allclose(found.residuals, expected[order], rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(found.values, known.values[order], rtol=1e-6)
    psi = fitted.functions(held_out.first)
    np.testing.assert_allclose(np.mean(np.abs(found.functions(psi)) ** 2, axis=0), 1.0, rtol=1e-10)
    z = np.array([1.0, 0.9, 0.5 + 0.2j, -0.6])
    np.testing.assert_allclose(
        pseudospectrum(fitted.residual_compression(held_out), z).residuals,
        pseudospectrum(compress_pairs(held_out, dictionary), z).residuals,
        rtol=1e-7,
        atol=1e-10,
    )


def test_held_out_weights_are_the_quadrature_s():
    training, held_out = curved_map(2, 80), curved_map(3, 60)
    copies = np.random.default_rng(0).integers(1, 4, size=60)
    weighted = Pairs(held_out.first, held_out.second, weights=copies)
    repeated = Pairs(np.repeat(held_out.first, copies, axis=0), np.repeat(held_out.second, copies, axis=0))
    fitted = fit_kernel_edmd(training, cubic)
    found, expected = fitted.eigenpairs(weighted), fitted.eigenpairs(repeated)
    np.testing.assert_allclose(found.residuals, expected.residuals, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(
        fitted.residual_compression(weighted).koopman_matrix,
        fitted.residual_compression(repeated).koopman_matrix,
        atol=1e-8,
    )


def test_training_residuals_are_zero_and_refused():
    # Doubling the angle mixes: no eigenvalue but 1. With as many functions as pairs the training set shows residual 0
    # for all of them; held-out pairs show what they are.
    training, held_out = doubling(0, 60), doubling(1, 3000)
    fitted = fit_kernel_edmd(training, LaplaceKernel(0.5))
    assert fitted.rank == 60
    psi_x, psi_y = fitted.functions(training.first), fitted.functions(training.second)
    values, vectors = np.linalg.eig(fitted.matrix)
    assert held_out_residuals(psi_x, psi_y, values, vectors).max() < 1e-9
    with pytest.raises(
        DataError,
        match=r"60 of the 60 held-out pairs are in the training set, where a residual says nothing: with r = M = 60 "
        r"functions .* every eigenpair has residual 0 there\. .*or ask for the residuals of the `adjoint`",
    ):
        fitted.eigenpairs(training)
    with pytest.raises(DataError, match="r = M = 60"):
        fitted.residual_compression(training)
    found = fitted.eigenpairs(held_out)
    large = np.abs(found.values) > 0.3
    assert large.sum() > 20
    assert abs(found.values[0] - 1.0) < 0.02
    assert found.residuals[0] < 0.05
    assert found.residuals[large][1:].min() > 0.7


def test_no_training_pair_is_taken_for_held_out():
    training, more = curved_map(4, 80), curved_map(5, 40)
    fitted = fit_kernel_edmd(training, cubic)
    both = Pairs(np.r_[training.first[:3], more.first], np.r_[training.second[:3], more.second])
    with pytest.raises(
        DataError, match=r"3 of the 43 held-out.*10 functions made of 80 training pairs fit those pairs"
    ):
        fitted.eigenpairs(both)
    assert len(fitted.eigenpairs(more)) == 10
    # The same state with another next state, as noise makes it, is another pair.
    other = Pairs(training.first, training.second + 0.01)
    assert fitted.eigenpairs(other).residuals.min() > 0
    few = Pairs(more.first[:10], more.second[:10])
    assert fitted.eigenpairs(few).errors is not None
    with pytest.raises(DataError, match="larger than the data: 10 functions for 10 snapshot pairs"):
        fitted.residual_compression(few)
    assert fit_kernel_edmd(training, cubic, rank=4).rank == 4


def test_residuals_of_a_kernel_are_those_of_exponentials_on_a_rotation():
    # Of the functions of a Gaussian kernel the smooth ones must have residuals near 0, and every held-out residual must
    # be what the function's Fourier coefficients say.
    omega = np.sqrt(2.0)
    training, held_out = circle(0, 100, omega), circle(1, 2000, omega)
    fitted = fit_kernel_edmd(training, "gaussian")
    found = fitted.eigenpairs(held_out)
    best = found.take(slice(0, 9))
    assert best.residuals.max() < 1e-4
    expected = np.exp(1j * omega * np.arange(-4, 5))
    assert np.abs(best.values[:, None] - expected).min(axis=0).max() < 1e-4
    grid = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    functions = found.functions(fitted.functions(on_circle(grid)))
    coefficients = np.fft.fft(functions, axis=0)
    modes = np.fft.fftfreq(400, 1 / 400)[:, None]
    exact = np.linalg.norm((np.exp(1j * omega * modes) - found.values) * coefficients, axis=0)
    exact = exact / np.linalg.norm(coefficients, axis=0)
    # A sample of 2000 independent points knows a mean square to 2000^-1/2 times its spread.
    np.testing.assert_allclose(found.residuals, exact, rtol=0.15, atol=1e-6)
    # An equal grid as the quadrature: its measure is invariant, and the isometry has the same eigenfunctions.
    angles = 2 * np.pi * (np.arange(400) + 0.3) / 400
    even = Pairs(on_circle(angles), on_circle(angles + omega))
    pairs = measure_preserving(fitted.residual_compression(even)).pairs
    assert (pairs.residuals < 1e-6).sum() >= 21


def test_adjoint_residuals_are_norms_in_the_kernel_s_space():
    training = doubling(2, 50)
    kernel = LaplaceKernel(1.0)
    fitted = fit_kernel_edmd(training, kernel)
    found = fitted.adjoint()
    both = np.r_[training.second, training.first]
    gram = kernel(both, both)
    for value, residual, vector in zip(found.values, found.residuals, found.vectors.T, strict=True):
        off = np.r_[vector, -value * vector]
        size = np.real(vector.conj() @ kernel(training.first, training.first) @ vector)
        assert residual == pytest.approx(np.sqrt(max(np.real(off.conj() @ gram @ off) / size, 0.0)), rel=1e-4, abs=1e-6)
    # As many functions as pairs, and still no residual is small: one set suffices.
    assert fitted.rank == 50
    assert found.residuals.min() > 0.05
    np.testing.assert_allclose(
        np.sort(np.abs(found.values)), np.sort(np.abs(np.linalg.eigvals(fitted.matrix))), rtol=1e-5, atol=1e-8
    )


def test_adjoint_of_a_linear_map_on_polynomials_is_exact():
    A = np.array([[0.9, 0.2], [-0.1, 0.7]])
    x = np.random.default_rng(6).normal(size=(60, 2))
    fitted = fit_kernel_edmd(Pairs(x, x @ A.T), cubic)
    roots = np.linalg.eigvals(A)
    expected = [roots[0] ** j * roots[1] ** k for j in range(4) for k in range(4 - j)]
    found = fitted.adjoint()
    np.testing.assert_allclose(np.sort(np.real(found.values)), np.sort(np.real(expected)), atol=1e-7)
    assert (found.residuals < found.bounds).all()
    assert found.residuals.max() < 1e-5


def test_kernels_by_name_and_their_width():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(8, 3))
    width = np.mean(np.linalg.norm(x - x.mean(axis=0), axis=1))
    r = np.linalg.norm(x[:, None] - y, axis=-1)
    for name, kernel, values in (
        ("gaussian", GaussianKernel(width), np.exp(-((r / width) ** 2))),
        ("laplace", LaplaceKernel(width), np.exp(-r / width)),
        ("lorentz", LorentzKernel(width), 1 / (1 + (r / width) ** 2)),
    ):
        assert kernel_from(name, x) == kernel
        np.testing.assert_allclose(kernel(x, y), values, rtol=1e-13)
    with pytest.raises(ArgumentError, match="`name` must be one of gaussian, laplace, lorentz; got 'sinc'"):
        kernel_from("sinc", x)
    with pytest.raises(ArgumentError, match="all equal"):
        kernel_from("gaussian", np.ones((4, 2)))


def test_what_is_no_kernel_is_refused():
    training = curved_map(8, 30)
    with pytest.raises(ArgumentError, match=r"must return values \(30, 30\)"):
        fit_kernel_edmd(training, lambda x, y: np.ones(3))
    with pytest.raises(ArgumentError, match="not symmetric"):
        fit_kernel_edmd(training, lambda x, y: np.exp(x[:, :1] - y[:, :1].T))
    with pytest.raises(ArgumentError, match="not positive semi-definite: its Gram matrix has the eigenvalue -"):
        fit_kernel_edmd(training, lambda x, y: -GaussianKernel(1.0)(x, y) + 0.5)
    with pytest.raises(ArgumentError, match="not finite"):
        fit_kernel_edmd(training, lambda x, y: np.full((len(x), len(y)), np.nan))
    with pytest.raises(ArgumentError, match="`rank` must be between 1 and the number of pairs, 30; got 0"):
        fit_kernel_edmd(training, cubic, rank=0)
    with pytest.raises(ArgumentError, match="have inputs, whose effect a kernel of states cannot take off"):
        fit_kernel_edmd(Pairs(training.first, training.second, inputs=np.ones((30, 1))), cubic)
    with pytest.raises(ArgumentError, match="states of 1 variables; the training pairs have 2"):
        fit_kernel_edmd(training, cubic).eigenpairs(Pairs(np.ones((40, 1)), np.ones((40, 1))))
    with pytest.raises(ArgumentError, match="must have equal weights"):
        fit_kernel_edmd(Pairs(training.first, training.second, weights=np.arange(1.0, 31.0)), cubic)


def test_a_kernel_of_exponentials_is_complex():
    # k(x, y) = sum of e^{ik(x - y)}: complex where the modes are not symmetric.
    theta = np.random.default_rng(9).uniform(0, 2 * np.pi, size=(40, 1))

    def kernel(x, y):
        return fourier(x[:, 0], 3)[:, 3:] @ fourier(y[:, 0], 3)[:, 3:].conj().T

    fitted = fit_kernel_edmd(Pairs(theta, theta + 0.5), kernel, tolerance=1e-10)
    assert fitted.rank == 4
    more = np.random.default_rng(10).uniform(0, 2 * np.pi, size=(50, 1))
    found = fitted.eigenpairs(Pairs(more, more + 0.5))
    np.testing.assert_allclose(np.sort(np.angle(found.values)), 0.5 * np.arange(4), atol=1e-10)
    assert found.residuals.max() < 1e-10
    adjoint = fitted.adjoint()
    np.testing.assert_allclose(np.sort(np.angle(adjoint.values.conj())), 0.5 * np.arange(4), atol=1e-8)
    dictionary = compress(fourier(more[:, 0], 3)[:, 3:], fourier(more[:, 0] + 0.5, 3)[:, 3:])
    np.testing.assert_allclose(
        pseudospectrum(fitted.residual_compression(Pairs(more, more + 0.5)), [0.3, 1j]).residuals,
        pseudospectrum(dictionary, [0.3, 1j]).residuals,
        rtol=1e-9,
    )
