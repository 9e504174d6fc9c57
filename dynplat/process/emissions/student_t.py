"""Values with heavy tails."""

from __future__ import annotations

import math

from dynplat.arrays import Array, Random, array_namespace, common_type, log_gamma
from dynplat.process.emissions.base import AbstractEmission, check_positive


class StudentTEmission(AbstractEmission):
    r"""Values with Student's t law, independent given the state.

    .. math::
        p(y) \propto \sigma^{-1} \left(1 + z^2 / \nu\right)^{-(\nu + 1) / 2}, \qquad z = (y - \mu) / \sigma

    Args:
        degrees: Degrees of freedom nu, positive, of a shape that broadcasts with that of `locations`.
        locations: Centres mu, (..., series or 1, K, channel).
        scales: Scales sigma, positive, of a shape that broadcasts with that of `locations`; the standard deviation is
            sigma sqrt(nu / (nu - 2)).
        time_varying: Whether all have a time axis, (..., series or 1, T or 1, K, channel).

    Raises:
        ArgumentError: Shapes do not fit, or a scale or a number of degrees is not positive.
    """

    parameter_cores = (("degrees", 1), ("locations", 1), ("scales", 1))

    def __init__(self, degrees: Array, locations: Array, scales: Array, *, time_varying: bool = False) -> None:
        self.degrees, self.locations, self.scales = common_type(degrees, locations, scales)
        self._settle(time_varying)
        check_positive("degrees", self.degrees)
        check_positive("scales", self.scales)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.locations

    def cell_log_density(self, values: Array) -> Array:
        """Log density of each cell of values (..., time, channel) in each state, (..., time, K, channel)."""
        xp = array_namespace(self.locations)
        degrees, locations, scales = (self._rows(a) for a in (self.degrees, self.locations, self.scales))
        score = (values[..., None, :] - locations) / scales
        top = log_gamma(0.5 * (degrees + 1.0)) - log_gamma(0.5 * degrees) - 0.5 * xp.log(math.pi * degrees)
        return top - xp.log(scales) - 0.5 * (degrees + 1.0) * xp.log1p(score * score / degrees)

    def sample(self, states: Array, random: Random) -> Array:
        """Draw observations given states (..., time), (..., time, channel).

        Two uniform numbers make one draw, whatever the degrees of freedom: Bailey (1994), Polar generation of random
        variates with the t-distribution, Mathematics of Computation 62, 779-781.
        """
        degrees, locations, scales = (
            self._given(self._whole(a), states) for a in (self.degrees, self.locations, self.scales)
        )
        shape = tuple((degrees + locations + scales).shape)
        xp = array_namespace(locations)
        first, second = random.uniform(shape), random.uniform(shape)
        radius = xp.sqrt(degrees * xp.expm1(-2.0 / degrees * xp.log1p(-first)))
        return locations + scales * radius * xp.cos(2.0 * math.pi * second)

    def mean(self) -> Array:
        """Mean of each channel in each state (see `AbstractEmission`); NaN where there is none, nu <= 1."""
        xp = array_namespace(self.locations)
        degrees = self._whole(self.degrees)
        return xp.where(degrees > 1.0, self._whole(self.locations), xp.nan)

    def variance(self) -> Array:
        """Variance of each channel in each state (see `AbstractEmission`); infinite for nu <= 2, NaN for nu <= 1."""
        xp = array_namespace(self.locations)
        degrees, scales = self._whole(self.degrees), self._whole(self.scales)
        finite = degrees > 2.0
        found = scales * scales * degrees / xp.where(finite, degrees - 2.0, 1.0)
        return xp.where(finite, found, xp.where(degrees > 1.0, xp.inf, xp.nan))
