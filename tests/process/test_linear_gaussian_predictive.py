"""Draws, simulation and prediction of the linear-Gaussian chain.

Statistical tests compare an average of N draws with its exact expectation by a z-score and allow 5; with the number of
comparisons made here, the false alarm probability of the whole file is below 1e-3, and seeds are fixed.
"""

import numpy as np
import pytest
from scipy.stats import norm

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process import GaussianPredictive, LinearGaussian
from dynplat.testing.generators import random_linear_gaussian
from dynplat.testing.references import dense_linear_gaussian

FRAMEWORKS = ("numpy", "torch", "jax")
NUM_DRAWS, Z = 20_000, 5.0


def observations_of(system):
    return Observations(system.times, system.values, system.mask, system.inputs)


def convert(parameters, observations, make):
    parameters = {name: make(value) for name, value in parameters.items()}
    return parameters, Observations(*(None if part is None else make(part) for part in observations))


def assert_moments(draws, mean, cov):
    """Means and covariances of draws (N, k) within Z standard errors; what has no variance is met to rounding."""
    draws = draws - mean
    sd = np.sqrt(np.clip(np.diagonal(cov), 0.0, None))
    error = sd / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0)) <= Z * error + 1e-6).all()
    found = draws.T @ draws / len(draws)
    spread = np.sqrt((np.outer(sd**2, sd**2) + cov**2) / len(draws))
    assert (np.abs(found - cov) <= Z * spread + 1e-6).all()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_draws_have_the_joint_moments_of_the_dense_gaussian(name):
    """Jointly over all rows, with singular Q, exact channels, holes and inputs."""
    rng = np.random.default_rng(21)
    done = 0
    while done < (3 if name != "jax" else 1):
        system = random_linear_gaussian(
            rng, num_states=3, num_channels=2, num_steps=6, singular_noise=True, exact_channels=True, missing=0.4
        )
        try:
            twin = dense_linear_gaussian(
                **system.parameters, values=system.values, mask=system.mask, inputs=system.inputs
            )
        except ArgumentError:
            continue
        if twin.smallest_pivot < 1e-6:
            continue
        done += 1
        with framework(name) as make:
            parameters, observations = convert(system.parameters, observations_of(system), make)
            chain = LinearGaussian(**parameters)
            draws = to_numpy(chain.draw_states(observations, NUM_DRAWS, random_source(done, observations.values)))
        assert draws.shape == (NUM_DRAWS, 6, 3)
        assert_moments(draws.reshape(NUM_DRAWS, 18), twin.means.reshape(18), twin.joint_cov.reshape(18, 18))


def test_draws_under_both_drivers_are_the_same():
    system = random_linear_gaussian(np.random.default_rng(3), num_states=2, num_channels=1, num_steps=12, missing=0.3)
    draws = [
        LinearGaussian(**system.parameters, driver=driver).draw_states(
            observations_of(system), 5, random_source(0, system.values)
        )
        for driver in ("sequential", "balanced", "compiled")
    ]
    for other in draws[1:]:
        np.testing.assert_allclose(draws[0], other, rtol=1e-8, atol=1e-9)


def test_draws_with_a_diffuse_start_have_the_dense_moments():
    rng = np.random.default_rng(4)
    system = random_linear_gaussian(
        rng, num_states=2, num_channels=1, num_steps=5, exact_channels=False, missing=0.0, with_inputs=False
    )
    A = np.eye(2)
    twin = dense_linear_gaussian(**system.parameters, values=system.values, mask=system.mask, diffuse=A, digits=90)
    chain = LinearGaussian(**system.parameters, diffuse=A)
    draws = chain.draw_states(observations_of(system), NUM_DRAWS, random_source(1, system.values))
    assert_moments(draws.reshape(NUM_DRAWS, 10), twin.means.reshape(10), twin.joint_cov.reshape(10, 10))


