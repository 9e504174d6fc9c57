r"""A head for counts: the negative binomial law.

.. math::
    p(y) = \frac{\Gamma(y + r)}{\Gamma(r)\, y!} \left(\frac{r}{r + \mu}\right)^r \left(\frac{\mu}{r + \mu}\right)^y,
    \qquad \mathrm{E} y = \mu, \quad \mathrm{Var}\, y = \mu + \mu^2 / r,

with :math:`\mu = l\,e^a`, |a| held below 10, and :math:`r = \mathrm{softplus}(c + c_0)`, 1 at c = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from dynplat.arrays import Array, Random, array_namespace, log_gamma
from dynplat_deepssm.heads.base import AbstractHead, uniform_like
from dynplat_deepssm.heads.real import ONE
from dynplat_deepssm.special import softplus

#: Smallest mean that a channel's numbers are relative to, and smallest concentration.
_LEAST_MEAN, _LEAST_CONCENTRATION = 1e-2, 1e-3
#: Largest logarithm of a mean beside that of the channel.
_REACH = 10.0
#: Candidates of a gamma number: each is refused with probability below 0.05, so that all are with less than 1e-15.
_TRIES = 12


class NegativeBinomial(NamedTuple):
    """Means and concentrations r of laws, (..., channel)."""

    mean: Array
    concentration: Array


@dataclass(frozen=True)
class NegativeBinomialHead(AbstractHead):
    """A negative binomial law (see the module); what is no count has probability 0."""

    values: ClassVar[tuple[str, ...]] = ("count",)

    @property
    def num_parameters(self) -> int:
        """Mean and concentration."""
        return 2

    def parameters(self, raw: Array, location: Array, scale: Array) -> NegativeBinomial:
        """Parameters of the laws (see `AbstractHead`)."""
        xp = array_namespace(raw)
        ratio = xp.exp(_REACH * xp.tanh(raw[..., 0] / _REACH))
        return NegativeBinomial(_center(location) * ratio, softplus(raw[..., 1] + ONE) + _LEAST_CONCENTRATION)

    def sample(self, parameters: NegativeBinomial, random: Random) -> Array:
        """Draw a Poisson number with a gamma distributed rate."""
        mean, concentration = parameters
        return random.poisson(mean / concentration * _gamma(concentration + 0.0 * mean, random))

    def log_density(self, parameters: NegativeBinomial, values: Array) -> Array:
        """Log-probability of each value."""
        mean, r = parameters
        xp = array_namespace(mean)
        is_count = (values >= 0.0) & (values == xp.floor(values))
        y = xp.where(is_count, values, xp.zeros_like(values))
        top = log_gamma(y + r) - log_gamma(r + xp.zeros_like(y)) - log_gamma(y + 1.0)
        found = top - r * xp.log1p(mean / r) - y * xp.log1p(r / mean)
        return xp.where(is_count, found, -xp.inf)

    def mean(self, parameters: NegativeBinomial) -> Array:
        """Mean of each law."""
        return parameters.mean

    def variance(self, parameters: NegativeBinomial) -> Array:
        """Variance of each law."""
        return parameters.mean + parameters.mean * parameters.mean / parameters.concentration

    def features(self, values: Array, location: Array, scale: Array) -> Array:
        """Logarithms beside that of the channel's mean, on which the mean depends."""
        xp = array_namespace(values)
        return xp.log1p(values) - xp.log1p(_center(location))


def _center(location: Array) -> Array:
    return array_namespace(location).where(location > _LEAST_MEAN, location, _LEAST_MEAN)


def _gamma(shape: Array, random: Random) -> Array:
    """Gamma numbers of scale 1 for shapes above 0 (Marsaglia and Tsang 2000, ACM TOMS 26), in a fixed number of tries.

    A number of shape a + 1 times U^(1/a) has shape a, so that only shapes above 1 are drawn.
    """
    xp = array_namespace(shape)
    d = shape + 1.0 - 1.0 / 3.0
    c = 1.0 / xp.sqrt(9.0 * d)
    found, open_ = d, xp.ones_like(d) > 0.0
    for _ in range(_TRIES):
        x = random.normal(tuple(d.shape))
        v = (1.0 + c * x) ** 3
        log_v = xp.log(xp.where(v > 0.0, v, 1.0))
        accepted = (v > 0.0) & (xp.log(uniform_like(random, d)) < 0.5 * x * x + d - d * v + d * log_v)
        found = xp.where(open_ & accepted, d * v, found)
        open_ = open_ & ~accepted
    return found * xp.exp(xp.log(uniform_like(random, d)) / shape)
