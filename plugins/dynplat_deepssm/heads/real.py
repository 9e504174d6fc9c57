r"""Heads for real values: normal, and Student's t.

With numbers a, c, e of the network, a location l and a scale s,

.. math::
    \mu = l + s\,a, \qquad \sigma = s\,(\mathrm{softplus}(c + c_0) + \epsilon), \qquad
    \nu = 2 + \mathrm{softplus}(e + e_0),

where softplus(c_0) = 1 and softplus(e_0) = 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, Random, array_namespace, log_gamma
from dynplat_deepssm.heads.base import FLOOR, AbstractHead
from dynplat_deepssm.special import softplus, softplus_inverse

#: Numbers at which softplus gives 1 and 8.
ONE, EIGHT = (float(softplus_inverse(np.array(value))) for value in (1.0, 8.0))
_LEAST_DEGREES = 2.01


class LocationScale(NamedTuple):
    """Locations and scales of laws, (..., channel)."""

    location: Array
    scale: Array


class StudentT(NamedTuple):
    """Degrees of freedom, locations and scales of laws, (..., channel)."""

    degrees: Array
    location: Array
    scale: Array


def positive(raw: Array, scale: Array) -> Array:
    """Scales from numbers: `scale` where they are 0."""
    return scale * (softplus(raw + ONE) + FLOOR)


def normal_log_density(score: Array, scale: Array) -> Array:
    """Log density of a normal law at `score` standard deviations from its mean."""
    return -0.5 * (score * score + math.log(2.0 * math.pi)) - array_namespace(scale).log(scale)


@dataclass(frozen=True)
class GaussianHead(AbstractHead):
    """A normal law. Counts are allowed: it then gives them probabilities as if they were real."""

    @property
    def num_parameters(self) -> int:
        """Location and scale."""
        return 2

    def parameters(self, raw: Array, location: Array, scale: Array) -> LocationScale:
        """Parameters of the laws (see `AbstractHead`)."""
        return LocationScale(location + scale * raw[..., 0], positive(raw[..., 1], scale))

    def sample(self, parameters: LocationScale, random: Random) -> Array:
        """Draw a value from each law."""
        return parameters.location + parameters.scale * random.normal(tuple(parameters.location.shape))

    def log_density(self, parameters: LocationScale, values: Array) -> Array:
        """Log density of each value."""
        return normal_log_density((values - parameters.location) / parameters.scale, parameters.scale)

    def mean(self, parameters: LocationScale) -> Array:
        """Mean of each law."""
        return parameters.location

    def variance(self, parameters: LocationScale) -> Array:
        """Variance of each law."""
        return parameters.scale * parameters.scale


@dataclass(frozen=True)
class StudentTHead(AbstractHead):
    """Student's t law, with more than two degrees of freedom, so that it has a mean and a variance."""

    @property
    def num_parameters(self) -> int:
        """Location, scale and degrees of freedom."""
        return 3

    def parameters(self, raw: Array, location: Array, scale: Array) -> StudentT:
        """Parameters of the laws (see `AbstractHead`)."""
        degrees = _LEAST_DEGREES + softplus(raw[..., 2] + EIGHT)
        return StudentT(degrees, location + scale * raw[..., 0], positive(raw[..., 1], scale))

    def sample(self, parameters: StudentT, random: Random) -> Array:
        """Draw a value from each law by Bailey's polar method (Mathematics of Computation 62, 1994)."""
        xp = array_namespace(parameters.location)
        shape = tuple(parameters.location.shape)
        first, second = random.uniform(shape), random.uniform(shape)
        radius = xp.sqrt(parameters.degrees * xp.expm1(-2.0 / parameters.degrees * xp.log1p(-first)))
        return parameters.location + parameters.scale * radius * xp.cos(2.0 * math.pi * second)

    def log_density(self, parameters: StudentT, values: Array) -> Array:
        """Log density of each value."""
        degrees, location, scale = parameters
        xp = array_namespace(location)
        score = (values - location) / scale
        top = log_gamma(0.5 * (degrees + 1.0)) - log_gamma(0.5 * degrees) - 0.5 * xp.log(math.pi * degrees)
        return top - xp.log(scale) - 0.5 * (degrees + 1.0) * xp.log1p(score * score / degrees)

    def mean(self, parameters: StudentT) -> Array:
        """Mean of each law."""
        return parameters.location

    def variance(self, parameters: StudentT) -> Array:
        """Variance of each law."""
        return parameters.scale * parameters.scale * parameters.degrees / (parameters.degrees - 2.0)
