"""Bases keep what they say, and diagonal parts are what theory says of them."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import eval_legendre

from dynplat.errors import ArgumentError
from dynplat_deepssm import initialisers
from dynplat_deepssm.cells import HiPPO
from dynplat_deepssm.cells.hippo import log_gaps
from dynplat_deepssm.executors import run


def test_normal_part_of_legs():
    A, _, P = initialisers.hippo("legs", 64)
    skew = A + P @ P.T + 0.5 * np.eye(64)
    assert np.abs(skew + skew.T).max() < 1e-13
    eigen = initialisers.eigen(64)
    np.testing.assert_allclose(eigen.rates.real, -0.5, atol=1e-12)
    assert eigen.rates.imag.max() == pytest.approx(1303.27, abs=0.01)  # about 64^2 / pi = 1303.8
    assert eigen.rates.imag.min() > 0
    normal = A + P @ P.T
    np.testing.assert_allclose(normal @ eigen.vectors, eigen.vectors * eigen.rates, atol=1e-10)
    np.testing.assert_allclose(2.0 * (eigen.vectors @ (eigen.rates[:, None] * eigen.inverse)).real, normal, atol=1e-10)


@pytest.mark.parametrize("basis", ["legt", "fout"])
def test_windows_are_skew_but_for_a_low_rank(basis):
    A, _, P = initialisers.hippo(basis, 8)
    assert P.shape[1] == (2 if basis == "legt" else 1)
    normal = A + P @ P.T
    np.testing.assert_allclose(normal, -normal.T, atol=1e-12)
    assert np.linalg.eigvals(A).real.max() < 1e-12


def test_kernels_of_legs_are_legendre_polynomials():
    A, B, _ = initialisers.hippo("legs", 10)
    for t in (0.0, 0.3, 1.0, 2.5):
        n = np.arange(10)
        wanted = np.sqrt(2 * n + 1.0) * eval_legendre(n, 2.0 * np.exp(-t) - 1.0) * np.exp(-t)
        np.testing.assert_allclose(expm(t * A) @ B, wanted, atol=1e-13)


def test_legs_in_log_time_rebuilds_the_whole_past():
    """The published figures: relative L2 errors .65, .073, .0066, .0062 for 8, 16, 32, 64 coefficients."""
    times = np.arange(1, 1001) / 1000.0
    signal = np.sin(6 * np.pi * times) + 0.3 * np.cos(10 * np.pi * times + 1)
    errors = []
    for size in (8, 16, 32, 64):
        x, _ = run(HiPPO(1, size), {}, signal[:, None], log_gaps(times))
        # In log time a past time s has the age log(1 / s).
        rebuilt = initialisers.functions("legs", size, -np.log(times)) @ x[-1]
        errors.append(np.linalg.norm(rebuilt - signal) / np.linalg.norm(signal))
    np.testing.assert_allclose(errors[:2], [0.65, 0.073], rtol=0.02)
    assert max(errors[2:]) < 0.0105  # half a step of a signal that is taken as constant over it


def test_legs_in_log_time_has_projections_onto_legendre_polynomials():
    times = np.linspace(0.01, 1.0, 40)
    u = np.random.default_rng(0).standard_normal(40)
    x, _ = run(HiPPO(1, 5), {}, u[:, None], log_gaps(times))
    # u is constant on (t_{k-1}, t_k]; the coefficient is the integral of sqrt(2n+1) P_n(2 s - 1) u over [0, 1].
    edges = np.r_[0.0, times]
    for n in range(5):
        polynomial = np.polynomial.Legendre.basis(n, domain=[0, 1]).integ()
        wanted = np.sqrt(2 * n + 1.0) * np.sum(u * np.diff(polynomial(edges)))
        assert x[-1, n] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("basis", "size", "tolerance"), [("legt", 24, 1e-5), ("fout", 64, 2e-3)])
def test_windows_rebuild_their_last_unit_of_time(basis, size, tolerance):
    step = 1 / 1000
    times = np.arange(1, 4001) * step
    signal = np.sin(2 * np.pi * times) + 0.3 * np.cos(4 * np.pi * times + 1)
    x, _ = run(HiPPO(1, size, basis=basis, step=step, discretisation="foh"), {}, signal[:, None])
    ages = np.linspace(0.05, 0.95, 19)
    rebuilt = initialisers.functions(basis, size, ages) @ x[-1]
    wanted = np.sin(2 * np.pi * (times[-1] - ages)) + 0.3 * np.cos(4 * np.pi * (times[-1] - ages) + 1)
    assert np.abs(rebuilt - wanted).max() < tolerance


def test_perturbed_matrix_is_near_and_stable():
    A = initialisers.hippo("legs", 64).A
    for relative, low, high in ((1e-4, 1e4, 1e5), (1e-3, 2e3, 2e4)):
        rates, vectors, inverse = initialisers.perturbed(64, relative, seed=0)
        assert rates.real.max() < 0
        assert low < np.linalg.cond(vectors) < high
        nearby = (2.0 * (vectors * rates) @ inverse).real
        error = np.linalg.norm(nearby - A, 2) / np.linalg.norm(A, 2)
        assert error == pytest.approx(relative, rel=1e-6)
        # At the highest eigenfrequency, where the normal part alone is wrong by 2 / pi, the perturbed system is right.
        B, w = initialisers.hippo("legs", 64).B, 1303.2738
        exact = np.linalg.solve(1j * w * np.eye(64) - A, B)[0]
        near = 2.0 * vectors[0] @ ((inverse @ B) / (1j * w - rates))
        assert abs(near - exact) < relative
    again = initialisers.perturbed(64, 1e-3, seed=0)
    np.testing.assert_array_equal(again.rates, rates)
    with pytest.raises(ArgumentError, match=r"`relative` = 0\.1 gave eigenvalues of A \+ E with real parts up to"):
        initialisers.perturbed(64, 0.1, seed=0)


def transfer_error(size, w):
    """Error of the first output's transfer function when P P' is left out of A and B is halved, as S4D-LegS has it."""
    A, B, _ = initialisers.hippo("legs", size)
    eigen = initialisers.eigen(size)
    exact = np.linalg.solve(1j * w * np.eye(size) - A, B)[0]
    weight = eigen.vectors[0] * (eigen.inverse @ B) / 2.0
    near = np.sum(weight / (1j * w - eigen.rates)) + np.sum(weight.conj() / (1j * w - eigen.rates.conj()))
    return abs(near - exact)


def test_diagonal_part_of_legs_converges_weakly():
    """At a fixed frequency the error halves as the size doubles; the largest error stays at 2 / pi."""
    found = [transfer_error(size, 1.0) for size in (16, 32, 64, 128, 256)]
    np.testing.assert_allclose(found, [4.4e-2, 2.28e-2, 1.11e-2, 5.5e-3, 2.7e-3], rtol=0.02)
    for size in (16, 32, 64, 128):
        assert transfer_error(size, 0.0) < 1e-12
        assert transfer_error(size, initialisers.eigen(size).rates.imag.max()) == pytest.approx(0.637, abs=0.003)


def test_starts_of_diagonal_layers():
    assert initialisers.diagonal("lin", 8).imag == pytest.approx(np.pi * np.arange(4))
    np.testing.assert_allclose(initialisers.diagonal("real", 3), [-1.0, -2.0, -3.0])
    inv, legs = (np.sort(initialisers.diagonal(start, 64).imag) for start in ("inv", "legs"))
    assert inv[-1] / legs[-1] == pytest.approx(1.0, abs=0.016)
    with pytest.raises(ArgumentError, match=r"`start` must be one of \('legs', 'lin', 'inv', 'real'\); got 'hat'"):
        initialisers.diagonal("hat", 8)
    with pytest.raises(ArgumentError, match="`size` must be even and positive, two for each conjugate pair; got 7"):
        initialisers.diagonal("lin", 7)
    with pytest.raises(ArgumentError, match="`size` of the basis 'fout' must be even and positive"):
        initialisers.hippo("fout", 5)
    with pytest.raises(ArgumentError, match=r"`basis` must be one of \('legs', 'legt', 'fout'\); got 'lagt'"):
        initialisers.hippo("lagt", 5)


def test_ring():
    modulus, phase = initialisers.ring(np.random.default_rng(0), 20_000, 0.9, 0.999, np.pi)
    assert np.mean(modulus**2) == pytest.approx(0.9040, abs=0.002)
    assert (modulus.min(), modulus.max()) == pytest.approx((0.9, 0.999), abs=1e-4)
    assert phase.max() == pytest.approx(np.pi, abs=1e-3)
