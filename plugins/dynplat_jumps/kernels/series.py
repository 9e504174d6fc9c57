r"""Series of non-negative terms for exp(Q h) in compiled code, many gaps at a time, and their adjoint.

For a generator Q and :math:`\Omega = \max_i |q_{ii}|`, with the stochastic matrix :math:`B = I + Q / \Omega`, the gap h
is halved s times and cut into m equal parts, so that :math:`x = \Omega h / (2^s m)` is at most the longest step:

.. math::
    P_0 = e^{-x} \sum_{k \le N} \frac{x^k}{k!} B^k, \qquad P \leftarrow P P \quad (s \text{ times}), \qquad
    e^{Q h} = P^m .

No term is negative, so that nothing cancels: every probability keeps its relative accuracy, however small it is. Series
end where what they leave out is below a rounding of every entry, of those that need many jumps too: N grows with the
length of the longest shortest path of the chain. The powers of B are the same for all gaps, so that the series of eight
gaps are one product of matrices.

**Adjoint.** Squarings are led back by :math:`\bar P \leftarrow \bar P P^\top + P^\top \bar P`; the gradients of the
series of all gaps are added up in the powers of B, and led through them once. The result does not depend on Omega, so
that it counts as a constant. The gradient treats all entries of Q as free: it is that of the exponential of any matrix,
the adjoint of its Fréchet derivative.

Matrices are lines of eight float64, (K lanes, 8), rows filled up with zeros, whatever the dtype of the call. A table of
powers (K lanes room, 8) has the powers of one line after each other.

Sources: Jensen (1953), Skandinavisk Aktuarietidskrift 36, for uniformisation; Moler and Van Loan (2003),
doi:10.1137/S00361445024180, for scaling and squaring.
"""

# pyright does not know that the first argument of numba's intrinsics is left out.
# pyright: reportCallIssue=false

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled, leaf
from dynplat.scan.kernels.exponential import exp
from dynplat.scan.kernels.vector import EIGHT, lines, load, multiple, plus_multiple, same, store, times

#: What a series may leave out, relative to each entry.
_ROUNDING = 1e-17
#: Squarings at most: beyond, the chain has forgotten its start 2^900 times over.
_MOST = 900
#: Squarings beyond which rows are brought back to a sum of one: rounding in the rows of Q has grown 2^20 times.
EXACT_SQUARINGS = 20


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
def table_room(K, step):
    """How many powers a table has to hold for steps up to `step`."""
    return num_terms(step, K - 1) + 1


@compiled
def fill_powers(generator, g, step, table):
    """Put the powers of B into a table; return Omega and the number of jumps of the longest shortest path."""
    K = generator.shape[1]
    count = (K + EIGHT - 1) // EIGHT
    room = table.shape[0] // (K * count)
    B, power, work = lines(K * count), lines(K * count), lines(K * count)
    zero = lines(K * count)
    entries, flat = power.reshape(K, count * EIGHT), B.reshape(K, count * EIGHT)
    omega = jump_matrix(generator, g, flat)
    for i in range(K):
        entries[i, i] = 1.0
    reached = np.zeros((K, K), np.bool_)
    far, k = 0, 0
    last = num_terms(step, 0)
    while k <= last and k < room:
        for i in range(K):
            for j in range(K):
                if entries[i, j] != 0 and not reached[i, j]:
                    reached[i, j] = True
                    # A product of rates that are too small to hold may come up later, by more ways round: no path of
                    # its own, and no reason to sum more terms than the tables have room for.
                    far = min(k, K - 1)
        for c in range(K * count):
            store(table, c * room + k, load(power, c))
        last = num_terms(step, far)
        product(zero, power, B, K, work)
        copy(work, power)
        k += 1
    return omega, far


@compiled
def jump_matrix(generator, g, B):
    """Put I + Q / Omega into `B`; return Omega."""
    K = generator.shape[1]
    omega = 0.0
    for i in range(K):
        omega = max(omega, abs(np.float64(generator[g, i, i])))
    if not omega > 0:
        omega = 1.0
    for i in range(K):
        for j in range(K):
            B[i, j] = np.float64(generator[g, i, j]) / omega
        B[i, i] += 1
    return omega


