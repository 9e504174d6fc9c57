r"""Second moments of a dictionary over snapshot pairs: all that least squares and residuals need of the data.

With weights that sum to one,

.. math:: G = \Psi_x^* W \Psi_x, \qquad A = \Psi_x^* W \Psi_y, \qquad L = \Psi_y^* W \Psi_y ,

where the rows of :math:`\Psi_x` are :math:`\psi(x_m)`. They are gathered in blocks, so that memory does not grow with
the number of pairs, and those of two sets of pairs are merged by addition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dynplat.errors import ArgumentError, DataError
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.workers import share_out

#: Function values held at once: what fits the caches near a core, and what an allocator keeps for the next block.
_BLOCK_VALUES = 500_000
_AVERAGES = ("gram", "cross", "target", "state", "state_gram", "input_gram", "input_cross", "input_target")


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted averages over snapshot pairs (x, y) with states x and inputs u; N functions, d variables, k inputs.

    Args:
        gram: G, average of psi(x)* psi(x), (N, N).
        cross: A, average of psi(x)* psi(y), (N, N).
        target: L, average of psi(y)* psi(y), (N, N).
        weight: Sum of the weights.
        count: Number of pairs.
        state: Average of psi(x)* x, (N, d), or None.
        state_gram: Average of x^T x, (d, d), or None.
        input_gram: Average of u^T u, (k, k), or None without inputs.
        input_cross: Average of psi(x)* u, (N, k), or None.
        input_target: Average of u^T psi(y), (k, N), or None.
        step: Time between the states of a pair, or None.

    Raises:
        ArgumentError: Shapes do not fit, or there is no weight.
    """

    gram: np.ndarray
    cross: np.ndarray
    target: np.ndarray
    weight: float
    count: int
    state: np.ndarray | None = None
    state_gram: np.ndarray | None = None
    input_gram: np.ndarray | None = None
    input_cross: np.ndarray | None = None
    input_target: np.ndarray | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        """Check shapes."""
        shape = np.shape(self.gram)
        for name in ("gram", "cross", "target"):
            given = np.shape(getattr(self, name))
            if len(given) != 2 or given[0] != given[1] or given != shape:
                raise ArgumentError(f"`{name}` must be square, of the shape of `gram`, {shape}; got {given}.")
        if not (self.weight > 0 and self.count >= 1):
            raise ArgumentError(
                f"`weight` must be positive and `count` at least 1; got {self.weight} and {self.count}."
            )

    @property
    def num_functions(self) -> int:
        """Number of functions, N."""
        return len(self.gram)

    @property
    def num_inputs(self) -> int:
        """Number of inputs, k; 0 without inputs."""
        return 0 if self.input_gram is None else len(self.input_gram)

    def __add__(self, other: Moments) -> Moments:
        """Moments of both sets of pairs.

        Raises:
            ArgumentError: The two are not of one dictionary, or only one of them has inputs.
            DataError: The two have different steps.
        """
        if not isinstance(other, Moments):
            return NotImplemented
        if self.step is not None and other.step is not None and not np.isclose(self.step, other.step, rtol=1e-6):
            raise DataError(
                f"pairs of unequal steps meet, {self.step:g} and {other.step:g}: one discrete-time operator has one "
                "step.",
                hint="Fit an operator to each, or a generator to both.",
            )
        weight = self.weight + other.weight
        merged = {}
        for name in _AVERAGES:
            mine, theirs = getattr(self, name), getattr(other, name)
            if np.shape(mine) != np.shape(theirs):
                raise ArgumentError(
                    f"moments of different dictionaries, states or inputs cannot be added: `{name}` has shape "
                    f"{np.shape(mine)} in one and {np.shape(theirs)} in the other."
                )
            if mine is not None:
                merged[name] = (self.weight / weight) * mine + (other.weight / weight) * theirs
        step = self.step if self.step is not None else other.step
        return Moments(weight=weight, count=self.count + other.count, step=step, **merged)


