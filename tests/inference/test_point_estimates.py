"""Maximum likelihood, MAP and Laplace: against closed forms, in both languages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import cauchy, halfnorm, norm, uniform

from dynplat.arrays import to_numpy
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, InferenceError, NoDensityError
from dynplat.inference import InferenceWarning, fitting, laplace, map, mle

LANGUAGES = ("numpyro", "pyro")


def value(posterior, name):
    return float(posterior.tree["posterior"][name].mean())


def value_draws(posterior, name):
    return posterior.tree["posterior"][name].values


def extra(posterior):
    return posterior.provenance["extra"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_mle_equals_the_closed_form(models, noise, language):
    """Mean and standard deviation, their standard errors sd/sqrt(n) and sd/sqrt(2n), and the log likelihood."""
    seen = noise.values[noise.mask]
    posterior = mle.run(models["location-scale"], noise, seed=1, language=language)
    assert value(posterior, "loc") == pytest.approx(seen.mean(), rel=1e-9)
    assert value(posterior, "scale") == pytest.approx(seen.std(), rel=1e-9)
    errors = posterior.standard_errors
    assert errors["loc"] == pytest.approx(seen.std() / np.sqrt(seen.size), rel=1e-6)
    assert errors["scale"] == pytest.approx(seen.std() / np.sqrt(2 * seen.size), rel=1e-6)
    expected = norm(seen.mean(), seen.std()).logpdf(seen).sum()
    assert posterior.log_likelihood == pytest.approx(expected, rel=1e-12)
    assert extra(posterior)["log_likelihood"] == pytest.approx(expected, rel=1e-12)
    assert extra(posterior)["converged"]
    assert posterior.num_draws == 1


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("jacobian", [True, False], ids=["unconstrained", "natural"])
def test_map_maximises_the_density_on_the_scale_asked_for(models, noise, language, jacobian):
    """The same mode as an independent search with SciPy's densities and the Jacobians of sigmoid and exponential."""
    series, seen = noise.values[0, :, 0], noise.mask[0, :, 0]
    before = np.concatenate([[0.0], series[:-1]])

    def loss(theta):
        slope, scale, loc = theta
        fit = norm(loc + slope * before, scale).logpdf(series)[seen].sum()
        prior = uniform(-1, 2).logpdf(slope) + halfnorm(scale=2).logpdf(scale) + cauchy(0, 3).logpdf(loc)
        share = (1 + slope) / 2
        return -(fit + prior + jacobian * (np.log(2 * share * (1 - share)) + np.log(scale)))

    reference = minimize(loss, [0.1, 1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    posterior = map.run(models["autoregression"], noise, seed=0, language=language, jacobian=jacobian)
    found = [value(posterior, name) for name in ("slope", "scale", "loc")]
    assert found == pytest.approx(reference, rel=1e-6)
    assert extra(posterior)["objective"] == pytest.approx(-loss(reference), rel=1e-9)
    assert extra(posterior)["log_likelihood"] == pytest.approx(posterior.log_likelihood, rel=1e-9)
    assert extra(posterior)["options"]["jacobian"] is jacobian


def test_map_lies_at_the_mode_of_laplace_by_default(models, noise):
    posterior = map.run(models["autoregression"], noise, seed=0, language="pyro")
    approximation = laplace.run(models["autoregression"], noise, seed=0, language="pyro", num_draws=200)
    for name, at in extra(approximation)["mode"].items():
        assert value(posterior, name) == pytest.approx(np.asarray(at).item(), rel=1e-9)


@pytest.mark.parametrize(("jacobian", "expected"), [(True, 1.0), (False, np.exp(-(1.5**2)))], ids=["True", "False"])
def test_a_scale_that_the_data_leave_open_lies_at_the_mode_of_its_prior(build, jacobian, expected):
    """LogNormal(0, 1.5^2) by itself: its median, or m exp(-w^2), at a tenth of it."""

    def write(pp):
        pp.sample("scale", pp.dist.LogNormal(0.0, 1.5))

    data = Trajectories.from_arrays(np.arange(2.0), np.full(2, np.nan))
    model = build(write, lambda s: (0.0 * s["scale"][..., None], s["scale"][..., None]))
    posterior = map.run(model, data, seed=0, language="pyro", jacobian=jacobian)
    assert value(posterior, "scale") == pytest.approx(expected, rel=1e-6)
    assert posterior.standard_errors["scale"] == pytest.approx(1.5 * expected, rel=1e-5)


def test_map_and_its_errors_are_exact_for_a_normal_posterior(models, noise):
    """A deterministic site gets its standard error by the delta method."""
    mean, sd = models["conjugate"].exact(noise)
    posterior = map.run(models["conjugate"], noise, seed=0, language="pyro")
    assert value(posterior, "loc") == pytest.approx(mean, rel=1e-10)
    assert posterior.standard_errors["loc"] == pytest.approx(sd, rel=1e-8)
    assert posterior.standard_errors["double"] == pytest.approx(2 * sd, rel=1e-8)


def test_local_sites_have_one_estimate_and_one_error_per_series(models, panel):
    """Given the spread, each offset is shrunk: the gradient at the mode vanishes series by series."""
    one = panel.select(channels=["a"])
    posterior = map.run(models["panel"], one, seed=0, language="pyro")
    offset, spread = posterior.tree["posterior"]["offset"].values[0, 0], value(posterior, "spread")
    counts = one.mask.sum((1, 2))
    totals = np.where(one.mask, one.values, 0.0).sum((1, 2))
    assert offset == pytest.approx(totals / (counts + spread**-2), rel=1e-5)
    assert posterior.standard_errors["offset"].shape == (4,)


@pytest.mark.parametrize(
    ("method", "language"),
    [(mle, "pyro"), (map, "pyro"), (laplace, "pyro"), (laplace, "numpyro")],
    ids=["mle-pyro", "map-pyro", "laplace-pyro", "laplace-numpyro"],
)
def test_the_same_seed_gives_the_same_result(models, noise, method, language):
    first, second = (method.run(models["conjugate"], noise, seed=4, language=language, restarts=0) for _ in range(2))
    assert np.array_equal(first.tree["posterior"]["loc"], second.tree["posterior"]["loc"])


def test_a_parameter_at_its_boundary_is_reported(build):
    """All data equal: the best scale is 0.1, its lower limit, where `excess` is 0."""
    data = Trajectories.from_arrays(np.arange(20.0), np.full(20, 0.5))

    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))
        pp.sample("excess", pp.dist.HalfNormal(1.0))

    model = build(write, lambda s: (s["loc"][..., None], (0.1 + s["excess"])[..., None]))
    posterior = mle.run(model, data, seed=0, language="pyro")
    assert value(posterior, "excess") < 1e-4
    assert np.isnan(posterior.standard_errors["excess"])
    assert any("excess lies at the boundary of its support" in note for note in extra(posterior)["notes"])
    assert posterior.standard_errors["loc"] == pytest.approx(0.1 / np.sqrt(20), rel=1e-3)


