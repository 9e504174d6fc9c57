r"""Filtering elements of linear-Gaussian chains: the semigroup whose products are exact likelihoods.

A step of a chain, seen as a function of the state before it, is a Gaussian kernel times a Gaussian factor,

.. math::
    p(y, x \mid x^-) = N(x;\, A x^- + b,\, C)\; \exp\bigl(\ell + \eta^\top x^- - \tfrac12 x^{-\top} J x^-\bigr),

and integrating out the state between two steps gives a function of the same form: `combine` is associative. The first
row's element does not read x^- (A, eta, J are zero), so the product of all elements holds the filtered moments (b, C)
of the last row and the log-likelihood ell.

Source: Särkkä and García-Fernández (2021), Temporal parallelization of Bayesian smoothers, IEEE Transactions on
Automatic Control 66, 299-306, doi:10.1109/TAC.2020.2976316, Lemmas 7 and 8. What differs: the log normaliser `ell` is
carried, only (I + C J) is ever solved, and every data quantity has a last axis of k *columns*: k data sets that share
one covariance recursion (the directions of a flat start, or several series with one pattern of holes).

An element exists only where y given x^- has a density. `growth` reports how ill-conditioned the products were, so that
a caller can fall back to `kalman.act`, which needs neither.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from dynplat.arrays import (
    Array,
    array_namespace,
    cholesky,
    epsilon,
    eye_like,
    solve,
    solve_triangular,
    stop_gradient,
    symmetrise,
)

LOG_TWO_PI = math.log(2.0 * math.pi)


class Step(NamedTuple):
    """A raw step x = F x^- + c + N(0, Q), y = H x + N(0, R), with k columns of data and missing cells projected out.

    Attributes:
        F: Transition, (..., n, n), (new, old).
        c: Transition offset, (..., n, k).
        Q: Transition noise covariance, (..., n, n).
        H: Observation matrix, (..., p, n); rows of missing cells are 0.
        R: Observation noise covariance, (..., p, p); rows and columns of missing cells are those of the identity.
        y: Observations less their offset, (..., p, k); missing cells are 0.
        num_observed: Number of observed cells, (...).
    """

    F: Array
    c: Array
    Q: Array
    H: Array
    R: Array
    y: Array
    num_observed: Array


class FilteringElement(NamedTuple):
    """Part of a chain as a function of the state before it (see the module).

    Attributes:
        A: (..., n, n).
        b: (..., n, k).
        C: (..., n, n).
        eta: (..., n, k).
        J: (..., n, n).
        ell: (..., k), or None when nobody asks for the likelihood.
        growth: Largest 1 + trace(C J) that a product had to solve with, (...); infinite where an element does not
            exist. The relative error of the product is some roundings times this number.
    """

    A: Array
    b: Array
    C: Array
    eta: Array
    J: Array
    ell: Array | None
    growth: Array


def project_missing(H: Array, R: Array, residual: Array, mask: Array) -> tuple[Array, Array, Array, Array]:
    """Take the missing cells out of an observation, exactly.

    A missing cell becomes an observation 0 = 0 x + N(0, 1) that is independent of everything: its part of the
    factor of the innovation covariance is exactly 1 and of the whitened innovation exactly 0. Counting observed cells
    for the constant log 2 pi then makes its contribution exactly 0.

    Args:
        H: (..., p, n).
        R: (..., p, p).
        residual: Observations less their offset, (..., p).
        mask: True = observed, (..., p).

    Returns:
        H, R, the residual and the number of observed cells (...), projected.
    """
    xp = array_namespace(H)
    zero = 0.0 * H[..., :1, :1]
    eye = eye_like(H.shape[-2], H)
    both = mask[..., :, None] & mask[..., None, :]
    H = xp.where(mask[..., None], H, zero)
    R = xp.where(both, R, eye)
    residual = xp.where(mask, residual, zero[..., 0])
    return H, R, residual, xp.sum(xp.astype(mask, H.dtype), axis=-1)


def filtering_element(step: Step, *, with_ell: bool = True) -> FilteringElement:
    """Return the element of a raw step.

    Where H Q H^T + R is singular (to rounding) there is none: `growth` is infinite and the rest is the identity.
    """
    F, c, Q, H, R, y, num_observed = step
    xp = array_namespace(F, y)
    n = F.shape[-1]
    eye = eye_like(n, F)
    HQ = H @ Q
    S = HQ @ xp.matrix_transpose(H) + R
    chol_S, singular = _safe_cholesky(S)
    gain = xp.matrix_transpose(solve_triangular(chol_S, solve_triangular(chol_S, HQ), transpose=True))
    left = eye - gain @ H
    white_F = solve_triangular(chol_S, H @ F)
    white_y = solve_triangular(chol_S, y - H @ c)
    A = left @ F
    b = c + gain @ (y - H @ c)
    C = left @ Q @ xp.matrix_transpose(left) + gain @ R @ xp.matrix_transpose(gain)
    eta = xp.matrix_transpose(white_F) @ white_y
    J = xp.matrix_transpose(white_F) @ white_F
    ell = None
    if with_ell:
        log_det = 2.0 * xp.sum(xp.log(xp.linalg.diagonal(chol_S)), axis=-1)
        ell = -0.5 * (xp.sum(white_y * white_y, axis=-2) + (log_det + num_observed * LOG_TWO_PI)[..., None])
        ell = xp.where(singular[..., None], 0.0, ell)
    off = singular[..., None, None]
    growth = xp.where(singular, xp.inf, 1.0 + 0.0 * xp.linalg.trace(stop_gradient(A)))
    return FilteringElement(
        A=xp.where(off, eye, A),
        b=xp.where(off, 0.0, b),
        C=xp.where(off, 0.0, symmetrise(C)),
        eta=xp.where(off, 0.0, eta),
        J=xp.where(off, 0.0, symmetrise(J)),
        ell=ell,
        growth=growth,
    )


def starting_element(mean: Array, cov: Array, ell: Array | None) -> FilteringElement:
    """Return the element that forgets what stood before it: the state has moments `mean` (n, k) and `cov`."""
    xp = array_namespace(mean, cov)
    zeros = xp.zeros_like(cov)
    return FilteringElement(
        A=zeros,
        b=mean,
        C=cov,
        eta=xp.zeros_like(mean),
        J=zeros,
        ell=ell,
        growth=1.0 + 0.0 * xp.linalg.trace(stop_gradient(cov)),
    )


def identity(like: FilteringElement) -> FilteringElement:
    """Return the neutral element with the shapes, dtype and device of `like`."""
    xp = array_namespace(like.A)
    zeros = xp.zeros_like(like.A)
    return FilteringElement(
        A=zeros + eye_like(like.A.shape[-1], like.A),
        b=xp.zeros_like(like.b),
        C=xp.zeros_like(like.C),
        eta=xp.zeros_like(like.eta),
        J=xp.zeros_like(like.J),
        ell=None if like.ell is None else xp.zeros_like(like.ell),
        growth=xp.ones_like(like.growth),
    )


def combine(first: FilteringElement, second: FilteringElement) -> FilteringElement:
    r"""Integrate out the state between two parts of a chain, `first` before `second`.

    With D = (I + C_1 J_2)^{-1} and the mean mu = D (b_1 + C_1 eta_2) of the state between them where x^- = 0:
    A = A_2 D A_1, b = A_2 mu + b_2, C = A_2 D C_1 A_2^T + C_2, eta = A_1^T (eta_2 - J_2 mu) + eta_1,
    J = A_1^T J_2 D A_1 + J_1. C_1 J_2 is similar to a positive semi-definite matrix: the solve always exists.
    """
    xp = array_namespace(first.A, second.A)
    n = first.b.shape[-2]
    CJ = first.C @ second.J
    matrix = eye_like(n, first.A) + CJ
    target = first.b + first.C @ second.eta
    if matrix.shape == first.A.shape == first.C.shape and matrix.shape[:-2] == target.shape[:-2]:
        solved = solve(matrix, xp.concat([first.A, first.C, target], axis=-1))
        DA, DC, mu = solved[..., :n], solved[..., n : 2 * n], solved[..., 2 * n :]
    else:
        # Data sets that share their covariances: what is shared is computed once.
        DA, DC, mu = solve(matrix, first.A), solve(matrix, first.C), solve(matrix, target)
    # A coordinate without variance learns nothing: what elimination leaves there must not look like variance later.
    known = (xp.linalg.diagonal(first.C) == 0)[..., None]
    DA, DC, mu = _where_known(known, DA, first.A), _where_known(known, DC, first.C), _where_known(known, mu, target)
    transposed_A1, transposed_A2 = xp.matrix_transpose(first.A), xp.matrix_transpose(second.A)
    ell = None
    if first.ell is not None and second.ell is not None:
        _, log_det = xp.linalg.slogdet(matrix)
        rest = second.eta - second.J @ first.b
        quadratic = xp.sum((second.eta + rest) * first.b, axis=-2) + xp.sum(rest * (DC @ rest), axis=-2)
        ell = first.ell + second.ell + 0.5 * (quadratic - log_det[..., None])
    trace = 1.0 + xp.linalg.trace(stop_gradient(CJ))
    return FilteringElement(
        A=second.A @ DA,
        b=second.A @ mu + second.b,
        C=symmetrise(second.A @ DC @ transposed_A2) + second.C,
        eta=transposed_A1 @ (second.eta - second.J @ mu) + first.eta,
        J=symmetrise(transposed_A1 @ second.J @ DA) + first.J,
        ell=ell,
        growth=xp.maximum(xp.maximum(first.growth, second.growth), trace),
    )


def _where_known(known: Array, solved: Array, given: Array) -> Array:
    """Put the given values into known rows; gradients stay those of what was solved."""
    xp = array_namespace(solved)
    return solved + xp.where(known, stop_gradient(given - solved), xp.zeros_like(solved))


def _safe_cholesky(S: Array) -> tuple[Array, Array]:
    """Cholesky factors, the identity where S is singular to rounding, and where that is, (...)."""
    xp = array_namespace(S)
    fixed = stop_gradient(S)
    diagonal = xp.linalg.diagonal(fixed)
    pivots = xp.linalg.diagonal(cholesky(fixed)) ** 2
    finite = xp.all(xp.isfinite(diagonal), axis=-1)
    sound = xp.all(pivots > 16.0 * S.shape[-1] * epsilon(S) * diagonal, axis=-1)
    singular = finite & ~sound
    return cholesky(xp.where(singular[..., None, None], eye_like(S.shape[-1], S), S)), singular
