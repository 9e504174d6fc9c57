"""The linear-Gaussian chain against other libraries' numbers, published values, and derivatives."""

import numpy as np
import pytest

from dynplat.arrays import Observations, framework
from dynplat.errors import ArgumentError, CapabilityError, NoDensityError
from dynplat.process import LinearGaussian
from dynplat.testing.generators import random_linear_gaussian
from dynplat.testing.references import dense_linear_gaussian

ONE = np.ones((1, 1))


def observe(values, mask=None):
    values = np.asarray(values, dtype=float)
    values = values if values.ndim > 1 else values[:, None]
    mask = np.isfinite(values) if mask is None else mask
    return Observations(np.arange(float(values.shape[-2])), np.where(mask, values, 0.0), mask)


@pytest.fixture(scope="module")
def nile():
    import statsmodels.datasets

    return observe(statsmodels.datasets.nile.load_pandas().data["volume"].to_numpy())


@pytest.mark.parametrize("driver", ["sequential", "balanced", "compiled"])
def test_log_prob_and_moments_equal_statsmodels_with_missing_data(driver):
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    rng = np.random.default_rng(0)
    for n, p, size in ((1, 1, 30), (3, 2, 60), (5, 4, 40)):
        system = random_linear_gaussian(
            rng,
            num_states=n,
            num_channels=p,
            num_steps=size,
            time_varying=False,
            exact_channels=False,
            missing=0.3,
            with_inputs=False,
        )
        a = {name: array[:1] if name in "FQHRcd" else array for name, array in system.parameters.items()}
        peer = KalmanSmoother(p, n, k_posdef=n)
        peer.bind(np.where(system.mask, system.values, np.nan).T.copy(order="F"))
        peer["transition"], peer["state_intercept"] = a["F"][0], a["c"].T
        peer["selection"], peer["state_cov"] = np.eye(n), a["Q"][0]
        peer["design"], peer["obs_intercept"], peer["obs_cov"] = a["H"][0], a["d"].T, a["R"][0]
        peer.initialize_known(a["m0"], a["P0"])
        assert isinstance(peer, KalmanFilter)
        result = peer.smooth()
        chain = LinearGaussian(**a, driver=driver)
        observations = Observations(system.times, system.values, system.mask)
        steps, smoothed, filtered = (
            chain.log_prob_steps(observations),
            chain.smooth(observations),
            chain.filter(observations),
        )
        # statsmodels counts log 2 pi for observed cells only.
        np.testing.assert_allclose(steps, result.llf_obs, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(smoothed.means, result.smoothed_state.T, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(smoothed.covs, np.moveaxis(result.smoothed_state_cov, -1, 0), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(filtered.means, result.filtered_state.T, rtol=1e-8, atol=1e-9)
        predicted = np.moveaxis(result.predicted_state_cov, -1, 0)[:-1]
        np.testing.assert_allclose(filtered.predicted_covs, predicted, rtol=1e-8, atol=1e-9)


# The loader of pykalman leaves its file open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("driver", ["sequential", "balanced", "compiled"])
def test_filter_and_smoother_equal_the_robot_arrays_of_pykalman(driver):
    from pykalman.datasets import load_robot

    data = load_robot()
    transition_offsets = np.concatenate([np.zeros((1, 5)), data.transition_offsets])
    chain = LinearGaussian(
        data.transition_matrix[None],
        data.transition_covariance[None],
        data.observation_matrix[None],
        data.observation_covariance[None],
        np.asarray(data.initial_state_mean, dtype=float),
        data.initial_state_covariance,
        transition_offsets,
        data.observation_offset[None],
        driver=driver,
    )
    mask = ~np.ma.getmaskarray(data.observations)
    observations = Observations(np.arange(501.0), np.where(mask, np.ma.getdata(data.observations), 0.0), mask)
    filtered, smoothed = chain.filter(observations), chain.smooth(observations)
    np.testing.assert_allclose(filtered.means[:500], data.filtered_state_means[:500], rtol=0, atol=1e-7)
    np.testing.assert_allclose(filtered.covs[:500], data.filtered_state_covariances[:500], rtol=0, atol=1e-7)
    np.testing.assert_allclose(smoothed.means, data.smoothed_state_means, rtol=0, atol=1e-7)
    np.testing.assert_allclose(smoothed.covs, data.smoothed_state_covariances, rtol=0, atol=1e-7)


def test_nile_with_an_exact_diffuse_start_reaches_the_textbook_maximum(nile):
    """Durbin and Koopman (2012), section 2.10: -632.5456 at 15098.5 and 1469.2."""
    from scipy.optimize import minimize

    def chain(r, q):
        return LinearGaussian.time_invariant(ONE, q * ONE, ONE, r * ONE, np.zeros(1), 0 * ONE, diffuse=ONE)

    assert round(float(chain(15098.5, 1469.2).log_prob(nile)), 4) == -632.5456
    best = minimize(
        lambda x: -float(chain(*np.exp(x)).log_prob(nile)), np.log([1e4, 1e3]), method="Nelder-Mead", tol=1e-10
    )
    assert round(-best.fun, 4) == -632.5456
    np.testing.assert_allclose(np.exp(best.x), [15098.5, 1469.2], rtol=3e-4)


def test_nile_with_a_vague_start_reaches_the_textbook_maximum(nile):
    """The start N(0, 1e6) with the first term dropped: -632.5377 at 15108.3 and 1463.5."""
    from scipy.optimize import minimize

    def value(x):
        r, q = np.exp(x)
        chain = LinearGaussian.time_invariant(ONE, q * ONE, ONE, r * ONE, np.zeros(1), 1e6 * ONE)
        return -float(chain.log_prob_steps(nile)[1:].sum())

    best = minimize(value, np.log([1e4, 1e3]), method="Nelder-Mead", tol=1e-10)
    assert round(-best.fun, 4) == -632.5377
    np.testing.assert_allclose(np.exp(best.x), [15108.3, 1463.5], rtol=3e-4)


def test_nile_is_the_same_in_torch_and_jax_with_gradients(nile):
    import jax
    import torch

    grads = {}
    with framework("torch") as make:
        q = torch.tensor([[1469.2]], dtype=torch.float64, requires_grad=True)
        rest = [make(a) for a in (ONE, 15098.5 * ONE, np.zeros(1), 0 * ONE)]
        one, r, m0, P0 = rest
        chain = LinearGaussian.time_invariant(one, q, one, r, m0, P0, diffuse=one)
        value = chain.log_prob(Observations(*(None if x is None else make(x) for x in nile)))
        value.backward()
        grads["torch"] = (float(value.detach()), float(q.grad))
    with framework("jax") as make:
        one, r, m0, P0 = [make(a) for a in (ONE, 15098.5 * ONE, np.zeros(1), 0 * ONE)]
        observations = Observations(*(None if x is None else make(x) for x in nile))

        def log_prob(q):
            return LinearGaussian.time_invariant(one, q, one, r, m0, P0, diffuse=one).log_prob(observations)

        value, grad = jax.jit(jax.value_and_grad(log_prob))(make(1469.2 * ONE))
        grads["jax"] = (float(value), float(grad[0, 0]))
    np.testing.assert_allclose(grads["torch"], grads["jax"], rtol=1e-9)
    np.testing.assert_allclose(grads["torch"][0], -632.545625103235, rtol=1e-12)

    def numpy_value(q):
        chain = LinearGaussian.time_invariant(ONE, q * ONE, ONE, 15098.5 * ONE, np.zeros(1), 0 * ONE, diffuse=ONE)
        return float(chain.log_prob(nile))

    np.testing.assert_allclose(
        grads["torch"][1], (numpy_value(1470.2) - numpy_value(1468.2)) / 2.0, rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("driver", ["sequential", "balanced"])
def test_diffuse_starts_equal_the_dense_limit(driver):
    """Several directions, several channels, some exact, some missing, P0 zero or not; the twin is in mpmath."""
    rng = np.random.default_rng(5)
    compared = 0
    for i in range(12):
        n = int(rng.integers(1, 4))
        system = random_linear_gaussian(
            rng,
            num_states=n,
            num_channels=int(rng.integers(1, 3)),
            num_steps=int(rng.integers(3, 7)),
            exact_channels=bool(i % 2),
            missing=0.3,
        )
        parameters = dict(system.parameters)
        if i % 3 == 0:
            parameters["P0"] = 0 * parameters["P0"]
        A = rng.standard_normal((n, int(rng.integers(1, n + 1))))
        observations = Observations(system.times, system.values, system.mask, system.inputs)
        chain = LinearGaussian(**parameters, diffuse=A, driver=driver)
        try:
            twin = dense_linear_gaussian(
                **parameters, values=system.values, mask=system.mask, inputs=system.inputs, diffuse=A, digits=120
            )
        except ArgumentError:
            with pytest.raises(NoDensityError):
                chain.log_prob(observations)
            continue
        np.testing.assert_allclose(chain.log_prob_steps(observations), twin.log_prob_steps, rtol=1e-9, atol=1e-9)
        if np.abs(twin.covs).max() > 1e10:
            with pytest.raises(NoDensityError, match="do not determine every direction"):
                chain.smooth(observations)
            continue
        smoothed = chain.smooth(observations)
        compared += 1
        for got, wanted in ((smoothed.means, twin.means), (smoothed.covs, twin.covs)):
            np.testing.assert_allclose(got, wanted, atol=1e-9 * max(1.0, np.abs(wanted).max()))
    assert compared >= 6


def test_a_diffuse_chain_has_infinite_variance_before_data_and_cannot_be_simulated(nile):
    from dynplat.arrays import random_source

    chain = LinearGaussian.time_invariant(ONE, ONE, ONE, ONE, np.zeros(1), 0 * ONE, diffuse=ONE)
    filtered = chain.filter(nile)
    assert np.isinf(filtered.predicted_covs[0, 0, 0])
    np.testing.assert_allclose(filtered.covs[0, 0, 0], 1.0, rtol=1e-12)
    with pytest.raises(CapabilityError, match="diffuse"):
        chain.sample(nile.times, random=random_source(0, ONE))
    blind = nile._replace(mask=np.zeros_like(nile.mask))
    assert chain.log_prob(blind) == 0.0
    with pytest.raises(NoDensityError, match="do not determine"):
        chain.smooth(blind)


def test_gradients_equal_finite_differences_under_all_drivers_and_frameworks():
    import jax
    import torch

    system = random_linear_gaussian(
        np.random.default_rng(11),
        num_states=3,
        num_channels=2,
        num_steps=20,
        time_varying=False,
        singular_noise=True,
        exact_channels=False,
        missing=0.3,
        with_inputs=False,
    )
    names = ("F", "Q", "H", "R", "m0", "P0", "c", "d")
    a = {name: np.array(system.parameters[name][:1] if name in "FQHRcd" else system.parameters[name]) for name in names}
    observations = Observations(system.times, system.values, system.mask)
    rng = np.random.default_rng(12)
    ways = {name: rng.standard_normal(a[name].shape) for name in names}
    for name in "QR":
        ways[name] = ways[name] + np.swapaxes(ways[name], -1, -2)
    ways["P0"] = ways["P0"] + ways["P0"].T

    def moved(name, step):
        return float(LinearGaussian(**{**a, name: a[name] + step * ways[name]}).log_prob(observations))

    # Central differences of order four; Q is singular, so the step must stay small and the chain's value smooth there.
    h = 1e-3
    slopes = {
        name: (8 * (moved(name, h) - moved(name, -h)) - (moved(name, 2 * h) - moved(name, -2 * h))) / (12 * h)
        for name in names
    }
    found = {}
    for driver in ("sequential", "balanced", "compiled"):
        with framework("torch") as make:
            leaves = {name: make(a[name]).requires_grad_() for name in names}
            data = Observations(make(observations.times), make(observations.values), make(observations.mask))
            LinearGaussian(**leaves, driver=driver).log_prob(data).backward()
            found["torch", driver] = {name: leaves[name].grad.numpy() for name in names}
    with framework("jax") as make:
        data = Observations(make(observations.times), make(observations.values), make(observations.mask))
        for driver in ("sequential", "compiled"):
            grad = jax.jit(jax.grad(lambda p, driver=driver: LinearGaussian(**p, driver=driver).log_prob(data)))
            found["jax", driver] = {k: np.asarray(v) for k, v in grad({k: make(v) for k, v in a.items()}).items()}
    first = found["torch", "sequential"]
    for grads in found.values():
        for name in names:
            slope = float((grads[name] * ways[name]).sum())
            assert abs(slope - slopes[name]) <= 1e-6 * max(1.0, abs(slopes[name])), name
            np.testing.assert_allclose(grads[name], first[name], rtol=1e-9, atol=1e-9 * np.abs(first[name]).max())
    assert torch.is_grad_enabled()


def test_gradient_is_finite_where_everything_is_singular():
    """Deterministic states (Q = 0), an exact channel, a row with nothing observed."""
    import torch

    with framework("torch") as make:
        F = make(np.array([[0.9, 0.1], [0.0, 0.8]])).requires_grad_()
        values, mask = np.ones((5, 2)), np.ones((5, 2), dtype=bool)
        mask[1:, 0] = False
        mask[3] = False
        for driver in ("sequential", "balanced", "compiled"):
            chain = LinearGaussian.time_invariant(
                F,
                0 * F.detach(),
                make(np.eye(2)),
                make(np.diag([0.0, 1.0])),
                make(np.zeros(2)),
                make(np.eye(2)),
                driver=driver,
            )
            (grad,) = torch.autograd.grad(
                chain.log_prob(Observations(make(np.arange(5.0)), make(values), make(mask))), F
            )
            assert torch.isfinite(grad).all()
            assert grad.abs().max() > 0
