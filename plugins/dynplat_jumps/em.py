r"""Expectation-maximisation and expected statistics of Markov jump processes.

With all entries of the generator free, the gradient of the log-likelihood holds the expected statistics of the path
given the observations (Fisher's identity):

.. math::
    E[T_i] = \frac{\partial \ell}{\partial q_{ii}}, \qquad
    E[N_{ij}] = q_{ij} \frac{\partial \ell}{\partial q_{ij}}, \qquad
    P(x(t_k) = j) = \frac{\partial \ell}{\partial \log p_j(y_k)} .

One backward pass of the likelihood gives them for every mark, hole and emission: it is the exponential of twice the
size, once for each different gap, that the literature computes. The M-step of free rates is :math:`E[N_{ij}] / E[T_i]`;
those of other parameters are in `blocks` and `emission_blocks`.

Sources: Hobolth and Jensen (2005), doi:10.2202/1544-6115.1127; Liu et al. (2015), Advances in Neural Information
Processing Systems 28; Varadhan and Roland (2008), doi:10.1111/j.1467-9469.2007.00585.x, for the acceleration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, Observations, Random
from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.marks import OBSERVED
from dynplat.process import AbstractEmission
from dynplat_jumps.blocks import BOUND, AbstractBlock, Packing, PathStatistics, RatesBlock, Values
from dynplat_jumps.process import MarkovJump


class Statistics(NamedTuple):
    """Expected statistics of all paths given the observations.

    Attributes:
        log_prob: Log-likelihood.
        stays: Expected total time in each state, ([piece,] K).
        jumps: Expected number of jumps, ([piece,] K, K), 0 on the diagonal.
    """

    log_prob: float
    stays: np.ndarray
    jumps: np.ndarray


def expected_statistics(build: Callable[..., Any], generator: np.ndarray, observations: Observations) -> Statistics:
    """Compute expected holding times and numbers of jumps, summed over series.

    Args:
        build: Function of a torch generator (1, [piece,] K, K) that gives the process.
        generator: Rates, ([piece,] K, K).
        observations: The observations.

    Raises:
        InferenceError: The observations are impossible.
    """
    import torch

    generator = np.asarray(generator, dtype=np.float64)
    log_prob, found = expectation(build(torch.tensor(generator[None])), observations)
    return Statistics(log_prob, found.stays.reshape(generator.shape[:-1]), found.jumps.reshape(generator.shape))


def expectation(process: MarkovJump, observations: Observations) -> tuple[float, PathStatistics]:
    """Compute the log-likelihood and all that blocks read of the paths (the E-step).

    Args:
        process: A process of NumPy or torch parameters whose generator is the same for all series.
        observations: The observations.

    Raises:
        InferenceError: The observations are impossible.
        ArgumentError: Rates differ between series, or inputs act on them.
    """
    import torch

    check_shared(process)
    K, lead = process.num_states, tuple(np.shape(observations.times))
    generator = _host(process.generator)
    Q = torch.tensor(generator).requires_grad_(True)
    start = torch.tensor(_host(process.log_initial)).requires_grad_(True)
    density = _host(process.emission.log_density(observations))
    shown = torch.tensor(np.broadcast_to(density, (*lead, K)).copy()).requires_grad_(True)
    leaves = MarkovJump(Q, start, _Shown(shown, process.num_channels), breaks=process.breaks)
    total = leaves.log_prob(_all_rows(observations)).sum()
    if not torch.isfinite(total):
        raise InferenceError(
            "EM: the observations are impossible under the parameters so far: a rate or a probability that is needed "
            "is 0. Start from rates that are positive wherever the structure allows a jump."
        )
    slopes, first, states = (slope.numpy() for slope in torch.autograd.grad(total, (Q, start, shown)))
    slope, rates = slopes[0], generator[0]
    jumps = np.maximum(slope * rates, 0.0) * (1.0 - np.eye(K))
    stays = np.maximum(np.diagonal(slope, axis1=-2, axis2=-1), 0.0)
    return float(total.detach()), PathStatistics(stays, jumps, np.maximum(first[0], 0.0), np.maximum(states, 0.0))


def check_shared(process: MarkovJump) -> None:
    """Refuse a process whose rates, or law of the first state, are not the same for all series.

    Raises:
        ArgumentError: They are not.
    """
    shapes = tuple(process.generator.shape[:-3]), tuple(process.log_initial.shape[:-1])
    if process.drive is not None or any(shape not in ((), (1,)) for shape in shapes):
        raise ArgumentError(
            "EM and the Gibbs sampler take one generator and one law of first states for all series, without inputs; "
            f"got leading axes {shapes}{' and inputs' if process.drive is not None else ''}. Use 'mle' or 'nuts'."
        )


def _all_rows(observations: Observations) -> Observations:
    """The observations with rows of which nothing was seen as rows that show nothing.

    A likelihood leaves the former out, because over them the probabilities of a proper generator sum to one. Those of
    a generator whose entries are all free do not, and the time before such a row would be lost.
    """
    mask = np.broadcast_to(np.asarray(observations.mask), np.shape(observations.values))
    marks = observations.marks
    if marks is not None:
        marks = np.where(mask.any(axis=-1), np.asarray(marks), OBSERVED)
    return observations._replace(mask=np.ones_like(mask), marks=marks)


class _Shown(AbstractEmission):
    """An emission of which only the densities of the rows at hand are known, (series, time, K)."""

    def __init__(self, log_density: Array, num_channels: int) -> None:
        self._log_density = log_density
        self.num_channels = num_channels
        self.num_states = int(log_density.shape[-1])
        self.batch_shape = (int(log_density.shape[0]),)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the densities."""
        return self._log_density

    def log_density(self, observations: Observations, *, driver: str = "auto") -> Array:
        """The densities."""
        return self._log_density

    def cell_log_density(self, values: Array) -> Array:
        """Refuse other values."""
        raise CapabilityError("densities of rows that were seen say nothing of other values: ask the emission itself.")

    def sample(self, states: Array, random: Random) -> Array:
        """Refuse."""
        raise CapabilityError("densities of rows that were seen say nothing of other values: ask the emission itself.")


