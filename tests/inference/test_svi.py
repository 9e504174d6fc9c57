"""Variational inference: exact where the posterior is in the guide's family, clear where it fails."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.inference import InferenceWarning, svi

LANGUAGES = ("numpyro", "pyro")


def _conjugate(build, guide=None):
    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))

    return build(write, lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None] + 1.0), guide=guide)


def _own_guide(pp):
    middle = pp.param("middle", 0.5)
    width = pp.param("width", 0.3, constraint=pp.dist.constraints.positive)
    pp.sample("loc", pp.dist.Normal(middle, width))


@pytest.mark.parametrize(
    ("language", "guide"),
    [("numpyro", "full-rank"), ("numpyro", "model"), ("pyro", "normal"), ("pyro", "low-rank"), ("pyro", "model")],
)
def test_a_guide_that_holds_the_posterior_finds_it(models, build, noise, language, guide):
    """The bound is then log p(y) and its gradient has little noise.

    Of 2000 draws the mean is off by 0.1 sd, or the sd by 8 %, with probability below 1e-5; the rest is for Adam.
    """
    mean, sd = models["conjugate"].exact(noise)
    posterior = svi.run(
        _conjugate(build, _own_guide),
        noise,
        seed=1,
        language=language,
        guide=guide,
        num_steps=800,
        learning_rate=0.05,
        num_draws=2000,
        num_particles=2,
    )
    draws = posterior.tree["posterior"]["loc"].values
    assert draws.mean() == pytest.approx(mean, abs=0.2 * sd)
    assert draws.std() == pytest.approx(sd, rel=0.15)
    seen = noise.values[noise.mask]
    covariance = np.eye(seen.size) + 4.0
    evidence = -0.5 * (
        seen @ np.linalg.solve(covariance, seen) + np.linalg.slogdet(covariance)[1] + seen.size * np.log(2 * np.pi)
    )
    facts = posterior.provenance["extra"]
    assert facts["final_elbo"] == pytest.approx(evidence, abs=0.05)
    assert len(facts["elbo"]) == 500
    assert facts["elbo"][0] < facts["final_elbo"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_of_params_alone_is_fitted_by_maximum_likelihood(build, noise, language):
    def write(pp):
        pp.param("loc", 0.0)
        pp.param("scale", 2.0, constraint=pp.dist.constraints.positive)

    model = build(write, lambda s: (s["loc"][..., None], s["scale"][..., None]))
    posterior = svi.run(model, noise, seed=0, language=language, num_steps=1500, learning_rate=0.05, num_draws=2)
    seen = noise.values[noise.mask]
    draws = posterior.tree["posterior"]
    assert draws["loc"].values.ravel() == pytest.approx([seen.mean()] * 2, abs=1e-3)
    assert draws["scale"].values.ravel() == pytest.approx([seen.std()] * 2, abs=1e-3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bound_that_is_not_finite_names_step_and_values(build, noise, language):
    """The mean is fine at the start and has no logarithm once `loc` is driven below 0.9 of itself."""

    def write(pp):
        pp.sample("loc", pp.dist.Normal(3.0, 0.1))

    def law(s):
        from dynplat.arrays import array_namespace

        loc = s["loc"][..., None]
        return loc + 0.0 * array_namespace(loc).log(loc - 2.5), 0.0 * loc + 0.05

    with pytest.raises(
        InferenceError, match=r"is not finite at step [1-9]\d* of 400; the last good values were .*\d"
    ) as e:
        svi.run(build(write, law), noise, seed=0, language=language, num_steps=400, learning_rate=0.05)
    assert "Lower `learning_rate` (now 0.05)" in str(e.value)


def test_a_start_that_is_not_finite_is_refused(build, noise):
    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 1.0))

    model = build(write, lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None]))
    with np.errstate(all="ignore"), pytest.raises(InferenceError, match="no finite log density at the prior's medians"):
        svi.run(model, noise, seed=0, language="pyro")


def test_a_fit_that_has_not_converged_warns(build, noise):
    options = {"num_steps": 100, "final_rate": 1.0, "learning_rate": 0.005, "init_scale": 0.02}
    with pytest.warns(InferenceWarning, match=r"svi: the evidence lower bound still rises.*Raise `num_steps`"):
        posterior = svi.run(_conjugate(build), noise, seed=0, language="pyro", **options)
    assert not posterior.provenance["extra"]["converged"]


def test_a_guide_that_the_model_lacks_is_refused(build, noise):
    with pytest.raises(CapabilityError, match="no guide of its own; use `guide='normal'`"):
        svi.run(_conjugate(build), noise, seed=0, language="pyro", guide="model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guide": "flow"}, "`guide` must be one of .*got 'flow'"),
        ({"num_steps": 0}, "`num_steps` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
        ({"rank": 0}, "`rank` must be at least 1"),
    ],
    ids=["guide", "steps", "rate", "rank"],
)
def test_options_out_of_range_are_named(models, noise, options, message):
    with pytest.raises(ArgumentError, match=message):
        svi.run(models["conjugate"], noise, seed=0, **options)
