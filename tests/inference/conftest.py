"""Small models whose posteriors are known, shared by the tests of the loops."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dynplat.arrays import array_namespace, asarray_like
from dynplat.data import Trajectories
from dynplat.errors import NoDensityError
from dynplat.inference import train
from dynplat.inference.training.plan import Plan, check_plan
from dynplat.model import AbstractModel
from dynplat.process.base import AbstractProcess
from dynplat.records import Capabilities, ModelEntry


class NormalProcess(AbstractProcess):
    """y_t ~ N(loc + slope * y_{t-1}, scale^2), independent channels; slope 0 is independent noise."""

    def __init__(self, loc: Any, scale: Any, slope: Any = 0.0) -> None:
        self.loc, self.scale, self.slope = loc, scale, slope  # (..., series or 1, channel)

    def log_prob_steps(self, observations):
        xp = array_namespace(self.loc)
        values = asarray_like(observations.values, self.loc)
        mask = asarray_like(observations.mask, self.loc)
        before = xp.concat([xp.zeros_like(values[..., :1, :]), values[..., :-1, :]], axis=-2)
        loc, scale = self.loc[..., None, :], self.scale[..., None, :]
        slope = self.slope if isinstance(self.slope, float) else self.slope[..., None, :]
        residual = (values - loc - slope * before) / scale
        terms = -0.5 * residual**2 - xp.log(scale) - 0.5 * float(np.log(2 * np.pi))
        return xp.sum(xp.where(mask, terms, xp.zeros_like(terms)), axis=-1)


class NoDensityProcess(AbstractProcess):
    """NaN when it is traced, an honest refusal when its numbers can be looked at."""

    def __init__(self, loc: Any) -> None:
        self.loc = loc

    def log_prob_steps(self, observations):
        if isinstance(self.loc, np.ndarray):
            raise NoDensityError("channel 'y' has noise 0 and no density.")
        return self.loc[..., None] * float("nan") + asarray_like(observations.times, self.loc)


def entry(name: str, **claims: Any) -> ModelEntry:
    return ModelEntry(f"test/{name}", "A model of the tests", capabilities=Capabilities(**claims))


@dataclass(frozen=True)
class Conjugate(AbstractModel):
    """Known noise: loc ~ N(0, prior_sd^2), y ~ N(loc, 1): the posterior is normal in closed form."""

    entry = entry("conjugate")
    prior_sd: float = 2.0

    def prior(self, pp, context):
        loc = pp.sample("loc", pp.dist.Normal(0.0, self.prior_sd))
        pp.deterministic("double", 2 * loc)

    def process(self, sites, context):
        loc = sites["loc"][..., None]
        return NormalProcess(loc, array_namespace(loc).ones_like(loc))

    def exact(self, data) -> tuple[float, float]:
        precision = 1 / self.prior_sd**2 + data.mask.sum()
        return data.values[data.mask].sum() / precision, precision**-0.5


@dataclass(frozen=True)
class LocationScale(AbstractModel):
    """Both unknown: loc ~ N(0, 5^2), scale ~ LogNormal(0, 1), y ~ N(loc, scale^2)."""

    entry = entry("location-scale")

    def prior(self, pp, context):
        pp.sample("loc", pp.dist.Normal(0.0, 5.0))
        pp.sample("scale", pp.dist.LogNormal(0.0, 1.0))

    def process(self, sites, context):
        return NormalProcess(sites["loc"][..., None], sites["scale"][..., None])


@dataclass(frozen=True)
class Autoregression(AbstractModel):
    """Three kinds of support at once: slope ~ U(-1, 1), scale ~ HalfNormal(2), loc ~ Cauchy(0, 3)."""

    entry = entry("autoregression")

    def prior(self, pp, context):
        pp.sample("slope", pp.dist.Uniform(-1.0, 1.0))
        pp.sample("scale", pp.dist.HalfNormal(2.0))
        pp.sample("loc", pp.dist.Cauchy(0.0, 3.0))

    def process(self, sites, context):
        return NormalProcess(*(sites[name][..., None] for name in ("loc", "scale", "slope")))


@dataclass(frozen=True)
class Hierarchy(AbstractModel):
    """Every shape a site can have: global and local, with core dimensions from events and from plates, in a scope."""

    entry = entry("hierarchy")

    def prior(self, pp, context):
        channels = len(context.channels)
        with pp.scope("level"):
            mean = pp.sample("mean", pp.dist.MultivariateNormal(np.zeros(channels), scale_tril=np.eye(channels)))
            spread = pp.sample("spread", pp.dist.HalfNormal(1.0))
            with pp.plate("series"), pp.plate("channel", channels):
                pp.sample("offset", pp.dist.Normal(0.0, spread))
        with pp.plate("channel", channels):
            pp.sample("noise", pp.dist.InverseGamma(3.0, 2.0))
        with pp.plate("series"):
            # A support that depends on another site.
            pp.sample("share", pp.dist.Uniform(0.0, spread))
            weights = pp.sample("weights", pp.dist.Dirichlet(np.ones(3)))
            pp.deterministic("top", weights, event_dim=1)
        pp.deterministic("total", mean.sum())
        pp.sample("corr", pp.dist.LKJCholesky(3, 2.0))

    def process(self, sites, context):
        loc = sites["level.mean"] + sites["level.offset"] + sites["share"][..., None] * sites["weights"][..., :1]
        return NormalProcess(loc, sites["noise"])


@dataclass(frozen=True)
class Panel(AbstractModel):
    """Means of series around a common one: offset_i ~ N(0, spread^2), y ~ N(offset_i, 1)."""

    entry = entry("panel")

    def prior(self, pp, context):
        spread = pp.sample("spread", pp.dist.HalfNormal(2.0))
        with pp.plate("series"):
            pp.sample("offset", pp.dist.Normal(0.0, spread))

    def process(self, sites, context):
        loc = sites["offset"][..., None]
        return NormalProcess(loc, array_namespace(loc).ones_like(loc))


@dataclass(frozen=True)
class Singular(AbstractModel):
    """A law that has no density."""

    entry = entry("singular")

    def prior(self, pp, context):
        pp.sample("loc", pp.dist.Normal(0.0, 1.0))

    def process(self, sites, context):
        return NoDensityProcess(sites["loc"])


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Tests that run a fit twice compile it once; the cache belongs to the test run."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.05,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def models():
    return {
        "conjugate": Conjugate(),
        "location-scale": LocationScale(),
        "autoregression": Autoregression(),
        "hierarchy": Hierarchy(),
        "panel": Panel(),
        "singular": Singular(),
    }


@pytest.fixture(scope="session")
def noise():
    """Forty numbers N(1.5, 0.8^2), five of them missing."""
    rng = np.random.default_rng(7)
    values = 1.5 + 0.8 * rng.standard_normal(40)
    values[[3, 4, 11, 25, 39]] = np.nan
    return Trajectories.from_arrays(np.arange(40.0), values)


@pytest.fixture(scope="session")
def panel():
    """Four series of two channels and unequal lengths, with holes."""
    rng = np.random.default_rng(3)
    lengths = (12, 9, 12, 5)
    values = [rng.standard_normal((length, 2)) for length in lengths]
    values[1][2, 0] = np.nan
    return Trajectories.from_arrays([np.arange(float(n)) for n in lengths], values, channels=("a", "b"))


@pytest.fixture(scope="session")
def build():
    """Make a model from its prior's statements and from its mean and standard deviation (..., series, channel)."""

    def make(write, law, guide=None, solve=None, **claims):
        own_guide, own_solve = guide, solve

        @dataclass(frozen=True)
        class Made(AbstractModel):
            entry = ModelEntry("test/made", "A model of the tests", capabilities=Capabilities(**claims))

            if write is not None:

                def prior(self, pp, context):
                    write(pp)

            if own_guide is not None:

                def guide(self, pp, context, observations):
                    own_guide(pp)

            if own_solve is not None:

                def solve(self, observations, context, *, seed):
                    return own_solve(observations, seed)

            def process(self, sites, context):
                return NormalProcess(*law(sites))

        return Made()

    return make


@pytest.fixture(scope="session")
def plan():
    """Make the options of a training from those that differ from the defaults."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(train.run).parameters.items()
        if name in Plan._fields
    }
    return lambda **options: check_plan(Plan(**(defaults | options)))