def fit_rates(
    build: Callable[..., Any],
    start: np.ndarray,
    observations: Observations,
    *,
    shape: np.ndarray | float = 1.0,
    rate: np.ndarray | float = 0.0,
    tolerance: float = 1e-9,
    max_steps: int = 2000,
) -> tuple[np.ndarray, list[float]]:
    """Maximise the likelihood, or the posterior under Gamma(shape, rate) priors of rates, by EM.

    The posterior is that of the rates themselves and not of their logarithms, as that of `map` with `jacobian=False`.
    With a shape below 1 its density has no bound at 0, and a rate that nothing holds up falls there.

    Args:
        build: See `expected_statistics`.
        start: Generator, ([piece,] K, K); links are where it is positive.
        observations: The observations.
        shape: Shapes of the Gamma priors, ([piece,] K, K) or one number; 1 for maximum likelihood.
        rate: Rates (inverse scales) of the Gamma priors; 0 for maximum likelihood.
        tolerance: Gain of a step, relative to the log-likelihood, at which the search stops.
        max_steps: Most steps of EM.

    Returns:
        The generator, and the objective after each step.

    Raises:
        InferenceError: The search does not end within `max_steps`.
    """
    links = RateLinks(start)
    block = links.block(shape, rate)
    found, trace = maximise(
        [block],
        links.builder(build),
        links.values,
        observations,
        tolerance=tolerance,
        max_steps=max_steps,
    )
    return links.generator(found["rate"]), trace


