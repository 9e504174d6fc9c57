"""Compiled filter moments, smoother and posterior draws: exactness, adjoints, steady state, transforms, threads."""

import threading
from functools import partial

import numpy as np
import pytest

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, CapabilityError, NoDensityError
from dynplat.process import LinearGaussian, kalman, kalman_passes
from dynplat.scan.kernels import kernel as kernels
from dynplat.scan.kernels.kalman_forward import SETTLED
from dynplat.testing.generators import random_covariance, random_linear_gaussian
from dynplat.testing.references import dense_linear_gaussian

OUTPUTS = ("predicted means", "predicted covs", "means", "covs", "terms", "smoothed", "smoothed covs", "cross", "draws")


def chain_arrays(rng, own=(), *, n=3, p=2, rows=1, rank=None):
    """A chain with all leading axes `own`; `rank` is that of Q and P0."""
    rank = n if rank is None else rank
    shape = (*own, rows)

    def covariances(size, lead, rank):
        out = np.empty((*lead, size, size))
        for index in np.ndindex(*lead):
            out[index] = random_covariance(rng, size, rank)
        return out

    return {
        "F": 0.5 * rng.standard_normal((*shape, n, n)),
        "Q": covariances(n, shape, rank),
        "H": rng.standard_normal((rows, p, n)),
        "R": covariances(p, (rows,), p) + 0.1 * np.eye(p),
        "m0": rng.standard_normal((*own, n)),
        "P0": covariances(n, (), rank),
        "c": rng.standard_normal((rows, n)),
        "d": rng.standard_normal((rows, p)),
    }


def observations_of(system):
    return Observations(system.times, system.values, system.mask, system.inputs)


def passes(chain, data, num_draws=3):
    """All that the kernels give, as `OUTPUTS` names it."""
    draws = chain.draw_states(data, num_draws, random_source(0, data.values))
    return [*chain.filter(data), *chain.smooth(data), draws]


def values_and_gradients(arrays, observations, driver, weights, **options):
    """Outputs under torch, and the gradients of their sums weighted by `weights`, with respect to chain and data."""
    import torch

    with framework("torch", dtype=str(arrays["F"].dtype)) as make:
        leaves = {name: make(array).requires_grad_() for name, array in arrays.items()}
        values = make(observations.values).requires_grad_()
        data = Observations(make(observations.times), values, make(observations.mask))
        outputs = passes(LinearGaussian(**leaves, driver=driver, **options), data)
        total = sum((out * make(w)).sum() for out, w in zip(outputs, weights, strict=True) if w is not None)
        gradients = torch.autograd.grad(total, [*leaves.values(), values], allow_unused=True)
        return [to_numpy(out) for out in outputs], {
            name: np.zeros(1) if g is None else to_numpy(g)
            for name, g in zip((*leaves, "values"), gradients, strict=True)
        }


def random_weights(outputs, seed=1, only=None):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(out.shape) if only in (None, i) else None for i, out in enumerate(outputs)]


def assert_all_close(found, wanted, rtol):
    for name, one, two in zip(OUTPUTS, found, wanted, strict=True):
        assert one.shape == two.shape, name
        np.testing.assert_allclose(one, two, rtol=rtol, atol=rtol * max(1.0, np.abs(two).max(initial=0)), err_msg=name)


def assert_gradients_close(found, wanted, rtol):
    for name, value in wanted.items():
        scale = np.abs(value).max(initial=0)
        np.testing.assert_allclose(
            found[name] + 0 * value, value + 0 * found[name], rtol=rtol, atol=rtol * max(1.0, scale), err_msg=name
        )


# Against the dense Gaussian.


def dense_systems(count, **options):
    """Random systems (singular noise, exact channels, holes, rows without observations) and their dense twins."""
    rng = np.random.default_rng(31)
    found = []
    while len(found) < count:
        system = random_linear_gaussian(rng, num_steps=int(rng.integers(1, 10)), **options)
        mask = system.mask.copy()
        mask[rng.random(len(mask)) < 0.2] = False
        system = system._replace(mask=mask)
        try:
            twin = dense_linear_gaussian(
                **system.parameters, values=system.values, mask=system.mask, inputs=system.inputs
            )
        except ArgumentError:
            continue
        if twin.smallest_pivot > 1e-6:
            found.append((system, twin))
    return found


