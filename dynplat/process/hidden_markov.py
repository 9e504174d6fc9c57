r"""Hidden Markov chains: exact likelihood, filter, smoother, best path, joint posterior draws and prediction.

.. math::
    x_0 \sim \pi, \qquad p(x_t = j \mid x_{t-1} = i) = A_{t,ij}, \qquad y_t \mid x_t = j \sim p_j

with K states and emissions of many kinds (`dynplat.process.emissions`). Transitions
stand in row convention, (old, new), as is usual for Markov chains: rows sum to one.

Shapes: `log_transition (..., series or 1, T or 1, K, K)` carries a time axis of length T, or 1 for what does not change
with time; its row t leads into row t, so that the first is not used. `log_initial (..., series or 1, K)` is the law of
the state at the *first row*. Leading axes broadcast and may be absent. `HiddenMarkov.time_invariant` takes a
transition without the time axis. A chain in continuous time gives the transition of each gap.

With `normalised=False` the rows of a transition need not sum to one: entry (i, j) of row t is then the density with
which state i leads to j and to whatever else the row tells, such as that j was entered at exactly this time. Terms
log p(y_t | y_<t) are densities of all that, and laws given the observations are what they always are. Such a chain
cannot be simulated.

Probabilities of 0 are ordinary: their logarithm is -inf. Observations that are impossible have log-likelihood -inf,
with gradient 0, from the row at which they became so; whatever asks for the law *given* them raises `NoDensityError`
with series and row.

Sources: Baum et al. (1970); Rabiner (1989); Cappé, Moulines and Rydén (2005), Inference in hidden Markov models.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import (
    Array,
    Observations,
    Random,
    array_namespace,
    asarray_like,
    common_type,
    compiled,
    concrete,
)
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process import hidden_markov_passes as passes
from dynplat.process.base import AbstractConditional, AbstractProcess, Draw
from dynplat.process.emissions import AbstractEmission, check_normalised
from dynplat.process.hidden_markov_passes import Chain, HostFilter, Laws
from dynplat.scan import check_driver


class FilteredStates(NamedTuple):
    """Laws of the states, as a filter knows them.

    Attributes:
        predicted: p(x_t | y_<t), (..., series, time, K).
        filtered: p(x_t | y_<=t), (..., series, time, K).
        log_prob_steps: log p(y_t | y_<t), (..., series, time).
    """

    predicted: Array
    filtered: Array
    log_prob_steps: Array


class SmoothedStates(NamedTuple):
    """Laws of the states given all observations.

    Attributes:
        states: p(x_t | y), (..., series, time, K).
        pairs: p(x_t = i, x_{t+1} = j | y), (..., series, time - 1, K, K), or None where nobody asked.
    """

    states: Array
    pairs: Array | None


class BestPath(NamedTuple):
    """The most likely path.

    Attributes:
        states: Its states 0, ..., K - 1, (..., series, time).
        log_prob: log p(path, observations), (..., series).
    """

    states: Array
    log_prob: Array


class HiddenMarkov(AbstractProcess):
    """A hidden Markov chain (see the module for its law and shapes).

    `driver` says how time is scanned: `compiled` (on the CPU), `sequential`, `balanced` (products of log-matrices), or
    `auto`: compiled where it can be, else chosen by framework, device and length. The result never depends on it beyond
    rounding.

    Args:
        log_initial: Log-probabilities of the state at the first row, (..., series or 1, K).
        log_transition: Log-probabilities of transitions, (..., series or 1, T or 1, K, K), (old, new).
        emission: What the states emit.
        driver: Driver of the scan.
        normalised: Whether transitions are probabilities; False for densities of more than the next state.

    Raises:
        ArgumentError: Shapes or frameworks do not fit together, or probabilities do not sum to one.
    """

    def __init__(
        self,
        log_initial: Array,
        log_transition: Array,
        emission: AbstractEmission,
        *,
        driver: str = "auto",
        normalised: bool = True,
    ) -> None:
        self.log_initial, self.log_transition, _ = common_type(log_initial, log_transition, emission.like)
        self.emission = emission
        self.driver = check_driver(driver)
        self.normalised = normalised
        self.batch_shape, self.num_steps = _checked(self.log_initial, self.log_transition, emission, normalised)

    @classmethod
    def time_invariant(
        cls, log_initial: Array, log_transition: Array, emission: AbstractEmission, *, driver: str = "auto"
    ) -> HiddenMarkov:
        """Build a chain whose transition does not change with time: `log_transition (..., series or 1, K, K)`."""
        log_initial, log_transition = common_type(log_initial, log_transition)
        if log_transition.ndim < 2:
            raise ArgumentError(
                f"`log_transition` must have shape (..., series or 1, K, K) here; got {tuple(log_transition.shape)}."
            )
        return cls(log_initial, log_transition[..., None, :, :], emission, driver=driver)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the chain."""
        return self.log_transition

    @property
    def num_states(self) -> int:
        """Number of states, K."""
        return int(self.log_initial.shape[-1])

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return self.emission.num_channels

    def log_prob_steps(self, observations: Observations) -> Array:
        """Terms log p(y_t | y_<t), (..., series, time); a row with nothing observed gives exactly 0.

        From the first row on at which the observations became impossible the terms of observed rows are -inf.

        Raises:
            ArgumentError: Shapes do not fit.
        """
        return self._steps(self._chain(observations), observations)

    def log_prob(self, observations: Observations) -> Array:
        """Log density of all observed values of each series, (..., series): `log_prob_steps` summed over time."""
        chain = self._chain(observations)
        mask = concrete(observations.mask)
        # Rows of which nothing is observed count exactly 0: then the terms are needed.
        if mask is not None and mask.any(axis=-1).all():
            total = passes.total_log_prob(chain, self.driver)
            if total is not None:
                return total
        steps = self._steps(chain, observations)
        return array_namespace(steps).sum(steps, axis=-1)

    def _steps(self, chain: Chain, observations: Observations) -> Array:
        steps = passes.log_prob_steps(chain, self.driver)
        xp = array_namespace(steps)
        mask = asarray_like(observations.mask, steps)
        return xp.where(xp.any(mask, axis=-1), steps, 0.0)

    def log_density(self, observations: Observations) -> Array:
        """Log density of each row's observed cells in each state, (..., time, K).

        Raises:
            ArgumentError: Shapes do not fit.
        """
        return self._chain(observations).log_density

    def filter(self, observations: Observations) -> FilteredStates:
        """Laws of the states given the past (arguments as for `log_prob_steps`).

        Raises:
            NoDensityError: The observations are impossible.
        """
        laws = self.posterior(observations).laws
        xp = array_namespace(laws.log_prob)
        mask = asarray_like(observations.mask, laws.log_prob)
        steps = xp.where(xp.any(mask, axis=-1), laws.log_prob, 0.0)
        return FilteredStates(xp.exp(laws.predicted), xp.exp(laws.filtered), steps)

    def smooth(self, observations: Observations, *, pairs: bool = False) -> SmoothedStates:
        """Laws of the states given all observations, with `pairs` also those of two states in a row.

        Raises:
            NoDensityError: The observations are impossible.
        """
        posterior = self.posterior(observations)
        return SmoothedStates(posterior.states, posterior.pairs if pairs else None)

    def most_likely_path(self, observations: Observations) -> BestPath:
        """The most likely path of all states given the observations (Viterbi); of equally likely ones any.

        Raises:
            NoDensityError: The observations are impossible.
        """
        chain = self._chain(observations)
        if passes.runs_on_host(self.driver, chain):
            states, log_prob = passes.best_path_on_host(chain)
        else:
            run = compiled(passes.run_best_path, chain.log_density, "driver")
            states, log_prob = run(chain, driver=self.driver)
        numbers = concrete(log_prob)
        if numbers is not None and (numbers == -np.inf).any():
            self.posterior(observations).laws  # noqa: B018 - names the row
        return BestPath(states, log_prob)

    def draw_states(self, observations: Observations, num_draws: int, random: Random) -> Array:
        """Joint draws of all states given the observations, (num_draws, ..., series, time)."""
        return self.posterior(observations).draw_states(num_draws, random)

    def posterior(self, observations: Observations) -> StatesPosterior:
        """The states given the observations; each pass runs on first use and is kept."""
        return StatesPosterior(self, observations)

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw one trajectory for each leading index of parameters and times; of `times` only the shape is read.

        The states of the draw are indicators, (..., series, time, K): 1 for the state, 0 for the others.

        Raises:
            ArgumentError: Inputs are given, which this process does not know; or shapes do not fit; or transitions are
                no probabilities.
        """
        if inputs is not None:
            raise ArgumentError("a hidden Markov chain reads no `inputs`; leave them out.")
        if not self.normalised:
            raise ArgumentError(
                "a chain with `normalised=False` has no law to simulate: its transitions are densities."
            )
        xp = array_namespace(self.like)
        size = int(times.shape[-1])
        self._check_rows(size)
        lead = tuple(xp.broadcast_shapes(self.batch_shape, tuple(times.shape[:-1])))
        # The law given nothing is the law.
        density = asarray_like(np.zeros((*lead, size, self.num_states)), self.like)
        states = _draw(Chain(self.log_initial, self.log_transition, density), None, None, 1, random, self.driver)[0]
        return Draw(self.emission.sample(states, random), indicators(states, self.num_states, self.like))

    def condition(self, observations: Observations) -> AbstractConditional:
        """Return the law given `observations`, to be asked at rows of the chain, or (time-invariant) at later steps."""
        from dynplat.process.hidden_markov_conditional import HiddenMarkovConditional

        return HiddenMarkovConditional(self, observations)

    def _chain(self, observations: Observations) -> Chain:
        shape = tuple(observations.values.shape)
        if len(shape) < 2 or shape[-1] != self.num_channels:
            raise ArgumentError(
                f"`values` must have shape (..., series, time, {self.num_channels}): the emission has "
                f"{self.num_channels} channels; got {shape}."
            )
        if "bool" not in str(observations.mask.dtype):
            raise ArgumentError(f"`mask` must be boolean (True = observed); got dtype {observations.mask.dtype}.")
        if tuple(observations.mask.shape[-2:]) != shape[-2:]:
            raise ArgumentError(
                f"`mask` must have the shape of `values`, {shape}; got {tuple(observations.mask.shape)}."
            )
        self._check_rows(shape[-2])
        try:
            np.broadcast_shapes(shape[:-2], self.batch_shape)
        except ValueError:
            raise ArgumentError(
                f"leading axes of `values` {shape[:-2]} do not broadcast with those of the parameters "
                f"{self.batch_shape}."
            ) from None
        density = self.emission.log_density(observations, driver=self.driver)
        log_initial, log_transition, density = common_type(self.log_initial, self.log_transition, density)
        return Chain(log_initial, log_transition, density)

    def _check_rows(self, size: int) -> None:
        if size == 0:
            raise ArgumentError("`values` has no rows: a chain needs at least one.")
        if self.num_steps not in (1, size):
            name = "`log_transition`" if self.log_transition.shape[-3] > 1 else "`emission`"
            raise ArgumentError(f"`values` has {size} rows, but the chain's {name} has {self.num_steps}.")


class StatesPosterior:
    """The states of a chain given observations. Passes run on first use and are kept.

    Args:
        process: The chain.
        observations: Observations at all its rows.
    """

    def __init__(self, process: HiddenMarkov, observations: Observations) -> None:
        self.process = process
        self.observations = observations
        self.chain = process._chain(observations)
        self._on_host = passes.runs_on_host(process.driver, self.chain)

    @cached_property
    def laws(self) -> Laws:
        """The filter pass, in logarithms.

        Raises:
            NoDensityError: The observations are impossible.
        """
        if self._run is not None:
            return passes.laws_on_host(self.chain, self._run)
        run = compiled(passes.run_filter, self.chain.log_density, "driver")
        laws = run(self.chain, driver=self.process.driver)
        self._check_possible(laws.log_prob)
        return laws

    @cached_property
    def states(self) -> Array:
        """Laws p(x_t | y), (..., series, time, K)."""
        if self._run is not None:
            return passes.smooth_on_host(self.chain, self._run, pairs=False)[0]
        return array_namespace(self._log_states).exp(self._log_states)

    @cached_property
    def pairs(self) -> Array:
        """Laws p(x_t = i, x_{t+1} = j | y), (..., series, time - 1, K, K)."""
        if self._run is not None:
            pairs = passes.smooth_on_host(self.chain, self._run, pairs=True)[1]
            assert pairs is not None
            return pairs
        log_pairs = compiled(passes.run_pairs, self.chain.log_density)(self.chain, self.laws, self._log_states)
        return array_namespace(log_pairs).exp(log_pairs)

    def draw_states(self, num_draws: int, random: Random) -> Array:
        """Joint draws of all states, (num_draws, ..., series, time)."""
        if num_draws < 1:
            raise ArgumentError(f"`num_draws` must be at least 1; got {num_draws}.")
        laws = None if self._run is not None else self.laws
        return _draw(self.chain, self._run, laws, num_draws, random, self.process.driver)

    @cached_property
    def _run(self) -> HostFilter | None:
        """The compiled filter pass, where it serves."""
        if not self._on_host:
            return None
        run = passes.filter_on_host(self.chain)
        self._check_possible(run.outputs[0].reshape((*passes.lead_shape(self.chain), -1)))
        return run

    @cached_property
    def _log_states(self) -> Array:
        run = compiled(passes.run_smoother, self.chain.log_density, "driver")
        return run(self.chain, self.laws, driver=self.process.driver)

    def _check_possible(self, log_prob: Array) -> None:
        numbers = concrete(log_prob)
        if numbers is None or not (numbers == -np.inf).any():
            return
        *lead, row = (int(i) for i in np.argwhere(numbers == -np.inf)[0])
        where = (f"series {lead[-1]}, " if lead else "") + f"row {row}"
        if lead[:-1]:
            where += f" (leading index {tuple(lead[:-1])})"
        raise NoDensityError(
            f"the observations have probability 0 at {where}: no state that can be reached there can emit what was "
            "observed, so there is no law given them. Allow the transition or the emission, or mask the row."
        )


def indicators(states: Array, num_states: int, like: Array) -> Array:
    """Indicators (..., K) of states (...)."""
    xp = array_namespace(like)
    labels = asarray_like(np.arange(num_states), like)
    return xp.astype(states[..., None] == labels, like.dtype)


def _draw(
    chain: Chain, run: HostFilter | None, laws: Laws | None, num_draws: int, random: Random, driver: str
) -> Array:
    """Draw paths given observations whose filter pass may be known."""
    uniform = random.uniform((num_draws, *passes.lead_shape(chain), int(chain.log_density.shape[-2])))
    if run is None and laws is None:
        if passes.runs_on_host(driver, chain):
            run = passes.filter_on_host(chain)
        else:
            laws = compiled(passes.run_filter, chain.log_density, "driver")(chain, driver=driver)
    if run is not None and concrete(uniform) is not None:
        return passes.draws_on_host(chain, run, uniform)
    laws = passes.laws_on_host(chain, run) if laws is None and run is not None else laws
    return compiled(passes.run_draws, chain.log_density)(chain, laws, uniform)


def _checked(
    log_initial: Array, log_transition: Array, emission: AbstractEmission, normalised: bool
) -> tuple[tuple[int, ...], int]:
    """Check shapes and sums; return the leading shape of all parameters and their number of rows."""
    initial, transition = tuple(log_initial.shape), tuple(log_transition.shape)
    if len(initial) < 1:
        raise ArgumentError(f"`log_initial` must have shape (..., series or 1, K); got {initial}.")
    K = initial[-1]
    if len(transition) < 3 or transition[-2:] != (K, K):
        raise ArgumentError(
            f"`log_transition` must have shape (..., series or 1, T or 1, K, K) with K = {K}, as `log_initial`; got "
            f"{transition}. Without a time axis use `HiddenMarkov.time_invariant`."
        )
    if emission.num_states != K:
        raise ArgumentError(f"`emission` has {emission.num_states} states, but `log_initial` has {K}.")
    leads: dict[str, Any] = {
        "log_initial": initial[:-1],
        "log_transition": transition[:-3],
        "emission": emission.batch_shape,
    }
    try:
        batch = np.broadcast_shapes(*leads.values())
    except ValueError:
        raise ArgumentError(f"leading axes of the parameters do not broadcast: {leads}.") from None
    check_normalised("log_initial", log_initial)
    if normalised:
        # The first row of a time axis is not used.
        check_normalised("log_transition", log_transition if transition[-3] == 1 else log_transition[..., 1:, :, :])
    rows = {int(transition[-3]), max(emission.num_steps, 1)} - {1}
    if len(rows) > 1:
        raise ArgumentError(
            f"`log_transition` has {transition[-3]} rows, but the parameters of `emission` have {emission.num_steps}."
        )
    return tuple(batch), rows.pop() if rows else 1
