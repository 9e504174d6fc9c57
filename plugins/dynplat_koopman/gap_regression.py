r"""Rates of change by least squares over gaps of any length.

For functions :math:`\varphi` of the state, with rates L, an effect :math:`B_u` of inputs that are held over each gap,
and noise of intensity W,

.. math:: d\varphi = (\varphi L + u B_u)\,dt + dM, \qquad dM^\top dM = W\,dt,

a gap h takes :math:`\varphi(x)` to :math:`\varphi(y) = \varphi(x) e^{Lh} + \text{noise}`, whatever its length. Written
for the mean rate over the gap this is a regression whose features depend on L,

.. math::
    \frac{\varphi(y) - \varphi(x)}{h} = \bar\varphi_h(x; L)\, L + \text{noise}, \qquad
    \bar\varphi_h(x; L) = \frac1h \int_0^h \varphi(x) e^{Ls}\,ds ,

with the weights h that noise of an intensity asks for. At L = 0 it is the regression of increments (Kramers and Moyal),
which is wrong by the order of h. Its fixed point, where features and coefficients belong to each other, is not:
functions whose span the dynamics keeps get their exact rates, whatever the others do, and for equal gaps
:math:`e^{Lh}` is the operator of extended dynamic mode decomposition.

Where that has no real logarithm, there is no fixed point (functions that are forgotten over a gap: many of a large
dictionary, or long gaps). L is then that of least squares through the exponential,

.. math:: \min_L \sum_m \frac1{h_m} \bigl\|\varphi(y_m) - \varphi(x_m) e^{L h_m}\bigr\|^2 ,

which always has an answer, but in which functions that leave the span disturb the others.

Over a long gap functions leave their span, and rotations of more than half a turn look like slower ones: gaps above a
longest one are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize, root

from dynplat.data import Trajectories
from dynplat.errors import DataError
from dynplat_koopman.pairs import Pairs

#: Gaps of more than this many median gaps are left out, unless the longest gap is given.
_MANY_GAPS = 4.0
#: Order of the Taylor polynomials over pieces of a gap with ||L|| h <= 2: 2^17 / 17! is below 1e-9.
_ORDER, _PIECE = 16, 2.0
#: The norm of L times the longest gap that is looked at: rates so fast have been forgotten over any gap.
_FASTEST = 300.0
#: Rows of similar gaps that are advanced together.
_BLOCK_ROWS = 200
#: Rows from which the minimum over many is started: at least so many, and so many for each coefficient of a target.
_FEW_ROWS, _ROWS_EACH = 300, 20
#: Steps of Newton's method to the fixed point, which is found when the regression moves no coefficient by more than
#: this part of the largest.
_NEWTON_STEPS, _FOUND = 12, 1e-8
#: Iterations of the minimiser, and the relative change of the sum of squares at which it stops.
_MOST_STEPS, _SAME_SUM = 400, 1e-6


@dataclass(frozen=True, eq=False)
class GapPairs:
    """Neighbouring complete rows of series.

    Args:
        pairs: States before and after each gap, and the inputs over it.
        gaps: Lengths of the gaps, (M,).
        max_gap: The longest gap that was allowed.
    """

    pairs: Pairs
    gaps: np.ndarray
    max_gap: float

    @property
    def typical(self) -> float:
        """The median gap."""
        return float(np.median(self.gaps))


def gap_pairs(data: Trajectories, *, max_gap: float | None = None) -> GapPairs:
    """Pair neighbouring complete rows, whatever the gap between them.

    Where the data have inputs, rows that are not neighbours in the data are no pair: an input is held until the next
    row.

    Args:
        data: The trajectories.
        max_gap: Leave out longer gaps; by default those above four times the median.

    Raises:
        DataError: There is no pair.
    """
    first, second, gaps, inputs, codes = [], [], [], [], []
    complete = data.mask.all(axis=-1) & data.rows
    for s, seen in enumerate(complete):
        rows = np.flatnonzero(seen)
        before, after = rows[:-1], rows[1:]
        gap = data.times[s, after] - data.times[s, before]
        good = gap > 0
        if data.inputs is not None:
            good &= after == before + 1
            inputs.append(data.inputs[s, before[good]])
        first.append(data.values[s, before[good]])
        second.append(data.values[s, after[good]])
        gaps.append(gap[good])
        codes.append(np.full(int(good.sum()), s))
    gap = np.concatenate(gaps)
    if not gap.size:
        raise DataError("no series has two complete rows that follow one another.", hint="Two of them make a pair.")
    longest = _MANY_GAPS * float(np.median(gap)) if max_gap is None else max_gap
    near = gap <= longest
    if not near.any():
        raise DataError(
            f"no two complete rows of a series are at most {longest:g} apart; the smallest gap is {gap.min():g}.",
            hint="Raise `max_gap`.",
        )
    pairs = Pairs(
        np.concatenate(first)[near],
        np.concatenate(second)[near],
        inputs=np.concatenate(inputs)[near] if inputs else None,
        series=np.concatenate(codes)[near],
    )
    return GapPairs(pairs, gap[near], longest)


def flowed(values: np.ndarray, rates: np.ndarray, gaps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows x e^{L h} (M, n), and their means over the gap, for rows x (M, n), rates L (n, n) and gaps h (M,).

    Taylor polynomials act on the rows: no exponential of a matrix is made for each gap.
    """
    moved, mean = np.empty_like(values), np.empty_like(values)
    for rows, part, pieces in _pieces(rates, gaps):
        x, total = values[rows], 0.0
        for _ in range(pieces):
            terms = _terms(x, rates, part)
            total = total + sum(term / (k + 1) for k, term in enumerate(terms))
            x = sum(terms[1:], start=x)
        moved[rows], mean[rows] = x, total / pieces
    return moved, mean