def allowance(chain, data, twin):
    """1e-9, growing with what amplifies rounding: innovations and predictions that are nearly known.

    A smoother multiplies by the inverse of a predicted covariance; what is 0 in it to rounding is left out.
    """
    predicted = chain.filter(data).predicted_covs
    levels = np.linalg.eigvalsh(predicted) / np.maximum(1.0, np.trace(predicted, axis1=-2, axis2=-1))[:, None]
    smallest = levels[levels > 1e-13].min(initial=1.0)
    return 1e-9 * max(1.0, 1e-4 / twin.smallest_pivot, 1e-5 / smallest)


def fed(noise):
    """A source that gives these numbers."""
    return random_source(0, noise)._replace(normal=noise.reshape)


@pytest.mark.parametrize("kind", ["regular", "singular noise", "exact channels"])
def test_draws_are_the_means_and_a_root_of_the_dense_covariance_times_the_noise(kind):
    """Unit noise vectors give the columns of a matrix whose square is the joint covariance of all states, exactly."""
    options = {"singular_noise": kind != "regular", "exact_channels": kind == "exact channels"}
    strict = 0
    for system, twin in dense_systems(25, **options):
        rows, n = twin.means.shape
        chain = LinearGaussian(**system.parameters, driver="compiled")
        size = rows * n
        rng = np.random.default_rng(0)
        mixed = rng.standard_normal(size)
        noise = np.concatenate([np.zeros((1, size)), np.eye(size), mixed[None]])
        paths = chain.draw_states(observations_of(system), size + 2, fed(noise)).reshape(size + 2, size)
        scale = max(1.0, np.abs(twin.joint_cov).max())
        limit = allowance(chain, observations_of(system), twin)
        strict += limit == 1e-9
        np.testing.assert_allclose(paths[0], twin.means.ravel(), atol=limit * max(1.0, np.abs(twin.means).max()))
        columns = paths[1:-1] - paths[0]
        np.testing.assert_allclose(columns.T @ columns, twin.joint_cov.reshape(size, size), atol=limit * scale)
        np.testing.assert_allclose(paths[-1] - paths[0], mixed @ columns, atol=1e-12 * size * np.sqrt(scale))
    assert strict > 15


def test_moments_of_random_systems_equal_the_dense_gaussian():
    strict = 0
    for system, twin in dense_systems(60):
        chain, data = LinearGaussian(**system.parameters, driver="compiled"), observations_of(system)
        smoothed, filtered = chain.smooth(data), chain.filter(data)
        scale = max(1.0, np.abs(twin.means).max()), max(1.0, np.abs(twin.covs).max())
        limit = allowance(chain, data, twin)
        strict += limit == 1e-9
        np.testing.assert_allclose(smoothed.means, twin.means, atol=limit * scale[0])
        np.testing.assert_allclose(smoothed.covs, twin.covs, atol=limit * scale[1])
        for t in range(len(twin.means) - 1):
            np.testing.assert_allclose(smoothed.cross_covs[t], twin.joint_cov[t, :, t + 1], atol=limit * scale[1])
        np.testing.assert_allclose(filtered.means[-1], twin.means[-1], atol=limit * scale[0])
        np.testing.assert_allclose(filtered.covs[-1], twin.covs[-1], atol=limit * scale[1])
    assert strict > 40