def moments_from(
    features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None, *, states: np.ndarray | None = None
) -> Moments:
    """Moments of given values psi(x) and psi(y).

    Args:
        features: Values psi(x), (M, N).
        targets: Values psi(y), (M, N).
        weights: Relative weights, (M,); by default equal.
        states: States x, (M, d), for reading the state out of the functions.

    Raises:
        ArgumentError: Shapes do not fit, or weights are negative or all zero.
    """
    features, targets = np.asarray(features), np.asarray(targets)
    if features.ndim != 2 or features.shape != targets.shape or not len(features):
        raise ArgumentError(
            f"`features` and `targets` must both be (M, N) with M at least 1; got {features.shape} and {targets.shape}."
        )
    count = len(features)
    weights = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != (count,) or not (weights >= 0).all() or not weights.sum() > 0:
        raise ArgumentError(f"`weights` must be {count} numbers, not negative and not all zero.")
    total = weights.sum()
    root = np.sqrt(weights / total)[:, None]
    features, targets = root * features, root * targets
    adjoint = features.conj().T
    state = state_gram = None
    if states is not None:
        scaled = root * states
        state, state_gram = adjoint @ scaled, scaled.T @ scaled
    return Moments(
        _gram(features),
        adjoint @ targets,
        _gram(targets),
        weight=float(total),
        count=count,
        state=state,
        state_gram=state_gram,
    )


