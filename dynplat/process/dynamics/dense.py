"""A linear SDE with free matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.errors import ArgumentError
from dynplat.process.discretise import Transition, discretise
from dynplat.process.dynamics.base import AbstractLinearDynamics, affine_drift, common_like, real_like

#: Multiples of the slowest time constant after which the start is forgotten to far below rounding: e^-80.
_FORGOTTEN = 80.0


@dataclass(frozen=True, eq=False)
class Dense(AbstractLinearDynamics):
    r"""The linear SDE :math:`dx = (A x + b + B u)\,dt + L\,dW` with free matrices.

    Args:
        A: Drift matrix per unit of time, (..., series or 1, n, n).
        L: Effect of the driving Wiener processes of unit intensity, (..., series or 1, n, w).
        b: Constant drift, (..., series or 1, n), or None.
        B: Effect of the inputs, (..., series or 1, n, input), or None. An input is held over each gap.
        max_doublings: See `discretise`; read only while JAX traces.
    """

    A: Any
    L: Any
    b: Any = None
    B: Any = None
    max_doublings: int = 48

    def __post_init__(self) -> None:
        """Refuse matrices that do not fit together."""
        n = self.A.shape[-1]
        for field, value, core in (("A", self.A, (n, n)), ("L", self.L, (n, None)), ("b", self.b, (n,))):
            _check_core(field, value, core)
        _check_core("B", self.B, (n, None))

    @property
    def state_dim(self) -> int:
        """Number of states."""
        return self.A.shape[-1]

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return 0 if self.B is None else self.B.shape[-1]

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The matrices."""
        return (self.A, self.L, self.b, self.B)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of the matrices."""
        shapes = [value.shape[:-2] for value in (self.A, self.L, self.B) if value is not None]
        return np.broadcast_shapes(*shapes, () if self.b is None else self.b.shape[:-1])

    @property
    def readout(self) -> np.ndarray:
        """The first state."""
        return np.eye(self.state_dim)[0]

    def step(self, gaps: Array) -> Transition:
        """Discretise by scaling and doubling."""
        A, L = real_like(self.A, gaps), real_like(self.L, gaps)
        W = L @ array_namespace(L).matrix_transpose(L)
        has_drift = self.b is not None or self.B is not None
        return discretise(A, W, gaps, integral=has_drift, max_doublings=self.max_doublings)

    def drift(self, inputs: Array | None, like: Array) -> Array | None:
        """The drift b + B u; the inputs are 0 when none are given."""
        return affine_drift(self.b, self.B, inputs, like)

    def stationary(self) -> tuple[Array, Array] | None:
        """Stationary law with the inputs at 0: the law of a gap that forgets its start.

        While JAX traces, stability cannot be looked at: an unstable `A` gives NaN there and None elsewhere.
        """
        like = common_like(*self.parameters)
        xp = array_namespace(like)
        A, L = real_like(self.A, like), real_like(self.L, like)
        host = concrete(A)
        if host is None:
            norm = xp.max(xp.sum(xp.abs(A), axis=-1), axis=-1, keepdims=True)
            gap = 2.0 ** (self.max_doublings - 3) / norm  # as long as `max_doublings` reach
        else:
            slowest = -np.linalg.eigvals(host).real.max(axis=-1)
            if not (slowest > 0).all():
                return None
            gap = asarray_like((_FORGOTTEN / slowest)[..., None], like)
        W = L @ xp.matrix_transpose(L)
        _, P, G = discretise(A, W, gap, integral=self.b is not None, max_doublings=self.max_doublings)
        P = P[..., 0, :, :]
        if self.b is None or G is None:
            return xp.zeros_like(P[..., 0]), P
        return (G[..., 0, :, :] @ real_like(self.b, like)[..., None])[..., 0], P


def _check_core(field: str, value: Any, core: tuple[int | None, ...]) -> None:
    if value is None:
        return
    got = tuple(value.shape[-len(core) :]) if len(value.shape) >= len(core) else tuple(value.shape)
    if len(got) != len(core) or any(want not in (None, have) for want, have in zip(core, got, strict=True)):
        want = ", ".join("any" if size is None else str(size) for size in core)
        raise ArgumentError(
            f"`{field}` of Dense must have core shape ({want}), to fit `A` (n, n); got shape {tuple(value.shape)}."
        )
