"""The operator of least squares against closed forms and dense algebra."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_koopman.dictionaries.combined import Scaled
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.moments import moments_from
from dynplat_koopman.pairs import Pairs


def linear_pairs(matrix, count, seed=0):
    x = np.random.default_rng(seed).uniform(-1, 1, (count, len(matrix)))
    return Pairs(x, x @ np.asarray(matrix).T)


def nonlinear_pairs(count=300, seed=1, noise=0.0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (count, 2))
    y = np.stack([0.9 * x[:, 0] + np.sin(x[:, 1]), 0.5 * x[:, 1] - x[:, 0] ** 3], axis=1)
    return Pairs(x, y + noise * rng.normal(size=x.shape), step=0.1)


def squared_residuals(moments, values, vectors):
    G, A, L = moments.gram, moments.cross, moments.target
    out = []
    for value, v in zip(values, vectors.T, strict=True):
        form = L - value * A.conj().T - np.conj(value) * A + abs(value) ** 2 * G
        out.append((v.conj() @ form @ v).real / (v.conj() @ G @ v).real)
    return np.array(out)


@pytest.mark.parametrize(
    ("matrix", "degree"), [([[0.9, -0.3], [0.3, 0.7]], 4), ([[0.5, 1, 0], [0, 0.8, 0.2], [0.1, 0, 0.9]], 3)]
)
def test_eigenvalues_of_a_linear_map_are_products_of_powers(matrix, degree):
    matrix = np.array(matrix)
    d = len(matrix)
    operator = fit_edmd(linear_pairs(matrix, 2_000), Monomials(d, degree))
    own = np.linalg.eigvals(matrix)
    powers = [k for k in itertools.product(range(degree + 1), repeat=d) if sum(k) <= degree]
    expected = np.array([np.prod(own ** np.array(k)) for k in powers])
    values, vectors = np.linalg.eig(operator.matrix)
    distance = np.abs(values[:, None] - expected)
    assert distance.min(axis=1).max() < 1e-10
    assert distance.min(axis=0).max() < 1e-10
    np.testing.assert_allclose(squared_residuals(operator.moments, values, vectors), 0, atol=1e-13)
    np.testing.assert_allclose(operator.residual_covariance, 0, atol=1e-13)


def test_the_orthonormal_basis_holds_the_same_operator():
    pairs = nonlinear_pairs()
    operator = fit_edmd(pairs, Monomials(2, 3))
    B, G = operator.basis, operator.moments.gram
    np.testing.assert_allclose(B.T @ G @ B, np.eye(10), atol=1e-10)
    np.testing.assert_allclose(B @ operator.compressed, operator.matrix @ B, atol=1e-9)
    values = np.sort_complex(np.linalg.eigvals(operator.compressed))
    np.testing.assert_allclose(values, np.sort_complex(np.linalg.eigvals(operator.matrix)), atol=1e-10)


def test_least_squares_and_its_residual():
    pairs = nonlinear_pairs(noise=0.3)
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.2, 2.0, len(pairs))
    pairs = Pairs(pairs.first, pairs.second, weights=weights)
    dictionary = Monomials(2, 2)
    operator = fit_edmd(pairs, dictionary)
    root = np.sqrt(weights / weights.sum())[:, None]
    X, Y = root * dictionary(pairs.first), root * dictionary(pairs.second)
    np.testing.assert_allclose(operator.matrix, np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-9, atol=1e-11)
    left = Y - X @ operator.matrix
    np.testing.assert_allclose(operator.residual_covariance, left.T @ left, rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(operator.residual_covariance).min() > -1e-13


def test_ridge():
    pairs = nonlinear_pairs(noise=0.1)
    dictionary = Monomials(2, 2)
    operator = fit_edmd(pairs, dictionary, ridge=0.3)
    X, Y = dictionary(pairs.first), dictionary(pairs.second)
    G, A = X.T @ X / len(X), X.T @ Y / len(X)
    expected = np.linalg.solve(G + 0.3 * np.eye(6), A)
    np.testing.assert_allclose(operator.matrix, expected, rtol=1e-11)
    left = Y - X @ expected
    np.testing.assert_allclose(operator.residual_covariance, left.T @ left / len(X), rtol=1e-10, atol=1e-13)


def test_moments_alone_and_complex_values():
    rng = np.random.default_rng(3)
    X, Y = (rng.normal(size=(50, 4)) + 1j * rng.normal(size=(50, 4)) for _ in range(2))
    operator = fit_edmd(moments_from(X, Y))
    np.testing.assert_allclose(operator.matrix, np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-10)
    left = Y - X @ operator.matrix
    np.testing.assert_allclose(operator.residual_covariance, left.conj().T @ left / 50, rtol=1e-10, atol=1e-13)
    with pytest.raises(CapabilityError, match="the fit has no dictionary; give one when fitting"):
        operator.predict(np.zeros(4))
    with pytest.raises(CapabilityError, match="the moments do not hold the state"):
        _ = operator.readout


def test_prediction():
    matrix = np.array([[0.9, -0.3], [0.3, 0.7]])
    operator = fit_edmd(linear_pairs(matrix, 200), Scaled(Monomials(2, 2), np.array([0.2, 0.1]), np.array([0.5, 2.0])))
    x = np.random.default_rng(4).normal(size=(3, 5, 2))
    np.testing.assert_allclose(operator.predict(x, steps=7), x @ np.linalg.matrix_power(matrix, 7).T, atol=1e-10)
    np.testing.assert_allclose(operator.predict(x, steps=0), x, atol=1e-12)


def test_readout_by_least_squares():
    pairs = nonlinear_pairs()
    dictionary = Monomials(2, 3, min_degree=2)
    operator = fit_edmd(pairs, dictionary)
    X = dictionary(pairs.first)
    expected = np.linalg.lstsq(X, pairs.first, rcond=None)[0]
    np.testing.assert_allclose(operator.readout, expected.T, rtol=1e-9, atol=1e-10)
    left = pairs.first - X @ expected
    np.testing.assert_allclose(operator.readout_covariance, left.T @ left / len(X), rtol=1e-10)
    assert not fit_edmd(pairs, Monomials(2, 3)).readout_covariance.any()


def test_modes_give_the_state_back():
    pairs = nonlinear_pairs()
    operator = fit_edmd(pairs, Monomials(2, 3))
    _, vectors = np.linalg.eig(operator.matrix)
    x = pairs.first[:10]
    modes = operator.modes(vectors)
    np.testing.assert_allclose(Monomials(2, 3)(x) @ vectors @ modes, x, atol=1e-9)
    with pytest.raises(ArgumentError, match="`vectors` are dependent"):
        operator.modes(np.ones((10, 2)))
    with pytest.raises(ArgumentError, match=r"`vectors` must be \(10, n\); got shape \(3, 2\)"):
        operator.modes(np.ones((3, 2)))


def test_inputs_are_recovered():
    rng = np.random.default_rng(5)
    A, B = np.array([[0.8, 0.2], [-0.1, 0.9]]), np.array([[0.5], [-1.0]])
    x, u = rng.normal(size=(400, 2)), rng.normal(size=(400, 1))
    pairs = Pairs(x, x @ A.T + u @ B.T, inputs=u)
    operator = fit_edmd(pairs, Monomials(2, 1))
    np.testing.assert_allclose(operator.matrix[1:, 1:], A.T, atol=1e-12)
    assert operator.input_matrix is not None
    np.testing.assert_allclose(operator.input_matrix[:, 1:], B.T, atol=1e-12)
    np.testing.assert_allclose(operator.residual_covariance, 0, atol=1e-13)
    inputs = rng.normal(size=(3, 4, 1))
    states = rng.normal(size=(3, 2))
    expected = states
    for now in range(4):
        expected = expected @ A.T + inputs[:, now] @ B.T
    np.testing.assert_allclose(operator.predict(states, steps=4, inputs=inputs), expected, atol=1e-12)
    B_compressed = operator.basis
    np.testing.assert_allclose(B_compressed @ operator.compressed, operator.matrix @ B_compressed, atol=1e-11)
    # Without the inputs, what they do is unexplained.
    blind = fit_edmd(Pairs(x, pairs.second), Monomials(2, 1))
    assert blind.residual_covariance[1:, 1:].trace() == pytest.approx((B.T @ B).item(), rel=0.2)
    with pytest.raises(ArgumentError, match="`inputs` do not fit the operator, which was fitted with inputs"):
        operator.predict(states)
    with pytest.raises(ArgumentError, match="`inputs` do not fit the operator, which has no inputs"):
        blind.predict(states, inputs=inputs)
    with pytest.raises(ArgumentError, match=r"`inputs` must be \(\.\.\., 2, 1\), one row per step; got \(3, 4, 1\)"):
        operator.predict(states, steps=2, inputs=inputs)


def test_a_dictionary_larger_than_the_data_is_refused():
    pairs = nonlinear_pairs(count=9)
    match = "the dictionary is larger than the data: 10 functions for 9 snapshot pairs.*`rank`, `tolerance` or `ridge`"
    with pytest.raises(DataError, match=match):
        fit_edmd(pairs, Monomials(2, 3))
    assert fit_edmd(pairs, Monomials(2, 3), tolerance=0.0).rank == 9


def test_a_singular_gram_matrix_is_refused_by_name():
    # On the circle x^2 + y^2 = 1.
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x, y = (np.stack([np.cos(angle + a), np.sin(angle + a)], axis=1) for a in (0.0, 0.7))
    pairs = Pairs(x, y)
    match = r"the Gram matrix is singular: 6 functions have rank 5.*Nearly dependent: '1', 'x0\^2', 'x1\^2'"
    with pytest.raises(DataError, match=match):
        fit_edmd(pairs, Monomials(2, 2))
    for operator in (fit_edmd(pairs, Monomials(2, 2), tolerance=1e-10), fit_edmd(pairs, Monomials(2, 2), rank=5)):
        assert operator.rank == 5
        values, vectors = np.linalg.eig(operator.compressed)
        expected = np.exp(0.7j * np.array([-2, -1, 0, 1, 2]))
        assert np.abs(values[:, None] - expected).min(axis=1).max() < 1e-12
        functions = operator.basis @ vectors
        np.testing.assert_allclose(squared_residuals(operator.moments, values, functions), 0, atol=1e-13)
        np.testing.assert_allclose(operator.predict(x), y, atol=1e-12)
    with pytest.raises(ArgumentError, match="`rank` must be at most 5, what the data determine; got 6"):
        fit_edmd(pairs, Monomials(2, 2), rank=6)
    still = Pairs(np.c_[angle, 0 * angle], np.c_[angle + 0.1, 0 * angle])
    with pytest.raises(DataError, match="Zero on all data: 'x1'"):
        fit_edmd(still, Monomials(2, 1))


def test_cholesky_and_eigendecomposition_agree():
    pairs = nonlinear_pairs(noise=0.1)
    quick, slow = fit_edmd(pairs, Monomials(2, 4)), fit_edmd(pairs, Monomials(2, 4), rank=15)
    np.testing.assert_allclose(quick.matrix, slow.matrix, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.tril(quick.basis, -1), 0)
    for operator in (quick, slow):
        np.testing.assert_allclose(operator.basis.T @ operator.moments.gram @ operator.basis, np.eye(15), atol=1e-10)
    np.testing.assert_allclose(quick.basis @ quick.basis.T, slow.basis @ slow.basis.T, rtol=1e-9, atol=1e-9)


def test_units_do_not_decide_the_rank():
    pairs = nonlinear_pairs()
    small = Pairs(1e-6 * pairs.first, 1e-6 * pairs.second)
    operator = fit_edmd(small, Monomials(2, 3))
    assert operator.rank == 10
    np.testing.assert_allclose(
        operator.predict(small.first),
        1e-6 * fit_edmd(pairs, Monomials(2, 3)).predict(pairs.first),
        rtol=1e-8,
        atol=1e-16,
    )


def test_refusals():
    pairs = nonlinear_pairs()
    with pytest.raises(ArgumentError, match="`dictionary` must be given with snapshot pairs"):
        fit_edmd(pairs)
    with pytest.raises(ArgumentError, match="`ridge` must be at least 0; got -1"):
        fit_edmd(pairs, Monomials(2, 1), ridge=-1.0)
    with pytest.raises(ArgumentError, match=r"`tolerance` must be in \[0, 1\); got 2"):
        fit_edmd(pairs, Monomials(2, 1), tolerance=2.0)
    with pytest.raises(ArgumentError, match=r"`rank` must be in 1, \.\.\., 3; got 4"):
        fit_edmd(pairs, Monomials(2, 1), rank=4)
    with pytest.raises(ArgumentError, match="`dictionary` has 3 functions, and the moments are of 2"):
        fit_edmd(moments_from(np.eye(2), np.eye(2)), Monomials(2, 1))
    with pytest.raises(ArgumentError, match="`steps` must be at least 0; got -1"):
        fit_edmd(pairs, Monomials(2, 1)).predict(pairs.first, steps=-1)