def test_a_wide_start_spoils_no_covariance():
    """Second differences from a start of variance 1e8, seen with variance 0.01.

    The form P - P N P, with the adjoint N of the innovations, is off by 2,500 variances here.
    """
    F, Q = np.array([[1.0, 1.0], [0.0, 1.0]]), np.diag([0.0, 1e-3])
    H, R, P0 = np.array([[1.0, 0.0]]), np.array([[0.01]]), 1e8 * np.eye(2)
    rng = np.random.default_rng(0)
    values, mask = rng.standard_normal((30, 1)), np.ones((30, 1), dtype=bool)
    mask[[0, 7, 8, 29]] = False
    arrays = [a[None] for a in (F, Q, H, R)]
    twin = dense_linear_gaussian(*arrays, np.zeros(2), P0, values=values, mask=mask, digits=60)
    found = LinearGaussian(*arrays, np.zeros(2), P0, driver="compiled").smooth(
        Observations(np.arange(30.0), values, mask)
    )
    deviations = np.sqrt(np.einsum("tii->ti", twin.covs))
    error = (found.covs - twin.covs) / deviations[:, :, None] / deviations[:, None, :]
    assert np.abs(error).max() < 1e-5
    assert (np.abs(found.means - twin.means) < 1e-5 * deviations).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_smoothed_covariances_stay_positive_semidefinite(dtype):
    """Precise sensors that say nearly the same, a wide start, hardly any noise; single precision against double."""
    rng = np.random.default_rng(4)
    n, p, rows = 5, 3, 200
    arrays = {
        "F": (0.999 * np.linalg.qr(rng.standard_normal((n, n)))[0])[None],
        "Q": 1e-6 * np.eye(n)[None],
        "H": np.ones((1, p, n)) + 0.1 * rng.standard_normal((1, p, n)),
        "R": 0.1 * np.eye(p)[None],
        "m0": np.zeros(n),
        "P0": 100.0 * np.eye(n),
    }
    values, mask = rng.standard_normal((rows, p)), np.ones((rows, p), dtype=bool)
    exact = LinearGaussian(**arrays, driver="sequential").smooth(Observations(np.arange(200.0), values, mask))
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    data = Observations(np.arange(200.0), values.astype(dtype), mask)
    found = LinearGaussian(**arrays, driver="compiled").smooth(data)
    assert found.covs.dtype == dtype
    covs = found.covs.astype(np.float64)
    scale = np.sqrt(np.einsum("tii->ti", covs))
    correlations = covs / scale[:, :, None] / scale[:, None, :]
    assert np.linalg.eigvalsh(correlations).min() > -16 * np.finfo(dtype).eps
    tolerance = 2e-2 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(scale, np.sqrt(np.einsum("tii->ti", exact.covs)), rtol=tolerance)
    np.testing.assert_allclose(found.means, exact.means, atol=tolerance * np.abs(exact.means).max())


@pytest.mark.parametrize("exponent", [-14, -12, -9, -6])
def test_near_singular_predictions_are_smoothed_as_by_the_generic_pass(exponent):
    """Two coordinates that are the same but for a noise near rounding."""
    F = np.array([[0.9, 0.0], [0.9, 0.0]])
    Q = np.array([[1.0, 1.0], [1.0, 1.0 + 10.0**exponent]])
    rng = np.random.default_rng(5)
    values, mask = rng.standard_normal((12, 1)), np.ones((12, 1), dtype=bool)
    arguments = (F[None], Q[None], np.array([[[1.0, 0.0]]]), np.ones((1, 1, 1)), np.zeros(2), Q)
    data = Observations(np.arange(12.0), values, mask)
    found, wanted = (LinearGaussian(*arguments, driver=driver).smooth(data) for driver in ("compiled", "sequential"))
    twin = dense_linear_gaussian(*arguments, values=values, mask=mask)
    for smoothed in (found, wanted):
        np.testing.assert_allclose(smoothed.means, twin.means, atol=1e-9)
        np.testing.assert_allclose(smoothed.covs, twin.covs, atol=1e-9)


# Against the generic passes: leading axes, gradients, steady state.


@pytest.mark.parametrize("holes", ["none", "everywhere", "shared"])
@pytest.mark.parametrize(("own", "lead"), [((), ()), ((3, 1), (3, 5)), ((2, 1, 1), (4, 5)), ((5,), (5,))])
def test_leading_axes_and_gradients_are_those_of_the_generic_passes(own, lead, holes):
    rng = np.random.default_rng(0)
    arrays = chain_arrays(rng, own, rows=1 if holes == "none" else 9)
    values = rng.standard_normal((*lead, 9, 2))
    mask = np.ones(values.shape, dtype=bool)
    if holes == "everywhere":
        mask = rng.random(values.shape) > 0.3
    elif holes == "shared":
        mask[..., 3, :] = False
        mask[..., 7, 1] = False
    data = Observations(np.arange(9.0), np.where(mask, values, 0.0), mask)
    host = passes(LinearGaussian(**arrays, driver="compiled"), data)
    weights = random_weights(host)
    found, gradients = values_and_gradients(arrays, data, "compiled", weights)
    wanted, wanted_gradients = values_and_gradients(arrays, data, "sequential", weights)
    assert_all_close(found, wanted, 1e-10)
    assert_gradients_close(gradients, wanted_gradients, 1e-9)
    assert_all_close([*host[:-1], found[-1]], found, 1e-13)  # NumPy and torch draw other noise


