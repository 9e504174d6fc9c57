r"""What a linear dynamics is: a linear SDE for a state, ready to be discretised over any gap.

.. math:: dx = (A x + b + B u)\,dt + L\,dW, \qquad dW \text{ of unit intensity.}

Parameters are numbers or arrays (..., series or 1) or (..., series or 1, core); leading axes broadcast. They may be of
any framework, and constants may be NumPy arrays or plain numbers beside torch or JAX parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from array_api_compat import is_jax_array, is_torch_array

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition


class AbstractLinearDynamics(ABC):
    """A linear SDE. Subclasses are final and give `step` in closed form where one exists.

    Attributes:
        state_dim: Number of states n.
        num_inputs: Number of known inputs it reads, 0 for none.
    """

    state_dim: int
    num_inputs: int = 0

    @property
    @abstractmethod
    def parameters(self) -> tuple[Any, ...]:
        """All parameters, from which framework, dtype and device are taken."""

    @property
    @abstractmethod
    def readout(self) -> np.ndarray:
        """Weights (state_dim,) with which the states add up to the component's scalar signal: its row of H."""

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of all parameters, (..., series or 1)."""
        return np.broadcast_shapes(*(np.shape(value) for value in self.parameters if value is not None))

    @abstractmethod
    def step(self, gaps: Array) -> Transition:
        """Discretise over gaps (..., gap), given in the framework and dtype that the answer shall have."""

    def check_gaps(self, gaps: Array, times: Array) -> None:  # noqa: B027 - most dynamics take every gap
        """Refuse gaps over which the dynamics has no transition, naming the row; one in continuous time takes all.

        Args:
            gaps: Gap before each row, (..., time); the first row's means nothing.
            times: Times of the rows, (..., time).
        """

    def drift(self, inputs: Array | None, like: Array) -> Array | None:
        """Constant part b + B u of the drift, (..., time or 1, n), for inputs (..., time, input), or None."""
        return None

    def stationary(self) -> tuple[Array, Array] | None:
        """Mean (..., n) and covariance (..., n, n) of the stationary law, or None when there is none."""
        return None

    def transition(self, gaps: Array, inputs: Array | None = None) -> tuple[Array, Array | None, Array]:
        """Return F, c and Q of x(t + h) | x(t) ~ N(F x(t) + c, Q) for every gap h.

        Args:
            gaps: Lengths of time, (..., time), at least 0.
            inputs: Input held during each gap, (..., time, input).

        Returns:
            F (..., time, n, n), c (..., time, n) or None for 0, and Q (..., time, n, n).
        """
        like = common_like(*self.parameters, gaps, inputs)
        gaps = real_like(gaps, like)
        F, Q, G = self.step(gaps)
        drift = self.drift(inputs, like)
        return F, offset(G, drift), Q


def affine_drift(b: Any, B: Any, inputs: Array | None, like: Array) -> Array | None:
    """The drift b + B u, (..., time or 1, n), of b (..., n) and B (..., n, input); without inputs u is 0."""
    drift = None if b is None else real_like(b, like)[..., None, :]
    if B is not None and inputs is not None:
        push = real_like(inputs, like) @ array_namespace(like).matrix_transpose(real_like(B, like))
        drift = push if drift is None else drift + push
    return drift


def offset(G: Array | None, drift: Array | None) -> Array | None:
    """Offset c = G v of a transition, (..., time, n), or None."""
    if G is None or drift is None:
        return None
    return (G @ drift[..., None])[..., 0]


def common_like(*values: Any) -> Array:
    """Return an array that says in which framework, dtype and device a calculation with `values` runs.

    That is the first real torch or JAX array; without one, a NumPy array of the widest real dtype among NumPy arrays
    (float64 when there are only plain numbers).
    """
    for value in values:
        if is_torch_array(value) or is_jax_array(value):
            xp = array_namespace(value)
            if xp.isdtype(value.dtype, "real floating"):
                return value
    dtypes = [value.dtype for value in values if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
    return np.empty(0, dtype=np.result_type(*dtypes) if dtypes else np.float64)


def real_like(value: Any, like: Array) -> Array:
    """Like `asarray_like`, but whole numbers become real too: a period of 12 is not an integer quantity."""
    if is_torch_array(value) or is_jax_array(value):
        value = asarray_like(value, like)
        xp = array_namespace(like)
        return value if xp.isdtype(value.dtype, "real floating") else xp.astype(value, like.dtype)
    return asarray_like(np.asarray(value, dtype=np.float64), like)


def check_name(owner: Any, field: str, value: Any, legal: tuple[Any, ...]) -> None:
    """Refuse an option outside the legal ones."""
    if value not in legal:
        raise ArgumentError(f"`{field}` of {type(owner).__name__} must be one of {legal}; got {value!r}.")


def per_gap(parameter: Any, gaps: Array) -> Array:
    """Bring a scalar parameter (..., series or 1) before an axis of gaps: (..., series or 1, 1)."""
    return real_like(parameter, gaps)[..., None]


def matrix(rows: list[list[Any]], like: Array) -> Array:
    """Stack scalar entries, arrays that broadcast or plain numbers, to matrices (..., row, column)."""
    xp = array_namespace(like)
    entries = [real_like(entry, like) for row in rows for entry in row]
    shape = np.broadcast_shapes(*(entry.shape for entry in entries))
    flat = xp.stack([xp.broadcast_to(entry, shape) for entry in entries], axis=-1)
    return xp.reshape(flat, (*shape, len(rows), len(rows[0])))


def spread(scalars: Array, pattern: np.ndarray) -> Array:
    """Sum over j of scalars (..., j) times constant matrices `pattern` (j, n, n): (..., n, n)."""
    xp = array_namespace(scalars)
    count, n, _ = pattern.shape
    flat = scalars @ asarray_like(pattern.reshape(count, n * n).astype(float), scalars)
    return xp.reshape(flat, (*flat.shape[:-1], n, n))


def block_diagonal(blocks: list[Array]) -> Array:
    """Put matrices (..., n_i, n_i) on the diagonal of one matrix; leading axes broadcast."""
    xp = array_namespace(*blocks)
    lead = np.broadcast_shapes(*(block.shape[:-2] for block in blocks))
    total = sum(block.shape[-1] for block in blocks)
    rows, start = [], 0
    for block in blocks:
        n = block.shape[-1]
        block = xp.broadcast_to(block, (*lead, n, n))
        parts = [block]
        if start:
            parts.insert(0, _zeros((*lead, n, start), block))
        if total - start - n:
            parts.append(_zeros((*lead, n, total - start - n), block))
        rows.append(xp.concat(parts, axis=-1) if len(parts) > 1 else block)
        start += n
    return xp.concat(rows, axis=-2) if len(rows) > 1 else rows[0]


def _zeros(shape: tuple[int, ...], like: Array) -> Array:
    xp = array_namespace(like)
    return xp.broadcast_to(asarray_like(0.0, like), shape)
