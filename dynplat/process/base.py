r"""What a process is: a probability law over trajectories, given parameters.

A process is built from parameters of shape (..., series or 1, core dimensions) and broadcasts over every leading axis,
so that asking one question of all draws of a posterior is one call. It answers as far as its model declares:

- `log_prob_steps(observations)`: the terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); `log_prob` sums them.
- `composite_steps(observations)`: where there is no joint density, log densities of values given others.
- `sample(times, random=...)`: a draw of the observations at the times.
- `condition(observations)`: the law given observations; its `.at(times)` may be asked about *any* times: inside the
  data (imputation, smoothing), after them (forecasting), between two snapshots (interpolation of a population).

The law starts at the first row of the times it is given. A process that is stationary can also be asked about earlier
times; any other process refuses them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from dynplat.arrays import Array, Observations, Random, array_namespace
from dynplat.errors import CapabilityError


class Draw(NamedTuple):
    """A draw from a process.

    Attributes:
        values: Observations, (..., series, time, channel), noise included.
        states: Latent states, (..., series, time, state), or None.
    """

    values: Array
    states: Array | None = None


class AbstractProcess:
    """A probability law over trajectories. Subclasses are final; unsupported questions keep the refusals below.

    Attributes:
        forecasts_by_row: Whether the term of a row is what `condition` on the rows before it says of it. A law that
            gives blocks of rows at once says False: rows of a block are given those before the block.
    """

    forecasts_by_row: ClassVar[bool] = True

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); a row with nothing observed gives exactly 0."""
        raise _refusal(self, "log_prob_steps", "a likelihood")

    def log_prob(self, observations: Observations) -> Array:
        """Log density of all observed values of each series, (..., series): `log_prob_steps` summed over time."""
        steps = self.log_prob_steps(observations)
        return array_namespace(steps).sum(steps, axis=-1)

    def composite_steps(self, observations: Observations, *, random: Random | None = None) -> Array:
        r"""Terms of a composite log likelihood, (..., series, time); a row with nothing observed gives exactly 0.

        Each term is a sum of log densities of the row's observed values, given *other* observed values, before or after
        them. Parameters that maximise it are consistent where those laws are right (Varin, Reid and Firth 2011, An
        overview of composite likelihood methods, Statistica Sinica 21). Inference `train` maximises it for a model that
        has no likelihood.

        Args:
            observations: The observations.
            random: Decides what is given where chance has a say; None for every value given all others (Besag's
                pseudo-likelihood, 1975).
        """
        raise _refusal(self, "composite_steps", "a composite likelihood")

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), one for each leading index of the parameters."""
        raise _refusal(self, "sample", "simulation")

    def condition(self, observations: Observations) -> AbstractConditional:
        """Return the law given `observations`."""
        raise _refusal(self, "condition", "conditioning")


class AbstractConditional(ABC):
    """A process given observations, to be asked about any times."""

    @abstractmethod
    def at(self, times: Array, *, inputs: Array | None = None) -> AbstractPredictive:
        """Return the joint law at `times`, (..., series, query), non-decreasing along the query axis.

        Args:
            times: Query times, within or outside the observed ones.
            inputs: Known inputs at the query times, (..., series, query, input).
        """


class AbstractPredictive(ABC):
    """The joint law of a trajectory at query times.

    Each question takes `of`: `observation` (noise included: the value that would have been observed), `signal` (the
    observation without its noise) or `state`. Shapes are (..., series, query, channel or state).
    """

    @abstractmethod
    def draws(self, num_draws: int, *, random: Random, of: str = "observation") -> Array:
        """Joint draws over all query times, (num_draws, ..., series, query, channel or state).

        A law of marginals draws each cell by itself; its model declares `joint=False`.
        """

    def mean(self, of: str = "observation") -> Array:
        """Marginal means."""
        raise _refusal(self, "mean", "closed-form means")

    def variance(self, of: str = "observation") -> Array:
        """Marginal variances."""
        raise _refusal(self, "variance", "closed-form variances")

    def covariance(self, of: str = "observation") -> Array:
        """Covariances between the channels (or states) of one query time, (..., series, query, channel, channel)."""
        raise _refusal(self, "covariance", "closed-form covariances")

    def log_density(self, values: Array) -> Array:
        """Marginal log density of each cell of `values`, (..., series, query, channel)."""
        raise _refusal(self, "log_density", "marginal densities")

    #: Family of the marginals: `gaussian` when `mean` and `variance` determine them, `draws` otherwise.
    family: str = "draws"


def _refusal(owner: Any, method: str, what: str) -> CapabilityError:
    name = type(owner).__name__
    return CapabilityError(f"{name} does not offer {what} (`{method}`). Its model's capabilities must not claim it.")