@pytest.mark.parametrize("only", [3, 5, 6, 7, 8], ids=lambda place: OUTPUTS[place])
def test_each_adjoint_alone_with_singular_noise(only):
    """With Q and P0 of rank two of three, where draws need a factor with a zero column."""
    rng = np.random.default_rng(1)
    arrays = chain_arrays(rng, rows=7, rank=2)
    mask = rng.random((2, 7, 2)) > 0.3
    data = Observations(np.arange(7.0), rng.standard_normal((2, 7, 2)), mask)
    outputs = passes(LinearGaussian(**arrays), data)
    weights = random_weights(outputs, only=only)
    found, gradients = values_and_gradients(arrays, data, "compiled", weights)
    wanted, wanted_gradients = values_and_gradients(arrays, data, "sequential", weights)
    assert_all_close(found, wanted, 1e-9)
    assert_gradients_close(gradients, wanted_gradients, 1e-7)


def test_gradients_equal_finite_differences():
    rng = np.random.default_rng(2)
    arrays = chain_arrays(rng, rows=6)
    arrays |= {name: arrays[name] + 0.3 * np.eye(3) for name in ("Q", "P0")}
    mask = rng.random((2, 6, 2)) > 0.3
    data = Observations(np.arange(6.0), rng.standard_normal((2, 6, 2)), mask)
    with framework("torch") as make:
        tensors = {name: make(array) for name, array in arrays.items()}
        noise = make(data.values)
        outputs = [to_numpy(out) for out in passes(LinearGaussian(**tensors), data._replace(values=noise))]
        weights = random_weights(outputs)
        _, gradients = values_and_gradients(arrays, data, "compiled", weights)

        def total(name, step):
            moved = {**arrays, name: arrays[name] + step}
            chain = LinearGaussian(**{name: make(array) for name, array in moved.items()}, driver="compiled")
            found = passes(chain, Observations(make(data.times), make(data.values), make(mask)))
            return sum(float((out * make(w)).sum()) for out, w in zip(found, weights, strict=True))

        for name, array in arrays.items():
            direction = rng.standard_normal(array.shape)
            if name in "QRP0":
                direction = direction + np.swapaxes(direction, -1, -2)
            step = 1e-6 * direction
            slope = (total(name, step) - total(name, -step)) / 2
            assert slope == pytest.approx((gradients[name] * step).sum(), rel=1e-6, abs=1e-9), name


def regular_chain(members, rows=2000):
    """A damped rotation seen through one channel, time-invariant, fully observed."""
    rng = np.random.default_rng(2)
    turn = 0.95 * np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    arrays = {
        "F": turn[None],
        "Q": 0.1 * np.array([[[1.0, 0.3], [0.3, 0.5]]]),
        "H": np.array([[[1.0, 0.2]]]),
        "R": np.array([[[0.7]]]),
        "m0": np.array([1.0, -1.0]),
        "P0": 10.0 * np.eye(2),
    }
    values = rng.standard_normal((members, rows, 1)).cumsum(axis=1) * 0.1
    return arrays, Observations(np.arange(float(rows)), values, np.ones(values.shape, dtype=bool))


@pytest.mark.parametrize("rows", [110, 2000])
def test_steady_state_changes_nothing_beyond_rounding(rows):
    arrays, data = regular_chain(2, rows=rows)
    weights = random_weights(passes(LinearGaussian(**arrays), data))
    on, gradients_on = values_and_gradients(arrays, data, "compiled", weights)
    off, gradients_off = values_and_gradients(arrays, data, "compiled", weights, steady_state=False)
    assert_all_close(on, off, 1e-11)
    assert_gradients_close(gradients_on, gradients_off, 1e-9)
    chain = LinearGaussian(**arrays)
    settled = int(chain.posterior(data).compiled.status[0, SETTLED])
    assert 3 < settled < 100
    if rows == 2000:
        covs = chain.smooth(data).covs[0]
        assert (covs[settled:1800] == covs[1000]).all()  # one covariance serves the middle
        assert not (LinearGaussian(**arrays, steady_state=False).smooth(data).covs[0, 200:1800] == covs[1000]).all()