def test_an_undetermined_parameter_is_reported(build, noise):
    """Only the sum of two sites enters: neither has a standard error, the scale has."""

    def write(pp):
        pp.sample("a", pp.dist.Normal(0.0, 2.0))
        pp.sample("b", pp.dist.Normal(0.0, 2.0))
        pp.sample("scale", pp.dist.LogNormal(0.0, 1.0))

    model = build(write, lambda s: ((s["a"] + s["b"])[..., None], s["scale"][..., None]))
    posterior = mle.run(model, noise, seed=0, language="pyro")
    errors = posterior.standard_errors
    assert np.isnan(errors["a"])
    assert np.isnan(errors["b"])
    assert np.isfinite(errors["scale"])
    assert any("a is not determined by the data" in note for note in extra(posterior)["notes"])


def test_notes_name_elements_by_channel_and_series(build, panel):
    """Two offsets of which only the sum enters: every element of both goes by its series or channel."""

    def write(pp):
        pp.sample("a", pp.dist.Normal(0.0, 2.0).expand([2]).to_event(1), dims=("channel",))
        with pp.plate("series"):
            pp.sample("b", pp.dist.Normal(0.0, 2.0).expand([2]).to_event(1), dims=("channel",))

    posterior = mle.run(build(write, lambda s: (s["a"] + s["b"], 1.0 + 0.0 * s["a"])), panel, seed=0, language="pyro")
    notes = " ".join(extra(posterior)["notes"])
    assert "a[a], a[b] are not determined by the data" in notes
    assert "b[0, a], b[0, b], b[1, a], b[1, b], b[2, a] and 3 more are not determined" in notes
    assert "elements" not in notes


def test_notes_name_elements_by_the_labels_of_the_model(build, noise):
    def write(pp):
        pp.sample("a", pp.dist.Normal(0.0, 2.0).expand([2]).to_event(1), dims="side")

    model = build(write, lambda s: (s["a"].sum(-1)[..., None], 1.0 + 0.0 * s["a"][..., :1]))
    object.__setattr__(model, "coords", lambda context: {"side": ["left", "right"]})
    posterior = mle.run(model, noise, seed=0, language="pyro")
    assert "a[left], a[right] are not determined by the data" in " ".join(extra(posterior)["notes"])


