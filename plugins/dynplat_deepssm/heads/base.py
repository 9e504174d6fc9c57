"""What a head is: from numbers of a network to the law of a value, channel by channel.

A network gives `num_parameters` real numbers for each channel of a row. A head turns them into the parameters of a law,
relative to a location and a scale of the channel: with all numbers 0 the law has about that mean and that spread, so
that training starts near the marginal law of the data. The channels of a row are independent given what the network
has read. Every method is a function of arrays of any framework.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from dynplat.arrays import Array, Random, array_namespace
from dynplat.errors import CapabilityError

#: Smallest scale of a law beside that of its channel: training cannot put a point mass on repeated values.
FLOOR = 1e-4


class AbstractHead(ABC):
    """A law of a value given numbers of a network (see the module).

    Attributes:
        values: Types of value that the law is about, of `dynplat.records.Capabilities`.
        has_density: Whether the law has a density; without one it is trained by `loss` alone.
    """

    values: ClassVar[tuple[str, ...]] = ("real",)
    has_density: ClassVar[bool] = True

    @property
    @abstractmethod
    def num_parameters(self) -> int:
        """Numbers that the network gives for each channel."""

    @abstractmethod
    def parameters(self, raw: Array, location: Array, scale: Array) -> Any:
        """Parameters of the laws.

        Args:
            raw: Numbers of the network, (..., channel, `num_parameters`).
            location: Centre of each channel, or of each cell, (..., channel).
            scale: Positive spread of each channel, (channel,).
        """

    @abstractmethod
    def sample(self, parameters: Any, random: Random) -> Array:
        """Draw a value from each law, (..., channel)."""

    def log_density(self, parameters: Any, values: Array) -> Array:
        """Log density (for counts: log-probability) of each value, (..., channel)."""
        raise CapabilityError(_LACKS.format(type(self).__name__, "density"))

    def loss(self, parameters: Any, values: Array) -> Array:
        """What training makes small, for each value, (..., channel): minus the log density where there is one."""
        return -self.log_density(parameters, values)

    def mean(self, parameters: Any) -> Array:
        """Mean of each law, (..., channel)."""
        raise CapabilityError(_LACKS.format(type(self).__name__, "mean in closed form"))

    def variance(self, parameters: Any) -> Array:
        """Variance of each law, (..., channel)."""
        raise CapabilityError(_LACKS.format(type(self).__name__, "variance in closed form"))

    def features(self, values: Array, location: Array, scale: Array) -> Array:
        """What a network reads of observed values (..., channel): numbers of the order of 1."""
        return (values - location) / scale

    def split(self, raw: Array, num_channels: int) -> Array:
        """Numbers (..., channel, `num_parameters`) of a network's outputs (..., channel x `num_parameters`)."""
        return array_namespace(raw).reshape(raw, (*raw.shape[:-1], num_channels, self.num_parameters))


_LACKS = "{} has no {}. Ask for draws, quantiles or scores of those, or take another head."


def uniform_like(random: Random, like: Array) -> Array:
    """Uniform numbers inside (0, 1), of the shape of an array: never 0, so that they have a logarithm."""
    tiny = float(np.finfo(np.float32).tiny)
    return random.uniform(tuple(like.shape)) + tiny
