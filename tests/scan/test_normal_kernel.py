"""The compiled densities of normal channels against their generic form."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dynplat.arrays import framework
from dynplat.process.emissions.gaussian import _twin as twin
from dynplat.scan.kernels.normal import NORMAL


def example(G, T, K, C, *, shared, dtype=np.float64):
    rng = np.random.default_rng([G, T, K, C])
    own = 1 if shared else G
    seen = (rng.random((G, T, C)) > 0.3).astype(np.uint8)
    values = np.where(seen, rng.standard_normal((G, T, C)), np.nan)
    return [
        values.astype(dtype),
        seen,
        rng.standard_normal((own, K, C)).astype(dtype),
        (0.5 + rng.random((own, K, C))).astype(dtype),
    ], rng.standard_normal((G, T, K)).astype(dtype)


def twin_gradients(inputs, cotangent):
    import torch

    with framework("torch") as make:
        tensors = [make(a) for a in inputs]
        leaves = [tensors[place].requires_grad_() for place in NORMAL.differentiable]
        (found,) = twin(*tensors)
        return found.detach().numpy(), [g.numpy() for g in torch.autograd.grad(found, leaves, make(cotangent))]


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (3, 64, 2, 1), (2, 65, 5, 3), (4, 200, 3, 2)])
def test_values_and_gradients_equal_the_generic_form(size, shared):
    inputs, cotangent = example(*size, shared=shared)
    (found,) = outputs = NORMAL.run(inputs, keep=True)
    value, gradients = twin_gradients(inputs, cotangent)
    np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-13)
    for threads in (1, 3):
        ours = NORMAL.pull_back(inputs, outputs, [cotangent], [True] * 3, threads=threads)
        for one, two in zip(ours, gradients, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-12)
    # What nobody wants is not formed; NaN in a missing cell reaches nothing.
    assert [g is None for g in NORMAL.pull_back(inputs, outputs, [cotangent], [False, True, False])] == [
        True,
        False,
        True,
    ]
    assert all(np.isfinite(g).all() for g in ours)


def test_float32_is_rounded_once():
    inputs, _ = example(2, 100, 4, 2, shared=True, dtype=np.float32)
    (found,) = NORMAL.run(inputs, keep=False)
    (exact,) = NORMAL.run([a.astype(np.float64) if a.dtype == np.float32 else a for a in inputs], keep=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=2e-7)


def test_threads_at_once_give_what_one_gives():
    inputs, cotangent = example(8, 3_000, 3, 2, shared=True)

    def run(threads):
        outputs = NORMAL.run(inputs, keep=True, threads=threads)
        return [outputs[0], *NORMAL.pull_back(inputs, outputs, [cotangent], [True] * 3, threads=threads)]

    alone = run(1)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(run, [1, 2, 3, 4]):
            for one, two in zip(alone, other, strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-12)


def test_jax_transforms_and_second_derivatives_equal_those_of_the_generic_form():
    with framework("jax") as make:
        import jax

        from dynplat.scan.kernels.jax import call

        inputs, cotangent = example(2, 7, 2, 2, shared=True)
        values, seen, means, scales = map(make, inputs)

        def total(form, means, scales, shift):
            (found,), _ = form((values + shift, seen, means, scales))
            return jax.numpy.sum(make(cotangent) * jax.numpy.exp(0.1 * found))

        forms = [lambda inputs: call(NORMAL, twin, inputs), lambda inputs: (twin(*inputs), None)]
        results = []
        for form in forms:

            def one(means, scales, shift, form=form):
                return total(form, means, scales, shift)

            gradient = jax.grad(one, (0, 1, 2))
            batch = make(np.random.default_rng(1).standard_normal((3, *means.shape)))
            mapped = jax.jit(jax.vmap(gradient, (0, None, None)))(batch, scales, 0.3)
            of_mapped = jax.grad(lambda s, one=one, batch=batch: jax.vmap(one, (0, None, None))(batch, s, 0.3).sum())
            hessian = jax.jit(jax.hessian(one, (0, 1)))(means, scales, 0.3)
            results.append(jax.tree.leaves((gradient(means, scales, 0.3), mapped, of_mapped(scales), hessian)))
        for ours, generic in zip(*results, strict=True):
            np.testing.assert_allclose(ours, generic, rtol=1e-10, atol=1e-11)


def test_torch_has_second_derivatives():
    import torch

    from dynplat.scan.kernels.torch import call

    inputs, _ = example(2, 7, 2, 2, shared=False)
    with framework("torch") as make:
        values, seen, means, scales = map(make, inputs)
        values = torch.nan_to_num(values)
        found = [
            torch.autograd.functional.hessian(lambda m, s, form=form: form(m, s).exp().sum(), (means, scales))
            for form in (
                lambda m, s: call(NORMAL, twin, (values, seen, m, s))[0][0],
                lambda m, s: twin(values, seen, m, s)[0],
            )
        ]
    for one, two in zip(*found, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
