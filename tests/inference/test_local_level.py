"""The loops on a likelihood that is a scan: a local level seen with noise."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import lognorm, multivariate_normal

from dynplat.arrays import array_namespace
from dynplat.data import Trajectories
from dynplat.errors import NoDensityError
from dynplat.inference import InferenceWarning, laplace, map, mle, nuts
from dynplat.model import AbstractModel, observations_from
from dynplat.process.linear_gaussian import LinearGaussian
from dynplat.records import ModelEntry

LANGUAGES = ("numpyro", "pyro")
NUM_ROWS = 25


@dataclass(frozen=True)
class LocalLevel(AbstractModel):
    """level ~ LogNormal(0, width^2), noise ~ LogNormal(-0.4, width^2), the first level N(0, 10^2)."""

    entry = ModelEntry("test/local-level", "A local level")
    noisy: bool = True
    width: float = 0.5

    def prior(self, pp, context):
        pp.sample("level", pp.dist.LogNormal(0.0, self.width))
        pp.sample("noise", pp.dist.LogNormal(-0.4, self.width))

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


def log_moments(levels, width):
    """Means and standard deviations of the logarithms of level and noise, by quadrature."""
    model, centre = LocalLevel(width=width), np.array([0.0, -0.4])
    axes = [np.linspace(at - 6 * width, at + 4.5 * width, 200) for at in centre]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    level, noise = np.exp(grid.T)[:, :, None]
    process = model.process({"level": level, "noise": noise}, model.prepare(levels))
    log_density = process.log_prob(observations_from(levels))[:, 0] - 0.5 * (((grid - centre) / width) ** 2).sum(1)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = weight @ grid
    return mean, np.sqrt(weight @ (grid - mean) ** 2)


def log_draws(posterior):
    return np.stack([np.log(posterior.tree["posterior"][name].values[0]) for name in ("level", "noise")], axis=-1)


@pytest.mark.parametrize(
    ("rows", "width", "ratio"),
    [((0, 4), 1.5, (0.0, 0.75)), ((18, 24), 1.5, (0.0, 0.6)), ((0, 2), 2.5, (1.15, 2.0))],
    ids=["level-too-narrow", "noise-too-narrow", "noise-too-wide"],
)
def test_laplace_agrees_with_quadrature_where_its_gaussian_does_not(levels, rows, width, ratio):
    """Few values under wide priors: the Gaussian's sd is off by the ratio said, the resampled one within 10 %.

    4000 draws with some 3000 effective ones: the mean off by 0.1 sd, or an sd by 10 %, has probability below 1e-5.
    """
    values = np.where(levels.mask, levels.values, np.nan)[0, slice(*rows)]
    short = Trajectories.from_arrays(np.arange(float(len(values))), values)
    mean, sd = log_moments(short, width)
    model = LocalLevel(width=width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)  # where the Gaussian's own weights see that it is off
        plain = log_draws(laplace.run(model, short, seed=1, language="pyro", num_draws=4000, resample=False))
    posterior = laplace.run(model, short, seed=1, language="pyro", num_draws=4000)
    assert posterior.provenance["extra"]["resampled"]
    resampled = log_draws(posterior)
    worst = plain.std(0) / sd
    worst = worst[np.argmax(np.abs(np.log(worst)))]
    assert ratio[0] < worst < ratio[1]
    assert (resampled.mean(0) - mean) / sd == pytest.approx([0.0, 0.0], abs=0.1)
    assert resampled.std(0) / sd == pytest.approx([1.0, 1.0], abs=0.1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_chain_without_noise_is_refused_by_the_process(levels, language):
    with pytest.raises(NoDensityError, match=r"no density at series 0, row 1.*channel 0.*This happened at the prior's"):
        map.run(LocalLevel(noisy=False), levels, seed=0, language=language)
