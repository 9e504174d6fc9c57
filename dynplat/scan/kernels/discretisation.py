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

import numpy as np

from dynplat.scan.kernels.compiling import compiled, inlined
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.padded import combine, padded
from dynplat.scan.kernels.small import of
from dynplat.scan.kernels.vector import multiple, plus_multiple, read_four, write


@compiled
def forward(powers, moments, integrals, argument, step, count, F, Q, G):
    """Discretise all gaps of all groups; `integrals` of no terms asks for no G, whose axis of gaps is then empty."""
    n = F.shape[3]
    real = F.dtype
    n2, n4 = padded(n, 2), padded(n, 4)
    P, M, J = _table(powers, n2, n4), _table(moments, n2, n4), _table(integrals, n2, n4)
    E, R, S = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    turned, work, moved = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    integral = integrals.shape[1] > 0
    for g in range(F.shape[0]):
        if g == 0 or powers.shape[0] > 1:
            _fill_table(powers, of(g, powers.shape[0]), P)
        if g == 0 or moments.shape[0] > 1:
            _fill_table(moments, of(g, moments.shape[0]), M)
        if g == 0 or integrals.shape[0] > 1:
            _fill_table(integrals, of(g, integrals.shape[0]), J)
        ga, gs, gc = of(g, argument.shape[0]), of(g, step.shape[0]), of(g, count.shape[0])
        for t in range(F.shape[1]):
            alpha, delta = argument[ga, t], step[gs, t]
            _polynomial(P, alpha, alpha, E)
            _polynomial(M, alpha, delta, R)
            if integral:
                _polynomial(J, alpha, delta, S)
            for _ in range(count[gc, t]):
                _double(n, E, R, S, integral, turned, work, moved)
            for i in range(n):
                for j in range(n):
                    F[g, t, i, j] = E[i, j]
                    Q[g, t, i, j] = (R[i, j] + R[j, i]) / 2
                F[g, t, i, i] += 1
            if integral:
                for i in range(n):
                    for j in range(n):
                        G[g, t, i, j] = S[i, j]


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
    n2, n4 = padded(n, 2), padded(n, 4)
    P, M, J = _table(powers, n2, n4), _table(moments, n2, n4), _table(integrals, n2, n4)
    sumP, sumM, sumJ = _table(powers, n2, n4), _table(moments, n2, n4), _table(integrals, n2, n4)
    # The states of a gap before each of its doublings.
    kept = np.zeros((3, most + 1, n2, n4), real)
    E, R, S = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    barE, barR, barS = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    turned, work, moved = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    flipped = np.zeros((n2, n4), real)
    for g in range(F.shape[0]):
        if g == 0 or powers.shape[0] > 1:
            _fill_table(powers, of(g, powers.shape[0]), P)
        if g == 0 or moments.shape[0] > 1:
            _fill_table(moments, of(g, moments.shape[0]), M)
        if g == 0 or integrals.shape[0] > 1:
            _fill_table(integrals, of(g, integrals.shape[0]), J)
        sumP[:], sumM[:], sumJ[:] = 0.0, 0.0, 0.0
        ga, gs, gc = of(g, argument.shape[0]), of(g, step.shape[0]), of(g, count.shape[0])
        for t in range(F.shape[1]):
            alpha, delta = argument[ga, t], step[gs, t]
            _polynomial(P, alpha, alpha, E)
            _polynomial(M, alpha, delta, R)
            if integral:
                _polynomial(J, alpha, delta, S)
            for k in range(count[gc, t]):
                for i in range(n):
                    for j in range(n):
                        kept[0, k, i, j] = E[i, j]
                        kept[1, k, i, j] = R[i, j]
                        if integral:
                            kept[2, k, i, j] = S[i, j]
                _double(n, E, R, S, integral, turned, work, moved)
            for i in range(n):
                for j in range(n):
                    barE[i, j] = dF[g, t, i, j]
                    barR[i, j] = (dQ[g, t, i, j] + dQ[g, t, j, i]) / 2
                    if integral:
                        barS[i, j] = dG[g, t, i, j]
            for k in range(count[gc, t] - 1, -1, -1):
                for i in range(n):
                    for j in range(n):
                        E[i, j] = kept[0, k, i, j]
                        R[i, j] = kept[1, k, i, j]
                        if integral:
                            S[i, j] = kept[2, k, i, j]
                _pull_back(n, E, R, S, integral, barE, barR, barS, turned, work, moved, flipped)
            if want_powers:
                _add_terms(sumP, alpha, alpha, barE)
            if want_moments:
                _add_terms(sumM, alpha, delta, barR)
            if want_integrals and integral:
                _add_terms(sumJ, alpha, delta, barS)
            if want_argument or want_step:
                ofE, slopeE = _products(P, alpha, barE)
                ofR, slopeR = _products(M, alpha, barR)
                slope = ofE + alpha * slopeE + delta * slopeR
                if integral:
                    ofS, slopeS = _products(J, alpha, barS)
                    slope += delta * slopeS
                    ofR += ofS
                if want_argument:
                    dargument[of(g, dargument.shape[0]), t] += slope
                if want_step:
                    dstep[of(g, dstep.shape[0]), t] += ofR
        if want_powers:
            _add_table(sumP, dpowers, of(g, dpowers.shape[0]))
        if want_moments:
            _add_table(sumM, dmoments, of(g, dmoments.shape[0]))
        if want_integrals and integral:
            _add_table(sumJ, dintegrals, of(g, dintegrals.shape[0]))


