"""Parameters by blocks that depend on the rest of a model only through the paths of its states.

Given the paths, or what is expected of them, each block is maximised (EM) or drawn from its law (Gibbs) by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dynplat.errors import ArgumentError

Values = Mapping[str, np.ndarray]


class PathStatistics(NamedTuple):
    """What blocks read of paths: expected numbers given the observations, or those of paths that were drawn.

    Attributes:
        stays: Total time in each state, (piece, K), all series together.
        jumps: Number of jumps, (piece, K, K), 0 on the diagonal.
        first: Number of series that start in each state, (K,).
        states: Probability of each state at each row, (series, time, K); 0 and 1 for a path that was drawn.
    """

    stays: np.ndarray
    jumps: np.ndarray
    first: np.ndarray
    states: np.ndarray


class Coordinate(NamedTuple):
    """How EM moves a site: on the `log` of positive numbers, on logs of a `simplex`, or by `real` numbers in a unit."""

    kind: str
    unit: np.ndarray | float = 1.0


class AbstractBlock(ABC):
    """Sites that are found together, given paths. Arrays have the sites' own shapes."""

    #: Sites and the scale on which EM is accelerated.
    coordinates: Mapping[str, Coordinate]

    @abstractmethod
    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """New values, which maximise (or at least raise) the expected log-likelihood of paths and observations."""

    @abstractmethod
    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """New values by a step that leaves their law given paths and observations as it is."""

    def log_prior(self, values: Values) -> float:
        """What is added to the log-likelihood that `maximise` raises; 0 for maximum likelihood."""
        return 0.0


