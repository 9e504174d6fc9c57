"""Heads: against SciPy's laws, in every framework; their draws; numbers of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from dynplat.arrays import framework, random_source, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_deepssm.heads import (
    HEADS,
    AbstractHead,
    GaussianHead,
    MixtureHead,
    NegativeBinomialHead,
    QuantileHead,
    StudentTHead,
    head_named,
)
from dynplat_deepssm.tests.conftest import FRAMEWORKS

LOCATION, SCALE = np.array([5.0, 2.0]), np.array([2.0, 0.5])
DENSE: list[AbstractHead] = [GaussianHead(), StudentTHead(), MixtureHead(4), NegativeBinomialHead()]


def raw_of(head, seed=0, shape=(3, 6, 2)):
    return np.random.default_rng(seed).standard_normal((*shape, head.num_parameters))


def parameters_of(head, raw, make=np.asarray) -> Any:
    return head.parameters(make(raw), make(LOCATION), make(SCALE))


def law_of(head, parameters) -> Any:
    """SciPy's law (for a mixture: its log density) with the same parameters."""
    if isinstance(head, GaussianHead):
        return stats.norm(parameters.location, parameters.scale)
    if isinstance(head, StudentTHead):
        return stats.t(parameters.degrees, parameters.location, parameters.scale)
    r = parameters.concentration
    return stats.nbinom(r, r / (r + parameters.mean))


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("head", DENSE, ids=lambda head: type(head).__name__)
def test_densities_and_moments_are_those_of_scipy(head: AbstractHead, name):
    raw = raw_of(head)
    rng = np.random.default_rng(1)
    values = rng.poisson(6.0, (3, 6, 2)).astype(float)
    plain = parameters_of(head, raw)
    if isinstance(head, MixtureHead):
        parts: Any = stats.norm(plain.locations, plain.scales)
        weights = np.exp(plain.log_weights)
        wanted = np.log(np.sum(weights * parts.pdf(values[..., None]), axis=-1))
        mean = np.sum(weights * plain.locations, axis=-1)
        variance = np.sum(weights * (plain.scales**2 + plain.locations**2), axis=-1) - mean**2
        np.testing.assert_allclose(weights.sum(axis=-1), 1.0)
    else:
        law = law_of(head, plain)
        wanted = law.logpmf(values) if isinstance(head, NegativeBinomialHead) else law.logpdf(values)
        mean, variance = law.mean(), law.var()
    with framework(name) as make:
        own = parameters_of(head, raw, make)
        np.testing.assert_allclose(to_numpy(head.log_density(own, make(values))), wanted, rtol=1e-10)
        np.testing.assert_allclose(to_numpy(head.mean(own)), mean, rtol=1e-10)
        np.testing.assert_allclose(to_numpy(head.variance(own)), variance, rtol=1e-9)
        np.testing.assert_allclose(to_numpy(head.loss(own, make(values))), -wanted, rtol=1e-10)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("head", DENSE, ids=lambda head: type(head).__name__)
