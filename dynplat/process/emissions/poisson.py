"""Counts."""

from __future__ import annotations

import math

from dynplat.arrays import Array, Observations, Random, array_namespace, common_type, log_gamma
from dynplat.process.emissions.base import AbstractEmission, check_counts, check_positive


class PoissonEmission(AbstractEmission):
    """Counts 0, 1, ... with a Poisson law, independent given the state.

    Args:
        rates: Expected counts, not negative, (..., series or 1, K, channel). A rate of 0 emits nothing but 0.
        time_varying: Whether they have a time axis, (..., series or 1, T, K, channel); exposures that differ by row
            are put there.

    Raises:
        ArgumentError: The shape does not fit, or a rate is negative.
    """

    parameter_cores = (("rates", 1),)

    def __init__(self, rates: Array, *, time_varying: bool = False) -> None:
        (self.rates,) = common_type(rates)
        self._settle(time_varying)
        check_positive("rates", self.rates, zero=True)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the parameters."""
        return self.rates

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """Log-probability of each row's observed cells in each state, (..., time, K) (see `AbstractEmission`).

        Raises:
            ArgumentError: An observed value is not a count.
        """
        check_counts("counts 0, 1, ...", observations, math.inf, "Mask the cell or choose an emission of real values.")
        return super().log_density(observations, driver=driver)

    def cell_log_density(self, values: Array) -> Array:
        """Log-probability of each cell of values (..., time, channel) in each state, (..., time, K, channel).

        A value that is no count has log-probability -inf.
        """
        xp = array_namespace(self.rates)
        counts = values[..., None, :]
        possible = (counts >= 0) & (counts == xp.floor(counts)) & (counts < xp.inf)
        counts = xp.where(possible, counts, 0.0)
        rates = self._rows(self.rates)
        # 0 log 0 is 0, with gradient 0; a positive count at rate 0 is impossible, with gradient 0.
        positive = (rates > 0) & (counts > 0)
        log_power = counts * xp.log(xp.where(positive, rates, 1.0))
        found = log_power - rates - log_gamma(counts + 1.0)
        return xp.where(possible & ((rates > 0) | (counts == 0)), found, -xp.inf)

    def sample(self, states: Array, random: Random) -> Array:
        """Draw counts given states (..., time), (..., time, channel)."""
        return random.poisson(self._given(self.rates, states))

    def mean(self) -> Array:
        """Mean of each channel in each state (see `AbstractEmission`)."""
        return self.rates

    def variance(self) -> Array:
        """Variance of each channel in each state (see `AbstractEmission`)."""
        return self.rates
