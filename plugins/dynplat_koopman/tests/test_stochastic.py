"""Random systems: closed forms of the mean operator, its residuals and the variance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import hermite_e
from scipy.special import factorial, jv

from dynplat.errors import ArgumentError
from dynplat_koopman.compression import compress
from dynplat_koopman.spectrum import eigenpairs
from dynplat_koopman.stochastic import stochastic_operator
from dynplat_koopman.tests.systems import fourier


def hermite_functions(x, count):
    """Hermite polynomials that are orthonormal in the standard normal law."""
    return hermite_e.hermevander(x, count - 1) / np.sqrt(factorial(np.arange(count)))


def ornstein_uhlenbeck(seed, count, decay, functions=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    spread = np.sqrt(1 - decay**2)
    return [hermite_functions(v, functions) for v in (x, *(decay * x + spread * rng.normal(size=(2, count))))]


def circle_map(seed, modes, grid, repeats):
    """x + 1/5 + sin(2 pi x) / (4 pi) + uniform noise of width 1/(5 pi), in exponentials."""
    rng = np.random.default_rng(seed)
    x = np.tile(np.arange(grid) / grid, repeats)
    smooth = x + 0.2 + np.sin(2 * np.pi * x) / (4 * np.pi)
    later = smooth + (rng.random((2, len(x))) - 0.5) / (5 * np.pi)
    return [fourier(2 * np.pi * v, modes) for v in (x, *later)]


def circle_map_matrix(rows, modes):
    """Exact <K e_k, e_j>, |j| <= rows, |k| <= modes: a phase, the noise's characteristic function, a Bessel value."""
    j, k = np.arange(-rows, rows + 1)[:, None], np.arange(-modes, modes + 1)
    return np.exp(0.4j * np.pi * k) * np.sinc(k / (5 * np.pi)) * jv(j - k, k / 2)


def square_matrix(modes):
    """Exact E<e_k(y), e_j(y)> over noise and states: that of the function e_(k - j), whose mean is one entry of K."""
    k = np.arange(-modes, modes + 1)
    means = circle_map_matrix(0, 2 * modes)[0]
    return means[(k - k[:, None]) + 2 * modes]


def test_ornstein_uhlenbeck_has_hermite_functions():
    # K He_k = a^k He_k: the mean operator's residuals are 0, the variances 1 - a^(2k).
    decay = 0.8
    operator = stochastic_operator(*ornstein_uhlenbeck(0, 200_000, decay))
    pairs = operator.eigenpairs
    order = np.argsort(-np.abs(pairs.values))
    k = np.arange(4)
    np.testing.assert_allclose(pairs.values[order], decay**k, atol=0.02)
    assert (np.abs(pairs.squares) < 5 * pairs.errors + 1e-3).all()
    assert pairs.bounds[order][1:].min() > 0
    np.testing.assert_allclose(pairs.variances[order], 1 - decay ** (2 * k), atol=0.06)
    np.testing.assert_allclose(pairs.variance_residuals[order], np.sqrt(1 - decay ** (2 * k)), atol=0.05)
    good = pairs.accepted(0.05)
    assert (good.bounds < 0.05).all()
    assert 1 <= len(good) == (pairs.bounds < 0.05).sum() < len(pairs)
    # One next state shows only the sum, and calls a good eigenfunction bad.
    psi_x, psi_y, _ = ornstein_uhlenbeck(0, 200_000, decay)
    single = eigenpairs(compress(psi_x, psi_y))
    assert np.sort(single.residuals)[1] > 0.5 > 10 * np.abs(pairs.squares).max()


def test_circle_map_is_its_bessel_matrix():
    modes = 6
    operator = stochastic_operator(*circle_map(1, modes, grid=48, repeats=2000))
    exact = circle_map_matrix(modes, modes)
    np.testing.assert_allclose(operator.pooled.koopman_matrix, exact, atol=0.01)
    tall = circle_map_matrix(60, modes)
    T = operator.pooled.basis
    np.testing.assert_allclose(operator.mean_target, T.conj().T @ tall.conj().T @ tall @ T, atol=0.01)
    pairs = operator.eigenpairs
    shift = np.zeros_like(tall)
    shift[60 - modes : 61 + modes] = np.eye(2 * modes + 1)
    for value, square, error, whole, v in zip(
        pairs.values, pairs.squares, pairs.errors, pairs.variance_residuals, pairs.vectors.T, strict=True
    ):
        truth = np.linalg.norm((tall - value * shift) @ v) ** 2 / np.linalg.norm(v) ** 2
        assert abs(square - truth) < 5 * error + 1e-12
        # The variance after a step, from the exact mean square (of the map without its mean noise) and the exact mean.
        mean_square = (v.conj() @ square_matrix(modes) @ v).real / np.linalg.norm(v) ** 2
        variance = mean_square - np.linalg.norm(tall @ v) ** 2 / np.linalg.norm(v) ** 2
        assert whole**2 - square == pytest.approx(variance, abs=0.02)
    assert np.abs(pairs.values[0] - 1) < 1e-10
    assert pairs.bounds[0] < 1e-6


