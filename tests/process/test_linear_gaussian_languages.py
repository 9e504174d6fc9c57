"""Processes as Pyro and NumPyro distributions."""

import numpy as np
import pytest

from dynplat.arrays import framework
from dynplat.errors import ArgumentError, CapabilityError, NoDensityError
from dynplat.testing.generators import random_linear_gaussian

SERIES, STEPS = 3, 12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((SERIES, STEPS, 1)).cumsum(axis=1)
    y[0, 3] = y[2, 7:] = np.nan
    return y


def pyro_model(y, mask):
    import pyro
    import pyro.distributions as dist
    import torch

    from dynplat.process.pyro import LinearGaussian

    one = torch.ones(1, 1, 1, dtype=torch.float64)
    scale = torch.ones((), dtype=torch.float64)
    q = pyro.sample("q", dist.HalfNormal(scale))
    with pyro.plate("series", SERIES):
        r = pyro.sample("r", dist.HalfNormal(scale))
        law = LinearGaussian(
            one, q[..., None, None, None], one, r[..., None, None, None], one[0, 0], 10 * one[0], mask=mask
        )
        return pyro.sample("y", law, obs=y)


def numpyro_model(y, mask):
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    from dynplat.process.numpyro import LinearGaussian

    one = jnp.ones((1, 1, 1))
    q = numpyro.sample("q", dist.HalfNormal(1.0))
    with numpyro.plate("series", SERIES):
        r = numpyro.sample("r", dist.HalfNormal(1.0))
        law = LinearGaussian(
            one, q[..., None, None, None], one, r[..., None, None, None], one[0, 0], 10 * one[0], mask=mask
        )
        return numpyro.sample("y", law, obs=y)


def test_joint_densities_of_pyro_and_numpyro_are_equal(data):
    import numpyro.infer.util
    import pyro
    import torch

    mask, q, r = np.isfinite(data), 0.7, np.array([0.5, 1.0, 2.0])
    point = {"q": torch.tensor(q, dtype=torch.float64), "r": torch.tensor(r)}
    conditioned = pyro.condition(pyro_model, point)
    trace = pyro.poutine.trace(conditioned).get_trace(torch.tensor(data), torch.tensor(mask))
    with framework("jax") as make:
        other, _ = numpyro.infer.util.log_density(numpyro_model, (make(data), mask), {}, {"q": make(q), "r": make(r)})
        np.testing.assert_allclose(float(trace.log_prob_sum()), float(other), rtol=1e-12)


def test_log_prob_of_random_chains_is_equal_in_both_languages_and_vectorises():
    import torch

    from dynplat.process.numpyro import LinearGaussian as InNumPyro
    from dynplat.process.pyro import LinearGaussian as InPyro

    system = random_linear_gaussian(
        np.random.default_rng(2), num_states=3, num_channels=2, num_steps=9, exact_channels=False, with_inputs=True
    )
    values = np.stack([system.values, system.values + 1.0, system.values - 2.0])
    with framework("torch") as make:
        law = InPyro(
            **{k: make(v) for k, v in system.parameters.items()}, mask=make(system.mask), inputs=make(system.inputs)
        )
        assert (law.batch_shape, law.event_shape) == (torch.Size(), torch.Size([9, 2]))
        one = law.log_prob(make(values)).numpy()
        np.testing.assert_allclose(law.log_prob_steps(make(values)).sum(-1), one, rtol=1e-14)
        assert law.expand((4, 1)).log_prob(make(values)).shape == (4, 3)
    with framework("jax") as make:
        law = InNumPyro(
            **{k: make(v) for k, v in system.parameters.items()}, mask=make(system.mask), inputs=make(system.inputs)
        )
        assert (law.batch_shape, law.event_shape) == ((), (9, 2))
        np.testing.assert_allclose(one, np.asarray(law.log_prob(make(values))), rtol=1e-11)


def test_draws_follow_the_batch_and_are_reparameterised():
    import jax
    import torch

    from dynplat.process.numpyro import LinearGaussian as InNumPyro
    from dynplat.process.pyro import LinearGaussian as InPyro

    with framework("torch") as make:
        one, q = make(np.ones((1, 1, 1))), make(np.full((2, 1, 1, 1), 0.5)).requires_grad_()
        law = InPyro(one, q, one, one, one[0, 0], one[0], num_steps=5)
        assert law.sample((4,)).shape == (4, 2, 5, 1)
        assert not law.sample().requires_grad
        law.rsample((4,)).sum().backward()
        assert torch.isfinite(q.grad).all()
        assert (q.grad != 0).all()
    with framework("jax") as make:
        one, q = make(np.ones((1, 1, 1))), make(np.full((2, 1, 1, 1), 0.5))

        def draw(q):
            law = InNumPyro(one, q, one, one, one[0, 0], one[0], num_steps=5)
            return law.sample(jax.random.key(0), (4,))

        assert draw(q).shape == (4, 2, 5, 1)
        assert (np.asarray(jax.grad(lambda q: draw(q).sum())(q)) != 0).all()


