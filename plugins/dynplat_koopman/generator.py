r"""Generator EDMD: the operator of continuous time, for gaps of any length (Klus et al. 2020).

For :math:`dX = b(X)\,dt + \sigma(X)\,dW` with :math:`a = \sigma\sigma^\top`, expectations of functions change at the
rate

.. math:: \mathcal L \psi = b \cdot \nabla\psi + \tfrac12 \operatorname{tr}(a\, \nabla^2 \psi),

and without noise :math:`\mathcal L\psi = b \cdot \nabla\psi` is the derivative of :math:`\psi` along the flow. The
matrix is that of least squares, :math:`G^+ A` with :math:`A = \Psi^* W (\mathcal L\Psi)`, and over a gap h functions
are advanced by :math:`e^{h G^+ A}`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import expm

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.fitted import AbstractFitted, solve_moments
from dynplat_koopman.moments import Moments, moments_from

#: Numbers of second derivatives held at once.
_BLOCK_VALUES = 4_000_000


class Rates(NamedTuple):
    """States, and how they are moving there.

    Attributes:
        states: States x, (M, d).
        drift: Drift b(x) or time derivative of the state, (M, d).
        diffusion: a(x), (M, d, d) or (d, d); None without noise.
        weights: Relative weights, (M,), or None for equal ones.
    """

    states: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Generator(AbstractFitted):
    """A generator on the span of a dictionary: the rates of change of psi are psi(x) matrix.

    Its eigenvalues are rates; their residuals measure L psi v - lambda psi v.
    """

    def over(self, gap: float) -> np.ndarray:
        """Return the operator P (N, N) over a gap of time: psi expected after it is psi(x) P.

        Where functions were dropped, what they hold beside the others is lost.

        Raises:
            ArgumentError: The gap is negative.
        """
        if not (np.isfinite(gap) and gap >= 0):
            raise ArgumentError(f"`gap` must be at least 0; got {gap}.")
        if self.rank == self.num_functions:
            return expm(gap * self.matrix)
        coordinates = self.basis.conj().T @ self.moments.gram
        return self.basis @ expm(gap * self.compressed) @ coordinates

    def predict(self, x: np.ndarray, gap: float) -> np.ndarray:
        """States (..., d) expected a gap of time after states x (..., d).

        Raises:
            CapabilityError: The generator was fitted to moments without a dictionary.
            ArgumentError: The gap is negative.
        """
        return np.real(self._functions(x) @ (self.over(gap) @ self.readout.T))


def fit_generator(
    source: Rates | Moments,
    dictionary: AbstractDictionary | None = None,
    *,
    ridge: float = 0.0,
    rank: int | None = None,
    tolerance: float | None = None,
    block_rows: int | None = None,
) -> Generator:
    """Fit a generator to states and their rates of change.

    Args:
        source: States with drift and diffusion, or moments of `gather_rate_moments`.
        dictionary: The functions, with derivatives; may be left out where moments are given.
        ridge: As in `fit_edmd`.
        rank: As in `fit_edmd`.
        tolerance: As in `fit_edmd`.
        block_rows: States per block.

    Raises:
        DataError: The dictionary is larger than the data, or its functions are dependent on them.
        CapabilityError: The dictionary has no derivatives.
        ArgumentError: Shapes do not fit, or an argument is outside what it may be.
    """
    if isinstance(source, Moments):
        moments = source
    elif dictionary is None:
        raise ArgumentError("`dictionary` must be given with rates.")
    else:
        moments = gather_rate_moments(source, dictionary, block_rows=block_rows)
    solution = solve_moments(moments, dictionary, ridge=ridge, rank=rank, tolerance=tolerance)
    return Generator(solution.matrix, moments, solution.basis, dictionary=dictionary, ridge=ridge)


def gather_rate_moments(rates: Rates, dictionary: AbstractDictionary, *, block_rows: int | None = None) -> Moments:
    """Moments of psi(x) and of its rates of change L psi(x), block by block.

    Raises:
        CapabilityError: The dictionary has no derivatives.
        ArgumentError: Shapes do not fit.
        DataError: A number is not finite.
    """
    states, drift, diffusion, weights = _checked(rates, dictionary)
    d = states.shape[1]
    if block_rows is None:
        block_rows = max(16, _BLOCK_VALUES // (dictionary.num_functions * d * d))
    total: Moments | None = None
    for start in range(0, len(states), block_rows):
        block = slice(start, start + block_rows)
        weight = None if weights is None else weights[block]
        if weight is not None and not weight.any():
            continue
        x = states[block]
        values = np.asarray(dictionary(x))
        noise = diffusion if diffusion is None or diffusion.ndim == 2 else diffusion[block]
        found = moments_from(values, rates_of(dictionary, x, drift[block], noise), weight, states=x)
        total = found if total is None else total + found
    if total is None:
        raise ArgumentError("`weights` must not be all zero.")
    return total


def rates_of(
    dictionary: AbstractDictionary, x: np.ndarray, drift: np.ndarray, diffusion: np.ndarray | None = None
) -> np.ndarray:
    """Rates of change L psi (M, N) at states (M, d) with drift (M, d) and diffusion (M, d, d) or (d, d).

    Raises:
        CapabilityError: The dictionary has no derivatives.
    """
    gradient, hessian = dictionary.derivatives(x)
    found = np.einsum("mnd,md->mn", gradient, drift)
    if diffusion is not None:
        noise = np.broadcast_to(diffusion, (*x.shape, x.shape[-1]))
        found = found + 0.5 * np.einsum("mnij,mij->mn", hessian, noise)
    return found


def rates_from(data: Trajectories, *, max_gap: float | None = None) -> Rates:
    """States of smooth trajectories with their time derivatives, by differences over three rows.

    At a row with the gaps h before and k after it, (h/k (y_+ - y) + k/h (y - y_-)) / (h + k), whose error is
    h k / 6 times the third derivative. Noise of standard deviation s adds some s / h: smooth noisy data first.

    Args:
        data: The trajectories; rows may be unequally spaced, and incomplete rows count as none.
        max_gap: Leave out rows that are further than this from a neighbour.

    Raises:
        DataError: No three complete rows of a series follow one another so closely.
    """
    states, drift = [], []
    for times, values in _complete(data):
        before, after = np.diff(times)[:-1, None], np.diff(times)[1:, None]
        steps = np.diff(values, axis=0)
        slope = (before / after * steps[1:] + after / before * steps[:-1]) / (before + after)
        near = np.ones(len(slope), dtype=bool) if max_gap is None else np.maximum(before, after)[:, 0] <= max_gap
        states.append(values[1:-1][near])
        drift.append(slope[near])
    return Rates(*_stacked(states, drift, need="three"))


def increments_from(data: Trajectories, *, max_gap: float | None = None) -> Rates:
    r"""Diffusing states, with drift :math:`\Delta x / h` and diffusion :math:`\Delta x \Delta x^\top / h` seen there.

    Both are right in the mean up to terms of the order of the gap h (Kramers and Moyal), so that the matrix of a fit is
    too. They are far too scattered for residuals: the fit's target moments hold their scatter.

    Args:
        data: The trajectories; rows may be unequally spaced, and incomplete rows count as none. A state counts as much
            as the gap after it.
        max_gap: Leave out gaps longer than this.

    Raises:
        DataError: No two complete rows of a series follow one another so closely.
    """
    states, steps, gaps = [], [], []
    for times, values in _complete(data):
        gap = np.diff(times)
        near = np.ones(len(gap), dtype=bool) if max_gap is None else gap <= max_gap
        states.append(values[:-1][near])
        steps.append(np.diff(values, axis=0)[near])
        gaps.append(gap[near])
    x, step, gap = _stacked(states, steps, gaps, need="two")
    drift = step / gap[:, None]
    return Rates(x, drift, drift[:, :, None] * step[:, None, :], gap)


def _complete(data: Trajectories) -> list[tuple[np.ndarray, np.ndarray]]:
    seen = data.mask.all(axis=-1) & data.rows
    return [(data.times[s, rows], data.values[s, rows]) for s, rows in enumerate(seen)]


def _stacked(*parts: list[np.ndarray], need: str) -> list[np.ndarray]:
    found = [np.concatenate(part) for part in parts]
    if not len(found[0]):
        raise DataError(
            f"no series has {need} complete rows that follow one another closely enough.", hint="Raise `max_gap`."
        )
    return found


def _checked(
    rates: Rates, dictionary: AbstractDictionary
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    states = np.asarray(rates.states, dtype=np.float64)
    shape, d = states.shape, dictionary.num_variables
    if states.ndim != 2 or shape[1] != d or not len(states):
        raise ArgumentError(f"`states` must be (M, {d}), for the variables of `dictionary`; got shape {shape}.")
    drift = np.asarray(rates.drift, dtype=np.float64)
    if drift.shape != shape:
        raise ArgumentError(f"`drift` must have the shape of `states`, {shape}; got {drift.shape}.")
    diffusion = None if rates.diffusion is None else np.asarray(rates.diffusion, dtype=np.float64)
    if diffusion is not None and diffusion.shape not in ((d, d), (len(states), d, d)):
        raise ArgumentError(f"`diffusion` must be {(d, d)} or {(len(states), d, d)}; got {diffusion.shape}.")
    weights = None if rates.weights is None else np.asarray(rates.weights, dtype=np.float64)
    if weights is not None and (weights.shape != (len(states),) or not (weights >= 0).all()):
        raise ArgumentError(f"`weights` must be {len(states)} numbers that are not negative.")
    for name, array in (("states", states), ("drift", drift), ("diffusion", diffusion)):
        if array is not None and not np.isfinite(array).all():
            raise DataError(f"`{name}` has a number that is not finite.", hint="Leave such states out.")
    return states, drift, diffusion, weights
