"""The no-U-turn sampler under both languages against quadrature, and what it says about itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import cauchy, halfnorm, norm

from dynplat.errors import ArgumentError, CapabilityError
from dynplat.inference import InferenceWarning, nuts

LANGUAGES = ("numpyro", "pyro")
STATS = {"lp", "energy", "diverging", "acceptance_rate", "n_steps", "tree_depth", "step_size"}


@pytest.fixture(scope="module")
def chains(models, noise):
    """One run per language of the model with three kinds of support, shared by the tests."""
    return {
        language: nuts.run(
            models["autoregression"],
            noise,
            seed=3,
            language=language,
            num_chains=num_chains,
            num_warmup=120,
            num_samples=num_samples,
        )
        for language, num_chains, num_samples in (("numpyro", 4, 400), ("pyro", 2, 500))
    }


@pytest.fixture(scope="module")
def quadrature(noise):
    """Means and standard deviations of the posterior on a grid, from SciPy's densities."""
    series, seen = noise.values[0, :, 0], noise.mask[0, :, 0]
    before = np.concatenate([[0.0], series[:-1]])
    slope = np.linspace(-0.999, 0.999, 121)[:, None, None]
    scale = np.exp(np.linspace(np.log(0.35), np.log(2.0), 81))[None, :, None]
    loc = np.linspace(-1.0, 4.0, 201)[None, None, :]
    density = (
        halfnorm(scale=2).logpdf(scale) + cauchy(0, 3).logpdf(loc) + np.log(scale)
    )  # the grid is even in log scale
    y, x = series[seen], before[seen]
    rss = y @ y + y.size * loc**2 + slope**2 * (x @ x) - 2 * (loc * y.sum() + slope * (x @ y) - loc * slope * x.sum())
    density = density - y.size * np.log(scale) - rss / (2 * scale**2)
    weight = np.exp(density - density.max())
    weight /= weight.sum()
    moments = {}
    for name, grid in (("slope", slope), ("scale", scale), ("loc", loc)):
        mean = (weight * grid).sum()
        moments[name] = (mean, np.sqrt((weight * (grid - mean) ** 2).sum()))
    return moments


@pytest.mark.parametrize("language", LANGUAGES)
def test_nuts_agrees_with_quadrature(chains, quadrature, language):
    """Means within 0.1 sd, standard deviations within 10 %.

    With at least 600 effective draws (asserted) the errors are 0.041 sd and about 3 %: each of the six figures would be
    off with probability below 0.02 if it were drawn anew. The seed is fixed.
    """
    posterior = chains[language]
    worst = posterior.provenance["extra"]["worst"]
    assert worst["ess_bulk"]["value"] > 600
    for name, (mean, sd) in quadrature.items():
        draws = posterior.tree["posterior"][name].values
        assert draws.mean() == pytest.approx(mean, abs=0.1 * sd), name
        assert draws.std() == pytest.approx(sd, rel=0.1), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_sample_stats_have_arviz_names_and_make_sense(chains, language):
    posterior = chains[language]
    stats = {name: stat.values for name, stat in posterior.tree["sample_stats"].data_vars.items()}
    assert STATS <= set(stats)
    shape = posterior.tree["posterior"]["loc"].shape
    assert all(stats[name].shape == shape for name in STATS)
    assert stats["acceptance_rate"].min() >= -1e-9
    assert stats["acceptance_rate"].max() <= 1 + 1e-9
    # Adaptation aims at 0.8 and may miss by a tenth or so.
    assert 0.65 < stats["acceptance_rate"].mean() < 0.97
    assert np.all(stats["energy"] >= -stats["lp"].max() - 1e-9)
    assert np.all(2 ** (stats["tree_depth"] - 1) <= stats["n_steps"])
    assert np.all(stats["n_steps"] < 2 ** stats["tree_depth"])
    assert np.all(np.ptp(stats["step_size"], axis=1) == 0)
    assert not stats["diverging"].any()


@pytest.mark.parametrize("language", LANGUAGES)
def test_lp_is_the_density_on_the_unconstrained_scale(chains, noise, language):
    """Recomputed from the draws with SciPy's densities and the Jacobians of the three maps."""
    posterior = chains[language]
    series, seen = noise.values[0, :, 0], noise.mask[0, :, 0]
    before = np.concatenate([[0.0], series[:-1]])
    draws = {name: posterior.tree["posterior"][name].values[0, :5] for name in ("slope", "scale", "loc")}
    for index in range(5):
        slope, scale, loc = (draws[name][index] for name in ("slope", "scale", "loc"))
        fit = norm(loc + slope * before, scale).logpdf(series)[seen].sum()
        prior = np.log(0.5) + halfnorm(scale=2).logpdf(scale) + cauchy(0, 3).logpdf(loc)
        jacobian = np.log((1 - slope**2) / 2) + np.log(scale)
        lp = posterior.tree["sample_stats"]["lp"].values[0, index]
        assert lp == pytest.approx(fit + prior + jacobian, rel=1e-8)


