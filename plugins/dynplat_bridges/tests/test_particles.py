"""Bridges through particles: product structure, the Gaussian chain, drift, paths, densities and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from dynplat.arrays import random_source
from dynplat.errors import ArgumentError, InferenceError, NoDensityError
from dynplat_bridges.gaussian import fit_gaussian, gaussian_bridge, step_of
from dynplat_bridges.particles import log_transition, particle_bridge
from dynplat_bridges.pinned import LinearLaw, PiecewiseLaw, route
from dynplat_bridges.references import Brownian, LinearSDE

TIMES = np.array([0.0, 0.7, 1.5])


def _linear(seed=0, d=2):
    rng = np.random.default_rng(seed)
    return LinearLaw(LinearSDE(), {"A": 0.5 * rng.normal(size=(d, d)), "b": rng.normal(size=d)}, np.full(d, 0.8))


def _particles(counts=(12, 9, 15), seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, 2)) + k for k, count in enumerate(counts)]


def test_log_transition():
    law, (x, y, _) = _linear(), _particles()
    step = step_of(law.transition(np.array([0.7])), 0)
    away = y - (x @ step.F.T + step.c)[:, None]
    squares = np.einsum("ijc,cd,ijd->ij", away, np.linalg.inv(step.Q), away)
    wanted = -0.5 * (squares + np.linalg.slogdet(2 * np.pi * step.Q)[1])
    np.testing.assert_allclose(log_transition(x, y, step), wanted, rtol=1e-12)
    # Far from zero distances keep their digits.
    still = step._replace(F=np.eye(2), c=np.zeros(2))
    near, far = log_transition(x, y, still), log_transition(x + 1e6, y + 1e6, still)
    np.testing.assert_allclose(near, far, rtol=1e-7)


def test_iterated_conditioning_along_the_chain_gives_the_product_of_neighbours():
    # The dense twin: the reference over all triples of particles, conditioned on one snapshot after another.
    law, particles = _linear(), _particles()
    steps = law.transition(np.diff(TIMES))
    first, second = (np.exp(log_transition(particles[k], particles[k + 1], step_of(steps, k))) for k in range(2))
    joint = first[:, :, None] * second[None]
    for _ in range(3000):
        for axis, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
            marginal = joint.sum(axis=others, keepdims=True)
            joint = joint / marginal / joint.shape[axis]
    bridge = particle_bridge(law, TIMES, particles, tolerance=1e-12)
    left, right = (np.exp(coupling.log_plan) for coupling in bridge.couplings)
    product = left[:, :, None] * right[None] * len(particles[1])
    np.testing.assert_allclose(joint, product, rtol=1e-8, atol=1e-14)


def test_particles_of_gaussians_come_near_the_gaussian_chain():
    rng = np.random.default_rng(5)
    roots = [rng.normal(size=(2, 2)) for _ in TIMES]
    count = 600
    particles = [rng.normal(size=(count, 2)) @ root.T + k for k, root in enumerate(roots)]
    law, way = _linear(), route(np.array([0.3, 0.7, 1.2, 2.0]), TIMES)
    mean, cov = particle_bridge(law, TIMES, particles).moments(way)
    wanted_mean, wanted_cov = gaussian_bridge(law, TIMES, [fit_gaussian(p) for p in particles]).moments(way)
    np.testing.assert_allclose(mean, wanted_mean, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(cov, wanted_cov, atol=8 / np.sqrt(count))


def _quantiles(count, mean, sd):
    return norm.ppf((np.arange(count) + 0.5) / count, mean, sd)[:, None]


def test_drift_is_the_slope_of_the_conditional_mean():
    law, known = LinearLaw(Brownian(), {}, np.ones(1)), np.array([0.0, 1.0])
    particles = [_quantiles(800, 0.0, 1.0), _quantiles(800, 2.0, 0.5)]
    bridge = particle_bridge(law, known, particles)
    exact = gaussian_bridge(law, known, [fit_gaussian(p) for p in particles])
    time, h, x = 0.4, 1e-5, np.array([[-0.5], [0.8], [2.0]])
    joint = exact.joint_covariance(route(np.array([time, time + h]), known))[..., 0, 0]
    mean, _ = exact.moments(route(np.array([time, time + h]), known))
    wanted = (mean[1] + joint[0, 1] / joint[0, 0] * (x - mean[0]) - x) / h
    np.testing.assert_allclose(bridge.drift(x, time), wanted, atol=0.02)
    with pytest.raises(ArgumentError, match="`time` must be from 0, and before the last snapshot, at 1; got 1"):
        bridge.drift(x, 1.0)


def test_drift_moves_the_first_population_to_the_next():
    law, particles = _linear(), _particles((150, 100, 5))
    bridge, rng, steps = particle_bridge(law, TIMES, particles), np.random.default_rng(0), 70
    x, h = particles[0][rng.integers(0, 150, 3000)], 0.7 / steps
    for n in range(steps):
        x = x + h * bridge.drift(x, n * h) + np.sqrt(h) * 0.8 * rng.normal(size=x.shape)
    np.testing.assert_allclose(x.mean(axis=0), particles[1].mean(axis=0), atol=0.06)
    np.testing.assert_allclose(np.cov(x.T), np.cov(particles[1].T), atol=0.1)


def test_paths_have_the_moments_of_the_law_and_visit_particles():
    law, particles = _linear(), _particles()
    bridge = particle_bridge(law, TIMES, particles)
    way, count = route(np.array([0.0, 0.3, 0.7, 1.1, 1.5, 2.0]), TIMES), 30_000
    drawn = bridge.draw(count, way, random_source(0, np.empty(0)))
    mean, cov = bridge.moments(way)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=6 / np.sqrt(count))
    found = np.stack([np.cov(drawn[:, q].T) for q in range(6)])
    np.testing.assert_allclose(found, cov, atol=20 / np.sqrt(count))
    for q, k in ((0, 0), (2, 1), (4, 2)):
        distance = np.abs(drawn[:50, q, None] - particles[k]).sum(axis=-1).min(axis=1)
        np.testing.assert_array_equal(distance, 0.0)
    # The joint law of places in two intervals: pairs of particles at the snapshots.
    plan = np.exp(bridge.couplings[0].log_plan)
    pairs = [np.abs(drawn[:, q, None] - particles[k]).sum(axis=-1).argmin(axis=1) for q, k in ((0, 0), (2, 1))]
    seen = np.histogram2d(*pairs, bins=(np.arange(13), np.arange(10)))[0] / count
    np.testing.assert_allclose(seen, plan, atol=5 * np.sqrt(plan.max() / count))


def test_as_many_paths_as_particles_start_one_from_each():
    bridge = particle_bridge(_linear(), TIMES, _particles())
    drawn = bridge.draw(12, route(np.array([0.0]), TIMES), random_source(3, np.empty(0)))[:, 0]
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, bridge.particles[0]))
    # Snapshots before the first question are passed over.
    later = bridge.draw(9, route(np.array([0.7, 0.8]), TIMES), random_source(3, np.empty(0)))[:, 0]
    assert sorted(map(tuple, later)) == sorted(map(tuple, bridge.particles[1]))


def test_log_density_is_that_of_the_mixture():
    bridge = particle_bridge(_linear(), TIMES, _particles())
    way = route(np.array([0.3, 1.0, 2.2]), TIMES)
    grid = np.linspace(-12.0, 14.0, 301)
    density = np.exp(np.stack([bridge.log_density(np.full((3, 2), value), way) for value in grid]))
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), 1.0, atol=1e-6)
    mean, cov = bridge.moments(way)
    found = np.trapezoid(density * grid[:, None, None], grid, axis=0)
    np.testing.assert_allclose(found, mean, atol=1e-5)
    spread = np.trapezoid(density * (grid[:, None, None] - found) ** 2, grid, axis=0)
    np.testing.assert_allclose(spread, np.einsum("qcc->qc", cov), atol=1e-4)
    with pytest.raises(NoDensityError, match=r"time 0\.7, that of a snapshot"):
        bridge.log_density(np.zeros((1, 2)), route(np.array([0.7]), TIMES))


def test_pieces_of_one_reference_are_that_reference():
    law, particles = _linear(), _particles()
    way = route(np.array([0.2, 0.7, 1.4, 2.0]), TIMES)
    whole, pieces = (particle_bridge(one, TIMES, particles) for one in (law, PiecewiseLaw((law, law))))
    np.testing.assert_allclose(pieces.moments(way)[1], whole.moments(way)[1], rtol=1e-12)
    drawn = [one.draw(20, way, random_source(1, np.empty(0))) for one in (whole, pieces)]
    np.testing.assert_allclose(*drawn, rtol=1e-12)


def test_leading_axes_in_torch():
    rng, particles = np.random.default_rng(0), _particles()
    parameters = {"A": 0.3 * rng.normal(size=(3, 1, 2, 2)), "b": rng.normal(size=(3, 1, 2))}
    sigma, way = rng.uniform(0.5, 1.0, (3, 1, 2)), route(np.array([[0.2, 1.4, 2.0]]), TIMES)
    tensors = LinearLaw(LinearSDE(), {k: torch.tensor(v) for k, v in parameters.items()}, torch.tensor(sigma))
    bridge = particle_bridge(tensors, TIMES, particles)
    mean, _ = bridge.moments(way)
    assert mean.shape == (3, 1, 3, 2)
    assert bridge.draw(7, way, random_source(0, tensors.diffusion)).shape == (7, 3, 1, 3, 2)
    assert bridge.log_density(torch.zeros(1, 3, 2).double(), way).shape == (3, 1, 3, 2)
    for i in range(3):
        alone = LinearLaw(LinearSDE(), {k: v[i, 0] for k, v in parameters.items()}, sigma[i, 0])
        np.testing.assert_allclose(mean[i, 0], particle_bridge(alone, TIMES, particles).moments(way)[0], atol=1e-5)


def test_what_is_refused():
    law, particles = LinearLaw(Brownian(), {}, np.full(2, 1e-3)), _particles()
    with pytest.raises(InferenceError, match=r"between the snapshots at 0 and 0\.7: Sinkhorn's iterations did not"):
        particle_bridge(law, TIMES, particles, max_iterations=3)
    with pytest.raises(ArgumentError, match="increasing times, one for each of 3 populations"):
        particle_bridge(law, TIMES[:2], particles)
