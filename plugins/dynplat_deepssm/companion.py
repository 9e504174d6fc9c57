r"""Companion systems: a shift with one more column, for each of some kernels.

.. math::
    x_k = A x_{k-1} + b u_k, \qquad (A x)_i = x_{i-1} + a_i x_{n-1} ,

so that a state is what the last n values of u and of s = x_{n-1}, its own last entry, make of it:
:math:`x_k[i] = \sum_{m \le i} (a_{i-m} s_{k-1-m} + b_{i-m} u_{k-m})`. The sequence s is an autoregression of order n.
As power series in the delay z, with the reversed coefficients of a and b,

.. math::
    S(z) = \frac{\tilde b(z) U(z) + P(z)}{1 - z \tilde a(z)}, \qquad
    y = q_b * u + z\, (q_a * s) + \text{start}, \qquad q_a[m] = \sum_{i \ge m} c_i a_{i-m} ,

where P holds the state before the first row. One reciprocal of a power series gives the outputs of all rows in
O((T + n) log(T + n)), with any initial state and without a power of A.

Source of the model: Zhang et al. (2023), Effectively modeling time series with simple discrete state spaces,
arXiv:2303.09489, whose own algorithm folds the sequence modulo its length and needs A^T.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.scan.affine import scan_dense
from dynplat_deepssm.fourier import convolve, correlate, reciprocal, resize


def matrix(column: Array) -> Array:
    """Companion matrices (..., n, n) with ones below the diagonal and the last column `column` (..., n)."""
    xp = array_namespace(column)
    n = int(column.shape[-1])
    last = asarray_like(np.eye(n)[-1], column)
    return xp.zeros_like(column)[..., None] + asarray_like(np.eye(n, k=-1), column) + column[..., None] * last


def scan(elements: Any, state: Array) -> tuple[Array, Array]:
    """Driver with dense matrices: n x n numbers for each kernel, n^2 operations for each row."""
    xp = array_namespace(elements.drive)
    # Kernels become leading axes, and time stands before the state: (..., kernel, time, n).
    dense = matrix(xp.moveaxis(elements.column, -3, -2))
    offsets = xp.moveaxis(elements.write, -3, -2) * xp.matrix_transpose(elements.drive)[..., None]
    states = scan_dense(dense, offsets, state)
    seen = xp.moveaxis(elements.readout, -4, -3) @ states[..., None]
    return xp.moveaxis(seen[..., 0], -3, -2), states[..., -1, :]


def respond(elements: Any, state: Array) -> tuple[Array, Array]:
    """What is seen of all rows, (..., time, kernel, output), and the last state, by Fourier transforms."""
    xp = array_namespace(elements.drive)
    a, b = (array[..., 0, :, :] for array in elements[:2])
    C = elements.readout[..., 0, :, :, :]
    u = xp.matrix_transpose(elements.drive)
    n, size = int(a.shape[-1]), int(u.shape[-1])
    denominator = xp.concat([xp.ones_like(a[..., :1]), -xp.flip(a, axis=-1)], axis=-1)
    # The state before the first row enters s for n rows: shifted entries, and a column times the last one.
    entering = xp.flip(a, axis=-1) * state[..., -1:]
    shifted = xp.concat([xp.flip(state[..., :-1], axis=-1), xp.zeros_like(state[..., :1])], axis=-1)
    numerator = convolve(xp.flip(b, axis=-1), u) + resize(entering + shifted, size)
    s = convolve(reciprocal(denominator, size), numerator)
    before = xp.concat([state[..., -1:] + xp.zeros_like(s[..., :1]), s[..., :-1]], axis=-1)
    u = xp.broadcast_to(u, before.shape)
    q_a, q_b = correlate(C, a[..., None, :]), correlate(C, b[..., None, :])
    # Entries of the first state that have not left yet: c_i meets x[i - 1 - k] in row k.
    remaining = correlate(C, state[..., None, :])
    remaining = resize(remaining[..., 1:], size)
    seen = convolve(q_b, u[..., None, :], size) + convolve(q_a, before[..., None, :], size) + remaining
    window_u, window_s = (resize(xp.flip(array, axis=-1), n) for array in (u, before))
    last = convolve(a, window_s, n) + convolve(b, window_u, n)
    if size < n:
        kept = state[..., : n - size] + xp.zeros_like(last[..., : n - size])
        last = last + xp.concat([xp.zeros_like(last[..., :size]), kept], axis=-1)
    return xp.moveaxis(seen, -1, -3), last
