"""A process whose channels are independent given its parameters, made of a process of one channel."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like
from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess, Draw


class IndependentChannels(AbstractProcess):
    """Channels that are independent given the parameters.

    The parameters of the wrapped process carry one batch axis more than usual, (..., series or 1, channel, core): it
    sees the channels as its last batch axis and one channel of values. All answers come back with the channels last;
    the states of the channels stand one after the other.

    Args:
        process: A process of one channel.
    """

    def __init__(self, process: AbstractProcess) -> None:
        self.process = process

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time), summed over the channels."""
        steps = self.process.log_prob_steps(_split(observations))
        return array_namespace(steps).sum(steps, axis=-2)

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), one for each leading index of the parameters."""
        inputs = None if inputs is None else inputs[..., None, :, :]
        values, states = self.process.sample(times[..., None, :], random=random, inputs=inputs)
        return Draw(_join(values), None if states is None else _join(states))

    def condition(self, observations: Observations) -> IndependentConditional:
        """Return the law given `observations`."""
        return IndependentConditional(self.process.condition(_split(observations)))


class IndependentConditional(AbstractConditional):
    """Independent channels given observations.

    Args:
        conditional: The wrapped process given observations.
    """

    def __init__(self, conditional: AbstractConditional) -> None:
        self.conditional = conditional

    def at(self, times: Array, *, inputs: Array | None = None) -> IndependentPredictive:
        """Return the joint law at `times`, (..., series, query)."""
        inputs = None if inputs is None else inputs[..., None, :, :]
        return IndependentPredictive(self.conditional.at(times[..., None, :], inputs=inputs))


class IndependentPredictive(AbstractPredictive):
    """The joint law of independent channels at query times.

    Args:
        predictive: The wrapped process's law, with the channels as its last batch axis.
    """

    def __init__(self, predictive: AbstractPredictive) -> None:
        self.predictive = predictive
        self.family = predictive.family

    def mean(self, of: str = "observation") -> Array:
        """Marginal means, (..., series, query, channel or state)."""
        return _join(self.predictive.mean(of))

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances, (..., series, query, channel or state)."""
        return _join(self.predictive.variance(of))

    def covariance(self, of: str = "observation") -> Array:
        """Covariances at one query time, (..., series, query, k, k) for k channels or states: block-diagonal."""
        own = self.predictive.covariance(of)
        xp = array_namespace(own)
        own = xp.moveaxis(own, -4, -3)  # (..., series, query, channel, n, n)
        num, n = own.shape[-3], own.shape[-1]
        apart = asarray_like(np.eye(num), own)[:, None, :, None]
        return xp.reshape(own[..., :, :, None, :] * apart, (*own.shape[:-3], num * n, num * n))

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., series, query, channel)."""
        return _join(self.predictive.log_density(_split_values(values)))

    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws over all query times, (num_draws, ..., series, query, channel or state)."""
        return _join(self.predictive.draws(num_draws, random=random, of=of))


def _split(observations: Observations) -> Observations:
    times, values, mask, inputs, marks = observations
    return Observations(
        times[..., None, :],
        _split_values(values),
        _split_values(mask),
        None if inputs is None else inputs[..., None, :, :],
        None if marks is None else marks[..., None, :],
    )


def _split_values(values: Array) -> Array:
    """(..., time, channel) to (..., channel, time, 1)."""
    return array_namespace(values).matrix_transpose(values)[..., None]


def _join(values: Array) -> Array:
    """(..., channel, time, n) to (..., time, channel * n)."""
    moved = array_namespace(values).moveaxis(values, -3, -2)
    return array_namespace(values).reshape(moved, (*moved.shape[:-2], moved.shape[-2] * moved.shape[-1]))
