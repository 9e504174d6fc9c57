"""The compiled hidden Markov filter and its adjoint equal the generic filter, everywhere that either can go."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.process.hidden_markov_passes import Chain, run_filter
from dynplat.scan.kernels.hidden_markov import HIDDEN_MARKOV
from dynplat.scan.kernels.hidden_markov_forward import IMPOSSIBLE, IN_PARTS, LOGARITHMIC, OUTCOME, SCALED
from dynplat.testing.hidden_markov import RandomHiddenMarkov, random_hidden_markov

#: (K, T, groups): lanes of four are empty, part full and full; blocks of 64 rows end before, at and after T.
SIZES = [(1, 1, 1), (1, 7, 2), (2, 1, 3), (3, 64, 1), (4, 65, 2), (5, 130, 1), (9, 63, 2), (17, 20, 1)]
#: Eight series side by side, eight parts of a series, and what is left over of both.
SIZES += [(2, 128, 1), (3, 531, 2), (4, 131, 3), (3, 70, 4), (6, 33, 9), (5, 32, 23), (2, 40, 10)]


def laid_out(chain, dtype=np.float64):
    """Arrays of a random chain with one leading axis, as the kernel takes them."""
    cores = (1, 3, 2)
    return [np.ascontiguousarray(a.reshape(-1, *a.shape[-n:]), dtype) for a, n in zip(chain, cores, strict=True)]


def twin(log_initial, log_transition, log_density):
    return (run_filter(Chain(log_initial, log_transition, log_density), driver="sequential").log_prob,)


def twin_gradients(inputs, cotangent):
    import torch

    tensors = [torch.tensor(a.astype(np.float64), requires_grad=True) for a in inputs]
    (steps,) = twin(*tensors)
    steps = torch.where(torch.isfinite(steps), steps, 0.0)
    found = torch.autograd.grad((steps * torch.tensor(cotangent)).sum(), tensors, allow_unused=True)
    return [np.zeros(a.shape) if g is None else g.numpy() for a, g in zip(inputs, found, strict=True)]


def run(inputs, cotangent):
    outputs = HIDDEN_MARKOV.run(inputs, keep=True)
    gradients = HIDDEN_MARKOV.pull_back(inputs, outputs, [cotangent.astype(inputs[0].dtype)], (True, True, True))
    return outputs, gradients


@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("share", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_equal_the_generic_filter(size, share, moving):
    K, T, G = size
    rng = np.random.default_rng([K, T, G])
    chain = random_hidden_markov(
        rng, num_states=K, num_steps=T, lead=(G,), moving=moving, share_transition=share, zeros=0.3
    )
    inputs, cotangent = laid_out(chain), rng.standard_normal((G, T))
    outputs, gradients = run(inputs, cotangent)
    assert (outputs[-1][:, OUTCOME] != LOGARITHMIC).all()
    np.testing.assert_allclose(outputs[0], twin(*inputs)[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(HIDDEN_MARKOV.run(inputs, keep=False)[0], outputs[0])
    for found, wanted in zip(gradients, twin_gradients(inputs, cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cotangent", ["one number", "any", "with holes"])
@pytest.mark.parametrize("moving", [False, True], ids=["still", "moving"])
@pytest.mark.parametrize("size", [(2, 128, 1), (3, 531, 2), (4, 300, 1)], ids=str)
def test_parts_of_a_series_give_what_the_whole_gives(size, moving, cotangent):
    K, T, G = size
    rng = np.random.default_rng([K, T, G])
    chain = random_hidden_markov(rng, num_states=K, num_steps=T, lead=(G,), moving=moving)
    inputs = laid_out(chain)
    weights = rng.standard_normal((G, T)) if cotangent == "any" else np.full((G, T), 0.7)
    if cotangent == "with holes":
        weights[:, rng.random(T) < 0.1] = 0.0
    outputs, gradients = run(inputs, weights)
    assert (outputs[-1][:, OUTCOME] == IN_PARTS).all()
    np.testing.assert_allclose(outputs[0], twin(*inputs)[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(HIDDEN_MARKOV.run(inputs, keep=False)[0], outputs[0])
    for found, wanted in zip(gradients, twin_gradients(inputs, weights), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)


def test_long_parts_are_exponentiated_block_by_block():
    chain = random_hidden_markov(np.random.default_rng(0), num_states=2, num_steps=40_003, lead=(1,))
    inputs = laid_out(chain)
    outputs, gradients = run(inputs, np.ones((1, 40_003)))
    assert outputs[-1][0, OUTCOME] == IN_PARTS
    # Five series are filtered one by one in another order of sums.
    many = [np.repeat(a, 5, axis=0) for a in inputs]
    others, of_many = run(many, np.ones((5, 40_003)))
    assert (others[-1][:, OUTCOME] == SCALED).all()
    np.testing.assert_allclose(others[0], np.repeat(outputs[0], 5, axis=0), rtol=1e-11, atol=1e-12)
    for one, five in zip(gradients, of_many, strict=True):
        np.testing.assert_allclose(five, np.repeat(one, 5, axis=0), rtol=1e-9, atol=1e-11)


def test_one_lost_series_does_not_spoil_those_beside_it():
    rng = np.random.default_rng(5)
    chains = [random_hidden_markov(rng, num_states=2, num_steps=3_000, lead=(1,)) for _ in range(9)]
    chains[4] = absorbing(1_000)
    inputs = [np.concatenate(parts) for parts in zip(*(laid_out(chain) for chain in chains), strict=True)]
    cotangent = rng.standard_normal((9, 3_000))
    outputs, gradients = run(inputs, cotangent)
    outcomes = outputs[-1][:, OUTCOME].tolist()
    assert outcomes[4] == LOGARITHMIC
    assert LOGARITHMIC not in outcomes[:4] + outcomes[5:]
    for row, chain in enumerate(chains):
        alone, own = run(laid_out(chain), cotangent[row : row + 1])
        np.testing.assert_allclose(outputs[0][row], alone[0][0], rtol=1e-11, atol=1e-12)
        for found, wanted in zip(gradients, own, strict=True):
            np.testing.assert_allclose(found[row], wanted[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("groups", [1, 8])
def test_float32_side_by_side_is_float64_inside(groups):
    chain = random_hidden_markov(np.random.default_rng(4), num_states=3, num_steps=2_000, lead=(groups,))
    narrow, cotangent = laid_out(chain, np.float32), np.ones((groups, 2_000))
    outputs, gradients = run(narrow, cotangent)
    exact, exact_gradients = run([a.astype(np.float64) for a in narrow], cotangent)
    assert (outputs[-1][:, OUTCOME] == (IN_PARTS if groups == 1 else SCALED)).all()
    np.testing.assert_allclose(outputs[0], exact[0], rtol=1e-6, atol=1e-6)
    for found, wanted in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5 * np.abs(wanted).max())


def absorbing(rows):
    """Two states that are never left; the data speak for the first, then twice as loud for the second."""
    log_density = np.zeros((1, 3 * rows, 2))
    log_density[:, :rows, 0] = 1.0
    log_density[:, rows:, 1] = 1.0
    with np.errstate(divide="ignore"):
        return RandomHiddenMarkov(np.log([[0.5, 0.5]]), np.log(np.eye(2))[None, None], log_density)


def one_way(rows):
    """Three states in a row that are left for good; the data of the first rows forbid all but the first."""
    with np.errstate(divide="ignore"):
        move = np.log([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])[None, None]
        start = np.log([[1.0, 0.0, 0.0]])
    log_density = np.zeros((1, rows, 3))
    log_density[:, : rows // 2, 0] = -1000.0
    log_density[:, : rows // 2, 1:] = -2500.0
    return RandomHiddenMarkov(start, move, log_density)


def rare(rows):
    """A transition of probability e^-900 that the data make certain."""
    move = np.array([[0.0, -900.0], [-900.0, 0.0]])[None, None]
    log_density = np.zeros((1, rows, 2))
    log_density[:, : rows // 2, 1] = log_density[:, rows // 2 :, 0] = -200.0
    return RandomHiddenMarkov(np.log([[0.5, 0.5]]), move, log_density)


@pytest.mark.parametrize("chain", [absorbing(1000), one_way(20), rare(30)], ids=["absorbing", "one-way", "rare"])
def test_probabilities_too_small_to_hold_are_not_lost(chain):
    inputs = laid_out(chain)
    cotangent = np.random.default_rng(0).standard_normal(chain.log_density.shape[:2])
    outputs, gradients = run(inputs, cotangent)
    assert outputs[-1][0, OUTCOME] == LOGARITHMIC
    np.testing.assert_allclose(outputs[0], twin(*inputs)[0], rtol=1e-11, atol=1e-12)
    for found, wanted in zip(gradients, twin_gradients(inputs, cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-10)


def test_a_dropped_part_of_a_law_is_known_to_matter():
    # 1,000 rows put exp(-1000) on the second state; 2,000 rows bring it back: by hand log(e^1000 + e^2000) / 2.
    steps = HIDDEN_MARKOV.run(laid_out(absorbing(1000)), keep=False)[0]
    np.testing.assert_allclose(steps.sum(), 2000.0 + np.log(0.5), rtol=1e-13)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("states", [3, 6])
def test_scaled_form_survives_densities_far_apart_where_every_state_is_refilled(states, groups):
    rng = np.random.default_rng(3)
    chain = random_hidden_markov(rng, num_states=states, num_steps=200, lead=(groups,), spread=2000.0)
    inputs, cotangent = laid_out(chain), rng.standard_normal((groups, 200))
    outputs, gradients = run(inputs, cotangent)
    assert (outputs[-1][:, OUTCOME] != LOGARITHMIC).all()
    np.testing.assert_allclose(outputs[0], twin(*inputs)[0], rtol=1e-12)
    for found, wanted in zip(gradients, twin_gradients(inputs, cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_impossible_rows_are_minus_infinity_with_gradient_zero_and_named():
    chain = random_hidden_markov(np.random.default_rng(1), num_states=3, num_steps=9, lead=(2,))
    chain.log_density[1, 4] = -np.inf
    inputs = laid_out(chain)
    outputs, gradients = run(inputs, np.ones((2, 9)))
    assert outputs[-1][:, IMPOSSIBLE].tolist() == [9, 4]
    assert np.isfinite(outputs[0][0]).all()
    assert np.isfinite(outputs[0][1, :4]).all()
    assert (outputs[0][1, 4:] == -np.inf).all()
    assert (gradients[2][1, 4:] == 0).all()
    for found, wanted in zip(gradients, twin_gradients(inputs, np.ones((2, 9))), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(outputs[0], twin(*inputs)[0], rtol=1e-12)


def test_nan_is_not_hidden():
    chain = random_hidden_markov(np.random.default_rng(1), num_states=3, num_steps=9, lead=(1,))
    chain.log_density[0, 4, 1] = np.nan
    steps = HIDDEN_MARKOV.run(laid_out(chain), keep=False)[0]
    assert np.isfinite(steps[0, :4]).all()
    assert np.isnan(steps[0, 4:]).all()


def test_float32_stays_close_over_100_000_rows():
    chain = random_hidden_markov(np.random.default_rng(4), num_states=4, num_steps=100_000, lead=(1,), zeros=0.2)
    narrow, cotangent = laid_out(chain, np.float32), np.ones((1, 100_000))
    outputs, gradients = run(narrow, cotangent)
    exact, exact_gradients = run([a.astype(np.float64) for a in narrow], cotangent)
    assert outputs[0].dtype == np.float32
    np.testing.assert_allclose(outputs[0].sum(dtype=float), exact[0].sum(), rtol=1e-6)
    for found, wanted in zip(gradients, exact_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_logarithm_is_exact_to_two_roundings():
    from numba import njit

    from dynplat.scan.kernels.exponential import log

    @njit
    def logs(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = log(x[i])
        return out

    rng = np.random.default_rng(0)
    x = np.concatenate([10.0 ** rng.uniform(-307, 308, 10_000), rng.uniform(0.5, 2.0, 10_000), [1.0, 2.0**0.5, 0.5]])
    exact = np.log(x.astype(np.longdouble))
    np.testing.assert_array_less(
        np.abs(logs(x) - exact), 2 * np.spacing(np.maximum(np.abs(exact.astype(float)), 1e-300)) + 1e-300
    )
    assert np.isnan(logs(np.array([0.0, -1.0, np.nan, np.inf]))).all()


def test_exponential_is_exact_to_two_roundings():
    from dynplat.scan.kernels.exponential import exp

    x = np.concatenate([np.random.default_rng(0).uniform(-708, 709, 20_000), np.linspace(-1, 1, 2_001)])
    found = np.array([exp(value) for value in x])
    np.testing.assert_allclose(found, np.exp(x), rtol=2 * np.finfo(float).eps)
    assert [exp(v) for v in (0.0, -np.inf, -709.0, np.inf)] == [1.0, 0.0, 0.0, np.inf]
    assert np.isnan(exp(np.nan))


def test_gradients_equal_finite_differences():
    chain = random_hidden_markov(np.random.default_rng(5), num_states=3, num_steps=6, lead=(1,))
    inputs = laid_out(chain)
    _, gradients = run(inputs, np.ones((1, 6)))
    for place, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            step = 1e-6
            moved = []
            for sign in (1.0, -1.0):
                shifted = [a.copy() for a in inputs]
                shifted[place][index] += sign * step
                moved.append(HIDDEN_MARKOV.run(shifted, keep=False)[0].sum())
            np.testing.assert_allclose(gradient[index], (moved[0] - moved[1]) / (2 * step), rtol=1e-7, atol=1e-8)


def test_threads_give_what_one_gives():
    chain = random_hidden_markov(
        np.random.default_rng(6), num_states=4, num_steps=500, lead=(19,), share_transition=True
    )
    inputs, cotangent = laid_out(chain), np.ones((19, 500))
    one = HIDDEN_MARKOV.run(inputs, keep=True, threads=1)
    many = HIDDEN_MARKOV.run(inputs, keep=True, threads=3)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)
    single = HIDDEN_MARKOV.pull_back(inputs, one, [cotangent], (True,) * 3, threads=1)
    spread = HIDDEN_MARKOV.pull_back(inputs, one, [cotangent], (True,) * 3, threads=3)
    for a, b in zip(single, spread, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_threads_change_no_path_and_no_law(monkeypatch):
    from dynplat.arrays import random_source
    from dynplat.process import hidden_markov_passes as passes
    from dynplat.process.hidden_markov_passes import Chain
    from dynplat.scan.kernels import kernel

    made = random_hidden_markov(
        np.random.default_rng(9), num_states=4, num_steps=400, lead=(19,), share_transition=True
    )
    chain = Chain(made.log_initial, made.log_transition, made.log_density)
    uniform = random_source(0, chain.log_density).uniform((5, 19, 400))
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(kernel, "available_threads", lambda threads=threads: threads)
        run = passes.filter_on_host(chain)
        states, pairs = passes.smooth_on_host(chain, run, pairs=True)
        found.append([states, pairs, *passes.best_path_on_host(chain), passes.draws_on_host(chain, run, uniform)])
    for one, many in zip(*found, strict=True):
        np.testing.assert_array_equal(one, many)
    np.testing.assert_allclose(found[0][1].sum(axis=-1), found[0][0][:, :-1], rtol=1e-12, atol=1e-14)


def test_jax_kernel_works_under_jit_vmap_and_second_derivatives():
    import jax

    from dynplat.process.hidden_markov_passes import _twin
    from dynplat.scan.kernels.jax import call

    chain = random_hidden_markov(np.random.default_rng(7), num_states=3, num_steps=12, lead=(2,), share_transition=True)
    with framework("jax") as make:
        inputs = [make(a) for a in laid_out(chain)]

        def compiled(*arrays):
            return call(HIDDEN_MARKOV, _twin, arrays)[0][0].sum()

        def generic(*arrays):
            return twin(*arrays)[0].sum()

        places = (0, 1, 2)
        for found, wanted in zip(
            jax.jit(jax.grad(compiled, places))(*inputs), jax.grad(generic, places)(*inputs), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
        many = jax.numpy.stack([inputs[2], 0.5 * inputs[2], inputs[2] - 1.0])
        mapped = jax.vmap(jax.value_and_grad(compiled, places), (None, None, 0))(*inputs[:2], many)
        for row in range(3):
            value, gradients = jax.value_and_grad(generic, places)(*inputs[:2], many[row])
            np.testing.assert_allclose(mapped[0][row], value, rtol=1e-12)
            for found, wanted in zip(mapped[1], gradients, strict=True):
                np.testing.assert_allclose(found[row], wanted, rtol=1e-10, atol=1e-12)
        second = jax.jit(jax.hessian(compiled, 1))(*inputs)
        np.testing.assert_allclose(second, jax.hessian(generic, 1)(*inputs), rtol=1e-9, atol=1e-10)


def test_torch_kernel_has_second_derivatives():
    import torch

    from dynplat.process.hidden_markov_passes import _twin
    from dynplat.scan.kernels.torch import call

    chain = random_hidden_markov(np.random.default_rng(8), num_states=3, num_steps=5, lead=(2,))
    inputs = [torch.tensor(a) for a in laid_out(chain)]

    def compiled(density):
        return call(HIDDEN_MARKOV, _twin, (inputs[0], inputs[1], density))[0][0].sum()

    def generic(density):
        return twin(inputs[0], inputs[1], density)[0].sum()

    found = torch.autograd.functional.hessian(compiled, inputs[2])
    wanted = torch.autograd.functional.hessian(generic, inputs[2])
    np.testing.assert_allclose(to_numpy(found), to_numpy(wanted), rtol=1e-9, atol=1e-11)