@pytest.mark.parametrize("driver", ["sequential", "balanced"])
def test_samples_have_the_moments_of_the_prior(driver):
    system = random_linear_gaussian(
        np.random.default_rng(6), num_states=2, num_channels=2, num_steps=5, with_inputs=True, exact_channels=True
    )
    blind = np.zeros_like(system.mask)
    twin = dense_linear_gaussian(**system.parameters, values=system.values, mask=blind, inputs=system.inputs)
    chain = LinearGaussian(**system.parameters, driver=driver)
    times = np.broadcast_to(system.times, (NUM_DRAWS, 5))
    draw = chain.sample(times, random=random_source(2, system.values), inputs=system.inputs)
    assert draw.values.shape == (NUM_DRAWS, 5, 2)
    assert_moments(draw.states.reshape(NUM_DRAWS, 10), twin.means.reshape(10), twin.joint_cov.reshape(10, 10))
    row = draw.values[:, 3]
    p = system.parameters
    at = {name: p[name][-1 if p[name].shape[0] == 1 else 3] for name in ("H", "R", "d", "D")}
    mean = at["H"] @ twin.means[3] + at["d"] + at["D"] @ system.inputs[3]
    assert_moments(row, mean, at["H"] @ twin.covs[3] @ at["H"].T + at["R"])


