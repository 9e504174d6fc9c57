"""Systems whose operators are known, and figures of the literature."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat_koopman.dictionaries import Fourier, FromFunctions, Legendre, RadialBasis, Scaled, choose_centres
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.quadrature import gauss_legendre, periodic_trapezoid
from dynplat_koopman.tests.test_edmd import squared_residuals


def residuals(operator):
    values, vectors = np.linalg.eig(operator.compressed)
    return values, np.sqrt(np.abs(squared_residuals(operator.moments, values, operator.basis @ vectors)))


def smallest_residual(operator, z):
    """Of all functions in the span."""
    m, B = operator.moments, operator.basis
    form = m.target - z * m.cross.conj().T - np.conj(z) * m.cross + abs(z) ** 2 * m.gram
    return np.sqrt(np.linalg.eigvalsh(B.conj().T @ form @ B)[0])


@pytest.mark.parametrize("is_complex", [True, False])
def test_rotation_of_the_circle(is_complex):
    rule = periodic_trapezoid(128, [2 * np.pi])
    operator = fit_edmd(rule.pairs(lambda x: x + 1.0), Fourier(1, 5, is_complex=is_complex))
    expected = np.exp(1j * np.arange(-5, 6))
    if is_complex:
        orders = Fourier(1, 5, is_complex=True).orders[:, 0]
        np.testing.assert_allclose(operator.matrix, np.diag(np.exp(1j * orders)), rtol=0, atol=2e-15)
    values, found = residuals(operator)
    assert np.abs(values[:, None] - expected).min(axis=1).max() < 4e-15
    assert found.max() < 1e-7  # the square root of rounding


def test_rotation_of_the_torus_with_irrational_angles():
    angles = np.array([1.0, np.sqrt(2.0)])
    rule = periodic_trapezoid(16, [2 * np.pi, 2 * np.pi])
    waves = Fourier(2, 3, is_complex=True)
    operator = fit_edmd(rule.pairs(lambda x: x + angles), waves)
    np.testing.assert_allclose(operator.matrix, np.diag(np.exp(1j * waves.orders @ angles)), rtol=0, atol=1e-14)


def test_gauss_map():
    rule = gauss_legendre(100, [-1.0], [0.0])
    dictionary = Scaled(Legendre(1, 39), np.array([-0.5]), np.array([0.5]))
    operator = fit_edmd(rule.pairs(lambda x: np.exp(-2 * x**2) - 1 - np.exp(-2)), dictionary)
    assert np.linalg.norm(operator.moments.gram - np.eye(40)) < 1e-13
    values, found = residuals(operator)
    assert (found < 0.01).sum() == 16
    assert found.max() == pytest.approx(0.4886, abs=5e-5)
    one = np.argmin(np.abs(values - 1))
    assert abs(values[one] - 1) < 1e-12
    assert found[one] < 1e-7


def test_tent_and_logistic_map():
    # On polynomials of the angle the transfer operator is triangular with 4^-k and zeros; the logistic map
    # 4 x (1 - x) is the tent map of the angle. None of them but 1 is an eigenvalue of the Koopman operator: the image
    # of its eigenfunction is orthogonal to what it leaves, 1 - 16^-k of the mean square.
    parts = [gauss_legendre(20, [a], [a + 0.5]) for a in (0.0, 0.5)]
    angle = np.concatenate([part.points for part in parts])
    polynomials = Scaled(Legendre(1, 9), np.array([0.5]), np.array([0.5]))
    tent = fit_edmd(
        Pairs(angle, 1 - np.abs(2 * angle - 1), weights=np.concatenate([p.weights for p in parts])), polynomials
    )
    values, found = residuals(tent)
    order = np.argsort(-np.abs(values))
    expected = 4.0 ** -np.arange(5)
    np.testing.assert_allclose(values[order][:5], expected, rtol=0, atol=1e-9)  # far from normal
    np.testing.assert_allclose(values[order][5:], 0, atol=1e-4)  # nilpotent: roots of rounding
    np.testing.assert_allclose(found[order][:5] ** 2, 1 - expected**2, atol=1e-7)

    def polynomial(k):
        return lambda x: polynomials(2 / np.pi * np.arcsin(np.sqrt(x)))[..., k]

    x = np.sin(0.5 * np.pi * angle) ** 2
    own = FromFunctions(tuple(polynomial(k) for k in range(10)), 1)
    logistic = fit_edmd(Pairs(x, 4 * x * (1 - x), weights=np.concatenate([p.weights for p in parts])), own)
    values = np.linalg.eigvals(logistic.matrix)
    np.testing.assert_allclose(np.sort(np.abs(values))[::-1][:4], expected[:4], rtol=0, atol=1e-6)


def duffing(starts, step, count, substeps=25):
    """Classical Runge-Kutta steps of x'' = x - x^3, (count + 1, start, 2)."""

    def slope(x):
        return np.stack([x[:, 1], x[:, 0] - x[:, 0] ** 3], axis=1)

    h, x, out = step / substeps, starts, [starts]
    for _ in range(count):
        for _ in range(substeps):
            a = slope(x)
            b = slope(x + h / 2 * a)
            c = slope(x + h / 2 * b)
            x = x + h / 6 * (a + 2 * b + 2 * c + slope(x + h * c))
        out.append(x)
    return np.array(out)


@pytest.mark.parametrize("seed", [0, 1])
def test_duffing_oscillator(seed):
    # Published figures depend on the starts and the centres, which are not given with them. What does not depend on
    # them: without damping the operator is unitary and the dictionary is polluted; hardly an eigenpair is one.
    rng = np.random.default_rng(seed)
    path = duffing(rng.uniform(-1.5, 1.5, (300, 2)), 0.25, 50)
    first, second = path[:-1].reshape(-1, 2), path[1:].reshape(-1, 2)
    size = np.linalg.norm(first - first.mean(axis=0), axis=1).mean()
    centres = choose_centres(first, 100, seed=seed)
    operator = fit_edmd(Pairs(first, second, step=0.25), RadialBasis(centres, size / 2, "exponential"))
    values, found = residuals(operator)
    assert 0.9995 < np.abs(values).max() < 1.0005
    assert 0.5 < np.median(found) < 0.8
    assert 0.95 < found.max() < 1.05
    assert (found < 0.05).sum() <= 2
    assert smallest_residual(operator, 1.0) < 0.02
    # Unitary: the distance from the circle is the smallest residual there can be.
    assert smallest_residual(operator, 0.5) == pytest.approx(0.5, abs=3e-3)
    assert 0.15 < smallest_residual(operator, 1j) < 0.4
    assert 0.1 < smallest_residual(operator, 0.7 + 0.7j) < 0.2
