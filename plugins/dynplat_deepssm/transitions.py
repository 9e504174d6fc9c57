r"""Transitions: the algebra of a layer's state, one family for each structure of F in x_k = F_k x_{k-1} + G_k.

| family | F | what a row's element holds | `scan` | `chunk` |
|---|---|---|---|---|
| `DIAGONAL` | diag(a), real or complex | a, b | yes | |
| `DENSE` | a matrix | A, b | yes | |
| `SCALAR` | a number for each head, the state a matrix | a, k, v, q | yes | yes |
| `HOUSEHOLDER` | a (I - beta k k'), the state a matrix | a, beta, k, v, q | | yes |
| `COMPANION` | a shift and a last column | column, write, readout, u | yes, with dense matrices | |
| `TAPS` | a shift: the last inputs themselves | taps, u | | |

Elements are records of arrays (..., time or 1, core axes), so what does not change in time is held once, and what is
an outer product is held as its factors. `act` lets a state meet one row and gives the new state and what is *seen* of
it: the state itself, or its product with the query or the readout that stands in the element. `scan` and `chunk` give
what is seen of all rows, and the last state. A family has `scan` where its maps are closed under products at bounded
cost, which products of Householder matrices are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.scan import fold
from dynplat.scan.affine import scan_dense, scan_diagonal
from dynplat.semigroup.affine import DenseMap, DiagonalMap, act_dense, act_diagonal
from dynplat_deepssm import chunks, companion

#: How rows are run: elements and the state before the first one, to what is seen of all rows and the last state.
Driver = Callable[[Any, Array], tuple[Array, Array]]


class ScalarMap(NamedTuple):
    """S -> a S + k v', seen as S' q.

    Attributes:
        decay: a, (..., time or 1, head).
        key: k, (..., time, head or 1, n).
        value: v, (..., time, head, p).
        query: q, (..., time, head or 1, n).
    """

    decay: Array
    key: Array
    value: Array
    query: Array


class HouseholderMap(NamedTuple):
    """S -> a (I - beta k k') S + beta k v', seen as S' q.

    Attributes:
        decay: a, (..., time or 1, head).
        strength: beta, (..., time, head).
        key: k of length 1 (or 0), (..., time, head, n).
        value: v, (..., time, head, p).
        query: q, (..., time, head, n).
    """

    decay: Array
    strength: Array
    key: Array
    value: Array
    query: Array


class CompanionMap(NamedTuple):
    """x -> shift(x) + a x_last + b u, seen as C x; one system for each kernel.

    Attributes:
        column: a, (..., 1, kernel, n).
        write: b, (..., 1, kernel, n).
        readout: C, (..., 1, kernel, output, n).
        drive: u, (..., time, kernel).
    """

    column: Array
    write: Array
    readout: Array
    drive: Array


class TapsMap(NamedTuple):
    """The last inputs, seen as sum_j w_j u_{k-j}.

    Attributes:
        taps: w, (..., 1, width, channel).
        drive: u, (..., time, channel).
    """

    taps: Array
    drive: Array


@dataclass(frozen=True)
class Transition:
    """A family (see the module).

    Attributes:
        kind: Its name.
        cores: Numbers of core axes of the fields of its element.
        num_state_axes: Number of core axes of its state.
        act: How a state meets a row: (state, element of a row) to (new state, seen).
        written: Position of the field that is zero where nothing is written.
        scan: Driver by an associative scan, or None.
        chunk: Driver by blocks of rows, or None.
    """

    kind: str
    cores: tuple[int, ...]
    num_state_axes: int
    act: Callable[[Any, Any], tuple[Any, Any]]
    written: int
    scan: Driver | None = None
    chunk: Driver | None = None

    def loop(self, elements: Any, state: Array) -> tuple[Array, Array]:
        """Driver row after row."""
        xp = array_namespace(*elements)
        lead = np.broadcast_shapes(
            *(a.shape[: a.ndim - core - 1] for a, core in zip(elements, self.cores, strict=True)),
            state.shape[: state.ndim - self.num_state_axes],
        )
        state = xp.broadcast_to(state, (*lead, *state.shape[state.ndim - self.num_state_axes :]))
        rows = [xp.moveaxis(a, a.ndim - core - 1, 0) for a, core in zip(elements, self.cores, strict=True)]
        last, seen = fold(self.act, state, elements._make(rows))
        return xp.moveaxis(seen, 0, len(lead)), last

    def without(self, elements: Any, mask: Array) -> Any:
        """Elements that write nothing where `mask` (..., time) is False; F stays."""
        xp = array_namespace(mask)
        written = elements[self.written]
        keep = xp.reshape(mask, tuple(mask.shape) + (1,) * self.cores[self.written])
        field = elements._fields[self.written]
        return elements._replace(**{field: xp.where(keep, written, xp.zeros_like(written))})


def _see_diagonal(state: Array, step: DiagonalMap) -> tuple[Array, Array]:
    state = act_diagonal(state, step)
    return state, state


def _see_dense(state: Array, step: DenseMap) -> tuple[Array, Array]:
    state = act_dense(state, step)
    return state, state


def _see_scalar(state: Array, step: ScalarMap) -> tuple[Array, Array]:
    state = step.decay[..., None, None] * state + step.key[..., :, None] * step.value[..., None, :]
    return state, (step.query[..., None, :] @ state)[..., 0, :]


def _see_householder(state: Array, step: HouseholderMap) -> tuple[Array, Array]:
    state = step.decay[..., None, None] * state
    wrong = step.value - (step.key[..., None, :] @ state)[..., 0, :]
    state = state + step.key[..., :, None] * (step.strength[..., None] * wrong)[..., None, :]
    return state, (step.query[..., None, :] @ state)[..., 0, :]


def _see_companion(state: Array, step: CompanionMap) -> tuple[Array, Array]:
    xp = array_namespace(state)
    shifted = xp.concat([xp.zeros_like(state[..., :1]), state[..., :-1]], axis=-1)
    state = shifted + step.column * state[..., -1:] + step.write * step.drive[..., None]
    return state, (step.readout @ state[..., None])[..., 0]


def _see_taps(state: Array, step: TapsMap) -> tuple[Array, Array]:
    xp = array_namespace(state)
    window = xp.concat([state, step.drive[..., None, :] + xp.zeros_like(state[..., :1, :])], axis=-2)
    return window[..., 1:, :], xp.sum(xp.flip(step.taps, axis=-2) * window, axis=-2)


def _scan_diagonal(elements: DiagonalMap, state: Array) -> tuple[Array, Array]:
    states = scan_diagonal(elements.multiplier, elements.offset, state)
    return states, states[..., -1, :]


def _scan_dense(elements: DenseMap, state: Array) -> tuple[Array, Array]:
    states = scan_dense(elements.multiplier, elements.offset, state)
    return states, states[..., -1, :]


DIAGONAL = Transition("diagonal", (1, 1), 1, _see_diagonal, 1, scan=_scan_diagonal)
DENSE = Transition("dense", (2, 1), 1, _see_dense, 1, scan=_scan_dense)
SCALAR = Transition("scalar", (1, 2, 2, 2), 3, _see_scalar, 2, scan=chunks.scan_scalar, chunk=chunks.chunk_scalar)
HOUSEHOLDER = Transition("householder", (1, 1, 2, 2, 2), 3, _see_householder, 1, chunk=chunks.chunk_householder)
COMPANION = Transition("companion", (2, 2, 3, 1), 2, _see_companion, 3, scan=companion.scan)
TAPS = Transition("taps", (2, 1), 2, _see_taps, 1)