def test_same_seed_same_draws():
    system = random_linear_gaussian(np.random.default_rng(8), num_states=2, num_channels=1, num_steps=4)
    chain, observations = LinearGaussian(**system.parameters), observations_of(system)
    one, two, three = (chain.draw_states(observations, 2, random_source(s, system.values)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_condition_inside_the_data_equals_the_dense_gaussian(name):
    system = random_linear_gaussian(
        np.random.default_rng(9), num_states=2, num_channels=2, num_steps=8, exact_channels=False, missing=0.5
    )
    times = np.arange(8.0)
    twin = dense_linear_gaussian(**system.parameters, values=system.values, mask=system.mask, inputs=system.inputs)
    with framework(name) as make:
        parameters, observations = convert(system.parameters, observations_of(system)._replace(times=times), make)
        law = LinearGaussian(**parameters).condition(observations).at(make(np.array([1.0, 4.0, 4.0, 7.0])))
        assert law.family == "gaussian"
        mean, variance, covariance = to_numpy(law.mean()), to_numpy(law.variance()), to_numpy(law.covariance())
        signal, states = to_numpy(law.covariance("signal")), to_numpy(law.covariance("state"))
        density = to_numpy(law.log_density(make(np.ones((4, 2)))))
        draws = to_numpy(law.draws(3, random=random_source(0, observations.values)))
    p = system.parameters
    for j, t in enumerate((1, 4, 4, 7)):
        H, R = (p[key][0 if p[key].shape[0] == 1 else t] for key in ("H", "R"))
        offset = p["d"][0] + (p["D"][0] @ system.inputs[t] if system.inputs is not None else 0.0)
        np.testing.assert_allclose(mean[j], H @ twin.means[t] + offset, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(signal[j], H @ twin.covs[t] @ H.T, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(covariance[j], signal[j] + R, rtol=1e-12)
        np.testing.assert_allclose(states[j], twin.covs[t], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(variance[j], np.diagonal(covariance[j]), rtol=1e-12)
        np.testing.assert_allclose(density[j], norm.logpdf(1.0, mean[j], np.sqrt(variance[j])), rtol=1e-9)
    assert draws.shape == (3, 4, 2)


def test_condition_after_the_data_equals_the_dense_gaussian():
    """A time-invariant chain with inputs, two series of different length on grids of their own."""
    rng = np.random.default_rng(10)
    F, Q, H, R = 0.8 * np.eye(2) + 0.1, np.eye(2), np.array([[1.0, 0.5]]), 0.1 * np.eye(1)
    B, D = rng.standard_normal((2, 1)), rng.standard_normal((1, 1))
    chain = LinearGaussian.time_invariant(F, Q, H, R, np.zeros(2), np.eye(2), B=B, D=D)
    times = np.array([[0.0, 2.0, 4.0, 6.0], [1.0, 4.0, 7.0, 7.0]])
    mask = np.ones((2, 4, 1), dtype=bool)
    mask[1, 3] = False
    values, inputs = rng.standard_normal((2, 4, 1)), rng.standard_normal((2, 4, 1))
    later = rng.standard_normal((2, 3, 1))
    queries = np.array([[6.0, 8.0, 10.0], [10.0, 13.0, 16.0]])
    # The second series has a padded row, which is step 3 of its chain, so its query at 10 reads the input of that row.
    law = chain.condition(Observations(times, values, mask, inputs)).at(queries, inputs=later)
    for s, rows in enumerate(((3, 4, 5), (3, 4, 5))):
        all_inputs = np.concatenate([inputs[s], later[s, 1:]])
        twin = dense_linear_gaussian(
            *(a[None] for a in (F, Q, H, R)),
            np.zeros(2),
            np.eye(2),
            B=B[None],
            D=D[None],
            inputs=all_inputs,
            values=np.concatenate([values[s], np.zeros((2, 1))]),
            mask=np.concatenate([mask[s], np.zeros((2, 1), dtype=bool)]),
        )
        for j, t in enumerate(rows):
            np.testing.assert_allclose(law.mean("state")[s, j], twin.means[t], rtol=1e-10)
            np.testing.assert_allclose(law.covariance("state")[s, j], twin.covs[t], rtol=1e-9)
            np.testing.assert_allclose(law.mean()[s, j], H @ twin.means[t] + D @ all_inputs[t], rtol=1e-10)


def test_marginals_agree_between_query_sets():
    system = random_linear_gaussian(
        np.random.default_rng(11), num_states=3, num_channels=1, num_steps=7, exact_channels=False, with_inputs=False
    )
    observations = observations_of(system)._replace(times=np.arange(7.0))
    given = LinearGaussian(**system.parameters).condition(observations)
    np.testing.assert_array_equal(given.at(np.array([0.0, 3.0, 6.0])).mean()[1], given.at(np.array([3.0])).mean()[0])


def test_queries_that_a_discrete_chain_cannot_answer_are_refused():
    eye = np.eye(1)
    chain = LinearGaussian.time_invariant(eye, eye, eye, eye, np.zeros(1), eye)
    values, mask = np.zeros((3, 1)), np.ones((3, 1), dtype=bool)
    even = chain.condition(Observations(np.arange(3.0), values, mask))
    with pytest.raises(ArgumentError, match="not on the grid"):
        even.at(np.array([2.5]))
    with pytest.raises(ArgumentError, match="not on the grid"):
        even.at(np.array([-1.0]))
    uneven = chain.condition(Observations(np.array([0.0, 1.0, 5.0]), values, mask))
    with pytest.raises(ArgumentError, match="not evenly spaced"):
        uneven.at(np.array([6.0]))
    varying = LinearGaussian(np.ones((3, 1, 1)), eye[None], eye[None], eye[None], np.zeros(1), eye)
    with pytest.raises(ArgumentError, match="change with time"):
        varying.condition(Observations(np.arange(3.0), values, mask)).at(np.array([3.0]))
    driven = LinearGaussian.time_invariant(eye, eye, eye, eye, np.zeros(1), eye, B=eye)
    given = driven.condition(Observations(np.arange(3.0), values, mask, np.ones((3, 1))))
    assert given.at(np.array([1.0])).mean().shape == (1, 1)
    with pytest.raises(ArgumentError, match="give `inputs`"):
        given.at(np.array([4.0]))
    with pytest.raises(ArgumentError, match="every step between"):
        given.at(np.array([4.0]), inputs=np.ones((1, 1)))


def test_what_is_known_exactly_has_no_marginal_density():
    eye = np.eye(1)
    law = GaussianPredictive(
        np.zeros((2, 3, 1)), np.zeros((2, 3, 1, 1)), eye[None], None, 0 * eye[None], lambda n, r: n
    )
    assert (law.variance() == 0.0).all()
    with pytest.raises(NoDensityError, match="query 0, channel 0, series 0"):
        law.log_density(np.zeros((2, 3, 1)))
    with pytest.raises(ArgumentError, match="`of` must be one of"):
        law.mean("noise")


def test_predictive_at_rows_of_each_series():
    rng = np.random.default_rng(12)
    eye = np.eye(1)
    chain = LinearGaussian.time_invariant(0.9 * eye, eye, eye, eye, np.zeros(1), eye)
    observations = Observations(np.arange(5.0), rng.standard_normal((2, 5, 1)), rng.random((2, 5, 1)) > 0.3)
    rows = np.array([[0, 4], [2, 2]])
    law, smoothed = chain.predictive(observations, rows), chain.smooth(observations)
    np.testing.assert_array_equal(law.mean("state")[:, :, 0], np.take_along_axis(smoothed.means[..., 0], rows, axis=1))
    draws = law.draws(4, random=random_source(0, eye), of="state")
    np.testing.assert_array_equal(draws[:, 1, 0], draws[:, 1, 1])
