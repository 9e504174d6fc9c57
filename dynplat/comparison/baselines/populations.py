"""What the baselines of populations share: particles that are drawn from them evenly, and their laws."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from dynplat.arrays import Array, Observations, Random, asarray_like, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.model import Populations, populations_of
from dynplat.process import AbstractPredictive, AbstractProcess
from dynplat.process.base import AbstractConditional


def deal(size: int, count: int, random: Random) -> np.ndarray:
    """Choose `count` of `size` particles in random order, each as often as any other up to once, (count,)."""
    rounds = [np.argsort(to_numpy(random.uniform((size,))), kind="stable") for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count]


class BaselineProcess(AbstractProcess):
    """A law that is nothing without snapshots; `law` is what it makes of them."""

    def __init__(self, law: type[BaselineLaw], **options: str) -> None:
        self._law, self._options = law, options

    def condition(self, observations: Observations) -> AbstractConditional:
        """Return the populations in between."""
        return _Conditional(self._law, populations_of(observations), self._options)


class _Conditional(AbstractConditional):
    """A baseline given snapshots."""

    def __init__(self, law: type[BaselineLaw], populations: Populations, options: dict[str, str]) -> None:
        self._law, self._populations, self._options = law, populations, options

    def at(self, times: Array, *, inputs: Array | None = None) -> AbstractPredictive:
        """Return the populations at times (1, query).

        Raises:
            ArgumentError: A time lies before the first snapshot.
            CapabilityError: A time lies after the last one, and the baseline does not forecast.
        """
        host = to_numpy(times)
        known = self._populations.times
        if (host < known[0]).any():
            raise ArgumentError(
                f"`times` contains {host.min():g}, before the first snapshot at {known[0]:g}, where the baseline says "
                "nothing. Ask about later times."
            )
        if not self._law.forecasts and (host > known[-1]).any():
            raise CapabilityError(
                f"`times` contains {host.max():g}, after the last snapshot at {known[-1]:g}: the baseline lies between "
                "snapshots and does not forecast."
            )
        return self._law(self._populations, host[0], **self._options)


class BaselineLaw(AbstractPredictive):
    """Populations at query times, as particles with their paths.

    Args:
        populations: The snapshots.
        times: Query times, (query,), none before the first snapshot.
    """

    forecasts = True

    def __init__(self, populations: Populations, times: np.ndarray) -> None:
        self.populations, self.times = populations, times
        #: Last snapshot at or before each query.
        self.before = np.searchsorted(populations.times, times, side="right") - 1

    @abstractmethod
    def paths(self, num_draws: int, random: Random) -> np.ndarray:
        """Paths of particles, (draw, query, channel)."""

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Particles with their paths, (draw, 1, query, channel).

        Of a population of n particles, any n draws in one call hold each particle once.
        """
        if of == "state":
            raise CapabilityError("a baseline has no states. Ask for `of='observation'`.")
        return asarray_like(self.paths(num_draws, random)[:, None], random.uniform((1,)))