def test_draws_have_the_law(head, name):
    """Kolmogorov-Smirnov for laws with a density, frequencies for counts; the same seed gives the same draws."""
    raw = np.broadcast_to(raw_of(head, 2, (1, 2)), (20_000, 2, head.num_parameters)).copy()
    with framework(name) as make:
        parameters = parameters_of(head, raw, make)
        first, again, other = (to_numpy(head.sample(parameters, random_source(k, make(0.0)))) for k in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    plain = parameters_of(head, raw[:1])
    for channel in range(2):
        drawn = first[:, channel]
        if isinstance(head, NegativeBinomialHead):
            law = law_of(head, type(plain)(*(value[0, channel] for value in plain)))
            counts = np.bincount(drawn.astype(int), minlength=8)[:8] / len(drawn)
            sd = np.sqrt(law.pmf(np.arange(8)) / len(drawn)) + 1e-4
            assert (np.abs(counts - law.pmf(np.arange(8))) < 5 * sd).all()
            continue
        if isinstance(head, MixtureHead):
            parts = stats.norm(plain.locations[0, channel], plain.scales[0, channel])
            below = (np.exp(plain.log_weights[0, channel]) * parts.cdf(drawn[:, None])).sum(axis=-1)
        else:
            below = law_of(head, type(plain)(*(value[0, channel] for value in plain))).cdf(drawn)
        assert stats.kstest(below, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("concentration", [-8.0, 0.0, 40.0])
def test_counts_of_any_concentration_have_their_moments(concentration):
    head = NegativeBinomialHead()
    raw = np.broadcast_to([0.5, concentration], (200_000, 1, 2))
    parameters = head.parameters(raw, LOCATION[:1], SCALE[:1])
    drawn = head.sample(parameters, random_source(0, np.zeros(1)))
    mean, variance = head.mean(parameters)[0, 0], head.variance(parameters)[0, 0]
    assert abs(drawn.mean() - mean) < 5 * np.sqrt(variance / len(drawn))
    if concentration >= 0:
        assert drawn.var() == pytest.approx(variance, rel=0.05)
    assert (drawn == np.round(drawn)).all()


def test_what_is_no_count_has_probability_zero():
    head = NegativeBinomialHead()
    parameters = head.parameters(np.zeros((3, 1, 2)), LOCATION[:1], SCALE[:1])
    found = head.log_density(parameters, np.array([[-1.0], [2.5], [2.0]]))[:, 0]
    assert found[0] == found[1] == -np.inf
    assert np.isfinite(found[2])


def test_quantiles_do_not_cross_and_draws_follow_them():
    head = QuantileHead()
    raw = np.broadcast_to(raw_of(head, 5, (1, 2)) * 2, (40_000, 2, head.num_parameters)).copy()
    quantiles = head.parameters(raw, LOCATION, SCALE)
    assert (np.diff(quantiles, axis=-1) > 0).all()
    drawn = head.sample(quantiles, random_source(6, np.zeros(1)))
    for k, level in enumerate(head.levels):
        below = (drawn < quantiles[0, :, k]).mean(axis=0)
        np.testing.assert_allclose(below, level, atol=5 * np.sqrt(level * (1 - level) / len(drawn)) + 1e-3)


def test_quantiles_start_at_a_normal_law_and_the_pinball_loss_is_least_at_the_true_ones():
    head = QuantileHead((0.1, 0.3, 0.5, 0.7, 0.9))
    start = head.parameters(np.zeros((1, 1, 5)), np.zeros(1), np.ones(1))
    np.testing.assert_allclose(start[0, 0], stats.norm.ppf(head.levels), rtol=1e-3)
    y = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None]
    best = head.loss(np.broadcast_to(stats.norm.ppf(head.levels), (2000, 1, 5)), y).mean()
    for shift in (-0.1, 0.1):
        assert head.loss(np.broadcast_to(stats.norm.ppf(head.levels) + shift, (2000, 1, 5)), y).mean() > best
    with pytest.raises(CapabilityError, match="QuantileHead has no density"):
        head.log_density(start, y[:1])


@pytest.mark.parametrize("name", list(HEADS))
def test_numbers_of_any_size_give_finite_losses_and_slopes(name):
    """In float32: laws stay laws, wherever a network goes."""
    head = HEADS[name]()
    for size in (0.0, 30.0, -30.0, 200.0, -200.0):
        raw = torch.full((1, 1, head.num_parameters), size, requires_grad=True)
        loss = head.loss(head.parameters(raw, torch.ones(1), torch.ones(1)), torch.tensor([[3.0]])).sum()
        (slope,) = torch.autograd.grad(loss, raw)
        assert torch.isfinite(loss)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", list(HEADS))
def test_dtype_and_device_follow_the_network(name):
    head = HEADS[name]()
    raw = torch.zeros((4, 2, head.num_parameters), device="meta", dtype=torch.float32)
    location, scale = (torch.ones(2, device="meta") for _ in range(2))
    parameters = head.parameters(raw, location, scale)
    loss = head.loss(parameters, torch.ones((4, 2), device="meta"))
    assert (loss.device.type, loss.dtype, loss.shape) == ("meta", torch.float32, (4, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: head_named("poisson", ("gaussian", "mixture")), "`head` must be one of .'gaussian', 'mixture'.; got"),
        (lambda: MixtureHead(1), "`num_components` must be at least 2; got 1"),
        (lambda: QuantileHead((0.1, 0.9)), "`levels` must be 3, 5, ... increasing numbers"),
        (lambda: QuantileHead((0.1, 0.9, 0.5)), "`levels` must be 3, 5, ... increasing numbers"),
    ],
)
def test_impossible_heads_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
