"""The compiled Kalman filter: broadcasting, threads, steady state, transforms, single precision, concurrency."""

import threading
from functools import partial

import numpy as np
import pytest

from dynplat.arrays import Observations, framework, to_numpy
from dynplat.errors import CapabilityError, NoDensityError
from dynplat.process import LinearGaussian, kalman
from dynplat.scan.kernels import kernel as kernels
from dynplat.scan.kernels.kalman import KALMAN
from dynplat.scan.kernels.kalman_forward import CAREFUL, OUTCOME, SETTLED, SINGULAR, SOUND

NAMES = ("F", "Q", "H", "R", "m0", "P0", "c", "d")


def covariance(rng, n, *lead):
    root = rng.standard_normal((*lead, n, n))
    return root @ np.swapaxes(root, -1, -2) / n + 0.1 * np.eye(n)


def chain_arrays(rng, own=(), *, n=3, p=2, rows=1):
    return {
        "F": 0.4 * rng.standard_normal((*own, rows, n, n)),
        "Q": covariance(rng, n, *own, rows),
        "H": rng.standard_normal((rows, p, n)),
        "R": covariance(rng, p, rows),
        "m0": rng.standard_normal((*own, n)),
        "P0": covariance(rng, n),
        "c": rng.standard_normal((rows, n)),
        "d": rng.standard_normal((rows, p)),
    }


def value_and_gradients(arrays, observations, driver, weights=None, **options):
    """Terms of the log density under torch, and gradients of their weighted sum."""
    import torch

    with framework("torch", dtype=str(arrays["F"].dtype)) as make:
        leaves = {name: make(array).requires_grad_() for name, array in arrays.items()}
        data = Observations(make(observations.times), make(observations.values), make(observations.mask))
        steps = LinearGaussian(**leaves, driver=driver, **options).log_prob_steps(data)
        total = (steps if weights is None else steps * make(weights)).sum()
        gradients = torch.autograd.grad(total, list(leaves.values()))
        return to_numpy(steps), {name: to_numpy(g) for name, g in zip(leaves, gradients, strict=True)}


def assert_close(found, wanted, rtol):
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=rtol * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("holes", ["none", "everywhere", "shared", "ragged", "ragged and shared"])
@pytest.mark.parametrize(
    ("own", "lead"), [((), ()), ((1,), (5,)), ((3, 1), (3, 5)), ((3, 1), (5,)), ((2, 1, 1), (4, 5)), ((5,), (5,))]
)
def test_leading_axes_become_groups_and_members(own, lead, holes):
    rng = np.random.default_rng(0)
    arrays = chain_arrays(rng, own)
    values = rng.standard_normal((*lead, 12, 2))
    mask = np.ones(values.shape, dtype=bool)
    if holes == "everywhere":
        mask = rng.random(values.shape) > 0.3
    if "shared" in holes:
        mask[..., 3, :] = False
        mask[..., 7, 1] = False
    if "ragged" in holes:
        mask &= np.arange(12)[:, None] < rng.integers(0, 13, lead)[..., None, None]
    observations = Observations(np.arange(12.0), np.where(mask, values, 0.0), mask)
    weights = rng.standard_normal(12)
    steps, gradients = value_and_gradients(arrays, observations, "compiled", weights)
    wanted_steps, wanted = value_and_gradients(arrays, observations, "sequential", weights)
    assert steps.shape == wanted_steps.shape
    np.testing.assert_allclose(steps, wanted_steps, rtol=1e-10, atol=1e-12)
    assert_close(gradients, wanted, 1e-10)
    host = LinearGaussian(**arrays, driver="compiled").log_prob_steps(observations)
    np.testing.assert_array_equal(host, steps)


