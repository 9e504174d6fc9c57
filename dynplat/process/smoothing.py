"""Smoother, posterior draws and simulation of linear-Gaussian chains, as pure functions of arrays."""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, array_namespace, cholesky_semidefinite, epsilon, stop_gradient
from dynplat.process.chain_layout import Parameters, move_axis, time_last, transition_offset
from dynplat.process.filtering import FilterRun
from dynplat.scan import choose_driver, fold, suffix, tree
from dynplat.scan.affine import scan_dense
from dynplat.semigroup import (
    SmoothingElement,
    act_smoothing,
    combine_smoothing,
    final_element,
    noise_factor,
    smoothing_element,
)


class SmootherRun(NamedTuple):
    """Smoothed moments, (..., time, n), (..., time, n, n), (..., time - 1, n, n), and what draws need, time first.

    Attributes:
        means: E[x_t | y].
        covs: Cov[x_t | y].
        cross_covs: Cov[x_t, x_{t+1} | y].
        elements: Smoothing elements.
        factors: Factors of their covariances.
        start_mean: E[delta | y] of a flat start, (..., q), or None.
        start_cov: Cov[delta | y], (..., q, q), or None.
        improper: Series whose flat start is not determined by the data, (...), or None.
    """

    means: Array
    covs: Array
    cross_covs: Array
    elements: SmoothingElement
    factors: Array
    start_mean: Array | None
    start_cov: Array | None
    improper: Array | None


def run_smoother(run: FilterRun, *, driver: str) -> SmootherRun:
    """Smoothed moments from a filter pass."""
    size = tree.length(run.filtered)
    xp = array_namespace(run.filtered.cov)
    last = final_element(tree.row(run.filtered, size - 1))
    elements = tree.add_time(last)
    if size > 1:
        before = smoothing_element(tree.rows(run.filtered, 0, size - 1), tree.rows(run.steps, 1, size))
        elements = tree.concat(before, elements)
    g, L = backward(elements, driver)
    means, covs = g[..., 0], L
    cross = elements.E[: size - 1] @ L[1:]
    start_mean = start_cov = improper = None
    if run.start is not None:
        final = tree.row(run.start, size - 1)
        improper = final.remaining > 0.5
        start_mean = xp.where(improper[..., None], xp.nan, final.mean)
        start_cov = final.cov
        G = g[..., 1:]
        means = means + (G @ start_mean[..., None])[..., 0]
        spread = start_cov @ xp.matrix_transpose(G)
        covs = covs + G @ spread
        cross = cross + G[: size - 1] @ spread[1:]
    factors = noise_factor(elements, run.filtered)
    return SmootherRun(
        time_last(means, 1),
        time_last(covs, 2),
        time_last(cross, 2),
        elements,
        factors,
        start_mean,
        start_cov,
        improper,
    )


def run_draws(smoother: SmootherRun, noise: Array, start_noise: Array | None, *, driver: str) -> Array:
    """Joint draws of the states given the data, by backward sampling.

    Args:
        smoother: A smoother pass.
        noise: Standard normal numbers, (draws, ..., time, n).
        start_noise: Standard normal numbers for a flat start, (draws, ..., q), or None.
        driver: Name of the driver.

    Returns:
        (draws, ..., time, n).
    """
    elements = smoother.elements
    xp = array_namespace(noise)
    z = move_axis(move_axis(noise, -2, 0), 1, -1)
    g = elements.g[..., :1] + smoother.factors @ z
    if smoother.start_mean is not None and start_noise is not None:
        cov = smoother.start_cov
        floor = 4.0 * epsilon(cov) * xp.linalg.diagonal(stop_gradient(cov))
        delta = smoother.start_mean[..., None] + cholesky_semidefinite(cov, floor) @ move_axis(start_noise, 0, -1)
        g = g + elements.g[..., 1:] @ delta
    path, _ = backward(SmoothingElement(elements.E, g, None), driver)
    return move_axis(move_axis(path, -1, 0), 1, -2)


def run_simulation(parameters: Parameters, noise: Array, inputs: Array | None, *, driver: str) -> Array:
    """Draws of the states before any data: `noise` is standard normal, (..., time, n), and so is the result."""
    xp = array_namespace(noise)
    F, Q = parameters.F, parameters.Q
    drift = transition_offset(parameters, inputs)
    first = parameters.m0 + (_factor(parameters.P0) @ noise[..., 0, :, None])[..., 0]
    shocks = (_factor(Q) @ noise[..., None])[..., 0]
    if drift is not None:
        shocks = shocks + drift
    lead = xp.broadcast_shapes(tuple(first.shape[:-1]), tuple(shocks.shape[:-2]), tuple(F.shape[:-3]))
    path = xp.broadcast_to(first, (*lead, first.shape[-1]))[..., None, :]
    if noise.shape[-2] == 1:
        return path
    later = F if F.shape[-3] == 1 else F[..., 1:, :, :]
    shocks = xp.broadcast_to(shocks, (*lead, *shocks.shape[-2:]))[..., 1:, :]
    return xp.concat([path, scan_dense(later, shocks, path[..., 0, :], driver=driver)], axis=-2)


def backward(elements: SmoothingElement, driver: str) -> tuple[Array, Array]:
    """Laws (g, L) of every state given the data, from smoothing elements."""
    size = tree.length(elements)
    if size == 1:
        return elements.g, elements.L  # type: ignore[return-value]
    if choose_driver(driver, elements.g, size) == "balanced":
        product = suffix(combine_smoothing, elements, driver="balanced")
        return product.g, product.L
    last = tree.row(elements, size - 1)
    _, (g, L) = fold(_act_smoothing, last, tree.rows(elements, 0, size - 1), reverse=True)
    xp = array_namespace(g)
    g = xp.concat([g, last.g[None, ...]], axis=0)
    return g, L if L is None else xp.concat([L, last.L[None, ...]], axis=0)


def _act_smoothing(state: SmoothingElement, element: SmoothingElement) -> tuple[SmoothingElement, tuple]:
    state = act_smoothing(state, element)
    return state, (state.g, state.L)


def _factor(cov: Array) -> Array:
    xp = array_namespace(cov)
    return cholesky_semidefinite(cov, 4.0 * cov.shape[-1] * epsilon(cov) * xp.linalg.diagonal(stop_gradient(cov)))
