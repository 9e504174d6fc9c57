"""The selective scan: its equations, gradients of the generic form, and nothing of the size of the states."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.scan import selective
from dynplat.scan.kernels.selective import ROWS, SELECTIVE
from dynplat.scan.selective import scan_selective

#: (rows, channels, states, leading axes): segments of 32 rows and blocks of 16 channels end before, at and after both.
SIZES = [(1, 1, 1, ()), (32, 16, 3, (2,)), (33, 5, 2, (3,)), (70, 37, 4, (2,)), (5, 64, 16, (1,)), (40, 3, 1, (2, 2))]


def case(size, seed=0, share=False, dtype="float64"):
    """Arguments of `scan_selective`: with `share` the batch shares all but the inputs, else nothing but the rates."""
    T, n, N, lead = size
    rng = np.random.default_rng(seed)
    own = () if share else lead
    arrays = [
        rng.exponential(0.5, (*own, T, n)),
        -rng.exponential(1.0, (*(lead if not share and seed else ()), n, N)),
        rng.standard_normal((*own, T, N)),
        rng.standard_normal((*own, T, N)),
        rng.standard_normal((*lead, T, n)),
        rng.standard_normal((*own, n)),
        rng.standard_normal((*own, n, N)),
    ]
    arrays[0][..., T // 2, :] = 0.0  # a gap of no time
    return [array.astype(dtype) for array in arrays]


def by_rows(arrays, signed):
    """The definition, one row after another."""
    steps, rates, write, query, inputs, skip, state = arrays
    outputs = []
    state = np.broadcast_to(state, (*inputs.shape[:-2], *state.shape[-2:]))
    for t in range(inputs.shape[-2]):
        multiplier = np.exp(steps[..., t, :, None] * rates)
        multiplier = 2.0 * multiplier - 1.0 if signed else multiplier
        written = steps[..., t, :] * inputs[..., t, :]
        state = multiplier * state + written[..., :, None] * write[..., t, None, :]
        outputs.append(np.sum(query[..., t, None, :] * state, axis=-1) + skip * inputs[..., t, :])
    return np.stack(outputs, axis=-2), state


def probes(size, seed=9):
    T, n, N, lead = size
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*lead, T, n)), rng.standard_normal((*lead, n, N))


def torch_run(arrays, seen, **options):
    """Values and gradients of a weighted sum of them."""
    import torch

    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    values = scan_selective(*leaves, **options)
    cotangents = [torch.tensor(array, dtype=value.dtype) for array, value in zip(seen, values, strict=True)]
    return [to_numpy(value.detach()) for value in values], [
        to_numpy(g) for g in torch.autograd.grad(values, leaves, cotangents)
    ]


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(), 1.0))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_follow_the_equations_and_gradients_those_of_the_generic_form(size, signed):
    for seed, share in ((0, False), (1, False), (2, True)):
        arrays, seen = case(size, seed, share), probes(size)
        wanted = by_rows(arrays, signed)
        assert_close(scan_selective(*arrays, signed=signed), wanted, 1e-12)
        values, slopes = torch_run(arrays, seen, signed=signed, driver="sequential")
        assert_close(values, wanted, 1e-12)
        found, gradients = torch_run(arrays, seen, signed=signed, driver="compiled")
        assert_close(found, wanted, 1e-12)
        assert_close(gradients, slopes, 1e-12)


@pytest.mark.parametrize("signed", [False, True])
def test_single_precision(signed):
    size = (200, 20, 5, (2,))
    arrays, seen = case(size), probes(size)
    wanted, slopes = torch_run(arrays, seen, signed=signed)
    values, gradients = torch_run(case(size, dtype="float32"), seen, signed=signed, driver="compiled")
    assert all(array.dtype == np.float32 for array in (*values, *gradients))
    assert_close(values, wanted, 1e-5)
    assert_close(gradients, slopes, 1e-5)


def test_gradients_equal_finite_differences():
    size = (35, 2, 2, ())
    arrays, seen = case(size, 3), probes(size)
    _, gradients = torch_run(arrays, seen, signed=True, driver="compiled")
    rng = np.random.default_rng(4)
    for place, gradient in enumerate(gradients):
        direction = rng.standard_normal(gradient.shape)
        ends = []
        for sign in (1e-6, -1e-6):
            moved = [array + sign * direction if place == k else array for k, array in enumerate(arrays)]
            ends.append(sum(np.sum(a * b) for a, b in zip(seen, by_rows(moved, True), strict=True)))
        np.testing.assert_allclose(np.sum(gradient * direction), (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-7)


def test_pieces_make_the_whole_with_its_gradients():
    import torch

    arrays = [torch.tensor(array, requires_grad=True) for array in case((70, 18, 3, (2,)))]
    steps, rates, write, query, inputs, skip, initial = arrays
    whole, last = scan_selective(*arrays)
    state, parts = initial, []
    for rows in (slice(0, 1), slice(1, 41), slice(41, 70)):
        now = [array[:, rows] for array in (steps, write, query, inputs)]
        part, state = scan_selective(now[0], rates, now[1], now[2], now[3], skip, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)
    of_parts = torch.autograd.grad(torch.cat(parts, dim=1).square().sum() + state.sum(), arrays)
    of_whole = torch.autograd.grad(whole.square().sum() + last.sum(), arrays)
    for a, b in zip(of_parts, of_whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("signed", [False, True])
def test_jax_has_the_numbers_of_torch(signed):
    import jax

    size = (40, 18, 3, (2,))
    arrays, seen = case(size), probes(size)
    values, gradients = torch_run(arrays, seen, signed=signed)
    with framework("jax") as make:
        given, cotangents = [make(array) for array in arrays], tuple(make(array) for array in seen)

        def compute(*own):
            found, pull_back = jax.vjp(lambda *a: scan_selective(*a, signed=signed, driver="compiled"), *own)
            return found, pull_back(cotangents)

        found, slopes = jax.jit(compute)(*given)
        assert_close([np.asarray(a) for a in found], values, 1e-12)
        assert_close([np.asarray(a) for a in slopes], gradients, 1e-12)
        # A mapped axis joins the groups; what the calls share gets a gradient for each.
        stacked = make(np.stack([arrays[4], 2.0 * arrays[4]]))

        def slope(inputs):
            own = (*given[:4], inputs, *given[5:])
            return jax.grad(lambda *a: scan_selective(*a, signed=signed)[0].sum(), argnums=(1, 4))(*own)

        mapped = jax.vmap(slope)(stacked)
        one = [slope(stacked[k]) for k in range(2)]
        for place in range(2):
            wanted = np.stack([np.asarray(found[place]) for found in one])
            np.testing.assert_allclose(mapped[place], wanted, rtol=1e-12, atol=1e-12)


def test_second_derivatives_come_from_the_generic_form():
    import jax
    import torch

    size = (4, 2, 2, ())
    arrays = case(size)
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    found = {}
    for driver in ("compiled", "sequential"):
        y, last = scan_selective(*leaves, signed=True, driver=driver)
        slopes = torch.autograd.grad(y.square().sum() + last.square().sum(), leaves, create_graph=True)
        found[driver] = torch.autograd.grad(torch.cat([slope.flatten() for slope in slopes]).square().sum(), leaves)
    for a, b in zip(found["compiled"], found["sequential"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    with framework("jax") as make:
        given = [make(array) for array in arrays]
        hessians = [
            jax.hessian(lambda s, d=driver: scan_selective(s, *given[1:], driver=d)[0].sum())(given[0])
            for driver in ("auto", "sequential")
        ]
        np.testing.assert_allclose(*hessians, rtol=1e-11, atol=1e-11)


def test_nothing_of_the_size_of_the_states_is_kept():
    (T, n, N, G), groups = (1024, 128, 16, 8), 8
    shapes = [(G, T, n), (1, n, N), (G, T, N), (G, T, N), (G, T, n), (1, n), (1, n, N), (1, 1)]
    outputs, last, kept, _ = SELECTIVE.shapes(shapes, True)
    assert np.prod(kept) == groups * T * n * N // ROWS
    assert outputs == (G, T, n)
    assert last == (G, n, N)
    assert np.prod(SELECTIVE.shapes(shapes, False)[2]) == 0


def test_threads_change_nothing(monkeypatch):
    size = (300, 96, 4, (1,))
    arrays, seen = case(size), probes(size)
    shared = case((300, 40, 4, (5,)), 2, share=True)
    one = torch_run(arrays, seen, driver="compiled")
    grouped = torch_run(shared, probes((300, 40, 4, (5,))), driver="compiled")
    for threads in (2, 3):
        monkeypatch.setattr(selective, "available_threads", lambda threads=threads: threads)
        monkeypatch.setattr("dynplat.scan.kernels.kernel.available_threads", lambda threads=threads: threads)
        assert selective._parts(1, 96) == threads
        for found, wanted in zip(torch_run(arrays, seen, driver="compiled"), one, strict=True):
            assert_close(found, wanted, 1e-13)
        for found, wanted in zip(
            torch_run(shared, probes((300, 40, 4, (5,))), driver="compiled"), grouped, strict=True
        ):
            assert_close(found, wanted, 1e-13)


def test_extreme_steps():
    """A multiplier that underflows is 0, one that overflows is infinite, and NaN is NaN, as exp has it."""
    for dtype in ("float32", "float64"):
        one = np.ones((1, 1), dtype)
        for step, rate, wanted in ((1e4, -1.0, 0.0), (0.0, -3.0, 1.0), (1e4, 1.0, np.inf), (np.nan, -1.0, np.nan)):
            steps, rates = (np.full((1, 1), value, dtype) for value in (step, rate))
            _, last = scan_selective(steps, rates, one, one, 0.0 * one, initial=one, driver="compiled")
            np.testing.assert_array_equal(last, [[wanted]])


def test_powers_of_two_are_exact_to_a_rounding():
    """Through the last state: exp(step x rate) over a wide range, in both precisions."""
    for dtype, tolerance in (("float32", 3e-7), ("float64", 5e-16)):
        rates = np.linspace(-30.0, 30.0, 4001).astype(dtype)[None, :]
        one = np.ones((1, 1), dtype)
        zeros = np.zeros((1, rates.size), dtype)
        _, last = scan_selective(one, rates, zeros, zeros, one, initial=np.ones_like(rates), driver="compiled")
        wanted = np.exp(rates.astype(np.longdouble))
        # The argument in powers of two is rounded once: its size enters.
        error = np.abs(last / wanted - 1.0) / (1.0 + np.abs(rates))
        assert error.max() < tolerance


def test_defaults_are_zeros_and_leads_broadcast():
    steps, rates, write, query, inputs, skip, initial = case((9, 3, 2, (2,)))
    found = scan_selective(steps, rates, write, query, inputs)
    wanted = scan_selective(steps, rates, write, query, inputs, np.zeros(3), np.zeros((3, 2)), driver="sequential")
    assert_close(found, wanted, 1e-13)
    draws = np.stack([rates, 2.0 * rates])[:, None]
    found = scan_selective(steps, draws, write, query, inputs, skip, initial)
    for k in range(2):
        one = scan_selective(steps, (k + 1) * rates, write, query, inputs, skip, initial)
        assert_close([array[k] for array in found], one, 1e-14)
    empty = scan_selective(steps[:0], rates, write[:0], query[:0], inputs[:0], skip[:0], initial[:0])
    assert empty[0].shape == (0, 9, 3)
    assert empty[1].shape == (0, 3, 2)


def test_device_follows_the_input():
    import torch

    found = scan_selective(*(torch.tensor(array).to("meta") for array in case((9, 3, 2, (2,)))))
    assert [tuple(array.shape) for array in found] == [(2, 9, 3), (2, 3, 2)]
    assert all(array.device.type == "meta" for array in found)


@pytest.mark.parametrize(
    ("place", "shape", "words"),
    [
        (1, (4, 2), r"`rates` must have shape \(\.\.\., channel, state\), which ends with \(3, 2\).* got \(4, 2\)"),
        (2, (2, 8, 2), r"`write` must have shape \(\.\.\., time, state\), which ends with \(9, 2\).* got \(2, 8, 2\)"),
        (3, (2,), r"`query` must have shape \(\.\.\., time, state\)"),
        (4, (2, 9, 4), r"`inputs` must have shape \(\.\.\., time, channel\)"),
        (5, (4,), r"`skip` must have shape \(\.\.\., channel\), which ends with \(3,\)"),
        (6, (5, 3, 2), r"leading axes must broadcast; got \(2,\) of `steps`.*\(5,\) of `initial`"),
        (0, (3,), r"`steps` must have shape \(\.\.\., time, channel\)"),
    ],
)
def test_shapes_that_do_not_fit(place, shape, words):
    arrays = case((9, 3, 2, (2,)))
    arrays[place] = np.ones(shape)
    with pytest.raises(ArgumentError, match=words):
        scan_selective(*arrays)


def test_sequences_without_rows_and_kernels_that_cannot_run():
    import torch

    with pytest.raises(ArgumentError, match=r"`steps` must have at least one row; got shape \(2, 0, 3\)"):
        scan_selective(*(np.ones((2, 0, 3)), np.ones((3, 2)), np.ones((0, 2)), np.ones((0, 2)), np.ones((2, 0, 3))))
    half = [torch.tensor(array, dtype=torch.float16) for array in case((3, 2, 2, ()))]
    with pytest.raises(CapabilityError, match="`driver='compiled'` can't run here"):
        scan_selective(*half, driver="compiled")
