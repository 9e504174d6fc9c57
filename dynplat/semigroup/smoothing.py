r"""Smoothing elements of linear-Gaussian chains: a state as a random affine function of the state after it.

.. math::
    x_t = E\, x_{t+1} + g + N(0, L) \quad\text{given } y_{\le t},

and composing such functions is associative. The suffix product from row t to the last row, whose element is the
constant (0, m_T, P_T), holds the smoothed moments (g, L) of row t. Adding a draw of N(0, L) to every `g` and
forgetting `L` turns the same scan into backward sampling: coherent draws of the whole path.

The covariance L is a sum of squares for *any* E, so smoothed covariances are positive semi-definite by construction.
The predicted covariance F P F^T + Q may be singular: the coordinates that are combinations of others, to the rounding
that the filter reports, are left out of the regression; they carry no information of their own.

Source: Särkkä and García-Fernández (2021), doi:10.1109/TAC.2020.2976316, Lemma 9; Rauch, Tung and Striebel (1965).
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import (
    Array,
    array_namespace,
    cholesky,
    cholesky_semidefinite,
    eye_like,
    solve_cholesky,
    stop_gradient,
    symmetrise,
)
from dynplat.semigroup.kalman import SINGULAR_FACTOR, GaussianState, predict
from dynplat.semigroup.linear_gaussian import Step


class SmoothingElement(NamedTuple):
    """A state as a random affine function of a later one, for k data sets that share covariances.

    Attributes:
        E: (..., n, n).
        g: (..., n, k).
        L: (..., n, n), or None when only means or draws are wanted.
    """

    E: Array
    g: Array
    L: Array | None


def smoothing_element(filtered: GaussianState, following: Step) -> SmoothingElement:
    """Return the element of a row from its filtered state and the raw step into the row after it."""
    noise = predict(filtered, following).noise
    rounding = array_namespace(noise).linalg.diagonal(noise)
    return regression_element(filtered.mean, filtered.cov, following.F, following.c, following.Q, rounding)


def regression_element(mean: Array, cov: Array, F: Array, c: Array, Q: Array, rounding: Array) -> SmoothingElement:
    """Return the element of a row from its filtered moments and the transition into the row after it.

    Args:
        mean: Filtered means, (..., n, k).
        cov: Filtered covariance, (..., n, n).
        F: Transition into the row after it.
        c: Its offset, (..., n, k).
        Q: Its noise covariance.
        rounding: Rounding that reaches the variances predicted for the row after it, (..., n).
    """
    xp = array_namespace(F, cov)
    predicted = F @ cov @ xp.matrix_transpose(F) + Q
    factor = cholesky_semidefinite(stop_gradient(predicted), SINGULAR_FACTOR * rounding)
    keep = xp.linalg.diagonal(factor) > 0
    both = keep[..., :, None] & keep[..., None, :]
    eye = eye_like(F.shape[-1], F)
    regular = xp.where(both, symmetrise(predicted), eye)
    FP = xp.where(keep[..., None], F @ cov, 0.0)
    E = xp.matrix_transpose(solve_cholesky(cholesky(regular), FP))
    left = eye - E @ F
    L = left @ cov @ xp.matrix_transpose(left) + E @ Q @ xp.matrix_transpose(E)
    g = mean - E @ (F @ mean + c)
    return SmoothingElement(E, g, symmetrise(L))


def final_element(filtered: GaussianState) -> SmoothingElement:
    """Return the element of the last row: a constant law."""
    xp = array_namespace(filtered.cov)
    return SmoothingElement(xp.zeros_like(filtered.cov), filtered.mean, filtered.cov)


def smoothing_identity(like: SmoothingElement) -> SmoothingElement:
    """Return the neutral element with the shapes, dtype and device of `like`."""
    xp = array_namespace(like.E)
    return SmoothingElement(
        xp.zeros_like(like.E) + eye_like(like.E.shape[-1], like.E),
        xp.zeros_like(like.g),
        None if like.L is None else xp.zeros_like(like.L),
    )


def combine_smoothing(first: SmoothingElement, second: SmoothingElement) -> SmoothingElement:
    """Compose: `first` stands before `second` in time, so it is applied to the result of `second`."""
    xp = array_namespace(first.E, second.E)
    L = None
    if first.L is not None and second.L is not None:
        L = symmetrise(first.E @ second.L @ xp.matrix_transpose(first.E)) + first.L
    return SmoothingElement(first.E @ second.E, first.E @ second.g + first.g, L)


def act_smoothing(state: SmoothingElement, element: SmoothingElement) -> SmoothingElement:
    """Apply an element to the law of the state after it: only the constant law (g, L) is propagated."""
    xp = array_namespace(state.g, element.E)
    L = None
    if state.L is not None and element.L is not None:
        L = symmetrise(element.E @ state.L @ xp.matrix_transpose(element.E)) + element.L
    return SmoothingElement(state.E, element.E @ state.g + element.g, L)


def noise_factor(element: SmoothingElement, filtered: GaussianState) -> Array:
    """Factors of L for drawing, (..., n, n): parts of L that are rounding of the filter's covariance are exactly 0."""
    return rounded_factor(element, array_namespace(filtered.cov).linalg.diagonal(filtered.noise))


def rounded_factor(element: SmoothingElement, rounding: Array) -> Array:
    """As `noise_factor`, given the rounding of the filter's variances, (..., n)."""
    if element.L is None:
        raise AssertionError("an element without covariance has nothing to draw")
    return cholesky_semidefinite(element.L, SINGULAR_FACTOR * rounding)
