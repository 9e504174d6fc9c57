"""The algebra of filtering and smoothing elements."""

import numpy as np
import pytest

from dynplat.arrays import framework, to_numpy
from dynplat.scan import tree
from dynplat.semigroup import (
    FilteringElement,
    SmoothingElement,
    Step,
    act,
    combine,
    combine_smoothing,
    filtering_element,
    identity,
    initial_state,
    project_missing,
    smoothing_identity,
    starting_element,
    update,
)
from dynplat.testing.generators import random_covariance

FRAMEWORKS = ("numpy", "torch", "jax")
n, p, k = 3, 2, 2


def random_step(rng, lead=()):
    def draw(*shape):
        return rng.standard_normal((*lead, *shape))

    def cov(size):
        return np.broadcast_to(random_covariance(rng, size, size) + 0.1 * np.eye(size), (*lead, size, size)).copy()

    return Step(0.5 * draw(n, n), draw(n, k), cov(n), draw(p, n), cov(p), draw(p, k), np.full(lead, float(p)))


def convert(record, make):
    return tree.map_arrays(make, record)


def assert_same(left, right, rtol=1e-10, atol=1e-11):
    for name, a, b in zip(left._fields, left, right, strict=True):
        if name != "growth" and a is not None:
            np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("lead", [(), (5,), (2, 4)], ids=str)
def test_combine_is_associative(name, lead):
    rng = np.random.default_rng(0)
    with framework(name) as make:
        a, b, c = (filtering_element(convert(random_step(rng, lead), make)) for _ in range(3))
        assert_same(combine(combine(a, b), c), combine(a, combine(b, c)))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_identity_is_neutral(name):
    with framework(name) as make:
        element = filtering_element(convert(random_step(np.random.default_rng(1), (4,)), make))
        assert_same(combine(identity(element), element), element)
        assert_same(combine(element, identity(element)), element)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_combine_equals_act_with_its_likelihood(name):
    """The element of a start, combined with the element of a step, holds what the filter's act gives."""
    rng = np.random.default_rng(2)
    with framework(name) as make:
        first, second = (convert(random_step(rng), make) for _ in range(2))
        state, innovation = update(
            initial_state(make(rng.standard_normal((n, k))), make(random_covariance(rng, n, n))), first
        )
        product = combine(starting_element(state.mean, state.cov, innovation.log_prob), filtering_element(second))
        after, later = act(state, second)
        np.testing.assert_allclose(to_numpy(product.b), to_numpy(after.mean), rtol=1e-11)
        np.testing.assert_allclose(to_numpy(product.C), to_numpy(after.cov), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(
            to_numpy(product.ell), to_numpy(innovation.log_prob) + to_numpy(later.log_prob), rtol=1e-11
        )


def test_columns_are_data_sets_that_share_covariances():
    rng = np.random.default_rng(3)
    a, b = random_step(rng), random_step(rng)
    both = combine(filtering_element(a), filtering_element(b))
    for j in range(k):
        one = combine(*(filtering_element(s._replace(c=s.c[:, j : j + 1], y=s.y[:, j : j + 1])) for s in (a, b)))
        np.testing.assert_allclose(both.b[:, j], one.b[:, 0], rtol=1e-12)
        np.testing.assert_allclose(both.ell[j], one.ell[0], rtol=1e-12)


def test_shared_covariances_give_what_repeated_ones_give():
    rng = np.random.default_rng(4)
    a, b = random_step(rng), random_step(rng)
    many = [s._replace(y=rng.standard_normal((6, p, k))) for s in (a, b)]
    shared = combine(*(filtering_element(s) for s in many))
    assert shared.C.shape == (n, n)
    assert shared.b.shape == (6, n, k)
    for i in range(6):
        one = combine(*(filtering_element(s._replace(y=s.y[i])) for s in many))
        np.testing.assert_allclose(shared.b[i], one.b, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(shared.ell[i], one.ell, rtol=1e-11)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_element_that_does_not_exist_says_so_and_stays_finite(name):
    step = random_step(np.random.default_rng(5))
    step = step._replace(Q=0 * step.Q, R=np.diag([0.0, 1.0]))
    with framework(name) as make:
        element = filtering_element(convert(step, make))
        assert np.isinf(to_numpy(element.growth))
        assert all(np.isfinite(to_numpy(x)).all() for x in element[:6])


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_missing_cells_are_projected_exactly(name):
    rng = np.random.default_rng(6)
    H, R, y = rng.standard_normal((p, n)), random_covariance(rng, p, p) + np.eye(p), np.array([1.0, np.nan])
    with framework(name) as make:
        mean, cov = make(rng.standard_normal((n, 1))), make(random_covariance(rng, n, n))
        Hm, Rm, ym, count = project_missing(make(H), make(R), make(y), make(np.array([True, False])))
        zero = 0.0 * mean
        step = Step(cov, zero, cov, Hm, Rm, ym[..., None], count)
        _, innovation = update(initial_state(mean, cov), step)
        alone = Step(cov, zero, cov, make(H[:1]), make(R[:1, :1]), make(y[:1, None]), make(np.array(1.0)))
        _, single = update(initial_state(mean, cov), alone)
        assert to_numpy(innovation.whitened)[1, 0] == 0.0
        np.testing.assert_allclose(to_numpy(innovation.log_prob), to_numpy(single.log_prob), rtol=1e-14)
        Hm, Rm, ym, count = project_missing(make(H), make(R), make(y), make(np.array([False, False])))
        after, nothing = update(initial_state(mean, cov), Step(cov, zero, cov, Hm, Rm, ym[..., None], count))
        assert to_numpy(nothing.log_prob)[0] == 0.0
        np.testing.assert_array_equal(to_numpy(after.mean), to_numpy(mean))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_smoothing_elements_form_a_semigroup(name):
    rng = np.random.default_rng(7)
    with framework(name) as make:
        a, b, c = (
            SmoothingElement(
                make(rng.standard_normal((n, n))), make(rng.standard_normal((n, k))), make(random_covariance(rng, n, n))
            )
            for _ in range(3)
        )
        left = combine_smoothing(combine_smoothing(a, b), c)
        assert_same(left, combine_smoothing(a, combine_smoothing(b, c)))
        assert_same(combine_smoothing(smoothing_identity(a), a), a)
        assert_same(combine_smoothing(a, smoothing_identity(a)), a)


def test_a_variance_of_rounding_is_reported_and_a_small_one_is_not():
    """Two exact observations of one state: the second has no density. With a tiny noise it has one."""
    F, H = np.eye(2), np.array([[1.0, 1.0]])
    state = initial_state(np.zeros((2, 1)), np.diag([1.0, 1e6]) + 0.3)
    zero = np.zeros((2, 1))
    for noise, singular in ((0.0, True), (1e-6, False)):
        step = Step(F, zero, np.zeros((2, 2)), H, np.array([[noise]]), np.ones((1, 1)), np.array(1.0))
        once, _ = update(state, step)
        _, again = act(once, step)
        assert bool(again.singular[0]) is singular
        assert np.isnan(again.log_prob[0]) == singular


def test_element_fields_are_documented():
    assert FilteringElement.__doc__ is not None
    assert all(f"        {name}:" in FilteringElement.__doc__ for name in FilteringElement._fields)
