"""The compiled filter of few states with dense transitions, and log-likelihoods of whole series, equal the twins."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.process.hidden_markov_passes import Chain, _twin_of_total, run_filter
from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV, HIDDEN_MARKOV_TOTAL
from dynplat.scan.kernels.hidden_markov_forward import IN_PARTS, LOGARITHMIC, OUTCOME, SCALED
from dynplat.testing.hidden_markov import random_hidden_markov


def laid_out(chain, dtype=np.float64):
    """Arrays of a random chain with one leading axis, as the kernel takes them."""
    cores = (1, 3, 2)
    return [np.ascontiguousarray(a.reshape(-1, *a.shape[-n:]), dtype) for a, n in zip(chain, cores, strict=True)]


def dense(K, T, G, *, share, spread=3.0, seed=0):
    rng = np.random.default_rng([K, T, G, seed])
    return laid_out(
        random_hidden_markov(rng, num_states=K, num_steps=T, lead=(G,), share_transition=share, spread=spread)
    )


def twin(inputs):
    return run_filter(Chain(*inputs), driver="sequential").log_prob


def twin_gradients(inputs, cotangent):
    import torch

    tensors = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in inputs]
    steps = twin(tensors)
    steps = torch.where(torch.isfinite(steps), steps, 0.0)
    found = torch.autograd.grad((steps * torch.tensor(cotangent)).sum(), tensors, allow_unused=True)
    return [np.zeros(a.shape) if g is None else g.numpy() for a, g in zip(inputs, found, strict=True)]


def close(found, wanted, rtol=1e-9, atol=1e-11):
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=rtol, atol=atol)


#: (K, T, groups): parts of less than a block, of blocks and some rows, with rows left over; series side by side, some
#: of which only fill up.
SIZES = [(2, 128, 1), (3, 135, 2), (4, 130, 3), (3, 1_003, 1), (2, 40, 8)]
SIZES += [(3, 33, 10), (4, 65, 13), (3, 1, 8), (2, 2, 4)]


@pytest.mark.parametrize("share", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_rows_and_totals_and_their_gradients_equal_the_generic_filter(size, share):
    K, T, G = size
    inputs = dense(K, T, G, share=share)
    expected = IN_PARTS if T >= 128 and G < 4 else SCALED
    wanted = twin(inputs)
    rows = HIDDEN_MARKOV.run(inputs, keep=True)
    assert (rows[-1][:, OUTCOME] == expected).all()
    np.testing.assert_allclose(rows[0], wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(HIDDEN_MARKOV.run(inputs, keep=False)[0], rows[0])
    cotangent = np.random.default_rng(1).standard_normal((G, T))
    for weights in (cotangent, np.full((G, T), 0.7)):
        found = HIDDEN_MARKOV.pull_back(inputs, rows, [weights], (True, True, True))
        close(found, twin_gradients(inputs, weights))
    totals = HIDDEN_MARKOV_TOTAL.run(inputs, keep=True)
    assert (totals[-1][:, OUTCOME] == expected).all()
    np.testing.assert_allclose(totals[0], wanted.sum(axis=1), rtol=1e-13, atol=1e-12)
    np.testing.assert_array_equal(HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0], totals[0])
    for kept in (1, 2):
        np.testing.assert_allclose(totals[kept], rows[kept], rtol=1e-11, atol=1e-300)
    found = HIDDEN_MARKOV_TOTAL.pull_back(inputs, totals, [cotangent[:, 0]], (True, True, True))
    close(found, twin_gradients(inputs, np.repeat(cotangent[:, :1], T, axis=1)))


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("size", [(1, 7, 2), (3, 200, 1), (3, 60, 5), (6, 70, 3), (5, 20, 9)], ids=str)
def test_totals_of_any_chain_are_sums_of_rows(size, moving):
    K, T, G = size
    rng = np.random.default_rng([K, T, G])
    inputs = laid_out(random_hidden_markov(rng, num_states=K, num_steps=T, lead=(G,), moving=moving, zeros=0.3))
    outputs = HIDDEN_MARKOV_TOTAL.run(inputs, keep=True)
    np.testing.assert_allclose(outputs[0], twin(inputs).sum(axis=1), rtol=1e-13, atol=1e-12)
    np.testing.assert_array_equal(HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0], outputs[0])
    cotangent = rng.standard_normal(G)
    found = HIDDEN_MARKOV_TOTAL.pull_back(inputs, outputs, [cotangent], (True, True, True))
    close(found, twin_gradients(inputs, np.repeat(cotangent[:, None], T, axis=1)))


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("least", [1e-29, 1e-31, 1e-120])
def test_transitions_far_apart_lose_nothing(least, groups):
    inputs = dense(3, 400, groups, share=True, spread=300.0)
    A = np.array([[1.0, least, least], [least, 1.0, 2 * least], [0.3, 0.3, 0.4]])
    inputs[1] = np.log(A / A.sum(axis=1, keepdims=True))[None, None]
    cotangent = np.random.default_rng(1).standard_normal((groups, 400))
    outputs = HIDDEN_MARKOV.run(inputs, keep=True)
    np.testing.assert_allclose(outputs[0], twin(inputs), rtol=1e-11, atol=1e-11)
    found = HIDDEN_MARKOV.pull_back(inputs, outputs, [cotangent], (True, True, True))
    close(found, twin_gradients(inputs, cotangent), atol=1e-9)
    totals = HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)
    np.testing.assert_allclose(totals[0], twin(inputs).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("level", [-20.0, -300.0, -900.0])
def test_a_first_row_that_nearly_contradicts_the_first_law_loses_nothing(level, groups):
    inputs = dense(3, 150, groups, share=True)
    with np.errstate(divide="ignore"):
        inputs[0][:] = np.log([1.0, 0.0, 0.0])
    inputs[2][:, 0, 0] = level
    outputs = HIDDEN_MARKOV.run(inputs, keep=True)
    np.testing.assert_allclose(outputs[0], twin(inputs), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0], twin(inputs).sum(axis=1), rtol=1e-12, atol=1e-12
    )
    cotangent = np.random.default_rng(1).standard_normal((groups, 150))
    found = HIDDEN_MARKOV.pull_back(inputs, outputs, [cotangent], (True, True, True))
    wanted = twin_gradients(inputs, cotangent)
    close(found[1:], wanted[1:])
    np.testing.assert_allclose(found[0][:, 0], wanted[0][:, 0], rtol=1e-9)
    assert (found[0][:, 1:] == 0).all()


@pytest.mark.parametrize("shift", [-1e5, 1e5])
def test_densities_of_any_size_are_held(shift):
    inputs = dense(3, 300, 1, share=True)
    plain = HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0]
    inputs[2] += shift
    np.testing.assert_allclose(HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0], plain + 300 * shift, rtol=1e-13)


@pytest.mark.parametrize("groups", [1, 8])
def test_impossible_rows_are_minus_infinity_and_nan_is_not_hidden(groups):
    inputs = dense(3, 200, groups, share=True)
    inputs[2][0, 150] = -np.inf
    outputs = HIDDEN_MARKOV.run(inputs, keep=True)
    assert outputs[-1][0].tolist() == [150, LOGARITHMIC]
    np.testing.assert_allclose(outputs[0], twin(inputs), rtol=1e-11, atol=1e-12)
    totals = HIDDEN_MARKOV_TOTAL.run(inputs, keep=True)
    assert totals[0][0] == -np.inf
    assert np.isfinite(totals[0][1:]).all()
    found = HIDDEN_MARKOV_TOTAL.pull_back(inputs, totals, [np.ones(groups)], (True, True, True))
    close(found, twin_gradients(inputs, np.ones((groups, 200))))
    for value in (np.nan, np.inf):
        inputs[2][0, 150] = 0.0
        inputs[2][0, 150, 1] = value
        assert np.isnan(HIDDEN_MARKOV.run(inputs, keep=False)[0][0, 150:]).all()
        totals = HIDDEN_MARKOV_TOTAL.run(inputs, keep=False)[0]
        assert np.isnan(totals[0])
        assert np.isfinite(totals[1:]).all()


def test_totals_of_float32_are_float64_inside():
    narrow = [a.astype(np.float32) for a in dense(3, 5_000, 1, share=True)]
    exact = [a.astype(np.float64) for a in narrow]
    outputs, wanted = HIDDEN_MARKOV_TOTAL.run(narrow, keep=True), HIDDEN_MARKOV_TOTAL.run(exact, keep=True)
    assert outputs[0].dtype == np.float32
    np.testing.assert_allclose(outputs[0], wanted[0], rtol=1e-7)
    found = HIDDEN_MARKOV_TOTAL.pull_back(narrow, outputs, [np.ones(1, np.float32)], (True, True, True))
    for one, two in zip(
        found, HIDDEN_MARKOV_TOTAL.pull_back(exact, wanted, [np.ones(1)], (True, True, True)), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-5 * np.abs(two).max())


def test_threads_give_what_one_gives():
    inputs = dense(4, 500, 19, share=True)
    one = HIDDEN_MARKOV_TOTAL.run(inputs, keep=True, threads=1)
    many = HIDDEN_MARKOV_TOTAL.run(inputs, keep=True, threads=3)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)
    single = HIDDEN_MARKOV_TOTAL.pull_back(inputs, one, [np.ones(19)], (True,) * 3, threads=1)
    spread = HIDDEN_MARKOV_TOTAL.pull_back(inputs, one, [np.ones(19)], (True,) * 3, threads=3)
    close(single, spread, rtol=1e-13, atol=0.0)


def test_totals_under_jax_and_torch_have_all_derivatives_of_the_twin():
    import jax
    import torch

    from dynplat.scan.kernels.calling import call_kernel

    arrays = dense(3, 12, 2, share=True)

    def compiled(*inputs):
        return call_kernel(HIDDEN_MARKOV_TOTAL, _twin_of_total, inputs)[0][0].sum()

    def generic(*inputs):
        return twin(inputs).sum()

    places = (0, 1, 2)
    with framework("jax") as make:
        inputs = [make(a) for a in arrays]
        value, found = jax.jit(jax.value_and_grad(compiled, places))(*inputs)
        np.testing.assert_allclose(value, generic(*arrays), rtol=1e-13)
        close(found, jax.grad(generic, places)(*inputs))
        many = jax.numpy.stack([inputs[2], 0.5 * inputs[2], inputs[2] - 1.0])
        mapped = jax.vmap(jax.value_and_grad(compiled, places), (None, None, 0))(*inputs[:2], many)
        for row in range(3):
            value, gradients = jax.value_and_grad(generic, places)(*inputs[:2], many[row])
            np.testing.assert_allclose(mapped[0][row], value, rtol=1e-12)
            close([g[row] for g in mapped[1]], gradients)
        second = jax.jit(jax.hessian(compiled, 1))(*inputs)
        wanted = jax.hessian(generic, 1)(*inputs)
        np.testing.assert_allclose(second, wanted, rtol=1e-9, atol=1e-10)
    tensors = [torch.tensor(a) for a in arrays]
    found = torch.autograd.functional.hessian(lambda A: compiled(tensors[0], A, tensors[2]), tensors[1])
    np.testing.assert_allclose(to_numpy(found), wanted, rtol=1e-9, atol=1e-10)


def test_numbers_in_registers_are_exact_to_two_roundings():
    from numba import njit

    from dynplat.scan.kernels.registers import exp_each, load_each, logarithm, store_each
    from dynplat.scan.kernels.vector import load, same, store

    one = (0,)

    @njit(fastmath={"contract", "reassoc", "nsz"})
    def run(x, exponentials, logarithms):
        for row in range(x.shape[0]):
            store_each(exponentials, row, exp_each(load_each(x, row, one), same(0.0)))
            store(logarithms, row, logarithm(load(x, row)))

    rng = np.random.default_rng(0)
    low = np.concatenate(
        [rng.uniform(-708, 0, 8_000), -rng.uniform(0, 1, 800), [0, -1e-300, -707.9, -1, -2, -3, -4, -5]]
    )
    exponentials, logarithms = np.empty((low.size // 8, 8)), np.empty((low.size // 8, 8))
    run(low.reshape(-1, 8), exponentials, logarithms)
    np.testing.assert_allclose(exponentials.reshape(-1), np.exp(low), rtol=2 * np.finfo(float).eps)
    positive = np.concatenate([10.0 ** rng.uniform(-307, 308, 8_000), rng.uniform(0.5, 2.0, 8_000)])
    exponentials, logarithms = np.empty((positive.size // 8, 8)), np.empty((positive.size // 8, 8))
    run(positive.reshape(-1, 8), exponentials, logarithms)
    exact = np.log(positive.astype(np.longdouble))
    error = np.abs(logarithms.reshape(-1) - exact)
    np.testing.assert_array_less(error, 2 * np.spacing(np.maximum(np.abs(exact.astype(float)), 1e-300)) + 1e-300)
    edges = np.array([[-np.inf, -709.0, np.nan, 0.0, -1.0, -np.inf, -1e9, np.nan]])
    run(edges, exponentials, logarithms)
    found = exponentials[0]
    assert (found[[0, 1, 5, 6]] == 0).all()
    assert found[3] == 1.0
    assert np.isnan(found[[2, 7]]).all()