def test_standard_errors_are_right():
    # One exponential of the circle map: lambda and the residual in closed form, over 300 samples.
    tall = circle_map_matrix(60, 1)[:, 2]
    value = tall[61]
    truth = np.linalg.norm(tall) ** 2 - np.abs(value) ** 2
    scores = []
    for seed in range(300):
        psi = [part[:, 2:] for part in circle_map(seed, 1, grid=20, repeats=25)]
        pairs = stochastic_operator(*psi).eigenpairs
        scores.append((pairs.squares[0] - truth) / pairs.errors[0])
    # The grid's points are no sample: their differences are taken for noise, and the errors come out too large at most.
    assert np.mean(np.square(scores)) < 1.3
    assert abs(np.mean(scores)) < 0.3


def test_standard_errors_of_random_states_are_calibrated():
    decay, scores = 0.7, []
    for seed in range(300):
        rng = np.random.default_rng(1000 + seed)
        x = rng.normal(size=400)
        later = np.tanh(decay * x + 0.5 * rng.normal(size=(2, 400)))
        psi = [np.stack([v, v**2 - 1], axis=1)[:, :1] for v in (x, *later)]
        pairs = stochastic_operator(*psi).eigenpairs
        scores.append((pairs.squares[0], pairs.errors[0]))
    squares, errors = np.array(scores).T
    # Relative error of a standard deviation from 300 samples: 4 percent.
    assert np.std(squares) == pytest.approx(np.mean(errors), rel=0.15)


def test_pseudospectra_of_the_mean_and_with_variance():
    modes = 4
    operator = stochastic_operator(*circle_map(2, modes, grid=40, repeats=3000))
    tall = circle_map_matrix(60, modes)
    shift = np.zeros_like(tall)
    shift[60 - modes : 61 + modes] = np.eye(2 * modes + 1)
    z = np.array([[0.9j, 0.5], [-0.4 + 0.3j, 1.2]])
    exact = [[np.linalg.svd(tall - point * shift, compute_uv=False)[-1] for point in row] for row in z]
    found = operator.mean_pseudospectrum(z)
    np.testing.assert_allclose(found.residuals, exact, atol=0.02)
    assert found.vectors.shape == (9, 2, 2)
    # What the noise of H can hide is in the bounds, and at the eigenvalue 1 there is none.
    assert (found.bounds > np.array(exact) - 1e-3).all()
    assert (found.floors > 1e-6).all()
    assert operator.mean_pseudospectrum(1.0).bounds < 1e-6
    whole = operator.variance_pseudospectrum(z)
    assert (whole.residuals >= found.residuals).all()
    # With the variance it is the plain form on both next states pooled.
    psi_x, psi_y, psi_again = circle_map(2, modes, grid=40, repeats=3000)
    pooled = compress(np.r_[psi_x, psi_x], np.r_[psi_y, psi_again])
    np.testing.assert_allclose(
        pooled.residuals([0.5], np.eye(9)[:, 5:6]), operator.pooled.residuals([0.5], np.eye(9)[:, 5:6])
    )


def test_weights_are_the_measure_s():
    psi = ornstein_uhlenbeck(3, 300, 0.6)
    copies = np.random.default_rng(0).integers(1, 4, size=300)
    weighted = stochastic_operator(*psi, weights=copies).eigenpairs
    repeated = stochastic_operator(*(np.repeat(part, copies, axis=0) for part in psi)).eigenpairs
    np.testing.assert_allclose(weighted.squares, repeated.squares, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.variance_residuals, repeated.variance_residuals, rtol=1e-9, atol=1e-12)


def test_one_noise_for_both_is_refused():
    psi_x, psi_y, psi_again = ornstein_uhlenbeck(4, 50, 0.6)
    with pytest.raises(ArgumentError, match=r"are the same.*drawn again from the same states, with noise of their own"):
        stochastic_operator(psi_x, psi_y, psi_y)
    with pytest.raises(ArgumentError, match=r"must have one shape \(M, N\)"):
        stochastic_operator(psi_x, psi_y, psi_again[:, :2])