@compiled
def fill_coefficients(gaps, g, first, count, omega, far, step, most, coefficients, parts, squarings):
    """Put exp(-x) x^k / k! of `count` gaps into the columns of `coefficients` (terms, 8).

    Inputs: `most`, into how many parts a gap is cut before it is halved.
    Outputs: also `parts` and `squarings` (8,), m and s of each gap.

    Returns:
        How many terms are to be summed.
    """
    largest = 0.0
    for b in range(EIGHT):
        length = omega * np.float64(gaps[g, first + b]) if b < count else 0.0
        s = 0
        while length > step * most and s < _MOST:
            length *= 0.5
            s += 1
        parts[b] = 1
        if not length <= step * most:
            # Infinite or no number, and so is the answer: the number of terms must not follow it out of the tables.
            length, s = np.nan, 0
        elif length > step:
            parts[b] = min(np.int64(np.ceil(length / step)), most)
            length /= parts[b]
        if length == length:
            largest = max(largest, length)
        squarings[b] = s
        coefficients[0, b] = length
    terms = num_terms(largest, far) + 1
    x = load(coefficients, 0)
    for b in range(EIGHT):
        coefficients[0, b] = exp(-coefficients[0, b])
    c = load(coefficients, 0)
    for k in range(1, terms):
        c = times(c, multiple(1.0 / k, x))
        store(coefficients, k, c)
    return terms


@leaf
def sum_series(coefficients, table, terms, matrices):
    """Put the sums of eight series into `matrices`, eight matrices after each other."""
    size = matrices.shape[0] // EIGHT
    room = table.shape[0] // size
    for c in range(size):
        p0, p1, p2, p3 = same(0.0), same(0.0), same(0.0), same(0.0)
        p4, p5, p6, p7 = same(0.0), same(0.0), same(0.0), same(0.0)
        for k in range(terms):
            x = load(table, c * room + k)
            p0, p1 = plus_multiple(p0, coefficients[k, 0], x), plus_multiple(p1, coefficients[k, 1], x)
            p2, p3 = plus_multiple(p2, coefficients[k, 2], x), plus_multiple(p3, coefficients[k, 3], x)
            p4, p5 = plus_multiple(p4, coefficients[k, 4], x), plus_multiple(p5, coefficients[k, 5], x)
            p6, p7 = plus_multiple(p6, coefficients[k, 6], x), plus_multiple(p7, coefficients[k, 7], x)
        store(matrices, c, p0)
        store(matrices, size + c, p1)
        store(matrices, 2 * size + c, p2)
        store(matrices, 3 * size + c, p3)
        store(matrices, 4 * size + c, p4)
        store(matrices, 5 * size + c, p5)
        store(matrices, 6 * size + c, p6)
        store(matrices, 7 * size + c, p7)


@leaf
def add_series(coefficients, bars, terms, table):
    """Add the gradients of eight series, whose sums have the gradients `bars`, to those of the powers in a table."""
    size = bars.shape[0] // EIGHT
    room = table.shape[0] // size
    for c in range(size):
        p0, p1, p2, p3 = load(bars, c), load(bars, size + c), load(bars, 2 * size + c), load(bars, 3 * size + c)
        p4, p5 = load(bars, 4 * size + c), load(bars, 5 * size + c)
        p6, p7 = load(bars, 6 * size + c), load(bars, 7 * size + c)
        for k in range(terms):
            x = load(table, c * room + k)
            x = plus_multiple(plus_multiple(x, coefficients[k, 0], p0), coefficients[k, 1], p1)
            x = plus_multiple(plus_multiple(x, coefficients[k, 2], p2), coefficients[k, 3], p3)
            x = plus_multiple(plus_multiple(x, coefficients[k, 4], p4), coefficients[k, 5], p5)
            x = plus_multiple(plus_multiple(x, coefficients[k, 6], p6), coefficients[k, 7], p7)
            store(table, c * room + k, x)


