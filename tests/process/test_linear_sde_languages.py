"""Linear SDEs as Pyro and NumPyro distributions."""

import numpy as np
import pytest

from dynplat.arrays import Observations, framework
from dynplat.process import LinearSDE, dynamics

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.exponential(size=(3, 9)), axis=-1)
VALUES = RNG.normal(size=(3, 9, 1))
MASK = RNG.random((3, 9, 1)) < 0.8
VALUES[~MASK] = np.nan
READ = np.array([[1.0, 0.0]])


def pyro_model():
    import pyro
    import pyro.distributions as dist
    import torch

    from dynplat.process.pyro import LinearSDE

    one = torch.ones((), dtype=torch.float64)
    sd = pyro.sample("sd", dist.HalfNormal(one))
    with pyro.plate("series", 3):
        scale = pyro.sample("scale", dist.LogNormal(0 * one, one))
        law = LinearSDE(
            dynamics.Matern(1.5, sd[..., None], scale), READ, 0.1 * torch.eye(1).double(), times=TIMES, mask=MASK
        )
        return pyro.sample("y", law, obs=torch.as_tensor(VALUES))


def numpyro_model():
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    from dynplat.process.numpyro import LinearSDE

    sd = numpyro.sample("sd", dist.HalfNormal(1.0))
    with numpyro.plate("series", 3):
        scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0))
        law = LinearSDE(dynamics.Matern(1.5, sd[..., None], scale), READ, 0.1 * jnp.eye(1), times=TIMES, mask=MASK)
        return numpyro.sample("y", law, obs=jnp.asarray(VALUES))


def test_joint_densities_of_both_languages_equal_the_process():
    import numpyro.infer.util
    import pyro
    import torch
    from scipy import stats

    sd, scale = 0.7, np.array([0.5, 1.0, 3.0])
    process = LinearSDE(dynamics.Matern(1.5, np.array([sd]), scale), READ, 0.1 * np.eye(1))
    expected = process.log_prob(Observations(TIMES, np.where(MASK, VALUES, 0.0), MASK)).sum()
    expected += stats.halfnorm.logpdf(sd) + stats.lognorm.logpdf(scale, 1.0).sum()
    conditioned = pyro.poutine.condition(
        pyro_model, {"sd": torch.tensor(sd, dtype=torch.float64), "scale": torch.as_tensor(scale)}
    )
    got = pyro.poutine.trace(conditioned).get_trace().log_prob_sum()
    np.testing.assert_allclose(float(got), expected, rtol=1e-12)
    with framework("jax") as array:
        got, _ = numpyro.infer.util.log_density(numpyro_model, (), {}, {"sd": array(sd), "scale": array(scale)})
    np.testing.assert_allclose(float(got), expected, rtol=1e-12)


def every_dynamics(array):
    number = array(np.array([0.8]))
    return dynamics.Stack(
        dynamics.IntegratedWiener(1, number, 0.5),
        dynamics.Harmonic(12, number, 2),
        dynamics.OrnsteinUhlenbeck(number, 1.0),
        dynamics.Matern(0.5, 0.5, number),
        dynamics.Matern(2.5, number, 1.0),
        dynamics.DampedOscillator(0.1, number, 1.0),
        dynamics.QuasiPeriodic(7.0, 1.0, number, 30.0, num_terms=1),
        dynamics.Dense(array(-np.eye(1)), array(np.eye(1)), b=number),
        dynamics.Constant(1),
    )


def test_distribution_crosses_compiled_code_in_numpyro():
    import jax

    from dynplat.process.numpyro import LinearGaussian
    from dynplat.process.numpyro import LinearSDE as Law

    values = np.where(MASK, VALUES, 0.0)
    twin = every_dynamics(np.asarray)
    n = twin.state_dim
    process = LinearSDE(twin, twin.readout[None], np.eye(1), np.zeros(n), np.eye(n))
    with framework("jax") as array:
        stack = every_dynamics(array)
        law = Law(stack, stack.readout[None], array(np.eye(1)), np.zeros(n), np.eye(n), times=TIMES, mask=MASK)
        assert law.batch_shape == (3,)
        assert law.event_shape == (9, 1)
        crossed = jax.jit(lambda law, y: law.log_prob(y))(law, array(values))
        np.testing.assert_allclose(crossed, process.log_prob(Observations(TIMES, values, MASK)), rtol=1e-10)
        one = array(np.ones((1, 1, 1)))
        chain = LinearGaussian(one, one, one, one, one[0, 0], one[0], num_steps=9)
        crossed = jax.jit(lambda law, y: law.log_prob(y))(chain, array(values[0]))
        np.testing.assert_allclose(crossed, chain.log_prob(array(values[0])), rtol=1e-12)


@pytest.mark.parametrize("language", ["pyro", "numpyro"])
def test_draws_have_the_variance_of_the_law(language):
    # False-alarm probability: 27 variances within 6 standard errors of 4000 draws: below 1e-7.
    num, sd = 4000, 1.5
    if language == "pyro":
        import torch

        from dynplat.process.pyro import LinearSDE as Law

        torch.manual_seed(0)
        law = Law(dynamics.Matern(1.5, torch.full((1,), sd).double(), 2.0), READ, 0.1 * np.eye(1), times=TIMES)
        draws = law.sample((num,)).numpy()
    else:
        import jax

        from dynplat.process.numpyro import LinearSDE as Law

        with framework("jax") as array:
            law = Law(dynamics.Matern(1.5, array([sd]), 2.0), READ, array(0.1 * np.eye(1)), times=TIMES)
            draws = np.asarray(jax.jit(lambda key: law.sample(key, (num,)))(jax.random.key(0)))
    assert draws.shape == (num, 3, 9, 1)
    variance = sd**2 + 0.1
    assert (np.abs(draws.var(axis=0) - variance) < 6 * variance * np.sqrt(2 / num)).all()
    gap = TIMES[0, 1] - TIMES[0, 0]
    u = np.sqrt(3) * gap / 2.0
    expected = sd**2 * (1 + u) * np.exp(-u)
    assert abs(np.cov(draws[:, 0, 0, 0], draws[:, 0, 1, 0])[0, 1] - expected) < 6 * variance * np.sqrt(2 / num)
