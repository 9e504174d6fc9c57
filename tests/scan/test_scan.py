"""Drivers give the products that a plain loop gives, whatever the semigroup."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.errors import ArgumentError
from dynplat.scan import choose_driver, fold, prefix, reduce, suffix, tree

FRAMEWORKS = ("numpy", "torch", "jax")
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)


class Affine(NamedTuple):
    """x -> A x + b, not commutative."""

    A: Any
    b: Any
    nothing: Any = None


def join(first, second):
    return Affine(second.A @ first.A, second.A @ first.b + second.b)


def meet(state, element):
    state = element.A @ state + element.b
    return state, state


def elements_of(make, size, lead=(3,)):
    rng = np.random.default_rng(size)
    return Affine(make(0.5 * rng.standard_normal((size, *lead, 2, 2))), make(rng.standard_normal((size, *lead, 2, 1))))


def products_of(elements):
    elements = tree.map_arrays(to_numpy, elements)
    rows = [tree.row(elements, t) for t in range(tree.length(elements))]
    forward = [rows[0]]
    for element in rows[1:]:
        forward.append(join(forward[-1], element))
    backward = [rows[-1]]
    for element in rows[-2::-1]:
        backward.append(join(element, backward[-1]))
    return forward, backward[::-1]


@pytest.mark.parametrize("driver", ["sequential", "balanced"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_prefix_suffix_and_reduce_equal_a_plain_loop(name, driver):
    # JAX compiles once per length.
    for size in LENGTHS if name != "jax" else (1, 2, 5, 8):
        with framework(name) as make:
            elements = elements_of(make, size)
            forward, backward = products_of(elements)
            before, after = prefix(join, elements, driver=driver), suffix(join, elements, driver=driver)
            whole = reduce(join, elements, driver=driver)
            for t in range(size):
                for got, wanted in ((before, forward[t]), (after, backward[t])):
                    np.testing.assert_allclose(to_numpy(got.A)[t], wanted.A, rtol=1e-12, atol=1e-14)
                    np.testing.assert_allclose(to_numpy(got.b)[t], wanted.b, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(to_numpy(whole.A), forward[-1].A, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(to_numpy(before.b)[-1], to_numpy(whole.b), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_fold_equals_prefix(name):
    with framework(name) as make:
        elements = elements_of(make, 6)
        start = make(np.zeros((3, 2, 1)))
        last, states = fold(meet, start, elements)
        np.testing.assert_allclose(to_numpy(states), to_numpy(prefix(join, elements).b), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(to_numpy(states)[-1], to_numpy(last))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_fold_backwards_starts_at_the_last_step(name):
    with framework(name) as make:
        elements = elements_of(make, 5)
        _, states = fold(meet, make(np.zeros((3, 2, 1))), elements, reverse=True)
        turned = tree.map_arrays(lambda a: make(to_numpy(a)[::-1].copy()), elements)
        _, wanted = fold(meet, make(np.zeros((3, 2, 1))), turned)
        np.testing.assert_allclose(to_numpy(states)[::-1], to_numpy(wanted), rtol=1e-12)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("driver", ["sequential", "balanced"])
def test_what_does_not_change_in_time_may_have_length_one(name, driver):
    with framework(name) as make:
        moving = elements_of(make, 5)
        shared = Affine(moving.A[:1], moving.b)
        full = Affine(make(np.repeat(to_numpy(moving.A[:1]), 5, axis=0)), moving.b)
        np.testing.assert_allclose(
            to_numpy(prefix(join, shared, driver=driver).b),
            to_numpy(prefix(join, full, driver=driver).b),
            rtol=1e-13,
            atol=1e-15,
        )
        start = make(np.zeros((3, 2, 1)))
        np.testing.assert_allclose(to_numpy(fold(meet, start, shared)[0]), to_numpy(fold(meet, start, full)[0]))


def test_gradients_agree_between_drivers_and_frameworks():
    import jax
    import torch

    size = 9
    grads = {}
    for driver in ("sequential", "balanced"):
        with framework("torch") as make:
            elements = elements_of(make, size)
            A = elements.A.clone().requires_grad_()
            reduce(join, elements._replace(A=A), driver=driver).b.sum().backward()
            grads["torch", driver] = A.grad.numpy()
        with framework("jax") as make:
            elements = elements_of(make, size)
            total = jax.jit(
                jax.grad(lambda a, e=elements, d=driver: prefix(join, e._replace(A=a), driver=d).b[-1].sum())
            )
            grads["jax", driver] = np.asarray(total(elements.A))
    first = grads.pop(("torch", "sequential"))
    assert np.abs(first).max() > 0
    for grad in grads.values():
        np.testing.assert_allclose(grad, first, rtol=1e-11, atol=1e-13)
    assert torch.is_grad_enabled()


def test_empty_time_is_refused():
    with pytest.raises(ArgumentError, match="at least one row"):
        reduce(join, Affine(np.zeros((0, 2, 2)), np.zeros((0, 2, 1))))
    with pytest.raises(ArgumentError, match="at least one row"):
        fold(meet, np.zeros((2, 1)), Affine(np.zeros((0, 2, 2)), np.zeros((0, 2, 1))))


@pytest.mark.parametrize("driver", ["parallel", "auto"])
def test_unknown_driver_is_refused(driver):
    with pytest.raises(ArgumentError, match="driver"):
        prefix(join, Affine(np.zeros((2, 2, 2)), np.zeros((2, 2, 1))), driver=driver)


def test_driver_is_chosen_by_framework_and_length():
    import jax.numpy as jnp
    import torch

    assert choose_driver("auto", np.ones(1), 1000) == "sequential"
    assert choose_driver("auto", jnp.ones(1), 1000) == "sequential"
    assert choose_driver("auto", torch.ones(1), 1000) == "balanced"
    assert choose_driver("auto", torch.ones(1), 2) == "sequential"
    assert choose_driver("balanced", np.ones(1), 2) == "balanced"