class RateLinks:
    """The positive rates of a generator, one after another.

    Args:
        start: Generator, ([piece,] K, K).
    """

    def __init__(self, start: np.ndarray) -> None:
        start = np.asarray(start, dtype=np.float64)
        self._shape = start.shape
        whole = start.reshape(-1, *start.shape[-2:])
        self._whole = whole.shape
        self.places = np.argwhere((whole > 0) & ~np.eye(whole.shape[-1], dtype=bool))
        if not len(self.places):
            raise ArgumentError("`start` has no positive rate off the diagonal.")
        self.values = {"rate": whole[tuple(self.places.T)]}

    def generator(self, rates: np.ndarray) -> np.ndarray:
        """The generator of rates (..., rate), (..., [piece,] K, K)."""
        lead = tuple(rates.shape[:-1])
        found: np.ndarray = np.zeros((*lead, *self._whole))
        found[(..., *self.places.T)] = rates
        found -= np.eye(self._whole[-1]) * found.sum(axis=-1)[..., None]
        return found.reshape(*lead, *self._shape)

    def block(self, shape: np.ndarray | float, rate: np.ndarray | float) -> RatesBlock:
        """The block of these rates under Gamma priors, one number each or as a generator."""
        of_links = [np.broadcast_to(value, self._whole)[tuple(self.places.T)] for value in (shape, rate)]
        return RatesBlock(self.places, (len(self.places),), shape=of_links[0], rate=of_links[1])

    def builder(self, build: Callable[..., Any]) -> Callable[[Values], Any]:
        """A function of a torch generator as one of the values of sites."""
        import torch

        return lambda values: build(torch.tensor(self.generator(values["rate"])[None]))


def maximise(
    blocks: list[AbstractBlock],
    build: Callable[[Values], MarkovJump],
    start: Values,
    observations: Observations,
    *,
    tolerance: float = 1e-9,
    max_steps: int = 2000,
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Maximise the likelihood, and what blocks add to it, by EM from a start.

    Args:
        blocks: All parameters.
        build: Function of the values of the sites that gives the process.
        start: Values at which the search starts.
        observations: The observations.
        tolerance: See `climb`.
        max_steps: See `climb`.

    Returns:
        Values of the sites, and the objective after each step.

    Raises:
        InferenceError: The observations are impossible at the start, a parameter has no maximum, or the search does not
            end.
    """
    packing = Packing(blocks, start)

    def step(vector: np.ndarray) -> tuple[np.ndarray, float]:
        values = packing.unpack(vector)
        log_prob, paths = expectation(build(values), observations)
        prior = sum(block.log_prior(values) for block in blocks)
        new: dict[str, np.ndarray] = {}
        for block in blocks:
            new.update(block.maximise(values, paths))
        return packing.pack(new), log_prob + prior

    found, trace = climb(step, packing.pack(start), tolerance=tolerance, max_steps=max_steps)
    return packing.unpack(found), trace


def climb(
    step: Callable[[np.ndarray], tuple[np.ndarray, float]], start: np.ndarray, *, tolerance: float, max_steps: int
) -> tuple[np.ndarray, list[float]]:
    """Repeat the steps of EM, accelerated (SQUAREM).

    An accelerated step that does not raise the objective is not taken. The search stops by what a step gains, never by
    how far parameters move: the rate of a transition that is never seen falls without end.

    Args:
        step: Gives the vector after a step of EM from a vector, and the objective at the latter.
        start: First vector.
        tolerance: Gain of a step, relative to the objective, at which the search stops.
        max_steps: Most steps.

    Returns:
        The last vector, and the objective after each step.

    Raises:
        InferenceError: The search does not end within `max_steps`.
    """
    current = start
    trace: list[float] = []
    once, value = step(current)
    trace.append(value)
    while len(trace) < max_steps:
        twice, first = step(once)
        trace.append(first)
        r, v = once - current, (twice - once) - (once - current)
        length = np.sqrt((r**2).sum() / max((v**2).sum(), 1e-300))
        jumped = current + 2.0 * length * r + length**2 * v
        nxt, gained = twice, -np.inf
        if length > 1.0 and np.isfinite(jumped).all() and np.abs(jumped).max() < 1.5 * BOUND:
            try:
                after, gained = step(np.clip(jumped, -BOUND, BOUND))
            except InferenceError:
                gained = -np.inf
        if gained >= first:
            current, once, value_now = np.clip(jumped, -BOUND, BOUND), after, gained
        else:
            current = twice
            once, value_now = step(nxt)
        gain = value_now - value
        value = value_now
        trace.append(value)
        if gain <= tolerance * max(1.0, abs(value)):
            return once, trace
    raise InferenceError(
        f"EM: the last of {max_steps} steps still gained {trace[-1] - trace[-2]:.2g} in the objective. Raise "
        "`max_steps`, or use 'mle', which is faster near the end."
    )


def _host(array: Any) -> np.ndarray:
    """An array on the host, without its gradient."""
    return np.asarray(array.detach() if hasattr(array, "detach") else array, dtype=np.float64)