# Below, at and above the widths of vectors that the kernel takes: 2 rows; 4 and 16 columns; 8 and 16 members.
@pytest.mark.parametrize(
    ("n", "p", "members"), [(1, 1, 2), (2, 2, 9), (5, 3, 17), (16, 8, 40), (17, 5, 16), (12, 1, 1), (33, 2, 3)]
)
def test_any_number_of_states_channels_and_members(n, p, members):
    rng = np.random.default_rng(11)
    arrays = chain_arrays(rng, n=n, p=p, rows=7)
    arrays["F"] /= np.sqrt(n)
    mask = rng.random((7, p)) > 0.3
    lengths = rng.integers(0, 8, members)
    mask = mask & (np.arange(7)[:, None] < lengths[:, None, None])
    values = np.where(mask, rng.standard_normal((members, 7, p)), 0.0)
    weights = rng.standard_normal((members, 7))
    arrays["m0"] = rng.standard_normal((members, n))
    observations = Observations(np.arange(7.0), values, mask)
    steps, gradients = value_and_gradients(arrays, observations, "compiled", weights)
    wanted_steps, wanted = value_and_gradients(arrays, observations, "sequential", weights)
    np.testing.assert_allclose(steps, wanted_steps, rtol=1e-10, atol=1e-12)
    assert_close(gradients, wanted, 1e-10)


def ragged_batch():
    rng = np.random.default_rng(5)
    lengths = np.array([30, 0, 12, 29, 1])
    mask = np.ones((5, 30, 2), dtype=bool)
    mask[:, 3, 0] = False
    mask &= np.arange(30)[:, None] < lengths[:, None, None]
    return chain_arrays(rng), Observations(np.arange(30.0), np.where(mask, rng.standard_normal(mask.shape), 0.0), mask)


def test_series_that_only_end_at_different_rows_share_their_covariances(monkeypatch):
    arrays, observations = ragged_batch()
    seen = []
    run = KALMAN.run
    monkeypatch.setattr(type(KALMAN), "run", lambda self, inputs, **kw: seen.append(inputs) or run(inputs, **kw))
    LinearGaussian(**arrays).log_prob_steps(observations)
    # Holes that differ otherwise, and a hole in one series only.
    mask = np.array(observations.mask)
    mask[0, 20, 1] = False
    LinearGaussian(**arrays).log_prob_steps(observations._replace(mask=mask))
    shared, apart = seen
    assert shared.mask.shape[0] == 1
    assert shared.lengths.tolist() == [[30, 0, 12, 29, 1]]
    assert apart.mask.shape[0] == 5


def test_a_ragged_batch_under_jax_and_after_its_ends():
    import jax

    arrays, observations = ragged_batch()
    with framework("jax") as make:
        leaves = {name: make(array) for name, array in arrays.items()}

        def total(leaves, values, driver):
            data = Observations(make(observations.times), values, observations.mask)
            return LinearGaussian(**leaves, driver=driver).log_prob_steps(data).sum()

        values = make(observations.values)
        found, gradients = jax.jit(jax.value_and_grad(partial(total, driver="compiled"), (0, 1)))(leaves, values)
        wanted, slow = jax.value_and_grad(partial(total, driver="sequential"), (0, 1))(leaves, values)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert_close(gradients[0], slow[0], 1e-10)
        np.testing.assert_allclose(gradients[1], slow[1], rtol=1e-10, atol=1e-12)
        assert (np.asarray(gradients[1])[~observations.mask] == 0.0).all()
        # Whatever stands after the end of a series, it is not read.
        filled = np.where(observations.mask, observations.values, np.nan)
        assert total(leaves, make(filled), "compiled") == total(leaves, values, "compiled")
        hessian = jax.hessian(partial(total, driver="compiled"))(leaves, values)["R"]["Q"]
        expected = jax.hessian(partial(total, driver="sequential"))(leaves, values)["R"]["Q"]
        np.testing.assert_allclose(hessian, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_threads_share_groups_and_members(monkeypatch, grouped):
    rng = np.random.default_rng(1)
    arrays = chain_arrays(rng)
    values = rng.standard_normal((96, 40, 2))
    mask = rng.random(values.shape) > 0.3 if grouped else np.ones(values.shape, dtype=bool)
    observations = Observations(np.arange(40.0), values, mask)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(kernels, "available_threads", lambda threads=threads: threads)
        monkeypatch.setattr(kalman, "available_threads", lambda threads=threads: threads)
        monkeypatch.setattr(kernels, "_SMALL", 0)
        found.append(value_and_gradients(arrays, observations, "compiled"))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-12)
    assert_close(found[1][1], found[0][1], 1e-12)