def test_laplace_refuses_a_flat_posterior(build, noise):
    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))
        pp.param("scale", 1.0)

    model = build(write, lambda s: (s["loc"][..., None], s["scale"][..., None]))
    with pytest.raises(CapabilityError, match=r"'laplace' draws every site.*point-estimated ones: scale"):
        laplace.run(model, noise, seed=0, language="pyro")


def test_params_are_estimated_without_a_prior(build, noise):
    """A point-estimated scale under a flat prior, next to a random location: each maximises its own conditional."""

    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))
        pp.param("scale", 1.0, constraint=pp.dist.constraints.positive)

    model = build(write, lambda s: (s["loc"][..., None], s["scale"][..., None]))
    posterior = map.run(model, noise, seed=0, language="pyro")
    loc, scale, seen = value(posterior, "loc"), value(posterior, "scale"), noise.values[noise.mask]
    assert scale == pytest.approx(np.sqrt(((seen - loc) ** 2).mean()), rel=1e-7)
    assert loc == pytest.approx(seen.sum() / (seen.size + scale**2 / 4), rel=1e-7)


def test_restarts_find_the_better_of_two_modes(build):
    """Data at 3 and |a| as their mean: the prior, centred at -1, has its medians in the basin of the worse mode."""
    data = Trajectories.from_arrays(np.arange(8.0), np.full(8, 3.0))

    def write(pp):
        pp.sample("a", pp.dist.Normal(-1.0, 3.0))

    model = build(write, lambda s: ((s["a"] ** 2 / 3 + 0.5 * s["a"])[..., None], 0.0 * s["a"][..., None] + 1.0))
    single = mle.run(model, data, seed=3, language="pyro", restarts=0)
    several = mle.run(model, data, seed=3, language="pyro", restarts=5)
    assert len(extra(several)["starts"]) == 6
    assert extra(several)["objective"] == max(extra(several)["starts"]) >= extra(single)["objective"] - 1e-9


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_law_without_density_is_refused_by_its_own_name(models, noise, language):
    with pytest.raises(NoDensityError, match=r"channel 'y' has noise 0.*This happened at the prior's medians.*loc ="):
        map.run(models["singular"], noise, seed=0, language=language)


@pytest.mark.parametrize("method", [mle, laplace], ids=["mle", "laplace"])
def test_a_refusal_on_the_way_does_not_end_the_fit(build, noise, method):
    """The law has no density above a scale of 0.9; the search starts below, crosses the line, and comes back."""
    refusals = []

    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))
        pp.sample("scale", pp.dist.LogNormal(-2.0, 3.0))

    def law(s):
        if to_numpy(s["scale"]).max() > 0.9:
            refusals.append(s["scale"])
            raise NoDensityError("no density up here")
        return s["loc"][..., None], s["scale"][..., None]

    seen = noise.values[noise.mask]
    posterior = method.run(build(write, law), noise, seed=0, language="pyro")
    assert refusals
    assert value(posterior, "scale") == pytest.approx(seen.std(), rel=1e-7 if method is mle else 0.1)


def test_a_start_that_is_not_finite_names_the_sites(build, noise):
    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 1.0))

    model = build(write, lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None]))
    with (
        np.errstate(all="ignore"),
        pytest.raises(InferenceError, match=r"no finite log density at the prior's medians.*row 0.*loc = "),
    ):
        mle.run(model, noise, seed=0, language="pyro")


def test_a_search_cut_short_warns(models, noise):
    with pytest.warns(InferenceWarning, match=r"mle: the search stopped before a maximum.*Raise `max_steps`"):
        posterior = mle.run(models["autoregression"], noise, seed=0, language="pyro", max_steps=1, restarts=0)
    assert not extra(posterior)["converged"]
    assert extra(posterior)["notes"]


def test_errors_can_be_left_out(models, noise):
    posterior = mle.run(models["conjugate"], noise, seed=0, language="pyro", errors=False)
    assert posterior.standard_errors == {}


def test_float32_gives_the_mode_to_its_precision(models, noise):
    seen = noise.values[noise.mask]
    posterior = mle.run(models["location-scale"], noise, seed=0, language="pyro", dtype="float32")
    assert value(posterior, "scale") == pytest.approx(seen.std(), rel=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"restarts": -1}, "`restarts` must be at least 0; got -1"),
        ({"max_steps": 0}, "`max_steps` must be at least 1"),
        ({"seed": -1}, "`seed` must be an integer from 0"),
        ({"seed": 1.5}, "`seed` must be an integer from 0"),
        ({"dtype": "float16"}, "`dtype` must be 'float64' or 'float32'"),
    ],
    ids=["restarts", "steps", "negative-seed", "real-seed", "dtype"],
)
def test_options_out_of_range_are_named(models, noise, options, message):
    with pytest.raises(ArgumentError, match=message):
        mle.run(models["conjugate"], noise, **{"seed": 0, "language": "pyro", **options})