def test_svi_in_pyro_improves_with_vectorised_particles(data):
    import pyro
    import torch
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoNormal

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    y, mask = torch.tensor(data), torch.isfinite(torch.tensor(data))
    elbo = Trace_ELBO(num_particles=8, vectorize_particles=True, max_plate_nesting=1)
    svi = SVI(pyro_model, AutoNormal(pyro_model, init_scale=0.1), pyro.optim.Adam({"lr": 0.1}), elbo)
    losses = [svi.step(y, mask) for _ in range(25)]
    pyro.clear_param_store()
    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 5.0


def test_nuts_in_numpyro_runs_and_predicts(data):
    import jax
    from numpyro.infer import MCMC, NUTS, Predictive

    mask = np.isfinite(data)
    with framework("jax") as make:
        chains = MCMC(NUTS(numpyro_model), num_warmup=30, num_samples=30, progress_bar=False)
        chains.run(jax.random.key(0), make(data), mask)
        samples = chains.get_samples()
        assert samples["r"].shape == (30, SERIES)
        assert np.isfinite(samples["q"]).all()
        assert np.std(samples["q"]) > 0
        drawn = Predictive(numpyro_model, samples)(jax.random.key(1), None, mask)["y"]
        assert drawn.shape == (30, SERIES, STEPS, 1)


@pytest.mark.parametrize("language", ["pyro", "numpyro"])
def test_any_process_becomes_a_distribution(language):
    import importlib

    from dynplat.process import LinearGaussian

    module = importlib.import_module(f"dynplat.process.{language}")
    with framework("torch" if language == "pyro" else "jax") as make:
        eye = make(np.eye(1))
        chain = LinearGaussian.time_invariant(eye, eye, eye, eye, eye[0], eye)
        law = module.ProcessDistribution(chain, make(np.arange(3.0)))
        value = make(np.ones((2, 3, 1)))
        alone = module.LinearGaussian(*(eye[None],) * 4, eye[0], eye, num_steps=3)
        np.testing.assert_allclose(np.asarray(law.log_prob(value)), np.asarray(alone.log_prob(value)), rtol=1e-14)
        assert tuple(law.event_shape) == (3, 1)


@pytest.mark.parametrize("language", ["pyro", "numpyro"])
def test_bad_events_are_refused(language):
    import importlib

    import jax

    module = importlib.import_module(f"dynplat.process.{language}")
    with framework("torch" if language == "pyro" else "jax") as make:
        one = make(np.ones((1, 1, 1)))
        arguments = (one, one, one, one, one[0, 0], one[0])
        with pytest.raises(ArgumentError, match="how many rows"):
            module.LinearGaussian(*arguments)
        law = module.LinearGaussian(*arguments, num_steps=3, validate_args=True)
        with pytest.raises(ArgumentError, match="row 1, channel 0, which counts as observed"):
            law.log_prob(make(np.array([[0.0], [np.nan], [0.0]])))
        with pytest.raises(ArgumentError, match=r"\(time, channel\) = \(3, 1\)"):
            law.log_prob(make(np.zeros((2, 1))))
        with pytest.raises(ArgumentError, match="`mask` must have 3 rows"):
            module.LinearGaussian(*arguments, num_steps=3, mask=make(np.ones((2, 1), dtype=bool)))
        flat = module.LinearGaussian(*arguments, num_steps=3, diffuse=one[0])
        arguments = () if language == "pyro" else (jax.random.key(0),)
        with pytest.raises(CapabilityError, match="diffuse"):
            flat.sample(*arguments)


def test_plain_pyro_nuts_goes_on_from_where_a_law_has_no_density(data):
    """All noise vanishes at scales up to 0.4, and with it the density; the sampler comes there and turns back."""
    import pyro
    import pyro.distributions as dist
    import torch
    from pyro.infer import MCMC, NUTS

    from dynplat.process.pyro import LinearGaussian

    y = torch.as_tensor(data[1])
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    refused = []

    class Watched(LinearGaussian):
        def log_prob(self, value):
            try:
                return super().log_prob(value)
            except NoDensityError as error:
                refused.append(error)
                raise

    def script():
        scale = pyro.sample("scale", dist.HalfNormal(torch.ones((), dtype=torch.float64)))
        variance = torch.clamp(scale - 0.4, min=0.0) ** 2 * one
        pyro.sample("y", Watched(one, variance, one, variance, 0.0 * one[0, 0], one[0], num_steps=STEPS), obs=y)

    pyro.set_rng_seed(0)
    start = {"scale": torch.tensor(0.5, dtype=torch.float64).log()}
    kernel = NUTS(script, step_size=1.0)
    sampler = MCMC(kernel, num_samples=30, warmup_steps=30, initial_params=start, disable_progbar=True)
    sampler.run()
    draws = sampler.get_samples()["scale"]
    assert refused
    assert (draws > 0.4).all()
    assert len(draws.unique()) > 15
