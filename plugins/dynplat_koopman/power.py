r"""Linear dynamics in discrete time, over gaps of whole steps.

.. math:: z_{t+1} = F z_t + b + B u_t + N(0, Q), \qquad t = 0, 1, 2, \dots \text{ steps of length } h.

Over a gap of k steps the law is :math:`N(F^k z + G_k (b + B u), Q_k)` with
:math:`Q_k = \sum_{j<k} F^j Q (F^\top)^j` and :math:`G_k = \sum_{j<k} F^j`. All three double:

.. math:: F_{2k} = F_k F_k, \qquad Q_{2k} = Q_k + F_k Q_k F_k^\top, \qquad G_{2k} = G_k + F_k G_k,

and a gap is the product of the doublings that its binary digits name. A matrix F may have no real logarithm (an odd
number of equal negative eigenvalues, or the eigenvalue 0), so that there may be no dynamics in continuous time that
passes through these laws: gaps that are no whole number of steps are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like, concrete, epsilon, eye_like, symmetrise
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process.discretise import Transition
from dynplat.process.dynamics import AbstractLinearDynamics
from dynplat.process.dynamics.base import affine_drift, common_like, real_like

#: A gap counts as k steps when it is no further from k h than this part of a step, beyond the rounding of its number.
SAME_STEP = 1e-3
#: Binary digits of k that a traced program goes through: gaps up to 2^20 - 1 steps; longer ones give NaN.
_TRACED_DIGITS = 20
#: Multiples of the slowest time constant after which the start is forgotten to far below rounding: e^-80.
_FORGOTTEN = 80.0


@dataclass(frozen=True, eq=False)
class PowerDynamics(AbstractLinearDynamics):
    r"""The linear dynamics :math:`z_{t+1} = F z_t + b + B u_t + N(0, Q)` in steps of length h.

    Args:
        F: Transition matrix of one step in column convention, (..., series or 1, n, n).
        Q: Covariance of the noise of one step, (..., series or 1, n, n), positive semi-definite.
        h: Length of a step, positive.
        b: Constant offset of a step, (..., series or 1, n), or None.
        B: Effect of the inputs in a step, (..., series or 1, n, input), or None. An input is held over each gap.
    """

    F: Any
    Q: Any
    h: float
    b: Any = None
    B: Any = None

    def __post_init__(self) -> None:
        """Refuse matrices that do not fit together, and a step that is not positive."""
        n = self.F.shape[-1]
        for field, value, core in (("F", self.F, (n, n)), ("Q", self.Q, (n, n)), ("b", self.b, (n,))):
            if value is not None and tuple(value.shape[-len(core) :]) != core:
                raise ArgumentError(
                    f"`{field}` of PowerDynamics must have core shape {core}, to fit `F` (n, n); got shape "
                    f"{tuple(value.shape)}."
                )
        if self.B is not None and (len(self.B.shape) < 2 or self.B.shape[-2] != n):
            raise ArgumentError(f"`B` of PowerDynamics must have core shape ({n}, input); got {tuple(self.B.shape)}.")
        if not (np.isfinite(self.h) and self.h > 0):
            raise ArgumentError(f"`h`, the length of a step, must be positive; got {self.h!r}.")

    @property
    def state_dim(self) -> int:
        """Number of states."""
        return int(self.F.shape[-1])

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return 0 if self.B is None else int(self.B.shape[-1])

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The matrices."""
        return (self.F, self.Q, self.b, self.B)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of the matrices."""
        shapes = [value.shape[:-2] for value in (self.F, self.Q, self.B) if value is not None]
        return np.broadcast_shapes(*shapes, () if self.b is None else self.b.shape[:-1])

    @property
    def readout(self) -> np.ndarray:
        """The first state."""
        return np.eye(self.state_dim)[0]

    def check_gaps(self, gaps: Array, times: Array) -> None:
        """Refuse gaps that are no whole number of steps, naming the first row that follows one.

        Raises:
            ArgumentError: Naming gap, row and step.
        """
        host, known = concrete(gaps), concrete(times)
        if host is None or known is None:
            return
        host, known = np.broadcast_arrays(np.asarray(host, dtype=np.float64), np.asarray(known, dtype=np.float64))
        # The rounding of the times themselves is that of their gaps.
        slack = 2.0 * np.finfo(np.float64).eps * np.abs(known).max(initial=0.0) / self.h
        bad = ~_whole(host, self.h, np.finfo(np.float64).eps, slack)
        bad[..., :1] = False
        if bad.any():
            *lead, row = (int(i) for i in np.argwhere(bad)[0])
            series = f" of series {lead[-1]}" if lead else ""
            place = (*lead, row)
            raise ArgumentError(
                f"the gap before row {row}{series} is {host[place]:g} ({known[*lead, row - 1]:.10g} to "
                f"{known[place]:.10g}), which is {host[place] / self.h:.6g} steps of {self.h:g}: "
                "a law in discrete time has transitions over whole steps only. Ask at times on its grid, resample the "
                "data to equal steps, or use dynamics in continuous time (`continuous=True` of `koopman/edmd`)."
            )

    def step(self, gaps: Array) -> Transition:
        """Powers over gaps of whole steps, by binary doubling; a traced gap that is none gives NaN.

        Raises:
            ArgumentError: A gap is no whole number of steps.
            NoDensityError: The law leaves the range of floating-point numbers.
        """
        F, Q = real_like(self.F, gaps), real_like(self.Q, gaps)
        xp = array_namespace(F, gaps)
        lead = np.broadcast_shapes(tuple(F.shape[:-2]), tuple(Q.shape[:-2]))
        F, Q = (xp.broadcast_to(value, (*lead, *value.shape[-2:]))[..., None, :, :] for value in (F, Q))
        host = concrete(gaps)
        if host is None:
            steps, whole = _steps(gaps, self.h), _whole(gaps, self.h, epsilon(gaps), 0.0)
            transition = _powers(F, Q, xp.astype(steps, F.dtype), None)
            bad = xp.where(whole & (steps < 2.0**_TRACED_DIGITS), 0.0, xp.nan)[..., None, None]
            return Transition(*(part + bad for part in transition))
        host = np.asarray(host, dtype=np.float64)
        whole = _whole(host, self.h, epsilon(gaps), 0.0)
        if not whole.all():
            gap = host[~whole][0]
            raise ArgumentError(
                f"a gap of {gap:g} is {gap / self.h:.6g} steps of {self.h:g}: a law in discrete time has transitions "
                "over whole steps only. Resample to equal steps, or use dynamics in continuous time."
            )
        counts = _steps(host, self.h)
        with np.errstate(over="ignore", invalid="ignore"):
            transition = _powers(F, Q, counts, int(counts.max(initial=0.0)).bit_length())
        self._check_finite(transition, counts)
        return transition

    def drift(self, inputs: Array | None, like: Array) -> Array | None:
        """The offset b + B u of a step; the inputs are 0 when none are given."""
        return affine_drift(self.b, self.B, inputs, like)

    def stationary(self) -> tuple[Array, Array] | None:
        """Stationary law with the inputs at 0: the law of a gap that forgets its start; None without one.

        While the numbers are only traced, stability cannot be looked at: None.
        """
        like = common_like(*self.parameters)
        F = real_like(self.F, like)
        host = concrete(F)
        if host is None:
            return None
        radius = np.abs(np.linalg.eigvals(host)).max(initial=0.0)
        if not radius < 1:
            return None
        steps = 1.0 if radius == 0 else np.ceil(max(-_FORGOTTEN / np.log(radius), 1.0))
        # A power of two: a number of steps that single precision holds exactly.
        steps = 2.0 ** np.ceil(np.log2(steps + self.state_dim))
        _, P, G = self.step(asarray_like(np.array([steps * self.h]), like))
        P = P[..., 0, :, :]
        if self.b is None or G is None:
            return array_namespace(P).zeros_like(P[..., 0]), P
        return (G[..., 0, :, :] @ real_like(self.b, like)[..., None])[..., 0], P

    def _check_finite(self, transition: Transition, counts: np.ndarray) -> None:
        numbers = [concrete(part) for part in (transition.F, transition.Q)]
        if all(part is None or np.isfinite(part).all() for part in numbers):
            return
        host = concrete(self.F)
        if host is None or not np.isfinite(host).all():
            raise NoDensityError("the transition matrix `F` of PowerDynamics has entries that are not finite.")
        radius = float(np.abs(np.linalg.eigvals(host)).max())
        raise NoDensityError(
            f"the law leaves the range of floating-point numbers: the spectral radius of `F` is {radius:.6g} and the "
            f"longest gap is {counts.max():g} steps. Use a stable operator, or split the data at such gaps."
        )


def _steps(gaps: Any, h: float) -> Any:
    return array_namespace(gaps).round(gaps / h)


def _whole(gaps: Any, h: float, eps: float, slack: float) -> Any:
    """Whether gaps are whole numbers of steps, but for rounding and `SAME_STEP`."""
    xp = array_namespace(gaps)
    number = gaps / h
    return (xp.abs(number - xp.round(number)) <= SAME_STEP + slack + 4.0 * eps * xp.abs(number)) & (number > -0.5)


def _powers(F: Array, Q: Array, counts: Any, digits: int | None) -> Transition:
    """Powers over `counts` (..., gap) steps, of matrices (..., 1, n, n); `digits` None: the counts are traced."""
    xp = array_namespace(F)
    zero = xp.zeros_like(F)
    identity = zero + eye_like(F.shape[-1], F)
    G = identity
    done, noise, total = identity, zero, zero
    rest = counts
    for digit in range(_TRACED_DIGITS if digits is None else digits):
        odd = rest - 2.0 * array_namespace(rest).floor(rest / 2.0) > 0.5
        odd = (odd if digits is None else asarray_like(odd, F))[..., None, None]
        done, noise, total = (
            xp.where(odd, F @ done, done),
            xp.where(odd, F @ noise @ xp.matrix_transpose(F) + Q, noise),
            xp.where(odd, F @ total + G, total),
        )
        rest = array_namespace(rest).floor(rest / 2.0)
        if digits is None:
            # Doublings that no gap needs may overflow, and infinities would reach the gradients of the others.
            F, Q, G = (xp.where(xp.any(rest > 0.5), part, xp.zeros_like(part)) for part in (F, Q, G))
        elif digit == digits - 1:
            break
        F, Q, G = F @ F, Q + F @ Q @ xp.matrix_transpose(F), G + F @ G
    lead = np.broadcast_shapes(tuple(F.shape[:-3]), tuple(counts.shape[:-1]))
    shape = (*lead, counts.shape[-1], F.shape[-1], F.shape[-1])
    done, noise, total = (xp.broadcast_to(part, shape) for part in (done, symmetrise(noise), total))
    return Transition(done, noise, total)