def regular_chain(damping, noise, members, rows=2000):
    """A damped rotation seen through one channel, time-invariant, fully observed."""
    rng = np.random.default_rng(2)
    turn = damping * np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    arrays = {
        "F": turn[None],
        "Q": noise * np.array([[[1.0, 0.3], [0.3, 0.5]]]),
        "H": np.array([[[1.0, 0.2]]]),
        "R": np.array([[[0.7]]]),
        "m0": np.array([1.0, -1.0]),
        "P0": 10.0 * np.eye(2),
        "c": np.array([[0.1, 0.0]]),
        "d": np.array([[0.3]]),
    }
    values = rng.standard_normal((members, rows, 1)).cumsum(axis=1) * 0.1
    return arrays, Observations(np.arange(float(rows)), values, np.ones(values.shape, dtype=bool))


def settled_row(arrays, observations):
    laid, _ = kalman.kalman_inputs(
        LinearGaussian(**arrays).parameters, observations.values, None, None, steady_state=True
    )
    return KALMAN.run(laid, keep=True)[-1][0, SETTLED]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("damping", "noise"), [(0.5, 1.0), (0.95, 0.1), (0.99, 1e-3), (1.0, 1e-2), (1.05, 0.1)])
def test_steady_state_changes_nothing_beyond_rounding(damping, noise, members):
    arrays, observations = regular_chain(damping, noise, members)
    weights = np.random.default_rng(3).standard_normal(2000)
    on, gradients_on = value_and_gradients(arrays, observations, "compiled", weights)
    off, gradients_off = value_and_gradients(arrays, observations, "compiled", weights, steady_state=False)
    assert 3 < settled_row(arrays, observations) < 1500
    assert abs(on.sum() - off.sum()) <= 1e-12 * abs(off.sum())
    np.testing.assert_allclose(on, off, rtol=1e-11, atol=1e-11)
    # The adjoint of the rows before the steady state is a small number left by a sum of large ones.
    assert_close(gradients_on, gradients_off, 1e-9)


def test_a_steady_state_just_before_the_end_needs_no_covariance_after_it():
    """Every row still reaches the first steady one, so all run the matrix recursion: on the covariance that stands."""
    arrays, observations = regular_chain(0.95, 0.1, 1)
    rows = settled_row(arrays, observations) + 20
    arrays, observations = regular_chain(0.95, 0.1, 1, rows=rows)
    laid, _ = kalman.kalman_inputs(
        LinearGaussian(**arrays).parameters, observations.values, None, None, steady_state=True
    )
    outputs = KALMAN.run(laid, keep=True)
    settled = outputs[-1][0, SETTLED]
    assert settled == rows - 20
    for output in outputs[3:6]:
        output[:, settled + 1 :] = np.nan  # what is not written may hold anything
    gradients = KALMAN.pull_back(laid, outputs, [np.ones_like(outputs[0])], [True] * 8)
    _, wanted = value_and_gradients(arrays, observations, "compiled", steady_state=False)
    assert_close({"F": gradients[0][0], "Q": gradients[1][0]}, {name: wanted[name] for name in "FQ"}, 1e-10)


def test_a_chain_that_forgets_too_slowly_never_stands_still():
    """Rounding would add up over 1 / (1 - 0.9999998^2) rows: the recursion goes on."""
    arrays, observations = regular_chain(0.9999999, 1e-14, 1, rows=300)
    arrays["P0"] = 1e-8 * np.eye(2)
    assert settled_row(arrays, observations) == 300