@pytest.mark.parametrize(("language", "resample"), [("numpyro", True), ("numpyro", False), ("pyro", True)])
def test_laplace_is_exact_for_a_normal_posterior(models, noise, language, resample):
    """4000 draws: the mean off by 0.07 sd, or the sd by 5 %, has probability below 1e-5 each."""
    mean, sd = models["conjugate"].exact(noise)
    posterior = laplace.run(models["conjugate"], noise, seed=0, language=language, num_draws=4000, resample=resample)
    draws = posterior.tree["posterior"]["loc"].values
    assert draws.mean() == pytest.approx(mean, abs=0.07 * sd)
    assert draws.std() == pytest.approx(sd, rel=0.05)
    assert extra(posterior)["pareto_k"] < 0.1


def test_laplace_resamples_to_the_posterior(models, noise):
    """The posterior of a scale is skewed; resampled draws have its mean, from a quadrature over both parameters.

    With 4000 draws and weights near 1 a deviation of 0.1 sd has probability below 1e-7.
    """
    seen = noise.values[noise.mask]
    loc, log_scale = np.meshgrid(np.linspace(0, 2.5, 401), np.linspace(-1.2, 0.6, 401), indexing="ij")
    scale = np.exp(log_scale)
    rss = ((seen[:, None, None] - loc) ** 2).sum(0)
    density = -seen.size * log_scale - rss / (2 * scale**2) - loc**2 / 50 - log_scale**2 / 2
    weight = np.exp(density - density.max())
    mean = (weight * scale).sum() / weight.sum()
    sd = np.sqrt((weight * (scale - mean) ** 2).sum() / weight.sum())
    posterior = laplace.run(models["location-scale"], noise, seed=0, language="pyro", num_draws=4000)
    draws = posterior.tree["posterior"]["scale"].values
    assert draws.mean() == pytest.approx(mean, abs=0.1 * sd)
    assert draws.std() == pytest.approx(sd, rel=0.1)


def test_laplace_warns_of_a_posterior_that_is_far_from_gaussian(build):
    """One observation that says next to nothing leaves the Cauchy prior, whose tails no Gaussian has."""
    data = Trajectories.from_arrays(np.arange(1.0), np.array([6.0]))

    def write(pp):
        with pp.plate("part", 8):
            pp.sample("part", pp.dist.Cauchy(0.0, 1.0))

    model = build(write, lambda s: (s["part"][..., :1], 0.0 * s["part"][..., :1] + 1000.0))
    with pytest.warns(InferenceWarning, match=r"laplace: the draws cannot be resampled.*wanted: at most 0.70.*`nuts`"):
        posterior = laplace.run(model, data, seed=0, language="pyro")
    assert extra(posterior)["pareto_k"] > 0.7
    assert not extra(posterior)["resampled"]
    with pytest.warns(InferenceWarning, match=r"laplace: the draws are far from the posterior.*at most 0.67.*`nuts`"):
        plain = laplace.run(model, data, seed=0, language="pyro", resample=False)
    assert np.array_equal(value_draws(plain, "part"), value_draws(posterior, "part"))


def test_resampling_keeps_every_draw_of_equal_weight():
    """The lots of a systematic draw: each position floor or ceil of its share, whatever the order."""
    rng = np.random.default_rng(3)
    equal = laplace._systematic(np.full(50, 1 / 50), 50, rng)
    assert sorted(equal) == list(range(50))
    weights = rng.dirichlet(np.ones(40))
    counts = np.bincount(laplace._systematic(weights, 1000, rng), minlength=40)
    assert counts.sum() == 1000
    assert (np.abs(counts - 1000 * weights) < 1).all()


def test_terms_too_many_to_hold_change_no_draw(models, noise, monkeypatch):
    """Added up in lots of 70 draws, the log densities and with them the draws are the same."""
    whole = laplace.run(models["location-scale"], noise, seed=5, language="pyro", num_draws=300)
    for module in (laplace, fitting):
        monkeypatch.setattr(module, "MAX_LIKELIHOOD_CELLS", 70 * 40)
    lots = laplace.run(models["location-scale"], noise, seed=5, language="pyro", num_draws=300)
    assert value_draws(lots, "scale") == pytest.approx(value_draws(whole, "scale"), rel=1e-12)
    assert "log_likelihood" in whole.tree.children
    assert "log_likelihood" not in lots.tree.children
    assert any("are not kept" in note for note in extra(lots)["notes"])
