"""Gaussian bridges: published closed forms, what characterises a bridge, limits, paths and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynplat.arrays import random_source
from dynplat.errors import ArgumentError
from dynplat_bridges.gaussian import (
    couple_gaussians,
    cross_covariance,
    fit_gaussian,
    gaussian_bridge,
    gaussian_of,
    step_of,
)
from dynplat_bridges.pinned import LinearLaw, route
from dynplat_bridges.references import Brownian, LinearSDE

TIMES = np.array([0.0, 1.0])
FIRST, SECOND = gaussian_of(np.zeros(1), np.eye(1)), gaussian_of(np.array([2.0]), np.array([[0.25]]))


def _brownian(epsilon, d=1):
    return LinearLaw(Brownian(), {}, np.full(d, np.sqrt(epsilon)))


def _linear(seed, d=3, lead=()):
    rng = np.random.default_rng(seed)
    parameters = {"A": rng.normal(size=(*lead, d, d)), "b": rng.normal(size=(*lead, d))}
    return LinearLaw(LinearSDE(), parameters, rng.uniform(0.3, 1.5, (*lead, d)))


def _population(rng, d=3):
    root = rng.normal(size=(d, d))
    return gaussian_of(rng.normal(size=d), root @ root.T)


@pytest.mark.parametrize(
    ("epsilon", "cov", "variance"),
    [(0.1, 0.452494, 0.563747), (0.5, 0.309017, 0.592008), (1.0, 0.207107, 0.666053), (2.0, 0.118034, 0.871517)],
)
def test_one_dimensional_closed_form(epsilon, cov, variance):
    bridge = gaussian_bridge(_brownian(epsilon), TIMES, [FIRST, SECOND])
    assert cross_covariance(FIRST, SECOND, bridge.couplings[0])[0, 0] == pytest.approx(cov, abs=5e-7)
    mean, covs = bridge.moments(route(np.array([0.0, 0.5, 1.0]), TIMES))
    np.testing.assert_allclose(mean[:, 0], [0.0, 1.0, 2.0], atol=1e-12)
    np.testing.assert_allclose(covs[:, 0, 0], [1.0, variance, 0.25], atol=5e-7)


def test_two_dimensional_closed_form():
    first = gaussian_of(np.zeros(2), np.array([[2.0, 0.5], [0.5, 1.0]]))
    second = gaussian_of(np.zeros(2), np.array([[1.0, -0.3], [-0.3, 0.5]]))
    bridge = gaussian_bridge(_brownian(1.0, 2), TIMES, [first, second])
    C = cross_covariance(first, second, bridge.couplings[0])
    np.testing.assert_allclose(C, [[0.9540, -0.1564], [0.0894, 0.2836]], atol=5e-5)


def test_limits_are_optimal_transport_and_independence():
    rng = np.random.default_rng(1)
    first, second = _population(rng), _population(rng)
    S0, S1 = (population.factor @ population.factor.T for population in (first, second))
    values, vectors = np.linalg.eigh(S0)
    root = vectors * np.sqrt(values) @ vectors.T
    inner_values, inner = np.linalg.eigh(root @ S1 @ root)
    transport = root @ (inner * np.sqrt(inner_values) @ inner.T) @ np.linalg.inv(root)
    for epsilon, limit, size in ((1e-14, transport, 1e-9), (1e14, np.zeros((3, 3)), 1e-9)):
        step = step_of(_brownian(epsilon, 3).transition(np.ones(1)), 0)
        C = cross_covariance(first, second, couple_gaussians(first, second, step))
        np.testing.assert_allclose(C, limit, atol=size)


@pytest.mark.parametrize("seed", range(3))
def test_chain_has_the_marginals_and_the_links_of_the_reference(seed):
    # Among Markov laws with given marginals these two facts name the bridge: what joins two neighbours in the joint
    # precision is F^T Q^-1 of the reference, for snapshots and any times between or after them.
    rng = np.random.default_rng(seed)
    known = np.array([0.0, 0.7, 1.1, 2.0])
    populations = [_population(rng) for _ in known]
    law = _linear(seed)
    bridge = gaussian_bridge(law, known, populations)
    times = np.array([0.0, 0.3, 0.5, 0.7, 1.0, 1.1, 1.4, 2.0, 2.2, 2.7])
    way = route(times, known)
    mean, covs = bridge.moments(way)
    for population, t in zip(populations, known, strict=True):
        at = int(np.searchsorted(times, t))
        np.testing.assert_allclose(mean[at], population.mean, atol=1e-10)
        np.testing.assert_allclose(covs[at], population.factor @ population.factor.T, atol=1e-9)
    joint = bridge.joint_covariance(way)
    n = 3 * len(times)
    precision = np.linalg.inv(joint.transpose(0, 2, 1, 3).reshape(n, n)).reshape(len(times), 3, len(times), 3)
    steps = law.transition(np.diff(times))
    size = np.abs(precision).max()
    for s in range(len(times)):
        for t in range(s + 1, len(times)):
            link = -steps.F[s].T @ np.linalg.inv(steps.Q[s]) if t == s + 1 else np.zeros((3, 3))
            np.testing.assert_allclose(precision[s, :, t], link, atol=1e-7 * size)
    # Beyond the last snapshot the reference goes on.
    last = step_of(law.transition(np.array([0.7])), 0)
    np.testing.assert_allclose(mean[-1], last.F @ mean[7] + last.c, rtol=1e-10)
    np.testing.assert_allclose(covs[-1], last.F @ covs[7] @ last.F.T + last.Q, rtol=1e-9)


def test_product_structure():
    # Through three populations the law is the product of the bridges between neighbours.
    rng = np.random.default_rng(7)
    known, populations, law = np.array([0.0, 0.6, 1.5]), [_population(rng) for _ in range(3)], _linear(7)
    whole = gaussian_bridge(law, known, populations)
    joint = whole.joint_covariance(route(known, known))
    first = gaussian_bridge(law, known[:2], populations[:2]).joint_covariance(route(known[:2], known[:2]))
    second = gaussian_bridge(law, known[1:], populations[1:]).joint_covariance(route(known[1:], known[1:]))
    np.testing.assert_allclose(joint[:2, :2], first, atol=1e-12)
    np.testing.assert_allclose(joint[1:, 1:], second, atol=1e-12)
    # Given the middle the ends are independent.
    ends = first[0, 1] @ np.linalg.solve(first[1, 1], second[0, 1])
    np.testing.assert_allclose(joint[0, 2], ends, atol=1e-10)


def test_populations_in_a_subspace_and_single_points():
    point = fit_gaussian(np.array([[1.0, 2.0]]))
    line = fit_gaussian(np.array([[0.0, 0.0], [1.0, 1.0], [4.0, 4.0]]))
    bridge = gaussian_bridge(_brownian(0.3, 2), np.array([0.0, 1.0, 2.0]), [point, line, point])
    mean, covs = bridge.moments(route(np.array([0.0, 0.5, 1.0, 2.0]), bridge.times))
    np.testing.assert_allclose(mean[[0, 3]], [[1.0, 2.0]] * 2, atol=1e-12)
    np.testing.assert_allclose(covs[[0, 3]], np.zeros((2, 2, 2)), atol=1e-12)
    np.testing.assert_allclose(covs[2], np.cov([0.0, 1.0, 4.0], ddof=0) * np.ones((2, 2)), atol=1e-12)
    # The middle of a pinned Brownian path, spread by half of the line.
    np.testing.assert_allclose(covs[1], covs[2] / 4 + 0.3 * 0.25 * np.eye(2), atol=1e-12)


def test_draws_agree_with_the_joint_law():
    rng = np.random.default_rng(3)
    known, populations = np.array([0.0, 1.0, 1.5]), [_population(rng, 2) for _ in range(3)]
    bridge = gaussian_bridge(_linear(3, 2), known, populations)
    way = route(np.array([0.0, 0.2, 0.9, 1.0, 1.2, 1.5, 1.9]), known)
    count = 40_000
    drawn = bridge.draw(count, way, random_source(0, np.empty(0)))
    assert drawn.shape == (count, 7, 2)
    mean, _ = bridge.moments(way)
    joint = bridge.joint_covariance(way)
    sd = np.sqrt(np.einsum("ttcc->tc", joint))
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / sd, 0.0, atol=5 / np.sqrt(count))
    away = (drawn - mean) / sd
    found = np.einsum("nsc,ntd->stcd", away, away) / count
    np.testing.assert_allclose(found, joint / sd[:, None, :, None] / sd[None, :, None, :], atol=8 / np.sqrt(count))


def test_leading_axes_in_torch():
    rng = np.random.default_rng(4)
    known, populations = np.array([0.0, 1.0, 1.5]), [_population(rng, 2) for _ in range(3)]
    law, way = _linear(4, 2, lead=(3, 1)), route(np.array([[0.2, 1.2, 1.9]]), known)
    mean, cov = gaussian_bridge(law, known, populations).moments(way)
    assert mean.shape == (3, 1, 3, 2)
    tensors = LinearLaw(
        law.reference, {k: torch.tensor(v) for k, v in law.parameters.items()}, torch.tensor(law.diffusion)
    )
    bridge = gaussian_bridge(tensors, known, populations)
    found = bridge.moments(way)
    np.testing.assert_allclose(found[0], mean, rtol=1e-10)
    np.testing.assert_allclose(found[1], cov, rtol=1e-9, atol=1e-12)
    assert bridge.draw(5, way, random_source(0, tensors.diffusion)).shape == (5, 3, 1, 3, 2)
    for i in range(3):
        alone = LinearLaw(law.reference, {k: v[i, 0] for k, v in law.parameters.items()}, law.diffusion[i, 0])
        np.testing.assert_allclose(gaussian_bridge(alone, known, populations).moments(way)[0], mean[i, 0], rtol=1e-10)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="two increasing times"):
        gaussian_bridge(_brownian(1.0), np.array([0.0, 0.0]), [FIRST, SECOND])
    with pytest.raises(ArgumentError, match="two increasing times"):
        gaussian_bridge(_brownian(1.0), np.array([0.0]), [FIRST])
    with pytest.raises(ArgumentError, match="must not lie before the first snapshot, at 0"):
        route(np.array([-1.0, 0.5]), TIMES)
    with pytest.raises(ArgumentError, match="must not decrease"):
        route(np.array([0.5, 0.2]), TIMES)
    with pytest.raises(ArgumentError, match="positive semi-definite"):
        gaussian_of(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
