"""Dynamics in discrete time: powers against sums of powers, chains, dense laws, refusals, both frameworks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sla

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process import LinearGaussian, LinearSDE
from dynplat_koopman.power import PowerDynamics


def _system(seed=0, n=3, batch=()):
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(*batch, n, n)) * 0.5
    L = rng.normal(size=(*batch, n, n))
    return F, L @ np.swapaxes(L, -1, -2)


def _naive(F, Q, k):
    n = F.shape[-1]
    power, noise, total = np.eye(n), np.zeros((n, n)), np.zeros((n, n))
    for _ in range(k):
        noise = F @ noise @ F.T + Q
        total = F @ total + np.eye(n)
        power = F @ power
    return power, noise, total


COUNTS = (0, 1, 2, 3, 7, 8, 13, 31)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_powers_are_sums_of_powers(name):
    F, Q = _system()
    with framework(name) as to_array:
        found = PowerDynamics(to_array(F), to_array(Q), 0.25).step(to_array(0.25 * np.array(COUNTS)))
        found = [to_numpy(part) for part in found]
    for place, k in enumerate(COUNTS):
        for part, expected in zip(found, _naive(F, Q, k), strict=True):
            np.testing.assert_allclose(part[place], expected, rtol=1e-12, atol=1e-13)
    assert np.array_equal(found[0][0], np.eye(3))
    assert not found[1][0].any()
    assert not found[2][0].any()
    assert np.array_equal(found[0][1], F)
    assert np.array_equal(found[1], np.swapaxes(found[1], -1, -2))


def test_leading_axes_of_matrices_and_gaps_broadcast():
    F, Q = _system(1, batch=(4, 2))
    gaps = np.array([[1.0, 2.0, 0.0], [5.0, 1.0, 3.0]])
    found = PowerDynamics(F, Q, 1.0).step(gaps)
    assert found.F.shape == (4, 2, 3, 3, 3)
    for draw in range(4):
        for series in range(2):
            for row in range(3):
                expected = _naive(F[draw, series], Q[draw, series], int(gaps[series, row]))
                for part, value in zip(found, expected, strict=True):
                    assert part is not None
                    np.testing.assert_allclose(part[draw, series, row], value, rtol=1e-12, atol=1e-12)


def test_traced_gaps_of_jax_and_torch_give_the_same_and_nan_off_the_grid():
    F, Q = _system(2)
    gaps = np.array([0.0, 0.5, 3.0, 1.25])
    with framework("jax") as to_array:
        import jax

        traced = jax.jit(lambda g: PowerDynamics(to_array(F), to_array(Q), 0.5).step(g))(to_array(gaps))
        traced = [np.asarray(part) for part in traced]

        def last(F):
            return jax.jit(lambda g: PowerDynamics(F, to_array(10 * Q), 0.5).step(g).F[..., :3, :, :].sum())(
                to_array(gaps)
            )

        slope = np.asarray(jax.grad(last)(to_array(10 * F)))  # the doublings that nobody needs overflow
    with framework("torch") as to_array:
        import torch

        one = torch.func.vmap(lambda g: tuple(PowerDynamics(to_array(F), to_array(Q), 0.5).step(g[None])))
        batch = [to_numpy(part)[:, 0] for part in one(to_array(gaps))]
    for place, k in enumerate((0, 1, 6)):
        for part, other, expected in zip(traced, batch, _naive(F, Q, k), strict=True):
            np.testing.assert_allclose(part[place], expected, rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(other[place], expected, rtol=1e-11, atol=1e-12)
    assert np.isnan(traced[0][3]).all()
    assert np.isnan(batch[0][3]).all()
    assert np.isfinite(slope).all()
    assert (slope != 0).any()


def test_gradients_are_those_of_matrix_powers():
    import torch

    F, Q = _system(3)

    def total(F, Q):
        powers, noise, G = PowerDynamics(F, Q, 1.0).step(torch.tensor([5.0, 2.0], dtype=torch.float64))
        assert G is not None
        return (powers**2).sum() + (noise**2).sum() + (G**2).sum()

    leaves = [torch.tensor(value, requires_grad=True) for value in (F, Q)]
    assert torch.autograd.gradcheck(total, leaves)


def test_it_agrees_with_a_process_in_continuous_time_where_there_is_one():
    from dynplat.process.dynamics import Dense

    rng = np.random.default_rng(4)
    A, L = rng.normal(size=(3, 3)) - 2 * np.eye(3), rng.normal(size=(3, 2))
    b, B = rng.normal(size=3), rng.normal(size=(3, 1))
    F, Q, G = Dense(A, L, b, B).step(np.array([0.3]))
    assert G is not None
    F, Q, G = F[0], Q[0], G[0]
    gaps = 0.3 * np.array([1.0, 4.0, 9.0])
    inputs = rng.normal(size=(3, 1))
    power = PowerDynamics(F, Q, 0.3, b=G @ b, B=G @ B).transition(gaps, inputs)
    for found, expected in zip(power, Dense(A, L, b, B).transition(gaps, inputs), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-10, atol=1e-11)


def test_stationary_law_solves_the_discrete_lyapunov_equation():
    F, Q = _system(5)
    F = F / (1.02 * np.abs(np.linalg.eigvals(F)).max())
    b = np.array([1.0, -2.0, 0.5])
    law = PowerDynamics(F, Q, 2.0, b=b).stationary()
    assert law is not None
    mean, cov = law
    np.testing.assert_allclose(cov, sla.solve_discrete_lyapunov(F, Q), rtol=1e-9)
    np.testing.assert_allclose(mean, np.linalg.solve(np.eye(3) - F, b), rtol=1e-9)
    law = PowerDynamics(np.zeros((2, 2)), np.eye(2), 1.0).stationary()
    assert law is not None
    np.testing.assert_array_equal(law[1], np.eye(2))
    assert PowerDynamics(np.eye(2), np.eye(2), 1.0).stationary() is None


def test_a_process_over_powers_is_the_chain_with_the_missing_rows():
    """Rows that are absent, and rows with nothing observed, are one and the same."""
    F, Q = _system(6)
    H, R = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]), 0.1 * np.eye(2)
    m0, P0 = np.ones(3), np.eye(3)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, 12, 2))
    mask = rng.uniform(size=values.shape) < 0.7
    keep = np.array([0, 1, 4, 5, 6, 11])
    mask[:, np.setdiff1d(np.arange(12), keep)] = False
    with framework("torch") as to_array:
        matrices = [to_array(value) for value in (F, Q, H, R, m0, P0)]
        chain = LinearGaussian.time_invariant(*matrices).log_prob_steps(
            Observations(np.arange(12.0)[None], to_array(values), to_array(mask))
        )
        F_, Q_, H_, R_, m0_, P0_ = matrices
        process = LinearSDE(PowerDynamics(F_, Q_, 0.5), H_, R_, m0_, P0_)
        observations = Observations(0.5 * keep[None], to_array(values[:, keep]), to_array(mask[:, keep]))
        found = process.log_prob_steps(observations)
        np.testing.assert_allclose(to_numpy(found), to_numpy(chain)[:, keep], rtol=1e-11)
        query = np.array([[0.5, 1.5, 6.0]])
        law = process.condition(observations).at(query)
        smoothed = LinearGaussian.time_invariant(*matrices).smooth(
            Observations(
                np.arange(13.0)[None], *(to_array(np.pad(a, [(0, 0), (0, 1), (0, 0)])) for a in (values, mask))
            )
        )
        np.testing.assert_allclose(to_numpy(law.mean("state")), to_numpy(smoothed.means)[:, [1, 3, 12]], rtol=1e-10)
        assert process.sample(query, random=random_source(0, m0_)).values.shape == (1, 3, 2)
        with pytest.raises(
            ArgumentError, match=r"gap before row 2 of series 0 is 1.25 \(0.5 to 1.75\), which is 2.5 st"
        ):
            process.condition(observations).at(np.array([[0.5, 1.75]]))


def test_rows_off_the_grid_are_named():
    F, Q = _system(7, n=1)
    process = LinearSDE(PowerDynamics(F, Q, 0.1), np.ones((1, 1)), np.eye(1), np.zeros(1), np.eye(1))
    # The rounding of large times is no fault, and neither is that of a table with few digits.
    times = 1e9 + 0.1 * np.arange(6)[None]
    assert np.isfinite(process.log_prob_steps(Observations(times, np.ones((1, 6, 1)), np.ones((1, 6, 1), bool)))).all()
    times = np.array([[0.0, 0.1, 0.20005, 0.3]])
    process.log_prob_steps(Observations(times, np.ones((1, 4, 1)), np.ones((1, 4, 1), bool)))
    times = np.array([[0.0, 0.1, 0.2, 0.3], [0.0, 0.2, 0.33, 0.4]])
    message = r"gap before row 2 of series 1 is 0.13 .*1.3 steps of 0.1: .*continuous time"
    with pytest.raises(ArgumentError, match=message):
        process.log_prob_steps(Observations(times, np.ones((2, 4, 1)), np.ones((2, 4, 1), bool)))
    with pytest.raises(ArgumentError, match=r"a gap of 0.05 is 0.5 steps of 0.1"):
        process.dynamics.step(np.array([0.1, 0.05]))


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match=r"`Q` of PowerDynamics must have core shape \(2, 2\)"):
        PowerDynamics(np.eye(2), np.eye(3), 1.0)
    with pytest.raises(ArgumentError, match=r"`h`, the length of a step, must be positive; got 0.0"):
        PowerDynamics(np.eye(2), np.eye(2), 0.0)
    with pytest.raises(ArgumentError, match=r"`B` of PowerDynamics must have core shape \(2, input\)"):
        PowerDynamics(np.eye(2), np.eye(2), 1.0, B=np.ones((3, 1)))
    with pytest.raises(NoDensityError, match=r"spectral radius of `F` is 3 and the longest gap is 1000 steps"):
        PowerDynamics(3 * np.eye(2), np.eye(2), 1.0).step(np.array([1.0, 1000.0]))
