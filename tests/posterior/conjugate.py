r"""A conjugate model whose every answer is known: a level per series and channel, seen with noise.

.. math:: y_{tc} = \mu_c + b_c + e_{tc}, \qquad b_c \sim N(0, \tau^2), \qquad e_{tc} \sim N(0, \sigma_c^2)

Sites: `mu` (channel,) global, `sigma` (channel,) global, and `tau` () local when the option `hierarchical` is set (one
per series), otherwise the option's constant. Given n observed values with mean m, b is normal with precision
1/tau^2 + n/sigma^2.
"""

from __future__ import annotations

from dataclasses import dataclass

from dynplat.arrays import array_namespace, asarray_like
from dynplat.model import AbstractModel
from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess, Draw
from dynplat.records import Capabilities, ModelEntry

ENTRY = ModelEntry(
    "toy/level", "A level seen with noise", "conjugate:Level", capabilities=Capabilities(states=True, languages=())
)
BLIND = ModelEntry(
    "toy/blind",
    "A level that is only simulated",
    "conjugate:Blind",
    capabilities=Capabilities(condition=False, forecast=False, new_series=False, languages=()),
)


@dataclass(frozen=True)
class Level(AbstractModel):
    tau: float = 2.0
    hierarchical: bool = False
    note: tuple[str, ...] = ()
    gaussian: bool = True

    entry = ENTRY

    def process(self, sites, context):
        mu, sigma = sites["mu"], sites["sigma"]
        tau = sites["tau"] if self.hierarchical else asarray_like(self.tau, mu)
        return LevelProcess(mu, sigma, tau, self.gaussian)


@dataclass(frozen=True)
class Blind(Level):
    entry = BLIND


class LevelProcess(AbstractProcess):
    def __init__(self, mu, sigma, tau, gaussian):
        self.mu, self.sigma, self.gaussian = mu, sigma, gaussian
        self.tau = tau[..., None] if tau.ndim else tau

    def condition(self, observations):
        xp = array_namespace(self.mu)
        values = asarray_like(observations.values, self.mu)
        mask = asarray_like(observations.mask, self.mu)
        count = xp.sum(xp.astype(mask, self.mu.dtype), axis=-2)
        excess = xp.where(mask, values, 0.0 * values) - xp.where(mask, self.mu[..., None, :], 0.0 * values)
        precision = 1 / self.tau**2 + count / self.sigma**2
        mean = xp.sum(excess, axis=-2) / self.sigma**2 / precision
        return LevelConditional(self.mu + mean, 1 / precision, self.sigma, self.gaussian)

    def sample(self, times, *, random, inputs=None):
        series, query = times.shape
        shape = (*self.mu.shape[:-2], series, self.mu.shape[-1])
        level = self.mu + self.tau * random.normal(shape)
        noise = random.normal((*shape[:-1], query, shape[-1]))
        return Draw(level[..., None, :] + self.sigma[..., None, :] * noise, level[..., None, :] + 0 * noise)


class LevelConditional(AbstractConditional):
    def __init__(self, mean, variance, sigma, gaussian):
        self.law = mean, variance, sigma, gaussian

    def at(self, times, *, inputs=None):
        assert (times[..., 1:] >= times[..., :-1]).all()
        return LevelPredictive(*self.law, times.shape[-1])


class LevelPredictive(AbstractPredictive):
    def __init__(self, mean, variance, sigma, gaussian, num_queries):
        xp = array_namespace(mean)
        self.level, self.level_variance = mean[..., None, :], variance[..., None, :]
        self.sigma, self.num_queries, self.ones = sigma[..., None, :], num_queries, xp.ones((num_queries, 1))
        self.family = "gaussian" if gaussian else "draws"

    def mean(self, of="observation"):
        return self.level + 0 * self.ones

    def variance(self, of="observation"):
        return self.level_variance + (self.sigma**2 if of == "observation" else 0.0) + 0 * self.ones

    def draws(self, num_draws, *, random, of="observation"):
        xp = array_namespace(self.level)
        one = xp.sqrt(self.level_variance) * random.normal((num_draws, *self.level.shape)) + self.level
        shape = (num_draws, *self.level.shape[:-2], self.num_queries, self.level.shape[-1])
        return one + (self.sigma if of == "observation" else 0.0) * random.normal(shape)

    def log_density(self, values):
        xp = array_namespace(self.level)
        variance = self.variance()
        return -0.5 * (values - self.level) ** 2 / variance - 0.5 * xp.log(2 * xp.pi * variance)