def test_log_likelihood_keeps_its_time_axis(chains, noise):
    terms = chains["pyro"].tree["log_likelihood"]
    (values,) = terms.data_vars.values()
    assert values["step"].values.tolist() == np.flatnonzero(noise.mask[0, :, 0]).tolist()
    slope, scale, loc = (chains["pyro"].tree["posterior"][name].values[1, 7] for name in ("slope", "scale", "loc"))
    series = noise.values[0, :, 0]
    assert values.values[1, 7, 0, 1] == pytest.approx(norm(loc + slope * series[0], scale).logpdf(series[1]), rel=1e-10)


def test_threads_do_not_change_the_chains(models, noise):
    options = {"language": "numpyro", "num_warmup": 20, "num_samples": 30, "num_chains": 2}
    with pytest.warns(InferenceWarning):  # far too short, on purpose
        first, second = (
            nuts.run(models["conjugate"], noise, seed=5, chain_method=method, **options)
            for method in ("sequential", "parallel")
        )
    draws = first.tree["posterior"]["loc"].values
    assert np.array_equal(draws, second.tree["posterior"]["loc"])
    assert not np.array_equal(draws[0], draws[1])


def test_the_same_seed_gives_the_same_chains_under_pyro(models, noise):
    options = {"language": "pyro", "num_warmup": 20, "num_samples": 30, "num_chains": 2}
    with pytest.warns(InferenceWarning):
        first, second, other = (nuts.run(models["conjugate"], noise, seed=seed, **options) for seed in (5, 5, 6))
    draws = first.tree["posterior"]["loc"].values
    assert np.array_equal(draws, second.tree["posterior"]["loc"])
    assert not np.array_equal(draws, other.tree["posterior"]["loc"])
    assert not np.array_equal(draws[0], draws[1])


def test_divergences_and_few_draws_are_told_with_what_to_do(build, noise):
    """A funnel with twenty arms and a step size asked to accept little: it diverges."""

    def write(pp):
        spread = pp.sample("spread", pp.dist.Normal(0.0, 3.0))
        with pp.plate("arm", 20):
            pp.sample("arm", pp.dist.Normal(0.0, pp.xp.exp(spread)))

    model = build(write, lambda s: (0.0 * s["spread"][..., None], 0.0 * s["spread"][..., None] + 1.0))
    with pytest.warns(InferenceWarning) as caught:
        posterior = nuts.run(
            model,
            noise,
            seed=0,
            language="pyro",
            num_warmup=30,
            num_samples=40,
            num_chains=2,
            target_accept=0.4,
            max_tree_depth=4,
        )
    told = " ".join(str(warning.message) for warning in caught)
    assert "ended in a divergence" in told
    assert "Raise `target_accept`" in told
    assert "effective draws" in told
    facts = posterior.provenance["extra"]
    assert facts["divergences"] == int(posterior.tree["sample_stats"]["diverging"].sum()) > 0
    assert not facts["converged"]
    assert len(facts["notes"]) == len(caught)


def test_chains_in_two_modes_are_told_apart(build, noise):
    """The mean is |loc| in all but name; chains that start on different sides stay there, and R-hat says so."""

    def write(pp):
        pp.sample("loc", pp.dist.Normal(0.0, 2.0))

    model = build(write, lambda s: ((s["loc"] ** 2)[..., None], 0.0 * s["loc"][..., None] + 0.05))
    with pytest.warns(InferenceWarning) as caught:
        nuts.run(model, noise, seed=1, language="pyro", num_warmup=40, num_samples=40, num_chains=4)
    assert any("chains disagree: R-hat is" in str(w.message) and "at site 'loc'" in str(w.message) for w in caught)


def test_point_estimated_sites_are_refused(build, noise):
    model = build(lambda pp: pp.param("loc", 0.0), lambda s: (s["loc"][..., None], 0.0 * s["loc"][..., None] + 1.0))
    with pytest.raises(CapabilityError, match=r"'nuts' draws every site.*loc\. Use 'svi' or 'map'"):
        nuts.run(model, noise, seed=0, language="pyro")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chain_method": "pmap"}, "`chain_method` must be one of"),
        ({"num_samples": 0}, "`num_samples` must be at least 1"),
        ({"target_accept": 1.0}, "`target_accept` must lie between 0 and 1"),
        ({"max_tree_depth": 0}, "`max_tree_depth` must be at least 1"),
    ],
    ids=["method", "samples", "accept", "depth"],
)
def test_options_out_of_range_are_named(models, noise, options, message):
    with pytest.raises(ArgumentError, match=message):
        nuts.run(models["conjugate"], noise, seed=0, **options)