def _pieces(rates: np.ndarray, gaps: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Blocks of rows of similar gaps: their numbers, the length (block, 1) of a piece of each gap, and of how many."""
    size = np.linalg.norm(rates, 2)
    order = np.argsort(gaps)
    for rows in np.array_split(order, max(len(order) // _BLOCK_ROWS, min(8, len(order)))):
        pieces = max(1, int(np.ceil(size * gaps[rows[-1]] / _PIECE)))
        yield rows, (gaps[rows] / pieces)[:, None], pieces


def _terms(x: np.ndarray, rates: np.ndarray, part: np.ndarray) -> list[np.ndarray]:
    """The terms x (L h)^k / k! of the exponential's series."""
    terms = [x]
    for k in range(1, _ORDER + 1):
        terms.append((terms[-1] @ rates) * (part / k))
    return terms


@dataclass(frozen=True, eq=False)
class Regression:
    """Mean rates over gaps against the mean functions that coefficients say.

    Args:
        phi: Functions before each gap, with the inputs over it behind them, (M, r + k).
        after: Functions after it, (M, r).
        gaps: Lengths of the gaps, (M,).
        penalty: What a penalty adds to the Gram matrix, (r + k, r + k).
        keeps_constant: Whether the first function is the constant 1, which has no rate.
    """

    phi: np.ndarray
    after: np.ndarray
    gaps: np.ndarray
    penalty: np.ndarray
    keeps_constant: bool = False

    @property
    def rank(self) -> int:
        """Number of functions, r."""
        return self.after.shape[1]

    def features(self, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Functions forecast after the gaps (M, r), and means of functions and inputs over them (M, r + k)."""
        moved, mean = flowed(self.phi, self.square(coefficients), self.gaps)
        return moved[:, : self.rank], mean

    def square(self, coefficients: np.ndarray) -> np.ndarray:
        """Rates of functions and inputs together: the inputs stand still."""
        return np.concatenate([coefficients, np.zeros((len(coefficients), len(coefficients) - self.rank))], axis=1)

    @property
    def mean_rates(self) -> np.ndarray:
        """Mean rates over the gaps, (M, r)."""
        return (self.after - self.phi[:, : self.rank]) / self.gaps[:, None]

    def sums(self, features: np.ndarray, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Gram matrix and cross moments over some rows, with weights that sum to 1 over all."""
        weighted = features[rows].T * (self.gaps[rows] / self.gaps.sum())
        return weighted @ features[rows], weighted @ self.mean_rates[rows]

    def solve(self, gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
        """Coefficients of least squares; constants have no rate."""
        return np.linalg.lstsq(gram + self.penalty, cross, rcond=None)[0]

    def increments(self) -> np.ndarray:
        """Coefficients of the regression of increments, (r + k, r)."""
        return self.solve(*self.sums(self.phi))

    def squares(self, coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        """The sum that is minimised, with weights 1 / h over the sum of all gaps, and its gradient."""
        r, rates = self.rank, self.square(coefficients)
        adjoint = np.zeros_like(rates)
        penalty = self.penalty @ coefficients
        total = float((coefficients * penalty).sum())
        for rows, part, pieces in _pieces(rates, self.gaps):
            states = [self.phi[rows]]
            for _ in range(pieces):
                states.append(sum(_terms(states[-1], rates, part)[1:], start=states[-1]))
            away = states.pop()
            away[:, r:] = 0.0
            away[:, :r] -= self.after[rows]
            weighted = away / (self.gaps[rows] * self.gaps.sum())[:, None]
            total += float((away * weighted).sum())
            # Backwards through the polynomials, term by term: the gradient of what was computed.
            for x in reversed(states):
                terms = _terms(x, rates, part)
                back = weighted
                for k in range(_ORDER, 0, -1):
                    scaled = back * (part / k)
                    adjoint += terms[k - 1].T @ scaled
                    back = weighted + scaled @ rates.T
                weighted = back
        gradient = 2.0 * (adjoint[:, :r] + penalty)
        if self.keeps_constant:
            gradient[:, 0] = 0.0
        return total, gradient

    def fit(self) -> tuple[np.ndarray, bool]:
        """Coefficients (r + k, r): the fixed point, or else those of least squares; and whether the search ended."""
        start, few = self.increments(), max(_FEW_ROWS, _ROWS_EACH * self.phi.shape[1])
        if not start.any():
            return start, True
        found = None
        if len(self.gaps) > 2 * few:
            # A start from some of the rows; where these have no fixed point, all are not asked for one.
            rows = np.round(np.linspace(0, len(self.gaps) - 1, few)).astype(int)
            some = replace(self, phi=self.phi[rows], after=self.after[rows], gaps=self.gaps[rows])
            found = some.fixed_point(some.increments())
            if found is None:
                return self.least_squares(some.least_squares(start)[0])
        found = self.fixed_point(start if found is None else found)
        return self.least_squares(start) if found is None else (found, True)

    def fixed_point(self, start: np.ndarray) -> np.ndarray | None:
        """Coefficients that belong to their own features, by Newton's method in a Krylov space, or None."""

        def away(coefficients: np.ndarray) -> np.ndarray:
            if np.linalg.norm(coefficients, 2) * self.gaps.max() > _FASTEST:
                return -coefficients  # far off: back towards 0
            return self.solve(*self.sums(self.features(coefficients)[1])) - coefficients

        options = {"fatol": _FOUND * np.abs(start).max(), "maxiter": _NEWTON_STEPS}
        try:
            with np.errstate(all="ignore"):
                answer = root(away, start, method="krylov", options=options)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):  # numbers that are not finite
            return None
        return np.asarray(answer.x) if answer.success else None

    def least_squares(self, start: np.ndarray) -> tuple[np.ndarray, bool]:
        """Coefficients of least squares through the exponential, and whether the minimiser came to its end."""
        # In units in which both the sum and the coefficients are of order 1.
        unit, scale = 1.0 / np.median(self.gaps), max(self._objective(start.ravel())[0], np.finfo(float).tiny)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._objective(unit * flat)
            return value / scale, gradient * (unit / scale)

        options = {"maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "maxcor": 20, "ftol": _SAME_SUM, "gtol": 1e-7}
        with np.errstate(over="ignore", invalid="ignore"):
            answer = minimize(objective, start.ravel() / unit, jac=True, method="L-BFGS-B", options=options)
        return unit * answer.x.reshape(start.shape), bool(answer.status != 1)

    def _objective(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        coefficients = flat.reshape(-1, self.rank)
        if np.linalg.norm(coefficients, 2) * self.gaps.max() > _FASTEST:
            return np.inf, np.zeros_like(flat)  # a step that went too far
        value, gradient = self.squares(coefficients)
        return value, gradient.ravel()
