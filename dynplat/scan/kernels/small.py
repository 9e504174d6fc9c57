"""Small matrices in compiled code."""

from __future__ import annotations

import numpy as np

from dynplat.scan.kernels.compiling import compiled


@compiled
def of(index, length):
    """Index into an axis of length 1 or more: what does not change has only one entry."""
    return 0 if length == 1 else index


@compiled
def root(value):
    """Square root, 0 for what is not positive."""
    return np.sqrt(value) if value > 0 else value * 0


@compiled
def multiply(A, X, out):
    """Put A X into `out`."""
    n = A.shape[0]
    for i in range(n):
        for j in range(n):
            out[i, j] = 0.0
        for k in range(n):
            a = A[i, k]
            for j in range(n):
                out[i, j] += a * X[k, j]


@compiled
def congruence(A, X, out, work):
    """Put A X A^T into `out`."""
    n = A.shape[0]
    multiply(A, X, work)
    for i in range(n):
        for j in range(n):
            s = work[i, 0] * A[j, 0]
            for k in range(1, n):
                s += work[i, k] * A[j, k]
            out[i, j] = s


@compiled
def closed_loop(F, Ho, Kt, q, out):
    """Put (I - K H) F into `out`."""
    n = F.shape[0]
    for i in range(n):
        for j in range(n):
            out[i, j] = F[i, j]
    for a in range(q):
        for j in range(n):
            s = F[0, 0] * 0
            for k in range(n):
                s += Ho[a, k] * F[k, j]
            for i in range(n):
                out[i, j] -= Kt[a, i] * s


@compiled
def square(A, work):
    """Replace A by A A."""
    multiply(A, A, work)
    A[:, :] = work


@compiled
def symmetrise(A):
    """Replace A by its symmetric part."""
    for i in range(A.shape[0]):
        for j in range(i):
            s = (A[i, j] + A[j, i]) / 2
            A[i, j] = s
            A[j, i] = s
