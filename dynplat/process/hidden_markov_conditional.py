"""A hidden Markov chain given observations, asked at its rows and, where it does not change with time, at later steps.

A state is answered as its indicators: K numbers, 1 for the state and 0 for the others. The mean of a state is then its
law, and a draw of a state is one of the K unit vectors; `HiddenMarkovPredictive.draw_states` gives labels.
"""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, eye_like, take_rows
from dynplat.errors import ArgumentError
from dynplat.process.base import AbstractConditional, AbstractPredictive
from dynplat.process.chain_rows import locate_rows
from dynplat.process.emissions import index_type
from dynplat.process.hidden_markov import HiddenMarkov, StatesPosterior, indicators
from dynplat.semigroup.log_matrix import log_sum_exp

_OF = ("observation", "signal", "state")


class HiddenMarkovConditional(AbstractConditional):
    """A hidden Markov chain given observations.

    Query times must be times of the observations' rows. A time-invariant chain with evenly spaced rows can also be
    asked about later times on the same grid.

    Args:
        process: The chain.
        observations: Observations at all its rows.
    """

    def __init__(self, process: HiddenMarkov, observations: Observations) -> None:
        self.process = process
        self.observations = observations
        self._posterior = process.posterior(observations)

    def at(self, times: Array, *, inputs: Array | None = None) -> HiddenMarkovPredictive:
        """Return the joint law at `times`, (..., series or 1, query).

        Raises:
            ArgumentError: A time is not a row of the chain, or lies after the data of a chain that cannot be extended;
                or inputs are given.
        """
        if inputs is not None:
            raise ArgumentError("a hidden Markov chain reads no `inputs`; leave them out.")
        rows = locate_rows(self.observations.times, times, self.process.num_steps)
        extra = int(rows.max(initial=0)) + 1 - int(self.observations.times.shape[-1])
        posterior = self._posterior if extra <= 0 else self._extended(extra)
        like = self.process.like
        return HiddenMarkovPredictive(posterior, asarray_like(rows.astype(np.int64), like))

    def _extended(self, extra: int) -> StatesPosterior:
        """The chain with further rows, in which nothing is observed."""
        times, values, mask, _, _ = self.observations
        like = self.process.like
        values, mask = asarray_like(values, like), asarray_like(mask, like)
        xp = array_namespace(values)
        size = int(times.shape[-1]) + extra
        filler = xp.zeros_like(xp.repeat(values[..., -1:, :], extra, axis=-2))
        values = xp.concat([values, filler], axis=-2)
        unseen = xp.repeat(mask[..., -1:, :], extra, axis=-2)
        mask = xp.concat([mask, unseen & ~unseen], axis=-2)
        longer = asarray_like(np.arange(size, dtype=float), like)
        return self.process.posterior(Observations(longer, values, mask, None, None))


class HiddenMarkovPredictive(AbstractPredictive):
    """Law of states and of mixtures of emissions at query rows.

    Args:
        posterior: The states given the observations.
        rows: Row numbers, (..., series or 1, query).
    """

    family = "draws"

    def __init__(self, posterior: StatesPosterior, rows: Array) -> None:
        self._posterior = posterior
        self._emission = posterior.process.emission.at(rows)
        self.rows = rows
        #: Marginal laws of the states, (..., series, query, K).
        self.probabilities = take_rows(posterior.states, rows, num_core=1)

    def mean(self, of: str = "observation") -> Array:
        """Marginal means, (..., series, query, channel); of a state its law, (..., series, query, K)."""
        return self.probabilities if _checked(of) == "state" else self._average(self._emission.mean())

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances, (..., series, query, channel or K); the signal is the mean of the state's emission."""
        law = self.probabilities
        if _checked(of) == "state":
            return law * (1.0 - law)
        xp = array_namespace(law)
        away = self._away()
        spread = xp.sum(law[..., None] * (away * away), axis=-2)
        return spread + self._average(self._emission.variance()) if of == "observation" else spread

    def covariance(self, of: str = "observation") -> Array:
        """Covariances of one query row, (..., series, query, channel or K, channel or K)."""
        law = self.probabilities
        xp = array_namespace(law)
        if _checked(of) == "state":
            return law[..., None] * eye_like(law.shape[-1], law) - law[..., :, None] * law[..., None, :]
        away = self._away()
        spread = xp.matrix_transpose(away) @ (law[..., None] * away)
        if of == "signal":
            return spread
        own = self._emission.covariance()
        flat = xp.reshape(own, (*own.shape[:-2], own.shape[-1] ** 2))
        return spread + xp.reshape(self._average(flat), tuple(spread.shape))

    def _average(self, values: Array) -> Array:
        """Averages over states of numbers ([query,] K, n) under the law of each query row, (..., series, query, n)."""
        law = self.probabilities
        return (law[..., None, :] @ values)[..., 0, :] if self._emission.num_steps else law @ values

    def _away(self) -> Array:
        """Means of states less the mean of their mixture, (..., series, query, K, channel)."""
        means = self._emission.mean()
        each = means if self._emission.num_steps else means[..., None, :, :]
        return each - self._average(means)[..., None, :]

    def log_density(self, values: Array) -> Array:
        """Marginal log density (or log-probability) of each cell of `values`, (..., series, query, channel)."""
        law = self.probabilities
        xp = array_namespace(law)
        cells = self._emission.cell_log_density(asarray_like(values, law))
        positive = law > 0
        log_law = xp.where(positive, xp.log(xp.where(positive, law, 1.0)), -xp.inf)
        return log_sum_exp(log_law[..., None] + cells, axis=-2)

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws over all query rows, (num_draws, ..., series, query, channel or K)."""
        states = self.draw_states(num_draws, random)
        if _checked(of) == "state":
            return indicators(states, self.probabilities.shape[-1], self.probabilities)
        if of == "signal":
            return self._emission.signal(states)
        return self._emission.sample(states, random)

    def draw_states(self, num_draws: int, random: Random) -> Array:
        """Joint draws of the states' labels 0, ..., K - 1, (num_draws, ..., series, query)."""
        states = self._posterior.draw_states(num_draws, random)
        xp = array_namespace(states)
        return take_rows(states, xp.astype(self.rows, index_type(self.probabilities)), num_core=0)


def _checked(of: str) -> str:
    if of not in _OF:
        raise ArgumentError(f"`of` must be one of {_OF}; got {of!r}.")
    return of
