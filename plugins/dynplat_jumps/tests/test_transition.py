"""Transition probabilities against exact arithmetic and dense exponentials, their gradients, and ways to call them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from scipy.linalg import expm

from dynplat.errors import ArgumentError
from dynplat.scan.kernels.vector import EIGHT, lines
from dynplat_jumps.derived import stationary
from dynplat_jumps.kernels.series import fill_powers, num_terms, table_room
from dynplat_jumps.tests.conftest import random_generator
from dynplat_jumps.transition import log_transition_probabilities, transition_probabilities

EVERYWHERE = ("auto", "sequential")


def exact(Q, gaps):
    with mpmath.workdps(50):
        return np.stack([np.array(mpmath.expm(mpmath.matrix(Q.tolist()) * float(h)).tolist(), float) for h in gaps])


@pytest.mark.parametrize("driver", EVERYWHERE)
@pytest.mark.parametrize("K", [1, 2, 3, 6, 11])
def test_every_entry_keeps_its_digits(driver, K):
    rng = np.random.default_rng(K)
    Q = random_generator(rng, K)
    gaps = np.array([1e-7, 0.01, 0.3, 1.0, 4.0, 30.0])
    np.testing.assert_allclose(transition_probabilities(Q, gaps, driver=driver), exact(Q, gaps), rtol=3e-13, atol=0)


@pytest.mark.parametrize("driver", EVERYWHERE)
def test_far_states_and_small_rates_keep_their_digits(driver):
    # Eleven jumps away over a short gap: 1e-44; and rates twelve decades apart.
    Q = np.diag(np.full(11, 1.0), 1) + np.diag(np.full(11, 0.5), -1)
    Q[3, 4] = 1e-12
    Q -= np.diag(Q.sum(1))
    gaps = np.array([1e-3, 0.5, 2.0])
    found, expected = transition_probabilities(Q, gaps, driver=driver), exact(Q, gaps)
    assert expected.min() < 1e-42
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


def test_products_of_rates_that_are_too_small_to_hold_ask_for_no_more_terms():
    """An entry of a power that is 0 by rounding, and comes up in a later power, is no longer path."""
    K = 30
    rng = np.random.default_rng(0)
    for _ in range(5):
        Q = np.diag(10.0 ** rng.uniform(-40, 0, K - 1), 1) + np.diag(10.0 ** rng.uniform(0, 3, K - 1), -1)
        Q -= np.diag(Q.sum(1))
        room = table_room(K, 1.0)
        _, far = fill_powers(Q[None], 0, 1.0, lines(K * ((K + EIGHT - 1) // EIGHT) * room))
        assert far == K - 1
        assert num_terms(1.0, far) < room
        gaps = np.array([1e-3, 0.2, 5.0])
        found = transition_probabilities(Q, gaps)
        expected = transition_probabilities(Q, gaps, driver="sequential")
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-290)


def test_limits():
    Q = random_generator(np.random.default_rng(0), 4)
    for driver in EVERYWHERE:
        P = transition_probabilities(Q, np.array([0.0, 1e9, 1e15]), driver=driver)
        np.testing.assert_array_equal(P[0], np.eye(4))
        np.testing.assert_allclose(P[1:], np.broadcast_to(stationary(Q), (2, 4, 4)), rtol=1e-9)
    np.testing.assert_array_equal(transition_probabilities(np.zeros((3, 3)), np.array([2.0]))[0], np.eye(3))
    assert np.isnan(transition_probabilities(np.full((2, 2), np.nan), np.array([1.0]))).all()
    assert transition_probabilities(Q, np.zeros(0)).shape == (0, 4, 4)


def test_defective_generators_are_ordinary():
    # One eigenvalue, one eigenvector: 0 -> 1 -> 2 -> 3 with equal rates, where eigendecompositions fail.
    Q = np.diag(np.ones(3), 1) - np.diag([1.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(
        transition_probabilities(Q, np.array([0.2, 5.0])), exact(Q, [0.2, 5.0]), rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("shapes", [((), (7,)), ((3,), (7,)), ((3,), (3, 7)), ((1,), (2, 7)), ((2, 1), (3, 7))])
def test_leading_axes_broadcast(shapes):
    rng = np.random.default_rng(1)
    Q, gaps = random_generator(rng, 3, shapes[0]), rng.exponential(1.0, shapes[1])
    lead = np.broadcast_shapes(shapes[0], shapes[1][:-1])
    expected = np.stack(
        [
            [expm(q * h) for h in g]
            for q, g in zip(
                np.broadcast_to(Q, (*lead, 3, 3)).reshape(-1, 3, 3),
                np.broadcast_to(gaps, (*lead, 7)).reshape(-1, 7),
                strict=True,
            )
        ]
    ).reshape(*lead, 7, 3, 3)
    np.testing.assert_allclose(transition_probabilities(Q, gaps), expected, rtol=1e-12)
    a, b = torch.tensor(Q, requires_grad=True), torch.tensor(gaps, requires_grad=True)
    weights = torch.tensor(rng.normal(size=expected.shape))
    own = torch.autograd.grad((transition_probabilities(a, b) * weights).sum(), (a, b))
    dense = (torch.linalg.matrix_exp(a[..., None, :, :] * b[..., None, None]) * weights).sum()
    for mine, theirs in zip(own, torch.autograd.grad(dense, (a, b)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-11)


def test_gradients_are_those_of_the_exponential_and_of_finite_differences():
    rng = np.random.default_rng(2)
    for K in (2, 6, 20):
        Q = torch.tensor(random_generator(rng, K), requires_grad=True)
        gaps = torch.tensor(np.r_[rng.exponential(1.0, 20), 0.0, 40.0], requires_grad=True)
        weights = torch.tensor(rng.normal(size=(22, K, K)))
        for wanted in ((Q, gaps), (Q,), (gaps,)):
            own = torch.autograd.grad((transition_probabilities(Q, gaps) * weights).sum(), wanted)
            dense = (torch.linalg.matrix_exp(Q * gaps[:, None, None]) * weights).sum()
            for mine, theirs in zip(own, torch.autograd.grad(dense, wanted), strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))
    Q = torch.tensor(random_generator(rng, 3), requires_grad=True)
    gaps = torch.tensor([0.3, 2.0, 9.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transition_probabilities, (Q, gaps))
    assert torch.autograd.gradgradcheck(lambda q: transition_probabilities(q, gaps.detach()), (Q,))


def test_jax_agrees_with_torch_in_every_transform():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        Q, gaps = jnp.array(random_generator(rng, 4, (5,))), jnp.array(rng.exponential(1.0, 6))
        weights = jnp.array(rng.normal(size=(6, 4, 4)))

        def total(q, h):
            return jnp.sum(transition_probabilities(q, h) * weights)

        q, h = torch.tensor(np.array(Q), requires_grad=True), torch.tensor(np.array(gaps), requires_grad=True)
        value = (transition_probabilities(q, h) * torch.tensor(np.array(weights))).sum((-1, -2, -3))
        slopes = torch.autograd.grad(value.sum(), (q, h))
        np.testing.assert_allclose(jax.jit(jax.vmap(total, (0, None)))(Q, gaps), value.detach(), rtol=1e-12)
        gradient = jax.vmap(jax.grad(total, (0, 1)), (0, None))(Q, gaps)
        np.testing.assert_allclose(gradient[0], slopes[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(gradient[1].sum(0), slopes[1], rtol=1e-10, atol=1e-12)
        summed = jax.grad(lambda q, h: jax.vmap(total, (0, None))(q, h).sum(), (0, 1))(Q, gaps)
        np.testing.assert_allclose(summed[0], slopes[0], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(summed[1], slopes[1], rtol=1e-10, atol=1e-12)
        both = jax.vmap(total)(Q, jnp.broadcast_to(gaps, (5, 6)))
        np.testing.assert_allclose(both, value.detach(), rtol=1e-12)
        # Traced gaps under generic code: what a GPU runs.
        traced = jax.jit(lambda q, h: transition_probabilities(q, h, driver="sequential"))(Q[0], gaps * 20.0)
        np.testing.assert_allclose(traced, transition_probabilities(np.array(Q[0]), np.array(gaps) * 20.0), rtol=1e-11)


def test_parts_of_many_gaps_are_the_whole():
    rng = np.random.default_rng(7)
    Q, gaps = random_generator(rng, 3), rng.exponential(1.0, 1_501)
    np.testing.assert_allclose(
        transition_probabilities(Q, gaps),
        np.concatenate([transition_probabilities(Q, gaps[k : k + 1]) for k in range(1_501)]),
        rtol=1e-14,
    )
    weights = torch.tensor(rng.normal(size=(1_501, 3, 3)))
    slopes = []
    for cut in (1_501, 300):
        q = torch.tensor(Q, requires_grad=True)
        parts = [transition_probabilities(q, torch.tensor(gaps[k : k + cut])) for k in range(0, 1_501, cut)]
        slopes.append(torch.autograd.grad((torch.concat(parts) * weights).sum(), q)[0])
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-12)


def test_logarithms():
    rng = np.random.default_rng(6)
    Q = np.diag(np.full(5, 1.0), 1) + np.diag([0.4, 0.0, 0.0, 0.3, 0.2], -1)  # states behind are not reached again
    Q -= np.diag(Q.sum(1))
    gaps = np.r_[rng.exponential(1.0, 9), 0.0, 50.0]
    for driver in EVERYWHERE:
        found = log_transition_probabilities(Q, gaps, driver=driver)
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(found, np.log(transition_probabilities(Q, gaps)), rtol=1e-11, atol=1e-13)
    assert (found[..., 3, 0] == -np.inf).all()
    slopes = []
    for driver in EVERYWHERE:
        a, b = torch.tensor(Q, requires_grad=True), torch.tensor(gaps, requires_grad=True)
        value = log_transition_probabilities(a, b, driver=driver)
        weights = torch.where(
            torch.isfinite(value), torch.tensor(np.cos(np.arange(value.numel()))).reshape(11, 6, 6), 0
        )
        slopes.append(torch.autograd.grad(torch.where(torch.isfinite(value), value * weights, 0.0).sum(), (a, b)))
    # The second framework's own adjoint.
    with jax.enable_x64(True):

        def total(q, h):
            value = log_transition_probabilities(q, h)
            return jnp.sum(jnp.where(jnp.isfinite(value), value * jnp.array(weights.numpy()), 0.0))

        slopes.append(jax.jit(jax.grad(total, (0, 1)))(jnp.array(Q), jnp.array(gaps)))
    for other in slopes[1:]:
        for mine, theirs in zip(slopes[0], other, strict=True):
            np.testing.assert_allclose(
                mine[:-2] if mine.ndim == 1 else mine, theirs[:-2] if mine.ndim == 1 else theirs, rtol=1e-8, atol=1e-8
            )


def test_single_precision():
    rng = np.random.default_rng(4)
    Q, gaps = random_generator(rng, 5), rng.exponential(1.0, 9)
    found = transition_probabilities(torch.tensor(Q).float(), torch.tensor(gaps).float())
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, transition_probabilities(Q, gaps), rtol=2e-5)


def test_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(5)
    cases = [(random_generator(rng, 4), rng.exponential(1.0, 50)) for _ in range(8)]
    alone = [transition_probabilities(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(lambda case: transition_probabilities(*case), cases), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_refusals():
    with pytest.raises(ArgumentError, match=r"`gaps` must be lengths.*-1"):
        transition_probabilities(np.zeros((2, 2)), np.array([1.0, -1.0]))
    with pytest.raises(ArgumentError, match="`generator` must have shape"):
        transition_probabilities(np.zeros((2, 3)), np.array([1.0]))


@pytest.mark.parametrize("scale", [1e306, np.inf, np.nan])
@pytest.mark.parametrize("K", [2, 5, 12])
@pytest.mark.parametrize("driver", ["compiled", "sequential"])
def test_rates_beyond_all_numbers_give_nan_and_leave_others_alone(scale, K, driver):
    """A search or a sampler may go there; nothing may be written beside the tables of a kernel."""
    off = np.where(np.eye(K, dtype=bool), 0.0, scale)
    wild = off - np.diag(np.where(np.isfinite(scale), (K - 1) * scale, scale) * np.ones(K))
    tame = random_generator(np.random.default_rng(0), K)
    gaps = np.array([0.3, 2000.0, 0.0, 1.0] * 5)
    both = torch.tensor(np.stack([wild, tame])).requires_grad_(True)
    with np.errstate(all="ignore"):
        for function in (transition_probabilities, log_transition_probabilities):
            found = function(both, gaps, driver=driver)
            alone = function(both[1:], gaps, driver=driver)
            np.testing.assert_array_equal(found[1].detach(), alone[0].detach())
            assert not torch.isfinite(found[0, 1]).any()
            (slope,) = torch.autograd.grad(alone.exp().sum() + torch.nansum(found[0]), both)
            assert torch.isfinite(slope[1]).all()
