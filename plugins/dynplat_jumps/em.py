r"""Expectation-maximisation and expected statistics of Markov jump processes.

With all entries of the generator free, the gradient of the log-likelihood holds the expected statistics of the path
given the observations (Fisher's identity):

.. math::
    E[T_i] = \frac{\partial \ell}{\partial q_{ii}}, \qquad
    E[N_{ij}] = q_{ij} \frac{\partial \ell}{\partial q_{ij}} .

One backward pass of the likelihood gives them for every mark, hole and emission: it is the exponential of twice the
size, once for each different gap, that the literature computes. The M-step of free rates is :math:`E[N_{ij}] / E[T_i]`.

Sources: Hobolth and Jensen (2005), doi:10.2202/1544-6115.1127; Liu et al. (2015), Advances in Neural Information
Processing Systems 28; Varadhan and Roland (2008), doi:10.1111/j.1467-9469.2007.00585.x, for the acceleration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Observations
from dynplat.errors import ArgumentError, InferenceError


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


def expected_statistics(build: Callable[..., object], generator: np.ndarray, observations: Observations) -> Statistics:
    """Compute expected holding times and numbers of jumps, summed over series.

    Args:
        build: Function of a torch generator (1, [piece,] K, K) that gives the process.
        generator: Rates, ([piece,] K, K).
        observations: The observations.

    Raises:
        InferenceError: The observations are impossible.
    """
    import torch

    Q = torch.tensor(np.asarray(generator, dtype=np.float64)[None]).requires_grad_(True)
    total = build(Q).log_prob(observations).sum()  # type: ignore[attr-defined]
    if not torch.isfinite(total):
        raise InferenceError(
            "EM: the observations are impossible under the rates so far: a rate that is needed is 0. Start from rates "
            "that are positive wherever the structure allows a jump."
        )
    (slope,) = torch.autograd.grad(total, Q)
    slopes = slope[0].numpy()
    jumps = np.maximum(slopes * generator, 0.0) * (1.0 - np.eye(generator.shape[-1]))
    return Statistics(float(total.detach()), np.maximum(np.diagonal(slopes, axis1=-2, axis2=-1), 0.0), jumps)


def fit_rates(
    build: Callable[..., object],
    start: np.ndarray,
    observations: Observations,
    *,
    shape: np.ndarray | float = 1.0,
    rate: np.ndarray | float = 0.0,
    tolerance: float = 1e-9,
    max_steps: int = 2000,
) -> tuple[np.ndarray, list[float]]:
    """Maximise the likelihood, or the posterior under Gamma(shape, rate) priors of rates, by EM.

    Steps are accelerated on the logarithms of the rates (SQUAREM), and an accelerated step that does not raise the
    objective is not taken. The search stops by what a step gains, never by how far rates move: the rate of a
    transition that is never seen falls without end.

    Args:
        build: See `expected_statistics`.
        start: Generator, ([piece,] K, K); links are where it is positive.
        observations: The observations.
        shape: Shapes of the Gamma priors; 1 for maximum likelihood.
        rate: Rates (inverse scales) of the Gamma priors; 0 for maximum likelihood.
        tolerance: Gain of a step, relative to the log-likelihood, at which the search stops.
        max_steps: Most steps of EM.

    Returns:
        The generator, and the objective after each step.

    Raises:
        InferenceError: The search does not end within `max_steps`.
    """
    off = 1.0 - np.eye(start.shape[-1])
    links = (start > 0) & (off > 0)
    if not links.any():
        raise ArgumentError("`start` has no positive rate off the diagonal.")

    def filled(log_rates: np.ndarray) -> np.ndarray:
        rates = np.where(links, np.exp(log_rates), 0.0)
        return rates - np.eye(rates.shape[-1]) * rates.sum(axis=-1)[..., None]

    def step(log_rates: np.ndarray) -> tuple[np.ndarray, float]:
        found = expected_statistics(build, filled(log_rates), observations)
        rates = np.exp(log_rates)
        prior = np.where(links, (shape - 1.0) * log_rates - rate * rates, 0.0).sum()
        above = np.maximum(found.jumps + shape - 1.0, 1e-300)
        below = np.maximum(found.stays[..., None] + rate, 1e-300)
        return np.where(links, np.log(above / below), 0.0), found.log_prob + float(prior)

    current = np.where(links, np.log(np.where(links, start, 1.0)), 0.0)
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
        if length > 1.0 and np.isfinite(jumped).all() and np.abs(jumped).max() < 300.0:
            try:
                after, gained = step(np.clip(jumped, -200.0, 200.0))
            except InferenceError:
                gained = -np.inf
        if gained >= first:
            current, once, value_now = np.clip(jumped, -200.0, 200.0), after, gained
        else:
            current = twice
            once, value_now = step(nxt)
        gain = value_now - value
        value = value_now
        trace.append(value)
        if gain <= tolerance * max(1.0, abs(value)):
            return filled(once), trace
    raise InferenceError(
        f"EM: the last of {max_steps} steps still gained {trace[-1] - trace[-2]:.2g} in the objective. Raise "
        "`max_steps`, or use 'mle', which is faster near the end."
    )