def test_single_precision_stays_close_over_long_series():
    arrays, observations = regular_chain(0.97, 0.1, 1, rows=100_000)
    double = LinearGaussian(**arrays, driver="compiled").log_prob(observations)
    single = {name: array.astype(np.float32) for name, array in arrays.items()}
    for steady_state in (True, False):
        chain = LinearGaussian(**single, driver="compiled", steady_state=steady_state)
        rough = chain.log_prob_steps(observations._replace(values=observations.values.astype(np.float32)))
        assert rough.dtype == np.float32
        assert abs(rough.sum(dtype=np.float64) - double.sum()) < 1e-4 * abs(double.sum())


@pytest.mark.parametrize(("dtype", "start", "noise"), [(np.float32, 1e2, 1e-1), (np.float64, 1e8, 1e-3)])
def test_filtered_covariances_stay_positive_semidefinite(dtype, start, noise):
    """A wide start meets precise sensors that say nearly the same: the classical break of P - K H P."""
    rng = np.random.default_rng(4)
    n, p, rows = 5, 3, 200
    H = np.ones((1, p, n)) + 0.1 * rng.standard_normal((1, p, n))
    arrays = {
        "F": (0.999 * np.linalg.qr(rng.standard_normal((n, n)))[0])[None],
        "Q": 1e-6 * np.eye(n)[None],
        "H": H,
        "R": noise * np.eye(p)[None],
        "m0": np.zeros(n),
        "P0": start * np.eye(n),
    }
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    values = rng.standard_normal((rows, p)).astype(dtype)
    laid, _ = kalman.kalman_inputs(LinearGaussian(**arrays).parameters, values, None, None, steady_state=False)
    outputs = KALMAN.run(laid, keep=True)
    covs = outputs[3][0].astype(np.float64)
    scale = np.sqrt(np.einsum("tii->ti", covs))
    correlations = covs / scale[:, :, None] / scale[:, None, :]
    assert np.linalg.eigvalsh(correlations).min() > -16 * np.finfo(dtype).eps
    assert np.isfinite(outputs[0]).all()
    assert outputs[-1][0, OUTCOME] != SINGULAR


def test_a_suspicious_pivot_is_judged_by_the_careful_run():
    """A start so wide that its rounding might be all of R: the quick test gives up, the careful run finds it sound."""
    arrays, observations = regular_chain(0.9, 0.1, 1, rows=50)
    arrays["P0"] = 1e13 * np.eye(2)
    laid, _ = kalman.kalman_inputs(
        LinearGaussian(**arrays).parameters, observations.values, None, None, steady_state=True
    )
    outputs = KALMAN.run(laid, keep=True)
    assert outputs[-1][0, OUTCOME] == CAREFUL
    wanted = LinearGaussian(**arrays, driver="sequential").log_prob_steps(observations)
    np.testing.assert_allclose(outputs[0][:, :, 0], wanted, rtol=1e-4, atol=1e-4)
    arrays["P0"] = np.eye(2)
    laid = laid._replace(P0=arrays["P0"][None])
    assert KALMAN.run(laid, keep=True)[-1][0, OUTCOME] == SOUND


def test_one_series_without_density_is_named_among_sound_ones():
    arrays, observations = regular_chain(0.9, 0.0, 3, rows=5)
    arrays["R"] = np.zeros((3, 1, 1, 1))
    arrays["R"][[0, 2]] = 1.0
    with pytest.raises(NoDensityError, match="series 1, row 2"):
        LinearGaussian(**arrays).log_prob(observations)


def jax_log_prob(arrays, driver, data, **moved):
    return LinearGaussian(**{**arrays, **moved}, driver=driver).log_prob(data)


