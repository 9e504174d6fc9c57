"""Compiled affine recurrences have the gradients of the sequential driver, in either convention for complex numbers."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dynplat.arrays import framework
from dynplat.scan.affine import scan_dense, scan_diagonal
from dynplat.scan.kernels.affine import DENSE, DIAGONAL
from dynplat.testing.affine import random_affine

SCANS = {"diagonal": scan_diagonal, "dense": scan_dense}
DTYPES = ("float64", "complex128")
#: (T, n, leading axes): vectors of 8 end before, at and after n; sums in blocks of 64 rows end before, at and after T.
SIZES = [(1, 1, ()), (2, 3, (2,)), (63, 8, ()), (64, 5, (3,)), (65, 17, (2,)), (130, 4, (2, 2))]
#: Which arguments change in time, and which the batch shares.
LAYOUTS = {"own": (True, False), "still": (False, False), "shared": (True, True), "shared-still": (False, True)}


def case(form, dtype, size, layout):
    T, n, lead = size
    moving, share = LAYOUTS[layout]
    rng = np.random.default_rng([T, n, len(lead), moving, share])
    arrays = random_affine(
        rng, size=n, num_steps=T, lead=lead, dense=form == "dense", moving=moving, share=share, dtype=dtype, zeros=0.1
    )
    cotangent = random_affine(rng, size=n, num_steps=T, lead=lead, dtype=dtype).offsets
    return list(arrays), cotangent


def torch_gradients(form, arrays, cotangent, driver, reverse):
    import torch

    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    states = SCANS[form](*leaves, reverse=reverse, driver=driver)
    return [g.resolve_conj().numpy() for g in torch.autograd.grad(states, leaves, torch.tensor(cotangent))]


def jax_arrays(make, arrays):
    return [make(a) if a.dtype.kind != "c" else make(a.real.copy()) + 1j * make(a.imag.copy()) for a in arrays]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SCANS)
def test_torch_gradients_equal_those_of_the_sequential_driver(form, dtype, layout):
    for size in SIZES:
        arrays, cotangent = case(form, dtype, size, layout)
        for reverse in (False, True):
            found = torch_gradients(form, arrays, cotangent, "compiled", reverse)
            wanted = torch_gradients(form, arrays, cotangent, "sequential", reverse)
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SCANS)
def test_jax_gradients_equal_those_of_the_sequential_driver_and_torch(form, dtype, layout):
    import jax

    size = (65, 3, (2,))
    arrays, cotangent = case(form, dtype, size, layout)
    for reverse in (False, True):
        with framework("jax") as make:
            inputs, seen = jax_arrays(make, arrays), jax_arrays(make, [cotangent])[0]
            found = {}
            for driver in ("compiled", "sequential"):
                states, pull_back = jax.vjp(
                    lambda *a, d=driver, r=reverse: SCANS[form](*a, reverse=r, driver=d), *inputs
                )
                assert states.dtype == dtype
                found[driver] = [np.asarray(g) for g in pull_back(seen)]
        # In torch's convention a cotangent is the conjugate of JAX's, and so is a gradient.
        turned = [g.conj() for g in torch_gradients(form, arrays, cotangent.conj(), "compiled", reverse)]
        for a, b, c in zip(found["compiled"], found["sequential"], turned, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)
            np.testing.assert_allclose(a, c, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SCANS)
def test_gradients_equal_finite_differences(form, dtype):
    arrays, cotangent = case(form, dtype, (5, 2, (2,)), "shared")
    gradients = torch_gradients(form, arrays, cotangent, "compiled", False)
    step = 1e-6
    for place, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            for turn in (1.0, 1j) if dtype == "complex128" else (1.0,):
                ends = []
                for sign in (step, -step):
                    moved = [a.copy() for a in arrays]
                    moved[place][index] += sign * turn
                    ends.append(np.sum((cotangent.conj() * SCANS[form](*moved, driver="compiled")).real))
                # torch: a step d changes a real function by Re(conj(gradient) d).
                wanted = (ends[0] - ends[1]) / (2 * step)
                np.testing.assert_allclose((np.conj(gradient[index]) * turn).real, wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("form", "dtype"), [("diagonal", "float32"), ("diagonal", "complex64"), ("dense", "float32"),
                                             ("dense", "complex64")])  # fmt: skip
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_single_precision_stays_close(name, form, dtype):
    wide = {"float32": "float64", "complex64": "complex128"}[dtype]
    arrays, cotangent = case(form, wide, (3_000, 4, (2,)), "shared-still")
    size = np.linalg.norm(arrays[0], ord=2, axis=(-2, -1)).max() if form == "dense" else np.abs(arrays[0]).max()
    arrays[0] = 0.95 * arrays[0] / size
    exact = torch_gradients(form, arrays, cotangent, "compiled", False)
    narrow, seen = [a.astype(dtype) for a in arrays], cotangent.astype(dtype)
    if name == "torch":
        found = torch_gradients(form, narrow, seen, "compiled", False)
    else:
        import jax

        inputs = [jax.numpy.asarray(a) for a in narrow]
        _, pull_back = jax.vjp(lambda *a: SCANS[form](*a, driver="compiled"), *inputs)
        found = [np.asarray(g).conj() for g in pull_back(jax.numpy.asarray(seen.conj()))]
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6 * np.abs(b).max())


def test_a_gradient_summed_over_many_rows_keeps_float32_accuracy():
    # Multiplier 0: every row adds the state before it, 2.1, to the gradient, and 1 to that of a constant offset.
    import torch

    rows = 2**20
    multipliers, offset = torch.zeros((1, 1), requires_grad=True), torch.full((1, 1), 2.1, requires_grad=True)
    initial = torch.full((1,), 2.1)
    moving = offset.detach().expand(rows, 1)
    (found,) = torch.autograd.grad(scan_diagonal(multipliers, moving, initial).sum(), multipliers)
    np.testing.assert_allclose(found, rows * 2.1, rtol=1e-6)
    (found,) = torch.autograd.grad(scan_dense(multipliers[None], moving, initial).sum(), multipliers)
    np.testing.assert_allclose(found, rows * 2.1, rtol=1e-6)
    still = multipliers.detach().expand(rows, 1)
    (found,) = torch.autograd.grad(scan_diagonal(still, offset, initial).sum(), offset)
    assert found == rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SCANS)
def test_jit_vmap_and_grad_go_together(form, dtype):
    import jax

    arrays, _ = case(form, dtype, (20, 3, (2,)), "shared-still")
    with framework("jax") as make:
        inputs = jax_arrays(make, arrays)

        def value(driver):
            def total(*a):
                states = SCANS[form](*a, driver=driver)
                return jax.numpy.sum((states * states.conj()).real)

            return total

        compiled, generic = value("compiled"), value("sequential")
        places = (0, 1, 2)
        for found, wanted in zip(
            jax.jit(jax.grad(compiled, places))(*inputs), jax.grad(generic, places)(*inputs), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-11)
        many = [jax.numpy.stack([a, 0.5 * a, -a]) for a in inputs]
        # The mapped axis on all arguments, on offsets alone, on multipliers alone.
        for axes in ((0, 0, 0), (None, 0, None), (0, None, None)):
            given = [b if axis == 0 else a for a, b, axis in zip(inputs, many, axes, strict=True)]
            mapped = jax.jit(jax.vmap(jax.value_and_grad(compiled, places), axes))(*given)
            summed = jax.grad(lambda *a, axes=axes: jax.vmap(compiled, axes)(*a).sum(), places)(*given)
            for row in range(3):
                single = [a[row] if axis == 0 else a for a, axis in zip(given, axes, strict=True)]
                wanted_value, wanted = jax.value_and_grad(generic, places)(*single)
                np.testing.assert_allclose(mapped[0][row], wanted_value, rtol=1e-11)
                for place in places:
                    np.testing.assert_allclose(mapped[1][place][row], wanted[place], rtol=1e-10, atol=1e-11)
                    if axes[place] == 0:
                        np.testing.assert_allclose(summed[place][row], wanted[place], rtol=1e-10, atol=1e-11)
            for place in places:
                if axes[place] is None:
                    total = mapped[1][place].sum(axis=0)
                    np.testing.assert_allclose(summed[place], total, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("form", SCANS)
def test_second_derivatives_come_from_the_twin(form):
    import jax
    import torch

    arrays, _ = case(form, "float64", (6, 2, (2,)), "own")

    def cubes(driver, xp_sum):
        return lambda a, b: xp_sum(SCANS[form](a, b, driver=driver) ** 3)

    leaves = tuple(torch.tensor(a) for a in arrays[:2])
    of_torch = [torch.autograd.functional.hessian(cubes(d, torch.sum), leaves) for d in ("compiled", "sequential")]
    with framework("jax") as make:
        inputs = [make(a) for a in arrays[:2]]
        of_jax = jax.jit(jax.hessian(cubes("compiled", jax.numpy.sum), (0, 1)))(*inputs)
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(of_torch[0][i][j], of_torch[1][i][j], rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(of_jax[i][j], of_torch[1][i][j], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kernel", "lead", "n"), [(DIAGONAL, (7,), 40), (DIAGONAL, (1,), 200), (DENSE, (7,), 6)],
                         ids=["groups", "lanes", "dense"])  # fmt: skip
def test_threads_give_what_one_gives(kernel, lead, n, layout):
    form = "dense" if kernel is DENSE else "diagonal"
    arrays, cotangent = case(form, "float64", (150, n, lead), layout)
    core = 2 if form == "dense" else 1
    inputs = [arrays[0].reshape(-1, *arrays[0].shape[-core - 1 :]), arrays[1], arrays[2]]
    inputs.append(np.zeros((1, 2), np.uint8))
    inputs += [np.array([[0, n]], np.int32)] if kernel is DIAGONAL else []
    one, many = (kernel.run(inputs, keep=True, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one[0], many[0])
    for wanted in ((True, True, True), (True, False, False), (False, True, False)):
        single, spread = (kernel.pull_back(inputs, one, [cotangent], wanted, threads=threads) for threads in (1, 3))
        for a, b, wish in zip(single, spread, wanted, strict=True):
            assert (a is not None) == wish
            if wish:
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_several_python_threads_at_once():
    arrays, cotangent = case("diagonal", "float64", (200, 64, (4,)), "shared")
    wanted = torch_gradients("diagonal", arrays, cotangent, "compiled", False)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: torch_gradients("diagonal", arrays, cotangent, "compiled", False), range(8)))
    for run in runs:
        for a, b in zip(run, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_inner_loops_compile_to_packed_instructions(dtype):
    import platform
    import re

    import numba

    from dynplat.scan.kernels import affine_diagonal
    from dynplat.scan.kernels.compiling import _OPTIONS

    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the names of instructions are those of x86")
    for function, types in (
        (affine_diagonal.forward, DIAGONAL.forward_types(np.dtype(dtype))),
        (affine_diagonal.backward, DIAGONAL.backward_types(np.dtype(dtype))),
    ):
        fresh = numba.njit(**_OPTIONS)(function.py_func)  # what comes from the cache can't be looked into
        signature = tuple(numba.typeof(array) for array in (*types[0], *types[1]))
        fresh.compile(signature)
        assert re.search(r"(fmadd\d+|mul)ps\s", fresh.inspect_asm(signature))


def test_memory_of_a_shared_gradient_is_that_of_the_states_alone():
    """The adjoint of constant multipliers keeps nothing of the size of the states but the states and its gradients."""
    import tracemalloc

    T, n = 20_000, 32
    inputs = [
        np.full((1, 1, n), 0.5), np.ones((1, T, n)), np.zeros((1, n)), np.zeros((1, 2), np.uint8),
        np.array([[0, n]], np.int32),
    ]  # fmt: skip
    states = DIAGONAL.run(inputs, keep=True)
    cotangent = np.ones((1, T, n))
    DIAGONAL.pull_back(inputs, states, [cotangent], (True, False, True))
    tracemalloc.start()
    DIAGONAL.pull_back(inputs, states, [cotangent], (True, False, True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.05 * states[0].nbytes


def test_parts_on_the_threads_of_xla_give_what_one_gives():
    """Calls large enough to be shared out, several at once; a shared multiplier's gradient is one thread's work."""
    import jax

    rng = np.random.default_rng(0)
    offsets, cotangent = rng.standard_normal((2, 9, 700, 40)).astype(np.float32)
    initial, lanes, settings = np.zeros((1, 40), np.float32), np.array([[0, 40]], np.int32), np.zeros((1, 2), np.uint8)
    for shape in ((9, 700, 40), (1, 1, 40), (1, 700, 40)):
        multipliers = rng.uniform(0.5, 0.99, shape).astype(np.float32)
        inputs = [multipliers, offsets, initial, settings, lanes]
        outputs = DIAGONAL.run(inputs, keep=True, threads=1)
        wanted = (outputs[0], *DIAGONAL.pull_back(inputs, outputs, [cotangent], (True, True, False), threads=1)[:2])

        @jax.jit
        def compute(a, b, g):
            states, pull_back = jax.vjp(lambda a, b: scan_diagonal(a, b, driver="compiled"), a, b)
            return states, *pull_back(g)

        def run(_, arrays=(multipliers, offsets, cotangent), compute=compute):
            return [np.asarray(array) for array in compute(*arrays)]

        with ThreadPoolExecutor(6) as pool:
            for found in pool.map(run, range(60)):
                for a, b in zip(found, wanted, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def test_gradients_that_nobody_wants_are_zero():
    arrays, cotangent = case("diagonal", "float64", (9, 3, (2,)), "own")
    inputs = [*arrays, np.zeros((1, 2), np.uint8), np.array([[0, 3]], np.int32)]
    outputs = DIAGONAL.run(inputs, keep=True)
    gradients = [np.full_like(a, np.nan) for a in arrays]
    DIAGONAL.backward(*inputs, *outputs, cotangent, np.zeros((1, 3), np.uint8), *gradients)
    dense = [np.full((2, 9, 3, 3), 0.1), *arrays[1:], np.zeros((1, 2), np.uint8)]
    outputs = DENSE.run(dense, keep=True)
    gradients += [np.full_like(a, np.nan) for a in dense[:3]]
    DENSE.backward(*dense, *outputs, cotangent, np.zeros((1, 3), np.uint8), *gradients[3:])
    assert all((gradient == 0).all() for gradient in gradients)
