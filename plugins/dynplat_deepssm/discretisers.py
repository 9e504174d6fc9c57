r"""Discretisation: from rates A, a gain B and a step to the maps of rows.

.. math::
    \dot x = A x + B u \quad\to\quad x_k = \bar A x_{k-1} + \bar B u_k \; (+\, \bar B_0 u_{k-1})

| | A bar | B bar | splitting a gap |
|---|---|---|---|
| `zoh` | exp(A h) | A^{-1} (exp(A h) - 1) B | exact: u is constant over the gap that row k closes |
| `foh` | exp(A h) | for u linear between rows, with a part for u_{k-1} | exact for what is linear between rows |
| `gbt` | (1 - alpha A h)^{-1} (1 + (1 - alpha) A h) | h (1 - alpha A h)^{-1} B | not exact |
| `mamba` | exp(A h) | h B | exact for A bar only |

`gbt` is the generalised bilinear transform: Euler's forward rule for alpha = 0, the bilinear rule for 1/2, Euler's
backward rule for 1. Because two of its gaps are not the same as one of their sum, cells use it on equal gaps only.

`diagonal_*` take rates (..., n) entry by entry and give the multiplier and the gain of B; `dense_*` take matrices.
Sources: Gu, Goel and Ré (2022), arXiv:2111.00396; Gu and Dao (2023), arXiv:2312.00752.
"""

from __future__ import annotations

import sys

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, eye_like, is_jax_array, is_torch_array, solve
from dynplat_deepssm.special import expm1


def diagonal_zoh(rates: Array, step: Array) -> tuple[Array, Array]:
    """Multiplier exp(lambda h) and gain (exp(lambda h) - 1) / lambda, for rates that are not 0."""
    less = expm1(rates * step)
    return less + 1.0, less / rates


def diagonal_gbt(rates: Array, step: Array, alpha: float) -> tuple[Array, Array]:
    """Multiplier and gain of the generalised bilinear transform."""
    angle = rates * step
    denominator = 1.0 - alpha * angle
    return (1.0 + (1.0 - alpha) * angle) / denominator, step / denominator


def diagonal_mamba(rates: Array, step: Array) -> tuple[Array, Array]:
    """Multiplier exp(lambda h), and Euler's gain h."""
    return array_namespace(rates, step).exp(rates * step), step


def dense_zoh(A: Array, B: Array, step: Array) -> tuple[Array, Array]:
    """Transitions (..., n, n) and gains (..., n, m) for A (n, n), B (n, m) and steps (...)."""
    n, m = (int(size) for size in B.shape)
    power = matrix_exponential(_block([[A, B], [None, None]], (n, m), A) * step[..., None, None])
    return power[..., :n, :n], power[..., :n, n:]


def dense_foh(A: Array, B: Array, step: Array) -> tuple[Array, Array, Array]:
    """Transitions, gains of the input at the start of the gap, and gains of the one at its end."""
    n, m = (int(size) for size in B.shape)
    # Over the gap in units of its length: x' = h A x + h B u, u' = w, w' = 0.
    moving = _block([[A, B, None], [None, None, None], [None, None, None]], (n, m, m), A)
    ramp = _block([[None, None, None], [None, None, eye_like(m, A)], [None, None, None]], (n, m, m), A)
    power = matrix_exponential(moving * step[..., None, None] + ramp)
    whole, late = power[..., :n, n : n + m], power[..., :n, n + m :]
    return power[..., :n, :n], whole - late, late


def dense_gbt(A: Array, B: Array, step: Array, alpha: float) -> tuple[Array, Array]:
    """Transitions and gains of the generalised bilinear transform."""
    xp = array_namespace(A)
    angle = A * step[..., None, None]
    eye = eye_like(int(A.shape[-1]), A)
    right = xp.concat([eye + (1.0 - alpha) * angle, B * step[..., None, None]], axis=-1)
    solved = solve(eye - alpha * angle, right)
    n = int(A.shape[-1])
    return solved[..., :n], solved[..., n:]


def matrix_exponential(matrix: Array) -> Array:
    """Exponentials of square matrices (..., n, n)."""
    if is_torch_array(matrix):
        return sys.modules["torch"].linalg.matrix_exp(matrix)
    if is_jax_array(matrix):
        from jax.scipy.linalg import expm

        return expm(matrix)
    from scipy.linalg import expm

    return expm(matrix)


def _block(rows: list[list[Array | None]], sizes: tuple[int, ...], like: Array) -> Array:
    """One matrix from blocks, with zeros for None."""
    xp = array_namespace(like)
    filled = []
    for height, row in zip(sizes, rows, strict=True):
        zeros = [asarray_like(np.zeros((height, width)), like) for width in sizes]
        filled.append(
            xp.concat([zero if block is None else block for zero, block in zip(zeros, row, strict=True)], axis=-1)
        )
    return xp.concat(filled, axis=-2)