@compiled
def pull_back_powers(generator, g, step, omega, far, table, dtable, dgenerator):
    """Lead the gradients of the powers of B back to the generator, and add them to its gradient."""
    K = generator.shape[1]
    count = (K + EIGHT - 1) // EIGHT
    size = K * count
    room = table.shape[0] // size
    turned_B, B, power, turned = lines(size), lines(size), lines(size), lines(size)
    bar, work, dB, zero = lines(size), lines(size), lines(size), lines(size)
    jump_matrix(generator, g, B.reshape(K, count * EIGHT))
    transpose(B, K, turned_B)
    for k in range(min(num_terms(step, far), room - 1), 0, -1):
        # The adjoint of B^k; B^k = B^(k-1) B.
        for c in range(size):
            store(power, c, load(table, c * room + k - 1))
            store(bar, c, plus_multiple(load(bar, c), 1.0, load(dtable, c * room + k)))
        transpose(power, K, turned)
        product(dB, turned, bar, K, dB)
        product(zero, bar, turned_B, K, work)
        copy(work, bar)
    entries = dB.reshape(K, count * EIGHT)
    for i in range(K):
        for j in range(K):
            dgenerator[g, i, j] += entries[i, j] / omega


@compiled
def square(P, K, squarings, kept, work, zero):
    """Square P in place, some times; with room in `kept` (squarings, K lanes, 8) each factor is kept."""
    for s in range(squarings):
        if s < kept.shape[0]:
            copy(P, kept[s])
        product(zero, P, P, K, work)
        copy(work, P)
        if s >= EXACT_SQUARINGS:
            _normalise(P.reshape(K, P.size // K), K)


@compiled
def pull_back_squares(bar, K, squarings, kept, turned, work):
    """Lead the gradient of a matrix that was squared some times back to the matrix, in place."""
    for s in range(squarings - 1, -1, -1):
        transpose(kept[s], K, turned)
        work[:] = 0.0
        product(work, bar, turned, K, work)
        product(work, turned, bar, K, work)
        copy(work, bar)


@compiled
def _normalise(P, K):
    """Divide rows by their sums, which are one up to rounding and count as constants."""
    for i in range(K):
        total = P[i].sum()
        if total > 0:
            for j in range(K):
                P[i, j] /= total


@leaf
def product(base, A, X, K, out):
    """Put base + A X into `out`, which may be `base`."""
    count = A.shape[0] // K
    rows = A.reshape(K, count * EIGHT)
    fours = K - K % 4
    for c in range(count):
        for i in range(0, fours, 4):
            k = i * count + c
            s0, s1 = load(base, k), load(base, k + count)
            s2, s3 = load(base, k + 2 * count), load(base, k + 3 * count)
            for j in range(K):
                x = load(X, j * count + c)
                s0, s1 = plus_multiple(s0, rows[i, j], x), plus_multiple(s1, rows[i + 1, j], x)
                s2, s3 = plus_multiple(s2, rows[i + 2, j], x), plus_multiple(s3, rows[i + 3, j], x)
            store(out, k, s0)
            store(out, k + count, s1)
            store(out, k + 2 * count, s2)
            store(out, k + 3 * count, s3)
        for i in range(fours, K):
            s0 = load(base, i * count + c)
            for j in range(K):
                s0 = plus_multiple(s0, rows[i, j], load(X, j * count + c))
            store(out, i * count + c, s0)


@leaf
def transpose(A, K, out):
    """Put the transpose of A into `out`."""
    width = A.size // K
    source, target = A.reshape(K, width), out.reshape(K, width)
    for i in range(K):
        for j in range(K):
            target[j, i] = source[i, j]


@leaf
def copy(source, out):
    """Put lines into `out`."""
    for c in range(source.shape[0]):
        store(out, c, load(source, c))
