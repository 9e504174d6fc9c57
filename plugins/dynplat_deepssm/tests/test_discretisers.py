"""Discretised systems against matrix exponentials and quadrature; which of them may split a gap."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm

from dynplat.arrays import framework, to_numpy
from dynplat_deepssm import discretisers, initialisers
from dynplat_deepssm.cells import S4D, S5, DeltaNet, HiPPO, Mamba, Mamba2
from dynplat_deepssm.executors import run
from dynplat_deepssm.special import expm1, gelu, power, powers, sigmoid, silu, softplus, softplus_inverse
from dynplat_deepssm.tests.conftest import FRAMEWORKS, assert_close, complex_aware

#: Cells whose map over a gap is exact for an input that is constant over it.
EXACT = {
    "s4d": S4D(3, 64),
    "s4d real": S4D(3, 8, start="real"),
    "s5": S5(3, 2, 16),
    "hippo": HiPPO(1, 16, step=0.3),
    "legt": HiPPO(1, 16, basis="legt", step=0.3),
}


@pytest.mark.parametrize("name", EXACT)
def test_splitting_a_gap_changes_nothing(name):
    cell = EXACT[name]
    weights = cell.init(0)
    rng = np.random.default_rng(1)
    u, dt, share = rng.standard_normal((9, cell.num_inputs)), rng.uniform(0.0, 3.0, 9), rng.uniform(0.0, 1.0, 9)
    y, last = run(cell, weights, u, dt)
    twice = np.stack([share * dt, (1.0 - share) * dt], axis=-1).reshape(18)
    parts, end = run(cell, weights, np.repeat(u, 2, axis=0), twice)
    assert_close(parts[1::2], y, 1e-13)
    assert_close(end, last, 1e-13)


def test_splitting_a_missing_gap_changes_no_selective_cell():
    """Decays are exact in time where nothing is written: an empty row anywhere within a gap is no row at all."""
    rng = np.random.default_rng(2)
    for cell in (Mamba(3, 4), Mamba2(2, 3, 4), DeltaNet(2, 3, 4, decays=True), S5(3, 2, 8)):
        weights = cell.init(0)
        u = rng.standard_normal((2, cell.num_inputs))
        state = run(cell, weights, u)[1]
        empty = np.zeros((3, cell.num_inputs))
        whole = run(cell, weights, empty[:1], np.array([1.5]), mask=np.zeros(1, bool), state=state)
        parts = run(cell, weights, empty, np.array([0.2, 0.9, 0.4]), mask=np.zeros(3, bool), state=state)
        assert_close(parts[1], whole[1], 1e-13)


def test_bilinear_maps_of_two_gaps_are_not_the_map_of_their_sum():
    rates = initialisers.eigen(64).rates
    one, two, both = (discretisers.diagonal_gbt(rates, h, 0.5)[0] for h in (0.02, 0.03, 0.05))
    assert np.abs(one * two - both).max() > 0.5
    one, two, both = (discretisers.diagonal_zoh(rates, h)[0] for h in (0.02, 0.03, 0.05))
    assert np.abs(one * two - both).max() < 3e-14  # rounding of 65 radians


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_dense_systems(name):
    rng = np.random.default_rng(3)
    A, B, steps = initialisers.hippo("legs", 5).A, rng.standard_normal((5, 2)), np.array([[0.1, 0.7], [0.0, 1.3]])
    u0, u1 = rng.standard_normal((2, 2))
    with framework(name) as make:
        given = make(A), make(B), make(steps)
        zoh = [to_numpy(a) for a in discretisers.dense_zoh(*given)]
        foh = [to_numpy(a) for a in discretisers.dense_foh(*given)]
        gbt = {alpha: [to_numpy(a) for a in discretisers.dense_gbt(*given, alpha)] for alpha in (0.0, 0.5, 1.0)}
    for index in np.ndindex(2, 2):
        h = steps[index]
        np.testing.assert_allclose(zoh[0][index], expm(A * h), atol=1e-13)
        np.testing.assert_allclose(foh[0][index], expm(A * h), atol=1e-13)

        def integral(input_at, h=h):
            parts = [
                quad(lambda s, i=i: (expm(A * (h - s)) @ B @ input_at(s))[i], 0.0, h, epsabs=1e-13)[0] for i in range(5)
            ]
            return np.array(parts)

        np.testing.assert_allclose(zoh[1][index] @ u1, integral(lambda s: u1), atol=1e-11)
        ramp = integral(lambda s, h=h: u0 + (u1 - u0) * s / h) if h else np.zeros(5)
        np.testing.assert_allclose(foh[1][index] @ u0 + foh[2][index] @ u1, ramp, atol=1e-11)
        eye = np.eye(5)
        for alpha, (F, G) in gbt.items():
            left = eye - alpha * h * A
            np.testing.assert_allclose(left @ F[index], eye + (1.0 - alpha) * h * A, atol=1e-12)
            np.testing.assert_allclose(left @ G[index], h * B, atol=1e-12)


def test_diagonal_systems_are_dense_ones():
    rates, h = np.array([-0.5 + 3.0j, -2.0, -1e-9 + 1e-9j]), 0.3
    for diagonal, dense in (
        (discretisers.diagonal_zoh(rates, h), None),
        (discretisers.diagonal_gbt(rates, h, 0.5), 0.5),
        (discretisers.diagonal_gbt(rates, h, 0.0), 0.0),
    ):
        for k, rate in enumerate(rates):
            if dense is None:
                block = expm(np.array([[rate, 1.0], [0.0, 0.0]]) * h)
                wanted = block[0]
            else:
                wanted = np.array([1.0 + (1.0 - dense) * h * rate, h]) / (1.0 - dense * h * rate)
            np.testing.assert_allclose([diagonal[0][k], diagonal[1][k]], wanted, rtol=1e-13)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_special_functions(name):
    import mpmath

    x = np.array([-800.0, -30.0, -1.0, 0.0, 1e-9, 2.0, 50.0, 800.0])
    z = np.array([1e-12 + 1e-12j, -1e-3 + 2e-3j, 0.5 - 3j, -2 + 100j, 1e-9j])
    with framework(name) as make:
        make = complex_aware(make)
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(to_numpy(softplus(make(x))), np.logaddexp(x, 0.0), rtol=1e-14)
        wanted = np.array([float(1 / (1 + mpmath.exp(-v))) for v in x])
        np.testing.assert_allclose(to_numpy(sigmoid(make(x))), wanted, rtol=1e-14, atol=1e-16)
        np.testing.assert_allclose(to_numpy(silu(make(x))), x * wanted, rtol=1e-13, atol=1e-12)
        found = to_numpy(expm1(make(z)))
        for value, one in zip(z, found, strict=True):
            exact = complex(mpmath.expm1(mpmath.mpc(value)))
            assert abs(one - exact) < 1e-15 * abs(exact) + 1e-28
        table = to_numpy(powers(make(z[2:4]), 9))
        np.testing.assert_allclose(table, z[2:4, None] ** np.arange(9), rtol=1e-13)
        for exponent in (0, 1, 5, 8):
            np.testing.assert_allclose(to_numpy(power(make(z[2:4]), exponent)), z[2:4] ** exponent, rtol=1e-13)
    y = np.array([1e-4, 0.3, 5.0])
    np.testing.assert_allclose(softplus(softplus_inverse(y)), y, rtol=1e-12)
    # Values of x Phi(x); the approximation is right to some thousandths.
    np.testing.assert_allclose(gelu(np.array([-1.0, 0.0, 2.0])), [-0.15865525, 0.0, 1.95449974], atol=5e-4)