def test_members_share_covariances_and_series_that_end_do_not():
    arrays, data = regular_chain(3, rows=40)
    posterior = LinearGaussian(**arrays).posterior(data)
    assert posterior.compiled.covs.shape == (1, 40, 2, 2)
    assert posterior.smoothed.covs.shape == (1, 40, 2, 2)
    mask = data.mask.copy()
    mask[1, 25:] = False
    ragged = data._replace(mask=mask)
    smoothed = LinearGaussian(**arrays).smooth(ragged)
    for s in range(3):
        alone = Observations(data.times, data.values[s], mask[s])
        wanted = LinearGaussian(**arrays, driver="sequential").smooth(alone)
        np.testing.assert_allclose(smoothed.means[s], wanted.means, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(smoothed.covs[s], wanted.covs, rtol=1e-10)


@pytest.mark.parametrize("kind", ["members", "groups", "draws"])
def test_threads_share_the_work(monkeypatch, kind):
    rng = np.random.default_rng(1)
    arrays = chain_arrays(rng)
    values = rng.standard_normal((1 if kind == "draws" else 96, 40, 2))
    mask = rng.random(values.shape) > 0.3 if kind == "groups" else np.ones(values.shape, dtype=bool)
    data = Observations(np.arange(40.0), values, mask)
    found = []
    for threads in (1, 3):
        for module in (kernels, kalman, kalman_passes):
            monkeypatch.setattr(module, "available_threads", lambda threads=threads: threads)
        monkeypatch.setattr(kernels, "_SMALL", 0)
        chain = LinearGaussian(**arrays, driver="compiled")
        found.append(passes(chain, data, num_draws=96))
        weights = random_weights(passes(chain, data))
        found.append(values_and_gradients(arrays, data, "compiled", weights)[1])
    assert_all_close(found[2], found[0], 1e-12)
    assert_gradients_close(found[3], found[1], 1e-11)


def test_many_threads_may_ask_at_once():
    import jax

    arrays, data = regular_chain(4, rows=60)
    wanted = passes(LinearGaussian(**arrays), data)
    found = {}
    with framework("jax") as make:
        leaves = {name: make(array) for name, array in arrays.items()}
        known = Observations(make(data.times), make(data.values), make(data.mask))
        ask = jax.jit(jax.grad(lambda F: LinearGaussian(**{**leaves, "F": F}).smooth(known).covs.sum()))
        slope = np.asarray(ask(leaves["F"]))

        def work(index):
            with jax.enable_x64(True):
                found[index] = [np.asarray(ask(leaves["F"])) for _ in range(10)]
                found[index, "host"] = passes(LinearGaussian(**arrays), data)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index in range(6):
        assert all((slopes == slope).all() for slopes in found[index])
        assert_all_close(found[index, "host"], wanted, 1e-14)


# Transforms.


def jax_sum(arrays, data, weights, noise, driver, F, Q):
    chain = LinearGaussian(**{**arrays, "F": F, "Q": Q}, driver=driver)
    draws = chain.draw_states(data, 3, fed(noise))
    outputs = [*chain.filter(data), *chain.smooth(data), draws]
    return sum((out * w).sum() for out, w in zip(outputs, weights, strict=True))


def test_transforms_of_jax_give_what_the_sequential_driver_gives():
    import jax

    rng = np.random.default_rng(5)
    arrays = chain_arrays(rng, rows=5)
    mask = rng.random((2, 5, 2)) > 0.2
    host = Observations(np.arange(5.0), rng.standard_normal((2, 5, 2)), mask)
    weights = random_weights(passes(LinearGaussian(**arrays), host))
    with framework("jax") as make:
        leaves = {name: make(array) for name, array in arrays.items()}
        data = Observations(make(host.times), make(host.values), make(mask))
        noise = make(rng.standard_normal((3, 2, 5, 3)))
        summed = partial(jax_sum, leaves, data, [make(w) for w in weights], noise)
        stacked = make(np.stack([arrays["F"] * f for f in (1.0, 0.8, 0.3)]))
        transforms = {
            "value and gradients": lambda f: jax.value_and_grad(f, (0, 1)),
            "mapped gradients": lambda f: lambda F, Q: jax.vmap(jax.grad(f, (0, 1)), (0, None))(stacked, Q),
            "gradient of a mapped sum": lambda f: jax.grad(
                lambda F, Q: jax.vmap(lambda a: f(a * F, Q))(make(np.arange(1.0, 4.0)) / 3).sum(), (0, 1)
            ),
            "second derivatives": lambda f: lambda F, Q: jax.jvp(lambda a: jax.grad(f)(a, Q), (F,), (F + 1.0,))[1],
        }
        for name, transform in transforms.items():
            found, wanted = (
                jax.jit(transform(partial(summed, driver)))(leaves["F"], leaves["Q"])
                for driver in ("compiled", "sequential")
            )
            for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                two = np.asarray(two)
                np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9 * np.abs(two).max(), err_msg=name)
        # The same numbers under torch, from the same noise.
        one = jax.value_and_grad(partial(summed, "compiled"), (0, 1))(leaves["F"], leaves["Q"])
        one = [np.asarray(part) for part in jax.tree.leaves(one)]
        noise = np.asarray(noise)
    import torch

    with framework("torch") as make:
        leaves = {name: make(array) for name, array in arrays.items()}
        data = Observations(make(host.times), make(host.values), make(mask))
        F, Q = (leaves[name].requires_grad_() for name in "FQ")
        total = jax_sum(leaves, data, [make(w) for w in weights], make(noise), "compiled", F, Q)
        two = [total.detach(), *torch.autograd.grad(total, (F, Q))]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * np.abs(a).max())


