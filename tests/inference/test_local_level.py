"""The loops on a likelihood that is a scan: a local level seen with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import lognorm, multivariate_normal

from dynplat.arrays import array_namespace
from dynplat.data import Trajectories
from dynplat.errors import NoDensityError
from dynplat.inference import map, mle, nuts
from dynplat.model import AbstractModel, observations_from
from dynplat.process.linear_gaussian import LinearGaussian
from dynplat.records import ModelEntry

LANGUAGES = ("numpyro", "pyro")
NUM_ROWS = 25


@dataclass(frozen=True)
class LocalLevel(AbstractModel):
    """level ~ LogNormal(0, 0.5^2), noise ~ LogNormal(-0.4, 0.5^2), the first level N(0, 10^2)."""

    entry = ModelEntry("test/local-level", "A local level")
    noisy: bool = True

    def prior(self, pp, context):
        pp.sample("level", pp.dist.LogNormal(0.0, 0.5))
        pp.sample("noise", pp.dist.LogNormal(-0.4, 0.5))

    def process(self, sites, context):
        level, noise = (sites[name][..., None, None] for name in ("level", "noise"))
        one = array_namespace(level).ones_like(level)
        if not self.noisy:
            level, noise = 0.0 * level, 0.0 * noise
        return LinearGaussian.time_invariant(one, level**2, one, noise**2, m0=0.0 * one[..., 0], P0=100.0 * one)


@pytest.fixture(scope="module")
def levels():
    rng = np.random.default_rng(11)
    values = np.cumsum(rng.standard_normal(NUM_ROWS)) + 0.7 * rng.standard_normal(NUM_ROWS)
    values[[6, 7, 15]] = np.nan
    return Trajectories.from_arrays(np.arange(float(NUM_ROWS)), values)


def dense(levels, level, noise):
    """The log likelihood by one dense Gaussian."""
    seen = levels.mask[0, :, 0]
    steps = np.arange(NUM_ROWS)
    covariance = 100.0 + level**2 * np.minimum(steps[:, None], steps) + noise**2 * np.eye(NUM_ROWS)
    law = multivariate_normal(np.zeros(seen.sum()), covariance[np.ix_(seen, seen)])
    return law.logpdf(levels.values[0, seen, 0])


@pytest.mark.parametrize("language", LANGUAGES)
def test_mle_is_a_maximum_of_the_dense_likelihood(levels, language):
    posterior = mle.run(LocalLevel(), levels, seed=0, language=language, restarts=1)
    at = np.array([float(posterior.tree["posterior"][name].mean()) for name in ("level", "noise")])
    assert posterior.log_likelihood == pytest.approx(dense(levels, *at), rel=1e-10)
    gradient = approx_fprime(at, lambda theta: dense(levels, *theta), 1e-6)
    assert gradient == pytest.approx([0, 0], abs=1e-4)
    hessian = approx_fprime(at, lambda theta: approx_fprime(theta, lambda x: dense(levels, *x), 1e-4), 1e-4)
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert [float(posterior.standard_errors[name]) for name in ("level", "noise")] == pytest.approx(errors, rel=2e-2)


def test_nuts_agrees_with_quadrature(levels):
    """Means within 0.1 sd, standard deviations within 10 %, as the grid gives them.

    With at least 700 effective draws the errors are 0.04 sd and 3 %: each of the four figures would be off with
    probability below 0.01 if it were drawn anew. The seed is fixed.
    """
    model = LocalLevel()
    grid = {"level": np.linspace(0.004, 2.5, 160), "noise": np.linspace(0.01, 2.5, 160)}
    level, noise = (axis.reshape(-1, 1) for axis in np.meshgrid(*grid.values(), indexing="ij"))
    process = model.process({"level": level, "noise": noise}, model.prepare(levels))
    log_density = process.log_prob(observations_from(levels))[:, 0]
    log_density = log_density + lognorm(0.5).logpdf(level[:, 0]) + lognorm(0.5, scale=np.exp(-0.4)).logpdf(noise[:, 0])
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    posterior = nuts.run(model, levels, seed=2, language="numpyro", num_warmup=150, num_samples=600)
    assert posterior.provenance["extra"]["worst"]["ess_bulk"]["value"] > 700
    for name, axis in (("level", level), ("noise", noise)):
        mean = weight @ axis[:, 0]
        sd = np.sqrt(weight @ (axis[:, 0] - mean) ** 2)
        draws = posterior.tree["posterior"][name].values
        assert draws.mean() == pytest.approx(mean, abs=0.1 * sd)
        assert draws.std() == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chain_without_noise_is_refused_by_the_process(levels, language):
    with pytest.raises(NoDensityError, match=r"no density at series 0, row 1.*channel 0.*This happened at the prior's"):
        map.run(LocalLevel(noisy=False), levels, seed=0, language=language)