def test_transforms_of_jax_give_what_the_sequential_driver_gives():
    import jax

    rng = np.random.default_rng(5)
    arrays = chain_arrays(rng, rows=8)
    values = rng.standard_normal((2, 8, 2))
    with framework("jax") as make:
        arrays = {name: make(array) for name, array in arrays.items()}
        data = Observations(make(np.arange(8.0)), make(values), make(rng.random(values.shape) > 0.2))
        stacked = make(np.stack([np.asarray(arrays["F"]) * f for f in (1.0, 0.8, 0.3)]))

        def summed(driver, F, m0):
            return jax_log_prob(arrays, driver, data, F=F, m0=m0).sum()

        transforms = {
            "hessian": lambda f: jax.hessian(f, (0, 1)),
            "reverse twice": lambda f: jax.jacrev(jax.grad(f, 1), 1),
            "mapped gradients": lambda f: lambda F, m0: jax.vmap(jax.grad(f, (0, 1)), (0, None))(stacked, m0),
            "gradient of a mapped sum": lambda f: jax.grad(
                lambda F, m0: jax.vmap(lambda a: f(a * F, m0))(make(np.arange(1.0, 4.0)) / 3).sum(), (0, 1)
            ),
            "rematerialised": lambda f: jax.grad(jax.checkpoint(f), 1),
        }
        for name, transform in transforms.items():
            found, wanted = (
                jax.jit(transform(partial(summed, driver)))(arrays["F"], arrays["m0"])
                for driver in ("compiled", "sequential")
            )
            for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                two = np.asarray(two)
                np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9 * np.abs(two).max(), err_msg=name)


def test_single_precision_under_jax_without_its_x64_switch():
    arrays, observations = regular_chain(0.9, 0.1, 2, rows=50)
    wanted = LinearGaussian(**arrays).log_prob(observations)
    with framework("jax", dtype="float32") as make:
        data = Observations(make(observations.times), make(observations.values), make(observations.mask))
        found = LinearGaussian(**{name: make(a) for name, a in arrays.items()}, driver="compiled").log_prob(data)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_second_derivatives_under_torch():
    import torch

    rng = np.random.default_rng(6)
    arrays = chain_arrays(rng, rows=8)
    values = rng.standard_normal((2, 8, 2))
    with framework("torch") as make:
        data = Observations(make(np.arange(8.0)), make(values), make(np.ones(values.shape, dtype=bool)))
        fixed = {name: make(array) for name, array in arrays.items()}

        def summed(driver, F):
            return LinearGaussian(**{**fixed, "F": F}, driver=driver).log_prob(data).sum()

        found, wanted = (
            torch.autograd.functional.hessian(partial(summed, driver), fixed["F"])
            for driver in ("compiled", "sequential")
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


def test_many_threads_may_call_at_once():
    arrays, observations = regular_chain(0.95, 0.1, 40, rows=200)
    wanted = LinearGaussian(**arrays).log_prob(observations)
    found = {}

    def work(index):
        for _ in range(20):
            found[index] = LinearGaussian(**arrays, driver="compiled").log_prob(observations)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for value in found.values():
        np.testing.assert_array_equal(value, wanted)


def test_the_compiled_driver_says_where_it_cannot_run():
    import torch

    arrays, observations = regular_chain(0.9, 0.1, 1, rows=5)
    with framework("torch") as make:
        tensors = {name: make(a) for name, a in arrays.items()}
        data = Observations(make(observations.times), make(observations.values), make(observations.mask))
        with pytest.raises(CapabilityError, match=r"`driver='compiled'` can't run here: inside `torch\.func`"):
            torch.func.grad(lambda F: LinearGaussian(**{**tensors, "F": F}, driver="compiled").log_prob(data).sum())(
                tensors["F"]
            )
        meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
        with pytest.raises(CapabilityError, match="the tensors are on meta"):
            LinearGaussian(**meta, driver="compiled").log_prob(Observations(*(part.to("meta") for part in data[:3])))
    with pytest.raises(CapabilityError, match="knows no `diffuse` start"):
        LinearGaussian(**arrays, diffuse=np.eye(2), driver="compiled").log_prob(observations)


def test_arrays_that_may_not_be_written_to_need_no_other_compilation():
    from dynplat.scan.kernels.kalman_forward import forward

    arrays, observations = regular_chain(0.9, 0.1, 1, rows=5)
    wanted = LinearGaussian(**arrays).log_prob(observations)
    before = len(forward.signatures)
    for array in (*arrays.values(), observations.values):
        array.setflags(write=False)
    assert LinearGaussian(**arrays).log_prob(observations) == wanted
    assert len(forward.signatures) == before
