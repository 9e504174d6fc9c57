"""The compiled discretisation beside the generic one."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.process.discretise import discretise
from dynplat.scan import forced_driver

RNG = np.random.default_rng(3)
A = RNG.normal(size=(2, 1, 3, 3)) - 2 * np.eye(3)
L = RNG.normal(size=(4, 3, 2))
GAPS = np.array([0.0, 0.01, 1.3, 40.0, 1.3])
#: Leading axes of A, L and gaps: nothing shared, all shared, and axes that only one of them has.
LEADS = {"one": (A[0, 0], L[0], GAPS), "systems": (A, L, GAPS), "gaps too": (A, L, GAPS * np.ones((2, 4, 1)))}


def law(A, L, gaps, integral=True):
    return discretise(A, L @ L.swapaxes(-1, -2), gaps, integral=integral)


def value(A, L, gaps):
    F, Q, G = law(A, L, gaps)
    assert G is not None
    return (F**2).sum() + (F * Q).sum() + (Q[..., 0, 1] * G[..., 1, 2]).sum() + (Q**2).sum()


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("integral", [True, False])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_compiled_equals_generic(name, integral, lead):
    with framework(name) as array:
        arrays = [array(part) for part in LEADS[lead]]
        fast = law(*arrays, integral=integral)
        with forced_driver("sequential") as forced:
            slow = law(*arrays, integral=integral)
        assert forced.asked
    for one, other in zip(fast, slow, strict=True):
        if one is None or other is None:
            assert not integral
            assert one is other
            continue
        assert one.shape == other.shape
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=1e-12, atol=1e-14)


def test_gaps_split_over_threads_equal_gaps_one_by_one(monkeypatch):
    monkeypatch.setattr("dynplat.process.doubling.available_threads", lambda: 3)
    gaps = np.random.default_rng(0).exponential(1.0, 4_001)  # no multiple of three
    whole = law(A[0, 0], L[0], gaps)
    for start in (0, 1_333, 4_000):
        part = law(A[0, 0], L[0], gaps[start : start + 1])
        for one, other in zip(whole, part, strict=True):
            assert one is not None
            np.testing.assert_array_equal(one[start : start + 1], other)


@pytest.mark.parametrize("lead", LEADS)
def test_torch_gradient_equals_generic(lead):
    import torch

    def gradients():
        leaves = [torch.tensor(part, requires_grad=True) for part in LEADS[lead]]
        return torch.autograd.grad(value(*leaves), leaves)

    fast = gradients()
    with forced_driver("sequential"):
        slow = gradients()
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_torch_second_derivatives_are_those_of_first_ones():
    import torch

    # Away from a gap of 0 and from where the number of doublings changes.
    parts = (A[0, 0], L[0], np.array([0.01, 1.3, 4.0]))
    leaves = [torch.tensor(part, requires_grad=True) for part in parts]
    assert torch.autograd.gradgradcheck(value, leaves, eps=1e-5, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lead", LEADS)
def test_jax_gradient_equals_generic_under_jit(lead):
    import jax

    with framework("jax") as array:
        arrays = [array(part) for part in LEADS[lead]]
        fast = jax.jit(jax.grad(value, (0, 1, 2)))(*arrays)
        with forced_driver("sequential"):
            slow = jax.grad(value, (0, 1, 2))(*arrays)
        for one, other in zip(fast, slow, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_jax_maps_systems_and_gaps():
    import jax

    with framework("jax") as array:
        systems, loading, gaps = array(A[:, 0]), array(L[0]), array(GAPS)
        gradient = jax.grad(value, (0, 1, 2))
        together = jax.jit(jax.vmap(gradient, (0, None, None)))(systems, loading, gaps)
        for index, system in enumerate(systems):
            for one, other in zip(together, gradient(system, loading, gaps), strict=True):
                np.testing.assert_allclose(one[index], other, rtol=1e-10, atol=1e-12)
        summed = jax.grad(lambda loading: jax.vmap(value, (0, None, None))(systems, loading, gaps).sum())(loading)
        np.testing.assert_allclose(summed, together[1].sum(axis=0), rtol=1e-10, atol=1e-12)


def test_jax_hessian_equals_generic():
    import jax

    with framework("jax") as array:
        system, loading, gaps = array(A[0, 0]), array(L[0]), array(np.array([0.01, 1.3]))
        fast = jax.hessian(value)(system, loading, gaps)
        with forced_driver("sequential"):
            slow = jax.hessian(value)(system, loading, gaps)
        np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-11)