def gather_moments(
    pairs: Pairs | Iterable[Pairs], dictionary: AbstractDictionary, *, block_rows: int | None = None
) -> Moments:
    """Average the products of a dictionary's functions over pairs, block by block.

    A state that is both the end of one pair and the start of another, as along a trajectory, is evaluated once.

    Args:
        pairs: The pairs, or an iterable that gives them in pieces, which need not fit into memory together.
        dictionary: The functions, which are evaluated on several threads at once (`workers.share_out`).
        block_rows: Pairs per block; by default as many as the caches hold.

    Raises:
        ArgumentError: The dictionary has another number of variables, or the pieces do not go together.
        DataError: There are no pairs, pieces have different steps, or a function is not finite somewhere.
    """
    if block_rows is None:
        block_rows = max(256, _BLOCK_VALUES // dictionary.num_functions)
    if block_rows < 1:
        raise ArgumentError(f"`block_rows` must be at least 1; got {block_rows}.")
    pieces = [pairs] if isinstance(pairs, Pairs) else pairs
    total: Moments | None = None
    for piece in pieces:
        if piece.num_variables != dictionary.num_variables:
            raise ArgumentError(
                f"`dictionary` is of {dictionary.num_variables} variables, and `pairs` have {piece.num_variables}."
            )
        found = _of_piece(piece, dictionary, block_rows)
        total = found if total is None else total + found
    if total is None:
        raise DataError("`pairs` is empty.", hint="An iterable can be run through only once: make a new one.")
    return total


def _of_piece(pairs: Pairs, dictionary: AbstractDictionary, block_rows: int) -> Moments:
    """Moments of one set of pairs: its blocks are shared out to threads, each with sums of its own."""

    def run(starts: Sequence[int]) -> _Sums:
        sums = _Sums(pairs, dictionary)
        # Numbers that overflow are refused with the name of their function.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in starts:
                sums.add(slice(start, min(start + block_rows, len(pairs))))
        return sums

    first, *others = share_out(range(0, len(pairs), block_rows), run)
    for other in others:
        first.merge(other)
    return first.moments()


class _Sums:
    """Running sums over the blocks of one set of pairs."""

    def __init__(self, pairs: Pairs, dictionary: AbstractDictionary) -> None:
        self.pairs, self.dictionary = pairs, dictionary
        N, d, k = dictionary.num_functions, pairs.num_variables, pairs.num_inputs
        kind = np.complex128 if dictionary.is_complex else np.float64
        self.is_even = bool((pairs.weights == pairs.weights[0]).all())
        self.gram, self.cross, self.target = (np.zeros((N, N), dtype=kind) for _ in range(3))
        self.state, self.state_gram = np.zeros((N, d), dtype=kind), np.zeros((d, d))
        self.input_gram = np.zeros((k, k))
        self.input_cross, self.input_target = np.zeros((N, k), dtype=kind), np.zeros((k, N), dtype=kind)

    def add(self, block: slice) -> None:
        """Add the pairs of a block."""
        pairs = self.pairs
        states, ends = pairs.first[block], pairs.second[block]
        after = _successors(states, ends, pairs.lag)
        alone = np.flatnonzero(after < 0)
        values = np.asarray(self.dictionary(np.concatenate([states, ends[alone]])))
        count = len(states)
        after[alone] = count + np.arange(len(alone))
        x, y = values[:count], _rows(values, after)
        inputs = None if pairs.inputs is None else pairs.inputs[block]
        if self.is_even:
            self._add_even(values, x, y, after)
        else:
            root = np.sqrt(pairs.weights[block])[:, None]
            x, y, states = root * x, root * y, root * states
            inputs = None if inputs is None else root * inputs
            self.gram += _gram(x)
            self.target += _gram(y)
        adjoint = x.conj().T
        product = adjoint @ y
        if not (np.isfinite(product).all() and np.isfinite(np.diagonal(self.target)).all()):
            self._refuse(np.concatenate([pairs.first[block], ends]))
        self.cross += product
        self.state += adjoint @ states
        self.state_gram += states.T @ states
        if inputs is not None:
            self.input_gram += inputs.T @ inputs
            self.input_cross += adjoint @ inputs
            self.input_target += inputs.T @ y

    def _add_even(self, values: np.ndarray, x: np.ndarray, y: np.ndarray, after: np.ndarray) -> None:
        """Both Gram matrices under equal weights: the states that are in both of them are summed once."""
        count = len(x)
        shared = np.zeros(count, dtype=bool)
        shared[after[after < count]] = True
        if 2 * shared.sum() < count:
            self.gram += _gram(x)
            self.target += _gram(y)
            return
        both = _gram(_rows(values, np.flatnonzero(shared)))
        self.gram += both
        self.gram += _gram(_rows(values, np.flatnonzero(~shared)))
        self.target += both
        self.target += _gram(values[count:])

    def _refuse(self, points: np.ndarray) -> None:
        """Say which function is not finite at which of these states."""
        wrong = np.argwhere(~np.isfinite(np.asarray(self.dictionary(points))))
        if len(wrong):
            row, function = wrong[0]
            raise DataError(
                f"the function {self.dictionary.names[function]!r} is not finite at the state {points[row]}.",
                hint="Standardise the variables (`Scaled`), or take another dictionary.",
            )

    def merge(self, other: _Sums) -> None:
        """Add the sums over other blocks of the same pairs."""
        for name in _AVERAGES:
            total = getattr(self, name)
            total += getattr(other, name)

    def moments(self) -> Moments:
        """Averages."""
        pairs = self.pairs
        weight = float(pairs.weights.sum())
        scale = (pairs.weights[0] if self.is_even else 1.0) / weight
        inputs = ("input_gram", "input_cross", "input_target")
        averages = {
            name: scale * getattr(self, name) for name in _AVERAGES if pairs.inputs is not None or name not in inputs
        }
        return Moments(weight=weight, count=len(pairs), step=pairs.step, **averages)


def _successors(states: np.ndarray, ends: np.ndarray, lag: int) -> np.ndarray:
    """For each pair, which pair of the block starts where it ends, (B,); -1 for none."""
    after = np.full(len(states), -1)
    if lag < len(states):
        same = (ends[:-lag] == states[lag:]).all(axis=1)
        after[:-lag] = np.where(same, np.arange(lag, len(states)), -1)
    return after


def _rows(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows of `values`, without a copy where they follow one another."""
    if index.size and index[-1] - index[0] == index.size - 1 and (np.diff(index) == 1).all():
        return values[index[0] : index[-1] + 1]
    return values[index]


def _gram(rows: np.ndarray) -> np.ndarray:
    """rows* rows, Hermitian to the last bit."""
    product = rows.conj().T @ rows
    return product if rows.dtype.kind != "c" else 0.5 * (product + product.conj().T)
