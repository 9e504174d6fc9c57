r"""Exact discretisation of linear stochastic differential equations by scaling and doubling.

For :math:`dx = (A x + v)\,dt + dM` with :math:`dM\,dM^\top = W\,dt` the law over a gap :math:`h` is

.. math::
    x(t+h) \mid x(t) \sim N\bigl(F x(t) + G v,\; Q\bigr), \qquad
    F = e^{Ah}, \quad G = \int_0^h e^{As}\,ds, \quad Q = \int_0^h e^{As} W e^{A^\top s}\,ds .

All three are Taylor polynomials over a step :math:`\delta = h / 2^s` on which :math:`\|A\|\delta \le 1/4`, and then

.. math::
    E(2\delta) = 2E + E E, \qquad G(2\delta) = G + F G, \qquad Q(2\delta) = Q + F Q F^\top, \qquad F = I + E .

`E` is carried in place of `F`, so that a rate :math:`\lambda` with :math:`\lambda\delta` far below the rounding unit is
not lost beside a fast one, and `Q` is a sum of positive semi-definite terms, so that nothing cancels. The usual
block-exponential formula (C. Van Loan, "Computing integrals involving the matrix exponential", IEEE Transactions on
Automatic Control 23, 1978, doi:10.1109/TAC.1978.1101743) contains :math:`e^{-A^\top h}` and loses every digit of `Q`
when :math:`\|A\| h` is large.

Every operation commutes with a rescaling of the states by powers of two, so accuracy does not depend on the units of
the states; the norm that chooses `s` is taken after such a rescaling (balancing).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import is_jax_array, is_torch_array

from dynplat.arrays import Array, array_namespace, asarray_like, concrete
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process.doubling import Plan, run_doubling

#: Largest ||A|| delta at which the Taylor polynomials are used. Q's terms then shrink like (1/2)^k / (k + 1)!, so that
#: `_ORDER` terms leave less than 1e-18 of the first one.
_STEP = 0.25
_ORDER = 16
#: Sweeps of balancing; each at least halves the logarithm of an imbalance.
_SWEEPS = 8


class Transition(NamedTuple):
    """The law of a linear SDE over gaps.

    Attributes:
        F: Transition matrices, (..., gap, n, n), (new, old).
        Q: Noise covariances, (..., gap, n, n), exactly symmetric.
        G: Integrated transition matrices, (..., gap, n, n), which turn a constant drift into an offset; or None.
    """

    F: Array
    Q: Array
    G: Array | None = None


def discretise(A: Array, W: Array, gaps: Array, *, integral: bool = True, max_doublings: int = 48) -> Transition:
    """Discretise a linear SDE exactly over every gap.

    Args:
        A: Drift matrix, (..., n, n), per unit of time.
        W: Covariance of the driving noise per unit of time, (..., n, n), symmetric, of any rank.
        gaps: Lengths of time, (..., gap), at least 0; leading axes broadcast with those of `A` and `W`. A gap of 0
            gives exactly the identity, no noise and no offset.
        integral: Whether to compute `G` too.
        max_doublings: Number of doublings that a traced program goes through where the kernel can't run (on an
            accelerator) and `s` is not known; a system with ||A|| h > 2**(max_doublings - 2) gives NaN then.

    Returns:
        `Transition` with leading axes (..., gap) broadcast.

    Raises:
        ArgumentError: A gap is negative or not a number.
        NoDensityError: The law leaves the range of floating-point numbers (a growing system over a long gap, or
            parameters that are not finite).
    """
    xp = array_namespace(A, W, gaps)
    _check_gaps(gaps)
    norm, count, known = _plan(A, gaps)
    counts = count if known else None
    norm, step = asarray_like(norm, A), gaps / _power_of_two(count, gaps)
    scaled = A / norm[..., None, None]

    # Powers of A and the derivatives of Q depend on the gap through scalar coefficients only. For differentiation with
    # respect to A the norm is a constant: the result does not depend on it.
    powers, moments = [scaled], [xp.broadcast_to(W, np.broadcast_shapes(A.shape, W.shape))]
    for _ in range(_ORDER - 1):
        powers.append(scaled @ powers[-1])
        moved = scaled @ moments[-1]
        moments.append(moved + xp.matrix_transpose(moved))
    identity = xp.zeros_like(scaled) + asarray_like(np.eye(A.shape[-1]), A)
    integrals = xp.stack([identity, *powers[:-1]], axis=-3)
    plan = Plan(
        powers=xp.stack(powers, axis=-3),
        moments=xp.stack(moments, axis=-3),
        integrals=integrals if integral else integrals[..., :0, :, :],
        argument=norm[..., None] * step,
        step=step,
        count=asarray_like(count, A) if known else count,
    )
    transition = Transition(*run_doubling(plan, counts, max_doublings))
    _check_finite(transition, A, gaps)
    return transition


def _power_of_two(count: Any, like: Array) -> Array:
    """Exact powers 2^count: a library's `pow` or `exp2` may err in the last digits, which would change the gap."""
    if isinstance(count, np.ndarray):
        return asarray_like(np.ldexp(1.0, count), like)
    return asarray_like(np.ldexp(1.0, np.arange(512)), like)[count]


