r"""Compiled discretisation of linear SDEs by doubling, and its adjoint.

For every gap, with the argument :math:`\alpha` and the step :math:`\delta` of its own,

.. math::
    E = \alpha \sum_k c_k P_k, \quad Q = \delta \sum_k c_k M_k, \quad G = \delta \sum_k c_k J_k, \qquad
    c_k = \frac{\alpha^k}{(k + 1)!},

and then as often as its `count` says, with F = I + E,

.. math::
    E \leftarrow 2E + E E, \qquad Q \leftarrow Q + F Q F^\top, \qquad G \leftarrow G + F G .

The tables P, M and J (powers of the drift, derivatives of Q and of the integral; see `dynplat.process.discretise`) are
the same for all gaps of a group. M is symmetric.

**Adjoint.** The states of a gap before each doubling are computed again, and

.. math::
    \bar E \leftarrow 2 \bar E + \bar E E^\top + E^\top \bar E + 2 \bar Q F Q + \bar G G^\top, \quad
    \bar Q \leftarrow \bar Q + F^\top \bar Q F, \quad \bar G \leftarrow \bar G + F^\top \bar G

leads back to the polynomials, whose gradients are added up in the tables: nothing is kept for a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from dynplat.scan.kernels.compiling import compiled, handler
from dynplat.scan.kernels.frame import answers_metadata, arguments, results
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.small import multiply, of


@compiled
def forward(powers, moments, integrals, argument, step, count, F, Q, G):
    """Discretise all gaps of all groups; `integrals` of no terms asks for no G, whose axis of gaps is then empty."""
    n = F.shape[3]
    real = F.dtype
    work = np.empty((n, n), real)
    moved = np.empty((n, n), real)
    without = np.empty((n, n), real)
    integral = integrals.shape[1] > 0
    for g in range(F.shape[0]):
        gp, gm, gi = of(g, powers.shape[0]), of(g, moments.shape[0]), of(g, integrals.shape[0])
        ga, gs, gc = of(g, argument.shape[0]), of(g, step.shape[0]), of(g, count.shape[0])
        for t in range(F.shape[1]):
            alpha, delta = argument[ga, t], step[gs, t]
            E, R = F[g, t], Q[g, t]
            J = G[g, t] if integral else without
            _polynomial(powers[gp], alpha, alpha, E)
            _polynomial(moments[gm], alpha, delta, R)
            if integral:
                _polynomial(integrals[gi], alpha, delta, J)
            for _ in range(count[gc, t]):
                _double(E, R, J, integral, work, moved)
            for i in range(n):
                E[i, i] += 1
                for j in range(i):
                    R[i, j] = (R[i, j] + R[j, i]) / 2
                    R[j, i] = R[i, j]


@compiled
def backward(
    powers, moments, integrals, argument, step, count, F, Q, G,
    dF, dQ, dG, wanted, dpowers, dmoments, dintegrals, dargument, dstep,
):  # fmt: skip
    """Add up the gradients of all groups."""
    dpowers[:], dmoments[:], dintegrals[:], dargument[:], dstep[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    n = F.shape[3]
    real = F.dtype
    integral = integrals.shape[1] > 0
    want_powers, want_moments, want_integrals = wanted[0, 0] != 0, wanted[0, 1] != 0, wanted[0, 2] != 0
    want_argument, want_step = wanted[0, 3] != 0, wanted[0, 4] != 0
    most = 0
    for g in range(count.shape[0]):
        for t in range(count.shape[1]):
            most = max(most, count[g, t])
    E = np.empty((most + 1, n, n), real)
    R = np.empty((most + 1, n, n), real)
    J = np.empty((most + 1, n, n), real)
    barE = np.zeros((n, n), real)
    barR = np.zeros((n, n), real)
    barJ = np.zeros((n, n), real)
    work = np.empty((n, n), real)
    moved = np.empty((n, n), real)
    turned = np.empty((n, n), real)
    for g in range(F.shape[0]):
        gp, gm, gi = of(g, powers.shape[0]), of(g, moments.shape[0]), of(g, integrals.shape[0])
        ga, gs, gc = of(g, argument.shape[0]), of(g, step.shape[0]), of(g, count.shape[0])
        for t in range(F.shape[1]):
            alpha, delta = argument[ga, t], step[gs, t]
            _polynomial(powers[gp], alpha, alpha, E[0])
            _polynomial(moments[gm], alpha, delta, R[0])
            if integral:
                _polynomial(integrals[gi], alpha, delta, J[0])
            for k in range(count[gc, t] - 1):
                E[k + 1] = E[k]
                R[k + 1] = R[k]
                if integral:
                    J[k + 1] = J[k]
                _double(E[k + 1], R[k + 1], J[k + 1], integral, work, moved)
            for i in range(n):
                for j in range(n):
                    barE[i, j] = dF[g, t, i, j]
                    barR[i, j] = (dQ[g, t, i, j] + dQ[g, t, j, i]) / 2
                    if integral:
                        barJ[i, j] = dG[g, t, i, j]
            for k in range(count[gc, t] - 1, -1, -1):
                _pull_back(E[k], R[k], J[k], integral, barE, barR, barJ, work, moved, turned)
            if want_powers:
                _add_terms(dpowers[of(g, dpowers.shape[0])], alpha, alpha, barE)
            if want_moments:
                _add_terms(dmoments[of(g, dmoments.shape[0])], alpha, delta, barR)
            if want_integrals and integral:
                _add_terms(dintegrals[of(g, dintegrals.shape[0])], alpha, delta, barJ)
            if want_argument or want_step:
                ofE, slopeE = _products(powers[gp], alpha, barE)
                ofR, slopeR = _products(moments[gm], alpha, barR)
                slope = ofE + alpha * slopeE + delta * slopeR
                if integral:
                    ofJ, slopeJ = _products(integrals[gi], alpha, barJ)
                    slope += delta * slopeJ
                    ofR += ofJ
                if want_argument:
                    dargument[of(g, dargument.shape[0]), t] += slope
                if want_step:
                    dstep[of(g, dstep.shape[0]), t] += ofR


@compiled
def _polynomial(terms, alpha, factor, out):
    """Put factor * sum over k of alpha^k / (k + 1)! * terms[k] into `out`."""
    K, n = terms.shape[0], terms.shape[1]
    for i in range(n):
        for j in range(n):
            out[i, j] = 0.0
    coefficient = factor
    for k in range(K):
        for i in range(n):
            for j in range(n):
                out[i, j] += coefficient * terms[k, i, j]
        coefficient *= alpha / (k + 2)


@compiled
def _add_terms(terms, alpha, factor, bar):
    """Add factor * alpha^k / (k + 1)! * bar to every term."""
    K, n = terms.shape[0], terms.shape[1]
    coefficient = factor
    for k in range(K):
        for i in range(n):
            for j in range(n):
                terms[k, i, j] += coefficient * bar[i, j]
        coefficient *= alpha / (k + 2)


@compiled
def _products(terms, alpha, bar):
    """Inner product of `bar` with the polynomial (without a factor), and its derivative with respect to alpha."""
    K, n = terms.shape[0], terms.shape[1]
    total, slope = alpha * 0, alpha * 0
    coefficient, before = alpha * 0 + 1, alpha * 0
    for k in range(K):
        product = alpha * 0
        for i in range(n):
            for j in range(n):
                product += terms[k, i, j] * bar[i, j]
        total += coefficient * product
        slope += before * product
        before = coefficient * (k + 1) / (k + 2)
        coefficient *= alpha / (k + 2)
    return total, slope


@compiled
def _double(E, R, J, integral, work, moved):
    n = E.shape[0]
    # F X = X + E X keeps what is small in E.
    multiply(E, R, work)
    for i in range(n):
        for j in range(n):
            work[i, j] += R[i, j]
    for i in range(n):
        for j in range(i + 1):
            s = R[i, j] + work[i, j]
            for k in range(n):
                s += work[i, k] * E[j, k]
            moved[i, j] = s
    for i in range(n):
        for j in range(i + 1):
            R[i, j] = moved[i, j]
            R[j, i] = moved[i, j]
    if integral:
        multiply(E, J, work)
        for i in range(n):
            for j in range(n):
                J[i, j] += J[i, j] + work[i, j]
    multiply(E, E, work)
    for i in range(n):
        for j in range(n):
            E[i, j] += E[i, j] + work[i, j]


@compiled
def _pull_back(E, R, J, integral, barE, barR, barJ, work, moved, turned):
    """Lead the adjoints back through a doubling."""
    n = E.shape[0]
    # work = barR F, moved = F^T barR F, turned = F R.
    multiply(barR, E, work)
    multiply(E, R, turned)
    for i in range(n):
        for j in range(n):
            work[i, j] += barR[i, j]
            turned[i, j] += R[i, j]
            moved[i, j] = work[i, j]
    for k in range(n):
        for i in range(n):
            f = E[k, i]
            for j in range(n):
                moved[i, j] += f * work[k, j]
    # The adjoint of E, in `work`.
    for i in range(n):
        for j in range(n):
            work[i, j] = 2 * barE[i, j]
    for i in range(n):
        for j in range(n):
            s = work[i, j]
            for k in range(n):
                s += barE[i, k] * E[j, k] + E[k, i] * barE[k, j] + 2 * barR[i, k] * turned[k, j]
            if integral:
                for k in range(n):
                    s += barJ[i, k] * J[j, k]
            work[i, j] = s
    for i in range(n):
        for j in range(n):
            barE[i, j] = work[i, j]
            barR[i, j] += (moved[i, j] + moved[j, i]) / 2
    if integral:
        for i in range(n):
            for j in range(n):
                work[i, j] = 2 * barJ[i, j]
        for k in range(n):
            for i in range(n):
                f = E[k, i]
                for j in range(n):
                    work[i, j] += f * barJ[k, j]
        barJ[:, :] = work


@lru_cache(maxsize=2)
def handlers(real: Any) -> tuple[Any, Any]:
    """Return `forward` and `backward` as functions for XLA, for real numbers of a dtype."""
    forward_reads, forward_writes = DISCRETISATION.forward_types(real)
    backward_reads, backward_writes = DISCRETISATION.backward_types(real)

    @handler
    def forward_handler(frame: int) -> int:
        if not answers_metadata(frame):
            forward(*(arguments(frame, forward_reads) + results(frame, forward_writes)))
        return 0

    @handler
    def backward_handler(frame: int) -> int:
        if not answers_metadata(frame):
            backward(*(arguments(frame, backward_reads) + results(frame, backward_writes)))
        return 0

    return forward_handler, backward_handler


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    n = inputs[0][-1]
    groups = max(shape[0] for shape in inputs)
    gaps = inputs[3][1]
    return (groups, gaps, n, n), (groups, gaps, n, n), (groups, gaps if inputs[2][1] else 0, n, n)


DISCRETISATION = Kernel(
    name="discretisation",
    inputs=(
        Spec("powers", 4, differentiable=True),
        Spec("moments", 4, differentiable=True),
        Spec("integrals", 4, differentiable=True),
        Spec("argument", 2, differentiable=True),
        Spec("step", 2, differentiable=True),
        Spec("count", 2, "count"),
    ),
    outputs=(Spec("F", 4), Spec("Q", 4), Spec("G", 4)),
    num_values=3,
    shapes=_shapes,
    forward=forward,
    backward=backward,
    handlers=handlers,
)