class RatesBlock(AbstractBlock):
    """Free rates of links, Gamma(shape, rate) a priori: Gamma(shape + N_ij, rate + T_i) given the paths.

    Args:
        places: Piece, old and new state of each rate, (rate, 3).
        size: Shape of the site `rate`, with as many entries.
        shape: Shapes of the Gamma priors, one number or (rate,); 1 for maximum likelihood.
        rate: Inverse scales of the Gamma priors; 0 for maximum likelihood.
    """

    def __init__(
        self,
        places: np.ndarray,
        size: tuple[int, ...],
        *,
        shape: np.ndarray | float = 1.0,
        rate: np.ndarray | float = 0.0,
    ) -> None:
        self._piece, self._old, self._new = np.asarray(places, dtype=np.int64).reshape(-1, 3).T
        self._size, self._shape, self._rate = size, shape, rate
        self.coordinates = {"rate": Coordinate("log")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """The mode on the natural scale, (N_ij + shape - 1) / (T_i + rate)."""
        jumps, stays = self._counts(paths)
        above = np.maximum(jumps + self._shape - 1.0, 0.0)
        return {"rate": (above / np.maximum(stays + self._rate, 1e-300)).reshape(self._size)}

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the rates."""
        jumps, stays = self._counts(paths)
        return {"rate": rng.gamma(jumps + self._shape, 1.0 / (stays + self._rate)).reshape(self._size)}

    def log_prior(self, values: Values) -> float:
        """Log density of the Gamma priors on the natural scale of rates, up to a constant."""
        rates = values["rate"].ravel()
        logs = np.log(np.maximum(rates, 1e-300))
        return float(((self._shape - 1.0) * logs - self._rate * rates).sum())

    def _counts(self, paths: PathStatistics) -> tuple[np.ndarray, np.ndarray]:
        return paths.jumps[self._piece, self._old, self._new], paths.stays[self._piece, self._old]


class InitialBlock(AbstractBlock):
    """The law of the first state, Dirichlet a priori: Dirichlet(concentration + first states) given the paths.

    Args:
        concentration: Concentration of the prior, (K,).
    """

    def __init__(self, concentration: np.ndarray) -> None:
        self._concentration = np.asarray(concentration, dtype=np.float64)
        self.coordinates = {"initial": Coordinate("simplex")}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Shares of the states among expected first ones."""
        return {"initial": paths.first / paths.first.sum()}

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw the law."""
        return {"initial": rng.dirichlet(self._concentration + paths.first)}


class PopulationBlock(AbstractBlock):
    r"""Birth and death per individual, and immigration, Gamma a priori.

    A jump up from n is a birth with probability :math:`\lambda n / (\lambda n + \nu)` and an immigration otherwise.
    Given which is which, each rate is Gamma(shape + events, rate + exposure), with the exposures
    :math:`\sum_{n < c} n T_n`, :math:`\sum_n n T_n` and :math:`\sum_{n < c} T_n` below a capacity c.

    Args:
        capacity: Largest count.
        immigration: Whether there is immigration.
        laws: Shape and inverse scale of the Gamma prior of each site; where it is empty the block is only maximised.
    """

    #: Steps by which jumps up are shared out again in one M-step.
    _SPLITS = 50

    def __init__(self, capacity: int, immigration: bool, laws: Mapping[str, tuple[np.ndarray, ...]]) -> None:
        self._n = np.arange(capacity + 1.0)
        self._laws = laws
        self._names = ("birth", "death", "immigration")[: 3 if immigration else 2]
        self.coordinates = {name: Coordinate("log") for name in self._names}

    def maximise(self, values: Values, paths: PathStatistics) -> dict[str, np.ndarray]:
        """Rates by sharing out expected jumps up until little changes: each step raises the expected likelihood."""
        found = dict(values)
        exposure = self._exposure(paths)
        ups = np.diagonal(paths.jumps[0], offset=1)
        for _ in range(self._SPLITS if "immigration" in self._names else 1):
            born = (ups * self._share_born(found)).sum()
            events = {"birth": born, "immigration": ups.sum() - born, "death": self._deaths(paths)}
            found = {name: np.asarray(events[name] / max(exposure[name], 1e-300)) for name in self._names}
        return found

    def draw(self, values: Values, paths: PathStatistics, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw which jumps up are births, and then the rates."""
        ups = np.diagonal(paths.jumps[0], offset=1).astype(np.int64)
        born = rng.binomial(ups, self._share_born(values)).sum()
        events = {"birth": born, "immigration": ups.sum() - born, "death": self._deaths(paths)}
        exposure = self._exposure(paths)
        found = {}
        for name in self._names:
            shape, rate = self._laws[name]
            found[name] = np.asarray(rng.gamma(shape + events[name], 1.0 / (rate + exposure[name])))
        return found

    def _share_born(self, values: Values) -> np.ndarray:
        """Probability that a jump up from n = 0, ..., capacity - 1 is a birth."""
        if "immigration" not in self._names:
            return np.ones(len(self._n) - 1)
        births, comers = values["birth"] * self._n[:-1], values["immigration"]
        return births / np.maximum(births + comers, 1e-300)

    def _exposure(self, paths: PathStatistics) -> dict[str, float]:
        stays, n = paths.stays[0], self._n
        below = float((n * stays)[:-1].sum()), float(stays[:-1].sum())
        return {"birth": below[0], "death": float((n * stays).sum()), "immigration": below[1]}

    @staticmethod
    def _deaths(paths: PathStatistics) -> float:
        return float(np.diagonal(paths.jumps[0], offset=-1).sum())


#: Logarithms are kept between these: a rate that nothing was seen of falls without end.
BOUND = 200.0


class Packing:
    """The sites of blocks as one vector, on the scales on which EM is accelerated.

    Args:
        blocks: The blocks.
        values: Values of all sites, for their shapes.
    """

    def __init__(self, blocks: list[AbstractBlock], values: Values) -> None:
        self._coordinates = {name: c for block in blocks for name, c in block.coordinates.items()}
        self._shapes = {name: np.shape(values[name]) for name in self._coordinates}

    def pack(self, values: Values) -> np.ndarray:
        """Values to a vector."""
        found = []
        for name, (kind, unit) in self._coordinates.items():
            value = np.asarray(values[name], dtype=np.float64)
            if kind == "real":
                found.append((value / unit).ravel())
            elif kind in ("log", "simplex"):
                found.append(np.log(np.maximum(value, np.exp(-BOUND))).ravel())
            else:
                raise ArgumentError(f"`kind` of a coordinate must be 'log', 'simplex' or 'real'; got {kind!r}.")
        return np.concatenate(found)

    def unpack(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """A vector to values; a law sums to one whatever the vector."""
        found, at = {}, 0
        vector = np.clip(vector, -BOUND, BOUND)
        for name, (kind, unit) in self._coordinates.items():
            size = int(np.prod(self._shapes[name]))
            part = vector[at : at + size].reshape(self._shapes[name])
            at += size
            if kind == "real":
                found[name] = part * unit
            elif kind == "log":
                found[name] = np.exp(part)
            else:
                weights = np.exp(part - part.max(axis=-1, keepdims=True))
                found[name] = weights / weights.sum(axis=-1, keepdims=True)
        return found
