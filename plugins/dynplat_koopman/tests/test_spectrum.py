"""Eigenpairs and pseudospectra: dense twins, closed forms, and the Gauss map's published figures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy.linalg import eigh

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.compression import compress, compress_moments, compress_pairs
from dynplat_koopman.dictionaries.monomials import Monomials
from dynplat_koopman.edmd import fit_edmd
from dynplat_koopman.moments import gather_moments
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.spectrum import eigenpairs, held_out_residuals, pseudospectrum, residuals
from dynplat_koopman.tests.systems import gauss_map, legendre_functions, lorenz, moments_of


def test_gauss_map_figures():
    psi_x, psi_y, w = gauss_map()
    moments = moments_of(psi_x, psi_y, w)
    assert np.abs(moments.gram - np.eye(40)).max() < 1e-13
    for source, lowest in ((compress(psi_x, psi_y, w), 1e-11), (moments, 1e-7)):
        pairs = eigenpairs(source)
        assert len(pairs) == 40
        assert (pairs.residuals < 0.01).sum() == 16
        assert len(pairs.accepted(0.01)) == 16
        assert pairs.residuals[-1] == pytest.approx(0.4886, abs=5e-5)
        one = np.argmin(np.abs(pairs.values - 1.0))
        assert abs(pairs.values[one] - 1.0) < 1e-7
        assert pairs.residuals[one] < lowest
        assert (np.diff(pairs.residuals) >= 0).all()
        np.testing.assert_allclose(np.sqrt(w @ np.abs(pairs.functions(psi_x)) ** 2 / w.sum()), 1.0, rtol=1e-10)


def test_residuals_hold_at_other_points_too():
    psi_x, psi_y, w = gauss_map()
    pairs = eigenpairs(compress(psi_x, psi_y, w))
    more_x, more_y, more_w = gauss_map(nodes=400)
    np.testing.assert_allclose(
        held_out_residuals(more_x, more_y, pairs.values, pairs.vectors, more_w), pairs.residuals, rtol=1e-3, atol=1e-9
    )


def test_held_out_errors_are_calibrated():
    # 400 samples of 300 independent points against the residuals of a fine quadrature.
    psi_x, psi_y, w = gauss_map(count=8)
    pairs = eigenpairs(compress(psi_x, psi_y, w))
    rng = np.random.default_rng(5)
    scores, passed = [], []
    for _ in range(400):
        x = rng.uniform(-1.0, 0.0, 300)
        values = [legendre_functions(v, 8) for v in (x, np.exp(-2 * x**2) - 1 - np.exp(-2.0))]
        found = pairs.held_out(*values)
        assert found.errors is not None
        back = np.abs(found.values[:, None] - pairs.values).argmin(axis=1)
        scores.append((found.residuals - pairs.residuals[back])[np.argsort(back)] / found.errors[np.argsort(back)])
        passed.append((pairs.residuals[back] <= found.bounds)[np.argsort(back)])
    kept = pairs.residuals > 1e-6
    # Mean squares of 400 scores that are normal are within .25 of 1; weighting by the same sample adds a little.
    np.testing.assert_allclose(np.mean(np.square(scores), axis=0)[kept], 1.0, atol=0.4)
    assert (np.mean(passed, axis=0)[kept] > 0.93).all()
    assert (np.diff(found.residuals) >= 0).all()
    constant = eigenpairs(compress(np.ones((5, 1)), np.ones((5, 1)))).held_out(np.ones((3, 1)), np.ones((3, 1)))
    assert constant.bounds[0] < 1e-13
    np.testing.assert_allclose(np.mean(np.abs(found.functions(values[0])) ** 2, axis=0), 1.0, rtol=1e-10)


@pytest.mark.parametrize("is_complex", [False, True])
def test_pseudospectrum_equals_dense_singular_values(is_complex):
    rng = np.random.default_rng(0)
    psi_x, psi_y = rng.normal(size=(2, 80, 6))
    if is_complex:
        psi_x, psi_y = psi_x + 1j * rng.normal(size=(80, 6)), psi_y + 1j * rng.normal(size=(80, 6))
    w = rng.gamma(1.0, size=80)
    grid = np.add.outer(1j * np.linspace(-1.2, 1.2, 5), np.linspace(-1, 1, 4))
    Q, R = np.linalg.qr(np.sqrt(w)[:, None] * psi_x)
    C = np.sqrt(w)[:, None] * psi_y @ np.linalg.inv(R)
    expected = [[np.linalg.svd(C - z * Q, compute_uv=False)[-1] for z in row] for row in grid]
    for source in (compress(psi_x, psi_y, w), moments_of(psi_x, psi_y, w)):
        pairs = eigenpairs(source)
        assert (pseudospectrum(source, pairs.values).residuals <= pairs.residuals * (1 + 1e-9)).all()
        found = pseudospectrum(source, grid)
        np.testing.assert_allclose(found.residuals, expected, rtol=1e-7)
        assert found.vectors.shape == (6, 5, 4)
        attained = held_out_residuals(psi_x, psi_y, grid.ravel(), found.vectors.reshape(6, -1), w)
        np.testing.assert_allclose(attained, found.residuals.ravel(), rtol=1e-7)
        np.testing.assert_allclose(found.functions(psi_x)[:, 2, 1], psi_x @ found.vectors[:, 2, 1])
        inside = found.within(1.0)
        assert set(inside) == set(grid[np.array(expected) + found.floors < 1.0])


def test_pseudospectrum_keeps_digits_near_eigenvalues():
    # Where RES is tiny its squares are lost: it is 0 at a linear map's eigenvalues, and of first order around them.
    x = np.linspace(0.1, 1.0, 100)
    psi_x, psi_y = x[:, None] ** [1, 2, 3], (0.5 * x[:, None]) ** [1, 2, 3]
    steps = 10.0 ** np.arange(-10, -2)
    found = pseudospectrum(compress(psi_x, psi_y), np.r_[0.5, 0.5 + steps])
    assert found.residuals[0] < 1e-14
    np.testing.assert_allclose(found.residuals[1:] / steps, found.residuals[1] / steps[0], rtol=0.1)


def test_eigenvalues_of_a_linear_map_are_products_of_powers():
    A = np.array([[0.9, 0.3], [-0.2, 0.8]])
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 2))
    dictionary = Monomials(2, 3)
    roots = np.linalg.eigvals(A)
    expected = np.sort_complex([roots[0] ** j * roots[1] ** k for j in range(4) for k in range(4 - j)])
    operator = fit_edmd(Pairs(x, x @ A.T), dictionary)
    for source in (compress_pairs(Pairs(x, x @ A.T), dictionary), operator.moments, operator):
        pairs = eigenpairs(source)
        assert (pairs.residuals < 10 * pairs.floors).all()
        np.testing.assert_allclose(np.sort_complex(pairs.values), expected, atol=1e-7)
    exact = eigenpairs(compress_pairs(Pairs(x, x @ A.T), dictionary))
    assert exact.residuals.max() < 1e-13
    np.testing.assert_allclose(np.sort_complex(exact.values), expected, atol=1e-12)


def test_transfer_eigenvalues_of_the_tent_map_are_no_koopman_eigenvalues():
    # On polynomials the transfer operator, f -> (f(y/2) + f(1 - y/2))/2, has exactly the eigenvalues 4^-k. EDMD finds
    # them, as it compresses the adjoint too; the residual tells that the isometry has no eigenfunction for them.
    t, w = legendre.leggauss(60)
    x = np.r_[(t + 1) / 4, (t + 3) / 4]
    y = np.where(x < 0.5, 2 * x, 2 - 2 * x)
    N = 9

    def functions(points):
        return legendre.legvander(2 * points - 1, N - 1) * np.sqrt(2 * np.arange(N) + 1)

    pairs = eigenpairs(compress(functions(x), functions(y), np.r_[w, w]))
    order = np.argsort(-np.abs(pairs.values))
    values, left = pairs.values[order], pairs.residuals[order]
    np.testing.assert_allclose(values[:4], [1.0, 1 / 4, 1 / 16, 1 / 64], atol=1e-10)
    assert left[0] < 1e-12
    np.testing.assert_allclose(left[1:4], np.sqrt(1.0 - np.abs(values[1:4]) ** 2), rtol=1e-9)
    assert len(pairs.accepted(0.05)) == 1


def test_logistic_map_in_its_invariant_measure():
    # Chebyshev polynomials T_k(1 - 2x) become T_2k: in the invariant measure only 1 is an eigenvalue.
    angles = np.pi * (np.arange(200) + 0.5) / 200
    k = np.arange(12)
    psi_x, psi_y = np.cos(np.outer(angles, k)), np.cos(np.outer(2 * angles, k))
    pairs = eigenpairs(compress(psi_x, psi_y))
    assert abs(pairs.values[0] - 1.0) < 1e-12
    assert pairs.residuals[0] < 1e-12
    np.testing.assert_allclose(pairs.residuals[1:] ** 2 + np.abs(pairs.values[1:]) ** 2, 1.0, atol=1e-10)
    assert np.abs(pairs.values[1:]).max() < 1e-2


def test_lorenz_has_no_eigenvalue_but_one():
    # The system mixes: 1 with the constant is the only eigenpair. Others lie near the circle, with residuals far above
    # rounding.
    path = lorenz(6060)
    delays = 30
    count = len(path) - delays
    columns = [path[j : j + count + 1] / 20.0 for j in range(delays)]
    psi = np.concatenate([np.ones((count + 1, 1)), *columns], axis=1)
    half = count // 2
    pairs = eigenpairs(compress(psi[:half], psi[1 : half + 1]))
    assert abs(pairs.values[0] - 1.0) < 1e-10
    assert pairs.residuals[0] < 1e-10
    held = held_out_residuals(psi[half:-1], psi[half + 1 :], pairs.values, pairs.vectors)
    assert held[0] < 1e-10
    others = np.abs(pairs.values[1:]) > 0.5
    assert pairs.residuals[1:].min() > 1e-3
    assert held[1:].min() > 1e-3
    # res^2 = 1 - |lambda|^2 where the time average is invariant.
    np.testing.assert_allclose(pairs.residuals[1:][others] ** 2, 1.0 - np.abs(pairs.values[1:][others]) ** 2, atol=0.05)


def test_an_operator_s_own_matrix_decides():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 2))
    y = np.stack([0.9 * x[:, 0], 0.5 * x[:, 1] + 0.2 * x[:, 0] ** 2], axis=1)
    ridged = fit_edmd(Pairs(x, y), Monomials(2, 2), ridge=0.3)
    pairs = eigenpairs(ridged)
    np.testing.assert_allclose(
        np.sort_complex(pairs.values), np.sort_complex(np.linalg.eigvals(ridged.matrix)), atol=1e-10
    )
    psi_x, psi_y = Monomials(2, 2)(x), Monomials(2, 2)(y)
    direct = held_out_residuals(psi_x, psi_y, pairs.values, pairs.vectors)
    np.testing.assert_allclose(pairs.residuals, direct, atol=1e-7)
    np.testing.assert_allclose(residuals(ridged, pairs.values, pairs.vectors), direct, atol=1e-7)
    assert pairs.residuals.max() > 0.01


def test_a_truncated_operator_keeps_its_functions():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(300, 2))
    y = np.stack([0.9 * x[:, 0], 0.5 * x[:, 1] + 0.2 * x[:, 0] ** 2], axis=1)
    operator = fit_edmd(Pairs(x, y), Monomials(2, 3), rank=6)
    pairs = eigenpairs(operator)
    assert len(pairs) == operator.rank == 6
    np.testing.assert_allclose(
        np.sort_complex(pairs.values), np.sort_complex(np.linalg.eigvals(operator.compressed)), atol=1e-10
    )
    psi_x, psi_y = Monomials(2, 3)(x), Monomials(2, 3)(y)
    direct = held_out_residuals(psi_x, psi_y, pairs.values, pairs.vectors)
    np.testing.assert_allclose(pairs.residuals, direct, atol=1e-6)
    z = np.array([0.9, 0.4j])
    expected = [
        np.linalg.svd((psi_y - point * psi_x) @ operator.basis / np.sqrt(300), compute_uv=False)[-1] for point in z
    ]
    np.testing.assert_allclose(pseudospectrum(operator, z).residuals, expected, rtol=1e-6)


def test_the_effect_of_inputs_is_taken_off():
    A, B = np.array([[0.9, 0.3], [-0.2, 0.8]]), np.array([[1.0], [0.5]])
    rng = np.random.default_rng(3)
    x, u = rng.normal(size=(500, 2)), rng.normal(size=(500, 1))
    operator = fit_edmd(Pairs(x, x @ A.T + u @ B.T, inputs=u), Monomials(2, 1, min_degree=1))
    pairs = eigenpairs(operator)
    np.testing.assert_allclose(np.sort_complex(pairs.values), np.sort_complex(np.linalg.eigvals(A)), atol=1e-8)
    assert pairs.residuals.max() < 1e-6
    # Left in, the inputs would be taken for a residual.
    assert residuals(operator.moments, pairs.values, pairs.vectors).max() > 0.3


def test_moments_of_pairs_are_taken_as_they_are():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=(500, 2))
    pairs = Pairs(x, np.sin(x[:, ::-1]), weights=rng.gamma(2.0, size=500))
    dictionary = Monomials(2, 3)
    plain, stable = eigenpairs(gather_moments(pairs, dictionary)), eigenpairs(compress_pairs(pairs, dictionary))
    np.testing.assert_allclose(plain.residuals, stable.residuals, atol=1e-6)


def test_acceptance_and_its_errors():
    psi_x, psi_y, w = gauss_map()
    pairs = eigenpairs(compress_moments(moments_of(psi_x, psi_y, w)))
    chosen = pairs.accepted(1e-3)
    assert (chosen.bounds < 1e-3).all()
    assert len(chosen) == (pairs.residuals + pairs.floors < 1e-3).sum() > 0
    assert chosen.vectors.shape == (40, len(chosen))
    assert len(chosen.take(slice(0, 0)).accepted(1e-12)) == 0
    with pytest.raises(ArgumentError, match=r"tolerance 1e-09 is not above .* Ask for more than that.*`compress`"):
        pairs.accepted(1e-9)
    with pytest.raises(ArgumentError, match="is not above"):
        pseudospectrum(moments_of(psi_x, psi_y, w), [0.5]).within(1e-10)
    with pytest.raises(
        ArgumentError, match=r"expected a Compression, a fitted Operator or Generator, or moments.*got ndarray"
    ):
        eigenpairs(psi_x)
    with pytest.raises(ArgumentError, match=r"a column of 40 coefficients for each of the 2 values"):
        residuals(compress(psi_x, psi_y, w), [1.0, 0.5], np.ones((40, 3)))
    assert pseudospectrum(compress(psi_x, psi_y, w), []).vectors.shape == (40, 0)
    with pytest.raises(DataError, match="function 0 is 0 at all held-out points"):
        pairs.held_out(np.zeros((3, 40)), np.zeros((3, 40)))
    with pytest.raises(ArgumentError, match="finite complex numbers"):
        pseudospectrum(compress(psi_x, psi_y, w), [np.nan])


def test_generalised_eigenvalues_agree():
    psi_x, psi_y, w = gauss_map(count=12)
    moments = moments_of(psi_x, psi_y, w)
    z = 0.3 + 0.4j
    form = moments.target - z * moments.cross.T - np.conj(z) * moments.cross + abs(z) ** 2 * moments.gram
    square = eigh(form, moments.gram, eigvals_only=True, subset_by_index=[0, 0])[0]
    assert pseudospectrum(moments, z).residuals == pytest.approx(np.sqrt(square), rel=1e-6)