def _plan(A: Array, gaps: Array) -> tuple[Array, Any, bool]:
    """Norm of A after balancing, and the number of doublings for every gap; on the host when the numbers are known."""
    A_host, gaps_host = concrete(A), concrete(gaps)
    known = A_host is not None and gaps_host is not None
    if known:
        A, gaps = np.asarray(A_host, dtype=np.float64), np.asarray(gaps_host, dtype=np.float64)
    else:
        A = _stop_gradient(A)
    xp = array_namespace(A, gaps)
    with np.errstate(all="ignore"):
        norm = _balanced_norm(A)
        norm = xp.where((norm > 0) & xp.isfinite(norm), norm, xp.ones_like(norm))
        wanted = xp.ceil(xp.log2(norm[..., None] * gaps / _STEP))
        wanted = xp.where(wanted > 0, wanted, xp.zeros_like(wanted))  # also for gap 0, where the logarithm is -inf
        wanted = xp.where(wanted < 511, wanted, xp.full_like(wanted, 511.0))
    count = xp.astype(wanted, xp.int32)
    return norm, count, known


def _balanced_norm(A: Array) -> Array:
    """Maximal absolute row sum of D^-1 A D for a diagonal D that evens out rows and columns (Osborne's balancing)."""
    xp = array_namespace(A)
    size = xp.abs(A)
    plain = xp.max(xp.sum(size, axis=-1), axis=-1)
    off = size * asarray_like(1.0 - np.eye(A.shape[-1]), A)
    shift = xp.zeros_like(size[..., 0])
    one = xp.ones_like(shift)
    for _ in range(_SWEEPS):
        scale = xp.exp(shift)
        moved = off * scale[..., None, :] / scale[..., None]
        row, column = xp.sum(moved, axis=-1), xp.sum(moved, axis=-2)
        even = (row > 0) & (column > 0)
        # Half of Osborne's step, because all states move at once.
        shift = shift + xp.log(xp.where(even, row, one) / xp.where(even, column, one)) / 4
    scale = xp.exp(shift)
    balanced = xp.max(xp.sum(size * scale[..., None, :] / scale[..., None], axis=-1), axis=-1)
    return xp.where(balanced < plain, balanced, plain)


def _stop_gradient(value: Array) -> Array:
    if is_torch_array(value):
        return value.detach()
    if is_jax_array(value):
        from jax import lax

        return lax.stop_gradient(value)
    return value


def _check_gaps(gaps: Array) -> None:
    host = concrete(gaps)
    if host is not None and not np.all(host >= 0):
        bad = host[~(host >= 0)]
        raise ArgumentError(
            f"`gaps` must be lengths of time of at least 0; got {bad[0]!s}. Sort the times of each series first."
        )


def _check_finite(transition: Transition, A: Array, gaps: Array) -> None:
    A_host, gaps_host = concrete(A), concrete(gaps)
    if A_host is None or gaps_host is None or concrete(transition.F) is None:
        return
    xp = array_namespace(transition.F)
    if bool(xp.all(xp.isfinite(transition.F))) and bool(xp.all(xp.isfinite(transition.Q))):
        return
    if not np.all(np.isfinite(A_host)):
        raise NoDensityError("the drift matrix `A` of the linear SDE has entries that are not finite.")
    growth = float(np.linalg.eigvals(A_host).real.max())
    raise NoDensityError(
        f"the law of the linear SDE leaves the range of {A_host.dtype} numbers: its fastest growth rate is "
        f"{growth:.3g} per unit of time and the longest gap is {float(np.max(gaps_host)):.6g}. Use a smaller growth "
        "rate, a finite noise intensity, or split the data where nothing is observed for so long."
    )
