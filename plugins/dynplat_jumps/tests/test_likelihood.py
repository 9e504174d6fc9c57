"""The kernel of likelihoods, and its gradients, against exact arithmetic and its twin, where numbers are extreme."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError
from dynplat.process import GaussianEmission
from dynplat.scan.kernels.hidden_markov_forward import OUTCOME
from dynplat_jumps import process
from dynplat_jumps.kernels.likelihood import BY_GAPS, LIKELIHOOD
from dynplat_jumps.likelihood import _twin, compiled_log_prob_steps
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.tests.conftest import random_generator


def exact_terms(Q, gaps, initial, log_density, digits=80):
    """Terms log p(y_t | y_<t) with many digits."""
    with mpmath.workdps(digits):
        law = mpmath.matrix([[mpmath.mpf(float(p)) for p in initial]])
        terms = []
        for t, gap in enumerate(gaps):
            if t:
                law = law * mpmath.expm(mpmath.matrix(Q.tolist()) * mpmath.mpf(float(gap)), method="taylor")
            law = mpmath.matrix([[p * mpmath.exp(float(d)) for p, d in zip(law, log_density[t], strict=True)]])
            total = mpmath.fsum(law)
            terms.append(float(mpmath.log(total)) if total > 0 else -np.inf)
            law = law / total if total > 0 else law
        return np.array(terms)


def made(rng, K, rows, lead=(), *, scale=1.0, gap=1.0):
    """A random chain and densities, as arrays of the kernel without a group."""
    Q = scale * random_generator(rng, K, lead)
    gaps = gap * rng.exponential(1.0, (*lead, rows))
    with np.errstate(divide="ignore"):
        initial = np.log(rng.dirichlet(np.ones(K), lead or None))
    return Q, gaps, initial, -0.5 * rng.normal(scale=3.0, size=(*lead, rows, K)) ** 2


def slopes(function, arrays, weights):
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = function(*tensors)
    value = value[0] if isinstance(value, tuple) else value
    finite = torch.isfinite(value)
    total = torch.where(finite, value * torch.tensor(weights), 0.0).sum()
    found = torch.autograd.grad(total, tensors, allow_unused=True)
    return value.detach().numpy(), [
        np.zeros_like(array) if g is None else g.numpy() for array, g in zip(arrays, found, strict=True)
    ]


def assert_like_twin(arrays, rtol=1e-9):
    """Values and gradients are those of the generic form."""
    rows = np.broadcast_shapes(arrays[1].shape, arrays[3].shape[:-1])
    weights = np.cos(np.arange(np.prod(rows))).reshape(rows)
    value, own = slopes(compiled_log_prob_steps, arrays, weights)
    expected, theirs = slopes(_twin, arrays, weights)
    np.testing.assert_allclose(value, expected, rtol=rtol, atol=1e-11)
    # The first gap leads into no row; over a gap of 0 the twin takes changes of state for impossible, not for new.
    moved = (arrays[1] > 0) & (np.arange(arrays[1].shape[-1]) > 0)
    own[1], theirs[1] = own[1][moved], theirs[1][moved]
    for mine, other in zip(own, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * np.abs(other).max(initial=1e-3))


def outcomes(arrays):
    """Which form filtered each group."""
    inputs = [a.reshape(-1, *a.shape[a.ndim - core :]) for a, core in zip(arrays, (2, 1, 1, 2), strict=True)]
    return LIKELIHOOD.run(inputs, keep=True)[-1][:, OUTCOME]


@pytest.mark.parametrize("K", [1, 2, 3, 6, 8, 9, 20])
@pytest.mark.parametrize("rows", [1, 7, 41])
def test_values_and_gradients_are_those_of_the_twin(K, rows):
    arrays = made(np.random.default_rng(K), K, rows)
    assert (outcomes(arrays) == BY_GAPS).all()
    assert_like_twin(arrays)


@pytest.mark.parametrize("seed", range(4))
def test_stiff_generators_keep_their_digits(seed):
    # Rates over twelve decades, gaps over eight.
    rng = np.random.default_rng(seed)
    K, rows = 4, 12
    off = 10.0 ** rng.uniform(-9, 3, (K, K)) * (1.0 - np.eye(K))
    Q = off - np.diag(off.sum(1))
    gaps = 10.0 ** rng.uniform(-6, 2, rows)
    _, _, initial, density = made(rng, K, rows)
    found = compiled_log_prob_steps(Q, gaps, initial, density)
    np.testing.assert_allclose(found, exact_terms(Q, gaps, np.exp(initial), density), rtol=1e-11, atol=1e-11)
    assert_like_twin((Q, gaps, initial, density), rtol=1e-7)


def test_long_gaps_are_cut_and_halved():
    rng = np.random.default_rng(1)
    for K in (2, 5, 20):
        Q, _, initial, density = made(rng, K, 30)
        reach = np.abs(np.diag(Q)).max()
        # On both sides of every bound: one part, several, the most, and then squarings.
        gaps = np.r_[0.0, 0.0, 1.0, 1.0 + 1e-12, 2.0, 2 * K - 1e-9, 2 * K, 2 * K + 1e-9, 4 * K, 1e3, 1e5] / reach
        gaps = np.resize(gaps, 30)
        assert (outcomes((Q, gaps, initial, density)) == BY_GAPS).all()
        assert_like_twin((Q, gaps, initial, density), rtol=1e-8)
    far = compiled_log_prob_steps(Q, np.full(30, 1e13), initial, density)
    law = np.linalg.lstsq(np.vstack([Q.T, np.ones(20)]), np.r_[np.zeros(20), 1.0], rcond=None)[0]
    np.testing.assert_allclose(far[1:], np.log((law * np.exp(density[1:])).sum(-1)), rtol=1e-9)


def one_way(K):
    """States 0 -> 1 -> ..., the last of which is absorbing."""
    return np.diag(np.ones(K - 1), 1) - np.diag(np.r_[np.ones(K - 1), 0.0])


def test_states_that_cannot_be_reached_have_no_gradient_as_in_the_twin():
    rng = np.random.default_rng(2)
    _, gaps, initial, density = made(rng, 6, 25, gap=0.2)
    initial = np.where(np.arange(6) < 2, np.log(0.5), -np.inf)
    arrays = (one_way(6), gaps, initial, density)
    value, own = slopes(compiled_log_prob_steps, arrays, np.ones(25))
    expected, theirs = slopes(_twin, arrays, np.ones(25))
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(own[0], theirs[0], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(own[3], theirs[3], rtol=1e-8, atol=1e-10)


def test_impossible_rows_end_a_series_and_have_no_gradient():
    rng = np.random.default_rng(3)
    _, gaps, _, density = made(rng, 3, 9)
    initial = np.array([0.0, -np.inf, -np.inf])
    density[4] = [-np.inf, -np.inf, 0.0]
    density[6] = [0.0, -np.inf, -np.inf]
    arrays = (one_way(3), gaps, initial, density)
    value, own = slopes(compiled_log_prob_steps, arrays, np.ones(9))
    assert np.isfinite(value[:6]).all()
    assert (value[6:] == -np.inf).all()
    assert outcomes(arrays)[0] != BY_GAPS
    _, theirs = slopes(_twin, arrays, np.ones(9))
    for mine, other in zip(own[:3], theirs[:3], strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine[..., 1:6], other[..., 1:6], rtol=1e-8, atol=1e-10)
    assert (own[3][6:] == 0).all()


@pytest.mark.parametrize("depth", [100.0, 330.0, 600.0, 3000.0])
def test_numbers_that_no_float_holds_are_found_with_logarithms(depth):
    # What is seen says again and again that the chain has moved on, until at last it cannot have.
    Q = one_way(3) * 1e-3
    density = np.zeros((8, 3))
    density[1:5, 0] = -depth / 4
    density[5:, 1:] = -2.0 * depth
    gaps, initial = np.full(8, 0.5), np.log([0.98, 0.01, 0.01])
    found = compiled_log_prob_steps(Q, gaps, initial, density)
    np.testing.assert_allclose(found, exact_terms(Q, gaps, np.exp(initial), density), rtol=1e-11, atol=1e-13)
    assert (outcomes((Q, gaps, initial, density))[0] == BY_GAPS) == (depth < 200)
    assert_like_twin((Q, gaps, initial, density))


def test_tiny_transitions_are_not_lost():
    # Nineteen jumps in 1e-9: 1e-188 and less, and only there what is seen can be.
    K = 20
    Q = np.diag(np.ones(K - 1), 1) + np.diag(np.ones(K - 1), -1)
    Q -= np.diag(Q.sum(1))
    gaps, initial = np.array([0.0, 1e-9, 0.3]), np.full(K, -np.inf)
    initial[0] = 0.0
    density = np.zeros((3, K))
    density[1, :-1] = -np.inf
    found = compiled_log_prob_steps(Q, gaps, initial, density)
    np.testing.assert_allclose(found, exact_terms(Q, gaps, np.exp(initial), density, 300), rtol=1e-11, atol=1e-12)
    assert found[1] < -400


@pytest.mark.parametrize("scale", [1e306, np.inf, np.nan])
def test_rates_beyond_all_numbers_give_nan_and_leave_others_alone(scale):
    rng = np.random.default_rng(10)
    Q, gaps, initial, density = made(rng, 3, 20, (2,))
    Q[0] = np.where(np.eye(3, dtype=bool), -2.0 * scale if np.isfinite(scale) else scale, scale)
    with np.errstate(all="ignore"):
        value, gradients = slopes(compiled_log_prob_steps, (Q, gaps, initial, density), np.ones((2, 20)))
        alone, own = slopes(compiled_log_prob_steps, (Q[1:], gaps[1:], initial[1:], density[1:]), np.ones((1, 20)))
    assert not np.isfinite(value[0, 1:]).any()
    np.testing.assert_array_equal(value[1:], alone)
    for mine, other in zip(gradients, own, strict=True):
        np.testing.assert_array_equal(mine[1:], other)


@pytest.mark.parametrize("own", [True, False])
def test_groups_are_independent_and_what_they_share_is_added_up(own):
    rng = np.random.default_rng(4)
    Q, gaps, initial, density = made(rng, 3, 21, (5,))
    if not own:
        Q, initial = Q[:1], initial[:1]
    # One of five needs logarithms.
    gaps[2, 9] = 1e-160
    np.testing.assert_array_equal(
        outcomes((np.broadcast_to(Q, (5, 3, 3)), gaps, np.broadcast_to(initial, (5, 3)), density)) == BY_GAPS,
        [True, True, False, True, True],
    )
    assert_like_twin((Q, gaps, initial, density))
    assert_like_twin((Q, gaps[:1], initial, density))


def test_single_precision():
    arrays = made(np.random.default_rng(5), 6, 200)
    narrow = [array.astype(np.float32) for array in arrays]
    value, gradients = slopes(compiled_log_prob_steps, narrow, np.ones(200, np.float32))
    expected, wide = slopes(compiled_log_prob_steps, arrays, np.ones(200))
    assert {array.dtype for array in (value, *gradients)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    for mine, other in zip(gradients, wide, strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-3, atol=1e-4 * np.abs(other).max())


def test_jax_agrees_with_torch_in_every_transform():
    rng = np.random.default_rng(6)
    arrays = made(rng, 4, 15, (3,))
    weights = np.cos(np.arange(45.0)).reshape(3, 15)
    value, gradients = slopes(compiled_log_prob_steps, arrays, weights)
    with jax.enable_x64(True):
        inputs = tuple(jnp.array(array) for array in arrays)

        def total(Q, gaps, initial, density, weight):
            return jnp.sum(compiled_log_prob_steps(Q, gaps, initial, density) * weight)

        mapped = jax.jit(jax.vmap(jax.value_and_grad(total, (0, 1, 2, 3))))(*inputs, jnp.array(weights))
        np.testing.assert_allclose(mapped[0], (value * weights).sum(-1), rtol=1e-11)
        whole = jax.jit(jax.grad(total, (0, 1, 2, 3)))(*inputs, jnp.array(weights))
        for found in (mapped[1], whole):
            for mine, other in zip(found, gradients, strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-11)


def test_second_derivatives_come_from_the_twin():
    arrays = [torch.tensor(array, requires_grad=True) for array in made(np.random.default_rng(7), 3, 6)]
    assert torch.autograd.gradcheck(compiled_log_prob_steps, arrays)
    assert torch.autograd.gradgradcheck(lambda Q: compiled_log_prob_steps(Q, *arrays[1:]), arrays[:1])


def chain_and_rows(rng, series=1, rows=40, K=3, **options):
    times = np.cumsum(rng.exponential(1.0, (series, rows)), axis=-1)
    mask = rng.random((series, rows, 1)) < 0.8
    chain = MarkovJump(
        torch.tensor(random_generator(rng, K))[None],
        torch.tensor(np.log(rng.dirichlet(np.ones(K))))[None],
        GaussianEmission(torch.linspace(-2, 2, K).double()[None, :, None], torch.ones(1, K, 1).double()),
        **options,
    )
    return chain, Observations(times, rng.normal(size=(series, rows, 1)), mask)


@pytest.mark.parametrize("series", [1, 6])
def test_a_process_takes_the_kernel_where_rows_share_no_gaps(series, monkeypatch):
    calls = []

    def count(*arrays):
        calls.append(arrays)
        return compiled_log_prob_steps(*arrays)

    monkeypatch.setattr(process, "compiled_log_prob_steps", count)
    chain, seen = chain_and_rows(np.random.default_rng(8), series)
    found = chain.log_prob_steps(seen)
    assert len(calls) == 1
    np.testing.assert_allclose(found, chain.chain(seen.times).log_prob_steps(seen), rtol=1e-11, atol=1e-12)
    assert (found.numpy()[~np.asarray(seen.mask).any(-1)] == 0).all()
    # Even times have one transition; the generic drivers have no kernel.
    even = Observations(np.broadcast_to(np.arange(40.0), seen.times.shape), seen.values, seen.mask)
    chain.log_prob_steps(even)
    other, seen = chain_and_rows(np.random.default_rng(8), series, driver="sequential")
    np.testing.assert_allclose(other.log_prob_steps(seen), found, rtol=1e-10, atol=1e-12)
    assert len(calls) == 1


def test_refusals_are_those_of_the_chain():
    chain, seen = chain_and_rows(np.random.default_rng(9))
    with pytest.raises(ArgumentError, match="`values` has 39 rows"):
        chain.log_prob(Observations(seen.times, seen.values[:, :-1], seen.mask[:, :-1]))
    with pytest.raises(ArgumentError, match="the emission has 1 channels"):
        chain.log_prob(Observations(seen.times, np.tile(seen.values, 2), np.tile(seen.mask, 2)))
    with pytest.raises(ArgumentError, match="`mask` must be boolean"):
        chain.log_prob(Observations(seen.times, seen.values, 1.0 * np.asarray(seen.mask)))
    wrong = MarkovJump(chain.generator[..., 0, :, :], chain.log_initial + 0.1, chain.emission)
    with pytest.raises(ArgumentError, match="`log_initial` must hold log-probabilities that sum to one"):
        wrong.log_prob(seen)
