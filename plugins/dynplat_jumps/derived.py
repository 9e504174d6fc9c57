r"""What a generator says: stationary law, time scales, passages, stays, irreversibility.

All take generators (..., K, K), (old, new), as NumPy arrays, and broadcast over leading axes, such as draws of a
posterior (`generators`). Times are in the generator's unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.linalg import logm

from dynplat.errors import ArgumentError
from dynplat_jumps.transition import transition_probabilities

#: Off-diagonal entries of a logarithm may be so much below 0, relative to its largest entry, by rounding.
_ROUNDING = 1e-10


def generators(posterior: Any, inputs: Mapping[str, float] | None = None) -> np.ndarray:
    """Generators of all draws of a fit, (draw, series or 1, [piece,] K, K).

    Args:
        posterior: A `Posterior` of a model of this family.
        inputs: Values of the inputs that move the rates, by name; by default their means in the training data.

    Raises:
        ArgumentError: The model has no generator, or an input has no value, or does not move its rates.
    """
    sites = posterior.sites(np.asarray)
    process = posterior.model.process(sites, posterior.context)
    generator = getattr(process, "generator", None)
    if generator is None:
        raise ArgumentError(f"{posterior.model.entry.id} has no generator; expected a model of the family `jumps`.")
    generator = np.asarray(generator)
    names = getattr(posterior.model, "inputs", ())
    if inputs is not None:
        values = np.array([inputs.get(name, np.nan) for name in names], dtype=np.float64)
        if set(inputs) != set(names) or not np.isfinite(values).all():
            expected = f"give a finite number for {', '.join(map(repr, names))}" if names else "be left out"
            raise ArgumentError(f"`inputs` must {expected}; got {dict(inputs)}.")
        if names:
            generator = np.asarray(process.drive.move(generator, (values - process.drive.centre)[None]))[
                ..., 0, :, :, :
            ]
    return generator if process.breaks else generator[..., 0, :, :]


def stationary(generator: Any) -> np.ndarray:
    r"""The law pi with :math:`\pi Q = 0`, (..., K), of chains with one closed class.

    Computed by elimination without subtractions (Grassmann, Taksar and Heyman 1985, doi:10.1287/opre.33.5.1107), so
    that small probabilities keep their digits.

    Raises:
        ArgumentError: A chain has several closed classes, so that its long run depends on the start.
    """
    Q = _checked(generator)
    lead, K = Q.shape[:-2], Q.shape[-1]
    found = np.empty((*lead, K))
    for index in np.ndindex(*lead):
        reach = _reachable(Q[index])
        # Closed are states that every state they reach leads back to.
        closed = [i for i in range(K) if (reach[:, i] | ~reach[i]).all()]
        members = closed if closed and reach[closed[0], closed].all() else []
        if not members:
            raise ArgumentError(
                "`generator` has several closed classes of states, so that there is no single stationary law: ask for "
                "P(t) from each start."
            )
        law = np.zeros(K)
        law[members] = _grassmann(Q[index][np.ix_(members, members)])
        found[index] = law
    return found


def _grassmann(Q: np.ndarray) -> np.ndarray:
    A = Q * (1.0 - np.eye(len(Q)))
    leaving = np.zeros(len(Q))
    for n in range(len(Q) - 1, 0, -1):
        leaving[n] = A[n, :n].sum()
        A[:n, :n] += A[:n, n, None] * A[None, n, :n] / leaving[n]
    law = np.ones(len(Q))
    for n in range(1, len(Q)):
        law[n] = law[:n] @ A[:n, n] / leaving[n]
    return law / law.sum()


def time_scales(generator: Any) -> np.ndarray:
    r"""Relaxation times :math:`1 / |\mathrm{Re}\,\lambda|` of the decaying modes, (..., K - 1), longest first.

    A mode that does not decay, because there are several closed classes, has time scale infinity.
    """
    Q = _checked(generator)
    rates = np.sort(np.abs(np.linalg.eigvals(Q).real), axis=-1)[..., 1:]
    floor = 1e-13 * np.abs(Q).max(axis=(-1, -2), initial=0.0)[..., None]
    with np.errstate(divide="ignore"):
        return np.where(rates > floor, 1.0 / rates, np.inf)


def mean_first_passage(generator: Any) -> np.ndarray:
    """Mean time from state i until the first visit of j, (..., K, K); 0 for i = j, infinity where it may never come."""
    Q = _checked(generator)
    K = Q.shape[-1]
    found = np.zeros(Q.shape)
    for index in np.ndindex(*Q.shape[:-2]):
        for target in range(K):
            cut = Q[index].copy()
            cut[target] = 0.0
            reach = _reachable(cut)
            # From a state that may reach one from which the target cannot be reached, the mean is infinite.
            sure = np.array([reach[reach[i], target].all() for i in range(K)])
            inside = [i for i in range(K) if sure[i] and i != target]
            found[(*index, slice(None), target)] = np.where(sure, 0.0, np.inf)
            if inside:
                part = Q[index][np.ix_(inside, inside)]
                found[(*index, inside, target)] = np.linalg.solve(-part, np.ones(len(inside)))
    return found


def sojourn(generator: Any) -> np.ndarray:
    """Mean time of one stay in each state, (..., K); infinity where a state is never left."""
    exits = -np.diagonal(_checked(generator), axis1=-2, axis2=-1)
    with np.errstate(divide="ignore"):
        return 1.0 / (exits + 0.0)


def total_stay(generator: Any, *, until: float = np.inf) -> np.ndarray:
    r"""Expected total time in state j from a start in i, :math:`\int_0^T (e^{Q t})_{ij}\,dt`, (..., K, K).

    Args:
        generator: Rates, (..., K, K).
        until: End of the time that is counted; infinite by default, and then so are the times in closed classes.
    """
    Q = _checked(generator)
    K = Q.shape[-1]
    if np.isfinite(until):
        # The integral stands in the corner of the exponential of a block matrix.
        block = np.zeros((*Q.shape[:-2], 2 * K, 2 * K))
        block[..., :K, :K] = Q
        block[..., :K, K:] = np.eye(K)
        from scipy.linalg import expm

        return expm(block * until)[..., :K, K:]
    found = np.zeros(Q.shape)
    for index in np.ndindex(*Q.shape[:-2]):
        reach = _reachable(Q[index])
        transient = [i for i in range(K) if not (reach[:, i] | ~reach[i]).all()]
        closed = [i for i in range(K) if i not in transient]
        found[index][:, closed] = np.where(reach[:, closed], np.inf, 0.0)
        if transient:
            place = np.ix_(transient, transient)
            found[index][place] = np.linalg.inv(-Q[index][place])
    return found


def entropy_production(generator: Any) -> np.ndarray:
    r"""Rate of entropy production in the stationary state, (...), 0 exactly where the chain is reversible.

    .. math:: \sum_{i<j} (\pi_i q_{ij} - \pi_j q_{ji}) \ln \frac{\pi_i q_{ij}}{\pi_j q_{ji}}

    Infinite where a jump is possible and its reverse is not.
    """
    Q = _checked(generator)
    flow = stationary(Q)[..., None] * Q
    back = np.swapaxes(flow, -1, -2)
    upper = np.triu(np.ones(Q.shape[-2:], dtype=bool), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = (flow - back) * np.log(flow / back)
    terms = np.where((flow == 0) & (back == 0), 0.0, terms)
    return np.where(upper, terms, 0.0).sum(axis=(-1, -2))


def probabilities(generator: Any, times: Any) -> np.ndarray:
    """Transition probabilities P(t), (..., time, K, K)."""
    return np.asarray(transition_probabilities(_checked(generator), np.asarray(times, dtype=np.float64)))


def interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and ends of the equal-tailed interval of a quantity over its first axis, the draws.

    The draws are those of a posterior, or of `dynplat.draw_asymptotic` after maximum likelihood.

    Args:
        values: A quantity of each draw, such as `probabilities(generators(posterior)[:, 0], times)`.
        level: Probability of the interval.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"`level` must lie between 0 and 1; got {level}.")
    if len(values) < 2:
        raise ArgumentError(
            "an interval needs draws: fit with `laplace`, `svi` or `nuts`, which give many, or draw from the "
            "asymptotic law of a maximum-likelihood fit with `dynplat.draw_asymptotic`."
        )
    low, middle, high = np.quantile(values, [0.5 - level / 2, 0.5, 0.5 + level / 2], axis=0)
    return middle, low, high


def generator_from_probabilities(transition: Any, gap: float) -> np.ndarray:
    """The generator Q with exp(Q gap) = P, (K, K), where there is one with P's principal logarithm.

    An empirical matrix often has none: it is refused and never moved to a near one, because that would hide that the
    data contradict a chain in continuous time that is looked at every `gap`.

    Args:
        transition: Transition probabilities P, (K, K), rows summing to one.
        gap: Length of time, positive.

    Raises:
        ArgumentError: P is no matrix of probabilities, or has no generator.
    """
    P = np.asarray(transition, dtype=np.float64)
    if P.ndim != 2 or P.shape[0] != P.shape[1] or (P < 0).any() or not np.allclose(P.sum(axis=1), 1.0, atol=1e-9):
        raise ArgumentError("`transition` must be a square matrix of probabilities whose rows sum to one.")
    if not gap > 0:
        raise ArgumentError(f"`gap` must be positive; got {gap}.")
    advice = (
        "Fit a chain to the observations by maximum likelihood (`jumps/panel`) instead, or ask whether they come from "
        "one at all."
    )
    eigenvalues = np.linalg.eigvals(P)
    real = eigenvalues[np.abs(eigenvalues.imag) < 1e-12].real
    if np.linalg.det(P) <= 0 or (real <= 0).any():
        raise ArgumentError(
            f"`transition` has no generator: its real eigenvalues must be positive, and one is {real.min():.4g}. "
            f"{advice}"
        )
    Q = logm(P)
    if np.abs(np.imag(Q)).max() > _ROUNDING * np.abs(Q).max():
        raise ArgumentError(f"`transition` has no real logarithm, so that it has no generator. {advice}")
    Q = np.real(Q) / gap
    off = Q - np.diag(np.diag(Q))
    if (off < -_ROUNDING * np.abs(Q).max()).any():
        i, j = np.unravel_index(int(off.argmin()), off.shape)
        raise ArgumentError(
            f"`transition` has no generator: the rate from state {i} to {j} would be {off[i, j]:.4g}. {advice}"
        )
    off = np.maximum(off, 0.0)
    return off - np.diag(off.sum(axis=1))


def _checked(generator: Any) -> np.ndarray:
    Q = np.asarray(generator, dtype=np.float64)
    if Q.ndim < 2 or Q.shape[-1] != Q.shape[-2]:
        raise ArgumentError(f"`generator` must have shape (..., K, K); got {Q.shape}.")
    off = Q * (1.0 - np.eye(Q.shape[-1]))
    if (off < 0).any() or not np.allclose(Q.sum(axis=-1), 0.0, atol=1e-6 * (np.abs(Q).max(initial=0.0) or 1.0)):
        raise ArgumentError("`generator` must hold rates that are not negative, and rows that sum to 0.")
    return Q


def _reachable(Q: np.ndarray) -> np.ndarray:
    """Whether j can be reached from i in any number of jumps, none included."""
    reach = (Q > 0) | np.eye(len(Q), dtype=bool)
    for middle in range(len(Q)):
        reach |= reach[:, middle, None] & reach[None, middle, :]
    return reach
