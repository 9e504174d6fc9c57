"""Hidden Markov chains as Pyro and NumPyro distributions."""

import numpy as np
import pytest

from dynplat.arrays import framework
from dynplat.errors import ArgumentError
from dynplat.process import CategoricalEmission, GaussianEmission
from dynplat.testing.hidden_markov import random_hidden_markov

SERIES, STEPS, K = 3, 12, 2


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((SERIES, STEPS, 1)) + 3.0 * (rng.random((SERIES, 1, 1)) > 0.5)
    y[0, 3] = y[2, 7:] = np.nan
    return y


def pyro_model(y, mask):
    import pyro
    import pyro.distributions as dist
    import torch

    from dynplat.process.pyro import HiddenMarkov

    one = torch.ones(K, dtype=torch.float64)
    move = pyro.sample("move", dist.Dirichlet(one.expand(K, K)).to_event(1))
    with pyro.plate("series", SERIES):
        means = pyro.sample("means", dist.Normal(0.0 * one, 3.0 * one).to_event(1))
        emission = GaussianEmission(means[..., None], one[:, None])
        law = HiddenMarkov((one / K).log(), move.log()[..., None, None, :, :], emission, mask=mask)
        return pyro.sample("y", law, obs=y)


def numpyro_model(y, mask):
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    from dynplat.process.numpyro import HiddenMarkov

    one = jnp.ones(K)
    move = numpyro.sample("move", dist.Dirichlet(jnp.ones((K, K))).to_event(1))
    with numpyro.plate("series", SERIES):
        means = numpyro.sample("means", dist.Normal(0.0 * one, 3.0 * one).to_event(1))
        emission = GaussianEmission(means[..., None], one[:, None])
        law = HiddenMarkov(jnp.log(one / K), jnp.log(move)[..., None, None, :, :], emission, mask=mask)
        return numpyro.sample("y", law, obs=y)


MOVE, MEANS = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.0, 3.0], [0.5, 2.0], [-1.0, 1.0]])


def test_joint_densities_of_pyro_and_numpyro_are_equal(data):
    import numpyro.infer.util
    import pyro
    import torch

    mask = np.isfinite(data)
    conditioned = pyro.condition(pyro_model, {"move": torch.tensor(MOVE), "means": torch.tensor(MEANS)})
    trace = pyro.poutine.trace(conditioned).get_trace(torch.tensor(data), torch.tensor(mask))
    with framework("jax") as make:
        point = {"move": make(MOVE), "means": make(MEANS)}
        other, _ = numpyro.infer.util.log_density(numpyro_model, (make(data), mask), {}, point)
        np.testing.assert_allclose(trace.log_prob_sum().item(), float(other), rtol=1e-12)


def test_the_likelihood_equals_pyros_own_hidden_markov_chain(data):
    import pyro.distributions as dist
    import torch

    from dynplat.process.pyro import HiddenMarkov

    y = torch.tensor(np.nan_to_num(data[1]))
    start, move, means = (
        torch.tensor([0.2, 0.8], dtype=torch.float64).log(),
        torch.tensor(MOVE).log(),
        torch.tensor(MEANS[1]),
    )
    ones = torch.ones(K, dtype=torch.float64)
    # Pyro's chain starts with a transition.
    peer = dist.DiscreteHMM(start, move, dist.Normal(means, ones), duration=STEPS)
    first = torch.logsumexp(start[:, None] + move, 0)
    law = HiddenMarkov(first, move[None], GaussianEmission(means[:, None], ones[:, None]), num_steps=STEPS)
    torch.testing.assert_close(law.log_prob(y), peer.log_prob(y[:, 0]), rtol=1e-12, atol=1e-12)


