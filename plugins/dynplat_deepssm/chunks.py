r"""Blocks of rows for heads whose state is a matrix: everything within a block is a product of matrices.

Both families are :math:`S_i = a_i S_{i-1} + k_i w_i^\top`, seen as :math:`o_i = S_i^\top q_i`. With the decays
:math:`\Gamma_{ij} = a_{j+1} \cdots a_i` and the state S_0 before the block,

.. math::
    o_i = \Gamma_{i0} S_0^\top q_i + \sum_{j \le i} \Gamma_{ij} (q_i \cdot k_j) w_j .

For a scalar transition w = v. For a Householder transition the delta rule :math:`w_i = \beta_i (v_i - a_i S_{i-1}^\top
k_i)` is a unit lower triangular system within the block,

.. math::
    \bigl(I + \mathrm{diag}(\beta)\, \mathrm{tril}(\Gamma \circ K K^\top, -1)\bigr) W =
    \mathrm{diag}(\beta) (V - \mathrm{diag}(\Gamma_{\cdot 0}) K S_0) .

States of single rows are never formed: what is stored grows with rows x (block + n + p), not rows x n x p. Gamma is a
cumulative product, so decays may be negative or 0, and no difference of sums of logarithms loses digits.

Sources: Dao and Gu (2024), Transformers are SSMs, arXiv:2405.21060, section 6; Yang et al. (2024), Parallelizing linear
transformers with the delta rule over sequence length, arXiv:2406.06484; with decays Yang, Kautz and Hatamizadeh (2025),
Gated delta networks, arXiv:2412.06464.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, eye_like, solve_triangular
from dynplat.scan import fold
from dynplat.scan.affine import scan_diagonal

#: Rows of a block.
ROWS = 64


class _Pass(NamedTuple):
    """What a block does to the state that enters it: S -> decay S + K'(W - R S).

    Attributes:
        decay: (..., head).
        key: K with the decay to the end of the block, (..., head, row, n).
        fresh: W, (..., head, row, p).
        answer: R, (..., head, row, n).
    """

    decay: Array
    key: Array
    fresh: Array
    answer: Array


def scan_scalar(elements: Any, state: Array) -> tuple[Array, Array]:
    """Driver of scalar transitions that forms the state of every row."""
    xp = array_namespace(elements.value)
    decay = xp.matrix_transpose(elements.decay)[..., None]
    written = elements.key[..., :, None] * elements.value[..., None, :]
    n, p = written.shape[-2:]
    written = xp.moveaxis(xp.reshape(written, (*written.shape[:-2], n * p)), -2, -3)
    states = scan_diagonal(decay, written, xp.reshape(state, (*state.shape[:-2], n * p)))
    states = xp.reshape(states, (*states.shape[:-1], n, p))
    query = xp.moveaxis(elements.query, -2, -3)
    seen = (query[..., None, :] @ states)[..., 0, :]
    return xp.moveaxis(seen, -3, -2), states[..., -1, :, :]


def chunk_scalar(elements: Any, state: Array) -> tuple[Array, Array]:
    """Driver of scalar transitions by blocks: the states between blocks are a scan."""
    xp = array_namespace(elements.value)
    size = int(elements.value.shape[-3])
    rows = min(ROWS, size)
    decay, key, value, query = _blocks(elements, ("decay", "key", "value", "query"), size, rows)
    gamma, entering, leaving = _decays(decay)
    n, p = key.shape[-1], value.shape[-1]
    written = xp.matrix_transpose(key) @ (leaving[..., None] * value)
    lead = written.shape[:-2]
    # (..., block, head, n p) to (..., head, block, n p): a block is a row of the scan.
    written = xp.moveaxis(xp.reshape(written, (*lead, n * p)), -2, -3)
    through = xp.matrix_transpose(entering[..., -1])[..., None]
    states = scan_diagonal(through, written, xp.reshape(state, (*state.shape[:-2], n * p)))
    first = xp.broadcast_to(xp.reshape(state, (*state.shape[:-2], 1, n * p)), (*states.shape[:-2], 1, n * p))
    before = xp.concat([first, states[..., :-1, :]], axis=-2)
    before = xp.moveaxis(before, -3, -2)
    before = xp.reshape(before, (*before.shape[:-1], n, p))
    seen = (gamma * (query @ xp.matrix_transpose(key))) @ value + entering[..., None] * (query @ before)
    last = states[..., -1, :]
    return _rows(seen, size), xp.reshape(last, (*last.shape[:-1], n, p))


def chunk_householder(elements: Any, state: Array) -> tuple[Array, Array]:
    """Driver of Householder transitions by blocks: one triangular system each, then block after block."""
    xp = array_namespace(elements.value)
    size = int(elements.value.shape[-3])
    rows = min(ROWS, size)
    decay, strength, key, value, query = _blocks(elements, ("decay", "strength", "key", "value", "query"), size, rows)
    gamma, entering, leaving = _decays(decay)
    gram = gamma * (key @ xp.matrix_transpose(key))
    system = xp.tril(strength[..., None] * gram, k=-1) + eye_like(rows, gram)
    right = (strength[..., None] * value, (strength * entering)[..., None] * key)
    lead = np.broadcast_shapes(*(part.shape[:-1] for part in right))
    right = xp.concat([xp.broadcast_to(part, (*lead, part.shape[-1])) for part in right], axis=-1)
    solved = solve_triangular(system, right)
    p = value.shape[-1]
    block = _Pass(entering[..., -1], key * leaving[..., None], solved[..., :p], solved[..., p:])
    block = _Pass(*(xp.moveaxis(a, a.ndim - core, 0) for a, core in zip(block, (2, 4, 4, 4), strict=True)))
    lead = np.broadcast_shapes(block.fresh.shape[1:-2], state.shape[:-2])
    last, (before, fresh) = fold(_cross, xp.broadcast_to(state, (*lead, *state.shape[-2:])), block)
    before, fresh = (xp.moveaxis(a, 0, a.ndim - 4) for a in (before, fresh))
    seen = (gamma * (query @ xp.matrix_transpose(key))) @ fresh + entering[..., None] * (query @ before)
    return _rows(seen, size), last


def _cross(state: Array, block: _Pass) -> tuple[Array, tuple[Array, Array]]:
    """Take the state over a block; keep the state before it and what its rows write."""
    fresh = block.fresh - block.answer @ state
    xp = array_namespace(state)
    return block.decay[..., None, None] * state + xp.matrix_transpose(block.key) @ fresh, (state, fresh)


def _blocks(elements: Any, names: tuple[str, ...], size: int, rows: int) -> list[Array]:
    """Fields (..., time or 1, head, core) as (..., block, head, row, core), filled up with rows that change nothing."""
    found = []
    for name in names:
        array = getattr(elements, name)
        xp = array_namespace(array)
        vector = name in ("key", "value", "query")
        array = array if vector else array[..., None]
        axis = array.ndim - 3
        if array.shape[axis] != size:
            array = xp.broadcast_to(array, (*array.shape[:axis], size, *array.shape[axis + 1 :]))
        missing = -size % rows
        if missing:
            filler = array[..., :1, :, :]
            filler = xp.ones_like(filler) if name == "decay" else xp.zeros_like(filler)
            filler = xp.broadcast_to(filler, (*array.shape[:axis], missing, *array.shape[axis + 1 :]))
            array = xp.concat([array, filler], axis=axis)
        array = xp.reshape(array, (*array.shape[:axis], -1, rows, *array.shape[axis + 1 :]))
        array = xp.moveaxis(array, -3, -2)
        found.append(array if vector else array[..., 0])
    return found


def _rows(seen: Array, size: int) -> Array:
    """(..., block, head, row, p) to (..., time, head, p)."""
    xp = array_namespace(seen)
    seen = xp.moveaxis(seen, -3, -2)
    seen = xp.reshape(seen, (*seen.shape[:-4], -1, *seen.shape[-2:]))
    return seen[..., :size, :, :]


def _decays(decay: Array) -> tuple[Array, Array, Array]:
    """Decays within blocks (..., row): Gamma_ij (0 above the diagonal), from the start, and to the end."""
    xp = array_namespace(decay)
    rows = decay.shape[-1]
    below = xp.tril(xp.ones_like(eye_like(rows, decay)), k=-1)
    steps = xp.where(below > 0, decay[..., :, None], xp.ones_like(decay[..., :, None]))
    gamma = xp.tril(xp.cumulative_prod(steps, axis=-2))
    return gamma, gamma[..., :, 0] * decay[..., :1], gamma[..., -1, :]
