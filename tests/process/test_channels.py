import jax
import numpy as np
import pytest

from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.process.channels import IndependentChannels
from dynplat.process.dynamics import IntegratedWiener, Matern
from dynplat.process.linear_sde import LinearSDE

SD = np.array([[[0.7, 1.5]], [[1.0, 2.0]], [[3.0, 0.2]]])  # (draw, series or 1, channel)
NOISE = np.array([[[0.3, 0.1]], [[0.2, 0.5]], [[1.0, 0.4]]])


def data():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.exponential(size=(4, 6)), axis=-1)
    return Observations(times, rng.normal(size=(4, 6, 2)), rng.random((4, 6, 2)) < 0.7)


def one_channel(array, sd, noise):
    H = array(np.array([[1.0, 0.0]]))
    return LinearSDE(Matern(1.5, array(sd), 2.0), H, array(noise**2)[..., None, None])


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_every_answer_equals_that_of_each_channel_alone(name):
    observations = data()
    query = observations.times[:, :3] + 0.05
    truth = np.random.default_rng(1).normal(size=(4, 3, 2))
    kinds = ("observation", "signal", "state")

    def answers(process, observations, truth):
        law = process.condition(observations).at(query)
        assert law.family == "gaussian"
        moments = [part for of in kinds for part in (law.mean(of), law.variance(of), law.covariance(of))]
        return process.log_prob_steps(observations), law.log_density(truth), *moments

    def question(array):
        return answers(IndependentChannels(one_channel(array, SD, NOISE)), observations, array(truth))

    with framework(name) as array:
        asked = jax.jit(lambda: question(array))() if name == "jax" else question(array)
        steps, density, *moments = (to_numpy(part) for part in asked)
    alone = []
    for c in range(2):
        own = Observations(observations.times, observations.values[..., c : c + 1], observations.mask[..., c : c + 1])
        alone.append(answers(one_channel(np.asarray, SD[..., c], NOISE[..., c]), own, truth[..., c : c + 1]))
    assert steps.shape == (3, 4, 6)
    np.testing.assert_allclose(steps, alone[0][0] + alone[1][0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(density, np.concatenate([alone[0][1], alone[1][1]], axis=-1), rtol=1e-11, atol=1e-12)
    for k, of in enumerate(kinds):
        size = 2 if of == "state" else 1
        mean, variance, covariance = moments[3 * k : 3 * k + 3]
        assert mean.shape == variance.shape == (3, 4, 3, 2 * size)
        off = np.ones((2 * size, 2 * size), dtype=bool)
        for c in range(2):
            part = slice(c * size, (c + 1) * size)
            off[part, part] = False
            own = alone[c][2 + 3 * k : 5 + 3 * k]
            for got, expected in zip(
                (mean[..., part], variance[..., part], covariance[..., part, part]), own, strict=True
            ):
                np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)
        assert (covariance[..., off] == 0.0).all()


def test_draws_and_samples_have_the_shape_of_data_and_their_own_variance():
    # False-alarm probability: 12 means and 12 variances within 6 standard errors of 4000 draws: below 1e-7.
    observations, num = data(), 4000
    query = observations.times[:1, -1:] + np.array([[0.1, 3.0]])

    def question(array):
        process = IndependentChannels(one_channel(array, SD[0], NOISE[0]))
        law = process.condition(Observations(*(part[:1] for part in observations[:3]))).at(query)
        return (
            law.draws(num, random=random_source(0, array(0.0))),
            law.draws(2, random=random_source(0, array(0.0)), of="state"),
            law.mean(),
            law.variance(),
            *process.sample(observations.times, random=random_source(0, array(0.0))),
        )

    with framework("torch") as array:
        draws, states, mean, variance, sampled, sampled_states = map(to_numpy, question(array))
    assert sampled.shape == (4, 6, 2)
    assert sampled_states.shape == (4, 6, 4)
    assert draws.shape == (num, 1, 2, 2)
    assert states.shape == (2, 1, 2, 4)
    assert (np.abs(draws.mean(0) - mean) < 6 * np.sqrt(variance / num)).all()
    assert (np.abs(draws.var(0) - variance) < 6 * variance * np.sqrt(2 / num)).all()
    assert abs(np.corrcoef(draws[:, 0, 0].T)[0, 1]) < 6 / np.sqrt(num)


def test_channels_that_start_from_their_own_law():
    m0 = np.array([[1.0, -1.0]])[..., None]  # (series, channel, state)
    level = LinearSDE(
        IntegratedWiener(0, np.array([[0.5, 2.0]])),
        np.ones((1, 1)),
        np.array([[0.1, 0.2]])[..., None, None],
        m0,
        np.array([[3.0, 4.0]])[..., None, None],
    )
    times = np.array([[0.0, 1.0]])
    nothing = Observations(times, np.zeros((1, 2, 2)), np.zeros((1, 2, 2), dtype=bool))
    law = IndependentChannels(level).condition(nothing).at(times)
    np.testing.assert_allclose(law.mean()[0], [[1.0, -1.0], [1.0, -1.0]])
    np.testing.assert_allclose(law.variance()[0], [[3.1, 4.2], [3.35, 8.2]])