def test_second_derivatives_under_torch():
    import torch

    rng = np.random.default_rng(6)
    arrays = chain_arrays(rng, rows=5, n=2)
    values = rng.standard_normal((2, 5, 2))
    with framework("torch") as make:
        data = Observations(make(np.arange(5.0)), make(values), make(np.ones(values.shape, dtype=bool)))
        fixed = {name: make(array) for name, array in arrays.items()}

        def summed(driver, F):
            return sum((out**2).sum() for out in passes(LinearGaussian(**{**fixed, "F": F}, driver=driver), data))

        found, wanted = (
            torch.autograd.functional.hvp(partial(summed, driver), fixed["F"], fixed["F"] + 1.0)[1]
            for driver in ("compiled", "sequential")
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_single_precision_in_both_frameworks():
    arrays, data = regular_chain(2, rows=50)
    wanted = passes(LinearGaussian(**arrays), data)[:-1]
    for name in ("torch", "jax"):
        with framework(name, dtype="float32") as make:
            known = Observations(make(data.times), make(data.values), make(data.mask))
            chain = LinearGaussian(**{key: make(array) for key, array in arrays.items()}, driver="compiled")
            for one, two in zip(passes(chain, known)[:-1], wanted, strict=True):
                one = to_numpy(one)
                assert one.dtype == np.float32
                np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5 * np.abs(two).max())


# What the kernels cannot do.


def test_a_law_without_density_is_named_by_every_pass():
    arrays, data = regular_chain(3, rows=5)
    arrays["Q"] = 0.0 * arrays["Q"]
    arrays["R"] = np.zeros((3, 1, 1, 1))
    arrays["R"][[0, 2]] = 1.0
    for driver in ("auto", "compiled"):
        chain = LinearGaussian(**arrays, driver=driver)
        for ask in (
            chain.filter,
            chain.smooth,
            lambda data, chain=chain: chain.draw_states(data, 1, random_source(0, data.values)),
        ):
            with pytest.raises(NoDensityError, match="series 1, row 2"):
                ask(data)


def test_the_compiled_driver_refuses_and_auto_goes_the_generic_way():
    import torch

    arrays, data = regular_chain(1, rows=5)
    diffuse = LinearGaussian(**arrays, diffuse=np.eye(2), driver="compiled")
    for ask in (diffuse.filter, diffuse.smooth):
        with pytest.raises(CapabilityError, match="knows no `diffuse` start"):
            ask(data)
    assert np.isfinite(LinearGaussian(**arrays, diffuse=np.eye(2)).smooth(data).covs).all()
    with framework("torch") as make:
        leaves = {name: make(array) for name, array in arrays.items()}
        known = Observations(make(data.times), make(data.values), make(data.mask))

        def total(driver, F):
            return LinearGaussian(**{**leaves, "F": F}, driver=driver).smooth(known).covs.sum()

        with pytest.raises(CapabilityError, match=r"inside `torch\.func`"):
            torch.func.grad(partial(total, "compiled"))(leaves["F"])
        F = leaves["F"].clone().requires_grad_()
        (wanted,) = torch.autograd.grad(total("compiled", F), F)
        np.testing.assert_allclose(torch.func.grad(partial(total, "auto"))(leaves["F"]), wanted, rtol=1e-9)
