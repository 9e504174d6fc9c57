r"""Compiled transition probabilities of Markov jump processes over many gaps, and their adjoint.

For a generator Q, every gap h and :math:`\Omega = \max_i |q_{ii}|`, with the stochastic matrix
:math:`B = I + Q / \Omega` and :math:`x = \Omega h / 2^s` below `longest_step`,

.. math::
    P_0 = e^{-x} \sum_{k \le N} \frac{x^k}{k!} B^k, \qquad P \leftarrow P P \quad (s \text{ times}).

No term is negative, so that nothing cancels: every probability keeps its relative accuracy, however small it is. Series
end where what they leave out is below a rounding of every entry, of those that need many jumps too: N grows with the
length of the longest shortest path of the chain. The powers of B are the same for all gaps, so that the series of many
gaps are one product of matrices.

**Adjoint.** Squarings are computed again and led back by :math:`\bar P \leftarrow \bar P P^\top + P^\top \bar P`; the
gradients of the series of all gaps are added up in the powers of B, and led through them once. Nothing is kept for a
gap. The result does not depend on Omega, so that it counts as a constant. The gradient treats all entries of Q as free:
it is that of the exponential of any matrix, the adjoint of its Fréchet derivative.

Sources: Jensen (1953), Skandinavisk Aktuarietidskrift 36, for uniformisation; Moler and Van Loan (2003),
doi:10.1137/S00361445024180, for scaling and squaring.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dynplat.scan.kernels.compiling import compiled
from dynplat.scan.kernels.exponential import exp, log
from dynplat.scan.kernels.kernel import Kernel, Shape, Spec
from dynplat.scan.kernels.padded import combine, combine_transposed, padded
from dynplat.scan.kernels.small import of

#: What a series may leave out, relative to each entry.
_ROUNDING = 1e-17
#: Gaps whose series are summed at once.
_BLOCK = 8
#: Squarings at most: beyond, the chain has forgotten its start 2^900 times over.
_MOST = 900
#: Squarings beyond which rows are brought back to a sum of one: rounding in the rows of Q has grown 2^20 times.
EXACT_SQUARINGS = 20


@compiled
def longest_step(K):
    """Largest x for which a series is summed: beyond, a squaring costs less than the terms it saves."""
    return min(max(K / 4.0, 0.5), 8.0)


@compiled
def num_terms(x, far):
    """Number of terms, without the first, of a series at x of a chain whose longest shortest path has `far` jumps."""
    k, first, last = 0, 1.0, 1.0
    while (first > _ROUNDING or last > _ROUNDING or k < far) and k < 1000:
        k += 1
        first *= x / k
        last *= x / k if k > far else 1.0
    return k


@compiled
def forward(generator, gaps, transition):
    """Put exp(generator (G or 1, K, K) gaps (G or 1, T)) into transition (G, T, K, K)."""
    G, T, K = transition.shape[0], transition.shape[1], transition.shape[2]
    real = generator.dtype
    n2, n4 = padded(K, 2), padded(K, 4)
    room = num_terms(longest_step(K), K - 1) + 1
    table = np.zeros((room, n2 * n4), real)
    B, power, work = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    zero = np.zeros((n2, n4), real)
    coefficients, start = np.zeros((_BLOCK, room), real), np.zeros((_BLOCK, n2 * n4), real)
    none = np.zeros((_BLOCK, n2 * n4), real)
    squarings = np.zeros(_BLOCK, np.int64)
    one = B[0, 0] + 1
    omega, far = 1.0, 0
    for g in range(G):
        if g == 0 or generator.shape[0] > 1:
            omega, far = _powers(generator, of(g, generator.shape[0]), table, B, power, work, zero)
        gg = of(g, gaps.shape[0])
        for first in range(0, T, _BLOCK):
            count = min(_BLOCK, T - first)
            terms = _coefficients(gaps, gg, first, count, omega, far, K, coefficients, squarings)
            combine(none, one, coefficients, table, count + count % 2, terms, start)
            for b in range(count):
                _unpack(start, b, power)
                for s in range(squarings[b]):
                    combine(zero, one, power, power, K, K, work)
                    _copy(work, power)
                    if s >= EXACT_SQUARINGS:
                        _normalise(power, K)
                for i in range(K):
                    for j in range(K):
                        transition[g, first + b, i, j] = power[i, j]


@compiled
def backward(generator, gaps, transition, dtransition, wanted, dgenerator, dgaps):
    """Add up the gradients of all groups."""
    dgenerator[:], dgaps[:] = 0.0, 0.0
    G, T, K = transition.shape[0], transition.shape[1], transition.shape[2]
    real = generator.dtype
    n2, n4 = padded(K, 2), padded(K, 4)
    room = num_terms(longest_step(K), K - 1) + 1
    rows = room + room % 2
    table, dtable = np.zeros((rows, n2 * n4), real), np.zeros((rows, n2 * n4), real)
    B, power, work = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    zero, turned, bar = np.zeros((n2, n4), real), np.zeros((n2, n4), real), np.zeros((n2, n4), real)
    coefficients, start = np.zeros((_BLOCK, rows), real), np.zeros((_BLOCK, n2 * n4), real)
    bars, none = np.zeros((_BLOCK, n2 * n4), real), np.zeros((_BLOCK, n2 * n4), real)
    squarings = np.zeros(_BLOCK, np.int64)
    one = B[0, 0] + 1
    omega, far = 1.0, 0
    if wanted[0, 1] != 0:
        for g in range(G):
            # The derivative in the gap is P Q.
            gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
            for t in range(T):
                total = one * 0
                for i in range(K):
                    for k in range(K):
                        slope = one * 0
                        for j in range(K):
                            slope += dtransition[g, t, i, j] * generator[gq, k, j]
                        total += transition[g, t, i, k] * slope
                dgaps[gg, t] += total
    if wanted[0, 0] == 0:
        return
    most = 0
    kept = np.zeros((1, n2, n4), real)
    for g in range(G):
        gq, gg = of(g, generator.shape[0]), of(g, gaps.shape[0])
        if g == 0 or generator.shape[0] > 1:
            omega, far = _powers(generator, gq, table, B, power, work, zero)
            dtable[:] = 0.0
        for first in range(0, T, _BLOCK):
            count = min(_BLOCK, T - first)
            terms = _coefficients(gaps, gg, first, count, omega, far, K, coefficients, squarings)
            combine(none, one, coefficients, table, count + count % 2, terms, start)
            bars[:] = 0.0
            for b in range(count):
                if squarings[b] > most:
                    most = squarings[b]
                    kept = np.zeros((most + 1, n2, n4), real)
                _unpack(start, b, power)
                for s in range(squarings[b]):
                    for i in range(n2):
                        for j in range(n4):
                            kept[s, i, j] = power[i, j]
                    combine(zero, one, power, power, K, K, work)
                    _copy(work, power)
                    if s >= EXACT_SQUARINGS:
                        _normalise(power, K)
                for i in range(K):
                    for j in range(K):
                        bar[i, j] = dtransition[g, first + b, i, j]
                for s in range(squarings[b] - 1, -1, -1):
                    for i in range(K):
                        for j in range(K):
                            power[i, j] = kept[s, i, j]
                            turned[j, i] = kept[s, i, j]
                    combine(zero, one, bar, turned, K, K, work)
                    combine(work, one, turned, bar, K, K, power)
                    _copy(power, bar)
                for i in range(n2):
                    for j in range(n4):
                        bars[b, i * n4 + j] = bar[i, j]
            combine_transposed(dtable, one, coefficients, bars, terms + terms % 2, count, dtable)
        if g == G - 1 or generator.shape[0] > 1:
            _pull_back(generator, gq, omega, far, table, dtable, B, power, work, turned, bar, zero, dgenerator)


@compiled
def forward_log(generator, gaps, log_transition):
    """Put the logarithms into log_transition (G, T, K, K); -inf of 0."""
    forward(generator, gaps, log_transition)
    G, T, K = log_transition.shape[0], log_transition.shape[1], log_transition.shape[2]
    for g in range(G):
        for t in range(T):
            for i in range(K):
                for j in range(K):
                    value = log_transition[g, t, i, j]
                    # Below the normal numbers the library's own logarithm.
                    if value > 1e-300:
                        log_transition[g, t, i, j] = log(value)
                    elif value >= 0:
                        log_transition[g, t, i, j] = np.log(value)


@compiled
def backward_log(generator, gaps, log_transition, dlog_transition, wanted, dgenerator, dgaps):
    """Add up the gradients of all groups; an impossible transition has none."""
    G, T, K = log_transition.shape[0], log_transition.shape[1], log_transition.shape[2]
    transition, dtransition = np.empty_like(log_transition), np.empty_like(log_transition)
    for g in range(G):
        for t in range(T):
            for i in range(K):
                for j in range(K):
                    value = exp(log_transition[g, t, i, j])
                    slope = dlog_transition[g, t, i, j]
                    transition[g, t, i, j] = value
                    dtransition[g, t, i, j] = slope / value if slope != 0 and value > 0 else 0.0
    backward(generator, gaps, transition, dtransition, wanted, dgenerator, dgaps)


@compiled
def _powers(generator, g, table, B, power, work, zero):
    """Put the powers of B into the table; return Omega and the number of jumps of the longest shortest path."""
    K, n4 = generator.shape[1], B.shape[1]
    one = zero[0, 0] + 1
    omega = 0.0
    for i in range(K):
        omega = max(omega, abs(generator[g, i, i]))
    if not omega > 0:
        omega = 1.0
    for i in range(K):
        for j in range(K):
            B[i, j] = generator[g, i, j] / omega
            power[i, j] = 1.0 if i == j else 0.0
        B[i, i] += 1
    table[:] = 0.0
    reached = np.zeros((K, K), np.bool_)
    far, k = 0, 0
    last = num_terms(longest_step(K), 0)
    while k <= last and k < table.shape[0]:
        for i in range(K):
            for j in range(K):
                table[k, i * n4 + j] = power[i, j]
                if power[i, j] != 0 and not reached[i, j]:
                    reached[i, j] = True
                    far = k
        last = num_terms(longest_step(K), far)
        combine(zero, one, power, B, K, K, work)
        _copy(work, power)
        k += 1
    return omega, far


@compiled
def _coefficients(gaps, g, first, count, omega, far, K, coefficients, squarings):
    """Put exp(-x) x^k / k! of each gap of a block into its row; return how many terms are to be summed."""
    longest = longest_step(K)
    largest = 0.0
    for b in range(count):
        length = omega * gaps[g, first + b]
        s = 0
        while length > longest and s < _MOST:
            length *= 0.5
            s += 1
        if length <= longest:
            largest = max(largest, length)
        else:
            # Infinite or no number, and so is the answer: the number of terms must not follow it out of the tables.
            length, s = np.nan, 0
        squarings[b] = s
        coefficients[b, 0] = length
    terms = num_terms(largest, far) + 1
    for b in range(count):
        x = coefficients[b, 0] + 0.0
        coefficient = np.exp(-x)
        coefficients[b, 0] = coefficient
        for k in range(1, terms):
            coefficient *= x / k
            coefficients[b, k] = coefficient
    for b in range(count):
        for k in range(terms, coefficients.shape[1]):
            coefficients[b, k] = 0.0
    for b in range(count, coefficients.shape[0]):
        for k in range(coefficients.shape[1]):
            coefficients[b, k] = 0.0
    return terms


@compiled
def _pull_back(generator, g, omega, far, table, dtable, B, power, work, turned, bar, zero, dgenerator):
    """Lead the gradients of the powers of B back to the generator."""
    K, n4 = generator.shape[1], B.shape[1]
    one = zero[0, 0] + 1
    dB = np.zeros_like(B)
    last = num_terms(longest_step(K), far)
    bar[:] = 0.0
    for k in range(last, 0, -1):
        # The adjoint of B^k; B^k = B^(k-1) B.
        for i in range(K):
            for j in range(K):
                bar[i, j] += dtable[k, i * n4 + j]
                turned[j, i] = table[k - 1, i * n4 + j]
        combine(dB, one, turned, bar, K, K, dB)
        for i in range(K):
            for j in range(K):
                turned[j, i] = B[i, j]
        combine(zero, one, bar, turned, K, K, work)
        _copy(work, bar)
    for i in range(K):
        for j in range(K):
            dgenerator[g, i, j] += dB[i, j] / omega


@compiled
def _normalise(P, K):
    """Divide rows by their sums, which are one up to rounding and count as constants."""
    for i in range(K):
        total = P[i, 0]
        for j in range(1, K):
            total += P[i, j]
        if total > 0:
            for j in range(K):
                P[i, j] /= total


@compiled
def _unpack(flat, b, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = flat[b, i * out.shape[1] + j]


@compiled
def _copy(source, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = source[i, j]


def _shapes(inputs: Sequence[Shape], keep: bool) -> tuple[Shape, ...]:
    K = inputs[0][-1]
    groups = max(shape[0] for shape in inputs)
    return ((groups, inputs[1][1], K, K),)


_INPUTS = (Spec("generator", 3, differentiable=True), Spec("gaps", 2, differentiable=True))

LOG_TRANSITION = Kernel(
    name="markov_jump_log_transition",
    inputs=_INPUTS,
    outputs=(Spec("log_transition", 4),),
    num_values=1,
    shapes=_shapes,
    forward=forward_log,
    backward=backward_log,
)

TRANSITION = Kernel(
    name="markov_jump_transition",
    inputs=_INPUTS,
    outputs=(Spec("transition", 4),),
    num_values=1,
    shapes=_shapes,
    forward=forward,
    backward=backward,
)