@compiled
def _table(terms, n2, n4):
    """Room for padded terms, one a row."""
    return np.zeros((terms.shape[1], n2 * n4), terms.dtype)


@compiled
def _fill_table(terms, g, out):
    n4 = padded(terms.shape[3], 4)
    for k in range(terms.shape[1]):
        for i in range(terms.shape[2]):
            for j in range(terms.shape[3]):
                out[k, i * n4 + j] = terms[g, k, i, j]


@compiled
def _add_table(table, out, g):
    n4 = padded(out.shape[3], 4)
    for k in range(out.shape[1]):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                out[g, k, i, j] += table[k, i * n4 + j]


@inlined
def _polynomial(table, alpha, factor, out):
    """Put factor * sum over k of alpha^k / (k + 1)! * table[k] into `out`."""
    n4 = out.shape[1]
    for i in range(out.shape[0]):
        for j in range(0, n4, 4):
            coefficient = factor
            total = multiple(coefficient, read_four(table, 0, i * n4 + j))
            for k in range(1, table.shape[0]):
                coefficient *= alpha / (k + 1)
                total = plus_multiple(total, coefficient, read_four(table, k, i * n4 + j))
            write(out, i, j, total)


@inlined
def _add_terms(table, alpha, factor, bar):
    """Add factor * alpha^k / (k + 1)! * bar to every term."""
    n4 = bar.shape[1]
    coefficient = factor
    for k in range(table.shape[0]):
        for i in range(bar.shape[0]):
            for j in range(0, n4, 4):
                place = i * n4 + j
                write(table, k, place, plus_multiple(read_four(table, k, place), coefficient, read_four(bar, i, j)))
        coefficient *= alpha / (k + 2)


@inlined
def _products(table, alpha, bar):
    """Inner product of `bar` with the polynomial (without a factor), and its derivative with respect to alpha."""
    n4 = bar.shape[1]
    total, slope = alpha * 0, alpha * 0
    coefficient, before = alpha * 0 + 1, alpha * 0
    for k in range(table.shape[0]):
        product = alpha * 0
        for i in range(bar.shape[0]):
            for j in range(n4):
                product += table[k, i * n4 + j] * bar[i, j]
        total += coefficient * product
        slope += before * product
        before = coefficient * (k + 1) / (k + 2)
        coefficient *= alpha / (k + 2)
    return total, slope


@inlined
def _double(n, E, R, S, integral, turned, work, moved):
    """Double the gap of all three; F X = X + E X keeps what is small in E."""
    one = E[0, 0] * 0 + 1
    for i in range(n):
        for j in range(n):
            turned[j, i] = E[i, j]
    combine(R, one, E, R, n, n, work)
    for i in range(n):
        for j in range(n):
            moved[i, j] = R[i, j] + work[i, j]
    combine(moved, one, work, turned, n, n, R)
    for i in range(n):
        for j in range(i):
            R[j, i] = R[i, j]
    if integral:
        for i in range(n):
            for j in range(n):
                moved[i, j] = S[i, j]
                work[i, j] = 2 * S[i, j]
        combine(work, one, E, moved, n, n, S)
    for i in range(n):
        for j in range(n):
            moved[i, j] = E[i, j]
            work[i, j] = 2 * E[i, j]
    combine(work, one, moved, moved, n, n, E)


@inlined
def _pull_back(n, E, R, S, integral, barE, barR, barS, turned, work, moved, flipped):
    """Lead the adjoints back through a doubling."""
    one = E[0, 0] * 0 + 1
    for i in range(n):
        for j in range(n):
            flipped[j, i] = E[i, j]
            work[i, j] = 2 * barE[i, j]
    # The adjoint of E: 2 barE + barE E^T + E^T barE + 2 barR (R + E R) + barS S^T.
    combine(R, one, E, R, n, n, turned)
    combine(work, one, barE, flipped, n, n, work)
    combine(work, one, flipped, barE, n, n, work)
    combine(work, 2 * one, barR, turned, n, n, work)
    if integral:
        for i in range(n):
            for j in range(n):
                turned[j, i] = S[i, j]
        combine(work, one, barS, turned, n, n, work)
    for i in range(n):
        for j in range(n):
            barE[i, j] = work[i, j]
    # That of Q: barR + F^T barR F.
    combine(barR, one, barR, E, n, n, work)
    combine(work, one, flipped, work, n, n, moved)
    for i in range(n):
        for j in range(n):
            barR[i, j] += (moved[i, j] + moved[j, i]) / 2
    if integral:
        for i in range(n):
            for j in range(n):
                moved[i, j] = 2 * barS[i, j]
                work[i, j] = barS[i, j]
        combine(moved, one, flipped, work, n, n, barS)


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
)