def test_log_prob_and_shapes_are_equal_in_both_languages():
    import torch

    from dynplat.process.numpyro import HiddenMarkov as InNumPyro
    from dynplat.process.pyro import HiddenMarkov as InPyro

    rng = np.random.default_rng(2)
    chain = random_hidden_markov(rng, num_states=3, num_steps=9, moving=True)
    probs = np.log(rng.dirichlet(np.ones(4), size=(3, 2)))
    values, mask = rng.integers(0, 4, size=(5, 9, 2)).astype(float), rng.random((9, 2)) > 0.2
    with framework("torch") as make:
        law = InPyro(
            make(chain.log_initial), make(chain.log_transition), CategoricalEmission(make(probs)), mask=make(mask)
        )
        assert (law.batch_shape, law.event_shape) == (torch.Size(), torch.Size([9, 2]))
        one = law.log_prob(make(values)).numpy()
        assert law.expand((4, 1)).log_prob(make(values)).shape == (4, 5)
        assert law.sample((6,)).shape == (6, 9, 2)
        with pytest.raises(NotImplementedError, match="not differentiable"):
            law.rsample()
    with framework("jax") as make:
        import jax

        law = InNumPyro(
            make(chain.log_initial), make(chain.log_transition), CategoricalEmission(make(probs)), mask=make(mask)
        )
        assert (law.batch_shape, law.event_shape) == ((), (9, 2))
        np.testing.assert_allclose(law.log_prob(make(values)), one, rtol=1e-12)
        # As an argument of compiled code.
        compiled = jax.jit(lambda law, values: law.log_prob(values))(law, make(values))
        np.testing.assert_allclose(compiled, one, rtol=1e-12)
        drawn = jax.jit(lambda law, key: law.sample(key, (6,)))(law, jax.random.key(0))
        assert drawn.shape == (6, 9, 2)
        assert set(np.unique(np.asarray(drawn))) <= {0.0, 1.0, 2.0, 3.0}


def test_a_chain_without_a_length_asks_for_one():
    from dynplat.process.pyro import HiddenMarkov

    with framework("torch") as make:
        half = make(np.log(np.full((1, 2, 2), 0.5)))
        with pytest.raises(ArgumentError, match="`mask`"):
            HiddenMarkov(half[0, 0], half, GaussianEmission(make(np.zeros((2, 1))), make(np.ones((2, 1)))))


def test_nuts_of_numpyro_recovers_means_and_rates():
    import jax
    import numpyro
    import numpyro.distributions as dist

    from dynplat.process.numpyro import HiddenMarkov

    rng = np.random.default_rng(1)
    states = np.cumsum(rng.random(300) < 0.1) % 2
    y = np.where(states, 2.0, -1.0)[:, None] + 0.7 * rng.standard_normal((300, 1))

    with framework("jax") as make:

        def model(y):
            stay = numpyro.sample("stay", dist.Beta(2.0, 1.0).expand([2]).to_event(1))
            low = numpyro.sample("low", dist.Normal(0.0, 3.0))
            gap = numpyro.sample("gap", dist.HalfNormal(3.0))
            scale = numpyro.sample("scale", dist.HalfNormal(1.0))
            move = jax.numpy.stack([jax.numpy.stack([stay[0], 1 - stay[0]]), jax.numpy.stack([1 - stay[1], stay[1]])])
            means = jax.numpy.stack([low, low + gap])[:, None]
            emission = GaussianEmission(means, scale[None, None])
            start = jax.numpy.log(make(np.array([0.5, 0.5])))
            numpyro.sample("y", HiddenMarkov(start, jax.numpy.log(move)[None], emission, num_steps=300), obs=y)

        mcmc = numpyro.infer.MCMC(
            numpyro.infer.NUTS(model), num_warmup=200, num_samples=200, num_chains=2, chain_method="vectorized",
            progress_bar=False,
        )  # fmt: skip
        mcmc.run(jax.random.key(0), make(y))
        draws = {name: np.asarray(value) for name, value in mcmc.get_samples().items()}
        for name, truth in {"low": -1.0, "gap": 3.0, "scale": 0.7}.items():
            # Within 5 posterior standard deviations of the truth, which a correct posterior leaves in 1 of 10^6.
            assert abs(draws[name].mean() - truth) < 5 * draws[name].std()
            assert draws[name].std() < 0.2
        assert np.abs(draws["stay"].mean(axis=0) - 0.9).max() < 0.1
