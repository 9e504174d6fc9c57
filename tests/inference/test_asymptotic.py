"""Draws of the asymptotic law of maximum-likelihood estimates: closed forms, seeds, files, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from dynplat.errors import ArgumentError, CapabilityError
from dynplat.inference import draw_asymptotic, map, mle
from dynplat.posterior import Posterior

LANGUAGES = ("numpyro", "pyro")


def unconstrained(posterior, *names):
    group = posterior.tree["unconstrained_posterior"]
    return np.stack([group[name].values.reshape(-1) for name in names], axis=-1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_draws_have_the_inverse_information(models, noise, language):
    """Of n normal values: variance sd^2/n of the mean, 1/(2n) of the logarithm of the sd, independent."""
    seen = noise.values[noise.mask]
    fit = mle.run(models["location-scale"], noise, seed=1, language=language, restarts=0)
    law = fit.tree["asymptotic"]
    for dim in ("parameter", "other_parameter"):
        np.testing.assert_array_equal(law[dim], ["loc", "scale"])
    exact = np.diag([seen.var() / seen.size, 0.5 / seen.size])
    np.testing.assert_allclose(law["covariance"], exact, rtol=1e-6, atol=1e-9)
    drawn = draw_asymptotic(fit, 2000, seed=7)
    found = unconstrained(drawn, "loc", "scale")
    errors = np.sqrt(np.diag(exact))
    np.testing.assert_allclose(found.mean(0), [seen.mean(), np.log(seen.std())], atol=4 * errors.max() / np.sqrt(2000))
    np.testing.assert_allclose(np.cov(found.T) / np.outer(errors, errors), np.eye(2), atol=4 * np.sqrt(2 / 2000))
    np.testing.assert_allclose(np.ravel(drawn.tree["posterior"]["scale"]), np.exp(found[:, 1]), rtol=1e-12)
    assert drawn.provenance["extra"]["asymptotic"] is True
    assert drawn.num_draws == 2000
    table = drawn.summary()
    assert table.loc["loc", "sd"] == pytest.approx(errors[0], rel=0.1)


def test_the_seed_determines_the_draws_and_files_keep_the_law(models, noise, tmp_path):
    model = models["location-scale"]
    fit = mle.run(model, noise, seed=1, language="pyro", restarts=0)
    fit.save(tmp_path / "fit.nc")
    again = Posterior.load(tmp_path / "fit.nc", lambda *_: model)
    first, second, other = (
        draw_asymptotic(one, 20, seed=seed).tree["posterior"]["scale"] for one, seed in ((fit, 3), (again, 3), (fit, 4))
    )
    np.testing.assert_array_equal(first, second)
    assert not np.isin(first, other).any()


def test_laws_and_series_keep_their_shapes(build, panel):
    def write(pp):
        pp.sample("share", pp.dist.Dirichlet(np.ones(3)), dims="part")
        with pp.plate("series"):
            pp.sample("level", pp.dist.Normal(0.0, 2.0).expand([2]).to_event(1), dims="channel")

    model = build(
        write, lambda s: (s["level"], 0.5 + s["share"][..., :1] + 2.0 * s["share"][..., 1:2] + 0.0 * s["level"])
    )
    fit = mle.run(model, panel, seed=0, language="pyro", restarts=0)
    with pytest.raises(CapabilityError, match=r"no covariance to draw from\. .*share.*not determined.*leave out"):
        draw_asymptotic(fit, seed=0)

    model = build(write, lambda s: (s["level"], 0.5 + 4.0 * s["share"][..., :2] + 0.0 * s["level"]))
    fit = mle.run(model, panel, seed=0, language="pyro", restarts=0)
    names = np.asarray(fit.tree["asymptotic"]["parameter"]).tolist()
    assert names[:3] == ["share[0]", "share[1]", "level[0, a]"]
    drawn = draw_asymptotic(fit, 50, seed=0).tree["posterior"]
    assert drawn["level"].dims == ("chain", "draw", "series", "channel")
    np.testing.assert_allclose(drawn["share"].sum("part"), 1.0, rtol=1e-12)
    assert np.min(drawn["share"]) > 0


def test_what_has_no_asymptotic_law_is_refused(models, noise):
    model = models["location-scale"]
    with pytest.raises(CapabilityError, match=r"this fit is by 'map'\. Fit with 'mle'"):
        draw_asymptotic(map.run(model, noise, seed=0, language="pyro", restarts=0), seed=0)
    with pytest.raises(CapabilityError, match="`errors=False`"):
        draw_asymptotic(mle.run(model, noise, seed=0, language="pyro", restarts=0, errors=False), seed=0)
    fit = mle.run(model, noise, seed=0, language="pyro", restarts=0)
    with pytest.raises(CapabilityError, match="holds its draws already"):
        draw_asymptotic(draw_asymptotic(fit, 5, seed=0), seed=0)
    with pytest.raises(ArgumentError, match="`num_draws` must be at least 1; got 0"):
        draw_asymptotic(fit, 0, seed=0)
    with pytest.raises(ArgumentError, match="`seed` must be an integer"):
        draw_asymptotic(fit, seed=-1)
