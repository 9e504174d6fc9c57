from __future__ import annotations

import numpy as np
import pytest

from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.model import SiteInfo, summarise
from dynplat.posterior import Posterior, impute, predict


def terms_for(data, chains=2, draws=40, seed=0):
    """Terms that vary little over the draws, with bounded weights, so that leave-one-out is sound."""
    rng = np.random.default_rng(seed)
    terms = -1 - 0.1 * rng.random((chains, draws, *data.times.shape))
    return np.where(data.mask.any(axis=2), terms, 0.0)


def test_tree_has_arviz_groups_and_named_dimensions(fit, ragged) -> None:
    lead = (2, 40)
    posterior = fit(
        ragged,
        local=True,
        sample_stats={"lp": np.zeros(lead), "diverging": np.zeros(lead, dtype=bool)},
        log_likelihood=terms_for(ragged),
        unconstrained={"mu": np.zeros((*lead, 2))},
    )
    assert set(posterior.tree.children) == {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "observed_data",
        "constant_data",
        "unconstrained_posterior",
        "provenance",
    }
    sites = posterior.tree["posterior"]
    assert sites["mu"].dims == ("chain", "draw", "mu_dim_0")
    assert sites["tau"].dims == ("chain", "draw", "series")
    assert list(sites["series"].values) == ["north", "south", "east"]
    # Plots of ArviZ 1.x select along coordinates, so that every dimension needs one.
    assert all(set(group.dataset.sizes) <= set(group.dataset.coords) for group in posterior.tree.children.values())
    observed = posterior.tree["observed_data"]["y"]
    assert observed.dims == ("series", "time", "channel")
    np.testing.assert_array_equal(observed.notnull().values, ragged.mask)
    np.testing.assert_array_equal(posterior.tree["constant_data"]["observed"].values, ragged.mask)
    np.testing.assert_array_equal(posterior.tree["constant_data"]["date"].values, ragged.labels)
    np.testing.assert_array_equal(posterior.tree["constant_data"]["static_height"].values, [3.0, 4.0, 5.5])


def test_shared_dates_are_an_index(fit) -> None:
    dates = np.array(["2001-01-01", "2001-02-01", "2001-03-01"], "M8[ns]")
    data = Trajectories.from_arrays(dates, np.ones((2, 3, 1)))
    tree = fit(data).tree
    assert float(tree["observed_data"]["y"].sel(time="2001-02-01", series="1").squeeze()) == 1.0


def test_log_likelihood_keeps_time_and_leaves_out_rows_without_an_observation(fit, single, ragged) -> None:
    terms = terms_for(single)
    posterior = fit(single, log_likelihood=terms)
    kept = posterior.tree["log_likelihood"]["y"]
    assert kept.dims == ("chain", "draw", "series", "time")
    np.testing.assert_array_equal(kept["time"], [0.0, 1.0, 2.0, 3.0, 5.0])
    np.testing.assert_array_equal(posterior.log_likelihood_steps, terms)
    assert posterior.log_likelihood == pytest.approx(terms.sum(axis=(2, 3)).mean())
    terms = terms_for(ragged)
    posterior = fit(ragged, log_likelihood=terms)
    kept = posterior.tree["log_likelihood"]["y"]
    assert kept.dims == ("chain", "draw", "row")
    assert kept.sizes["row"] == ragged.mask.any(axis=2).sum()
    np.testing.assert_array_equal(posterior.log_likelihood_steps, terms)
    assert fit(single).log_likelihood is None


def test_arviz_reads_the_tree(fit, ragged, single) -> None:
    import arviz_stats

    for data in (single, ragged):
        posterior = fit(data, log_likelihood=terms_for(data))
        table = arviz_stats.summary(posterior.tree)
        assert table.loc["mu[0]", "mean"] == pytest.approx(
            float(posterior.tree["posterior"]["mu"][..., 0].mean()), abs=0.005
        )
        direct, ours = arviz_stats.loo(posterior.tree), posterior.loo()
        assert ours.elpd == direct.elpd
        assert ours.n_data_points == data.mask.any(axis=2).sum()
        # With terms that hardly vary over the draws leave-one-out is close to their sum.
        assert ours.elpd == pytest.approx(posterior.log_likelihood, abs=2.0)


def test_loo_of_the_tree_equals_loo_of_hand_flattened_terms(fit, ragged) -> None:
    import arviz_base
    import arviz_stats

    terms = terms_for(ragged)
    posterior = fit(ragged, log_likelihood=terms)
    flat = terms[:, :, ragged.mask.any(axis=2)]
    by_hand = arviz_base.from_dict(
        {"posterior": {"mu": posterior.tree["posterior"]["mu"].values}, "log_likelihood": {"y": flat}}
    )
    expected = arviz_stats.loo(by_hand)
    assert posterior.loo().elpd == pytest.approx(expected.elpd, rel=1e-12)
    assert posterior.loo().se == pytest.approx(expected.se, rel=1e-12)


def test_loo_refuses_what_it_cannot_read(fit, single) -> None:
    with pytest.raises(CapabilityError, match="holds no log-likelihood"):
        fit(single).loo()
    with pytest.raises(CapabilityError, match="at least 25 draws; the posterior has 1"):
        fit(single, chains=1, draws=1, log_likelihood=terms_for(single, 1, 1)).loo()


def test_arviz_plots_draw_the_tree(fit, single) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    try:
        import arviz_plots
    except AttributeError:
        pytest.skip("arviz-plots 0.8, the last for Python 3.11, cannot be imported with matplotlib 3.11 or later")

    posterior = fit(single, log_likelihood=terms_for(single))
    collection = arviz_plots.plot_trace(posterior.tree, var_names=["mu"], backend="matplotlib")
    assert collection.viz.children
    plt.close("all")


def test_arviz_draws_traces_and_distributions(fit, single) -> None:
    import matplotlib

    matplotlib.use("agg")
    import arviz_plots
    import matplotlib.pyplot as plt

    posterior = fit(single)
    collection = arviz_plots.plot_trace_dist(posterior.tree, backend="matplotlib")
    assert {"mu", "sigma"} <= set(collection.viz["trace"].data_vars)
    plt.close("all")


def test_summary_of_a_point_estimate_has_its_standard_errors(fit, ragged) -> None:
    errors = {"mu": np.array([0.1, 0.2]), "tau": np.array([1.0, 2.0, np.nan])}
    posterior = fit(ragged, local=True, chains=1, draws=1, method="map", extra={"standard_errors": errors})
    table = posterior.summary()
    assert table.loc["mu[1]", "sd"] == 0.2
    assert table.loc["tau[south]", "sd"] == 2.0
    assert np.isnan(table.loc["tau[east]", "sd"])
    assert np.isnan(table.loc["sigma[0]", "sd"])
    assert table.loc["mu[1]", "mean"] == float(posterior.tree["posterior"]["mu"][0, 0, 1])
    np.testing.assert_array_equal(posterior.standard_errors["tau"], errors["tau"])


@pytest.mark.parametrize("num_draws", [1, 6])
def test_sites_are_summarised_however_many_dimensions_they_have(ragged, conjugate, num_draws) -> None:
    """NumPy has 64 dimensions, and the weights of a network more."""
    core = (2, *(1,) * 7)
    draws = {f"w{k}": np.random.default_rng(k).standard_normal((1, num_draws, *core)) for k in range(9)}
    infos = {name: SiteInfo(name, "param", core, False) for name in draws}
    parts = {"method": "train", "language": "pyro", "seed": 0}
    table = Posterior.from_draws(conjugate.Level(), summarise(ragged), ragged, draws, infos, **parts).summary()
    assert list(table.index) == [f"{name}[{row}, 0, 0, 0, 0, 0, 0, 0]" for name in draws for row in (0, 1)]
    np.testing.assert_allclose(
        table["mean"], [w.reshape(num_draws, 2)[:, k].mean() for w in draws.values() for k in (0, 1)]
    )


def test_named_dimensions_carry_the_names_of_the_data(ragged, conjugate) -> None:
    draws = {"mu": np.zeros((1, 2, 2)), "tau": np.zeros((1, 2, 3, 2)), "mix": np.zeros((1, 2, 2, 4))}
    infos = {
        "mu": SiteInfo("mu", "sample", (2,), False, ("channel",)),
        "tau": SiteInfo("tau", "sample", (2,), True, ("channel",)),
        "mix": SiteInfo("mix", "sample", (2, 4), False, ("channel", None)),
    }
    parts = {"method": "nuts", "language": "pyro", "seed": 0}
    # The transform of `mix` takes one number off each row, so that its names no longer fit.
    parts["unconstrained"] = {"tau": np.zeros((1, 2, 3, 2)), "mix": np.zeros((1, 2, 2, 3))}
    posterior = Posterior.from_draws(conjugate.Level(), summarise(ragged), ragged, draws, infos, **parts)
    sites = posterior.tree["posterior"]
    assert sites["mu"].dims == ("chain", "draw", "channel")
    assert sites["tau"].dims == ("chain", "draw", "series", "channel")
    assert sites["mix"].dims == ("chain", "draw", "channel", "mix_dim_1")
    free = posterior.tree["unconstrained_posterior"]
    assert free["tau"].dims == ("chain", "draw", "series", "channel")
    assert float(free["tau"].sel(channel="flow", series="east").sum()) == 0.0
    assert free["mix"].dims == ("chain", "draw", "mix_dim_0", "mix_dim_1")
    assert sites["mu"].sel(channel="flow").shape == (1, 2)
    rows = list(posterior.summary().index)
    assert rows[:4] == ["mu[heat]", "mu[flow]", "tau[north, heat]", "tau[north, flow]"]
    assert rows[-1] == "mix[flow, 3]"
    assert {name: value.shape for name, value in posterior.sites(np.asarray).items()} == {
        "mu": (2, 1, 2),
        "tau": (2, 3, 2),
        "mix": (2, 1, 2, 4),
    }
    wrong = {**infos, "mu": SiteInfo("mu", "sample", (2,), False, ("mix",))}
    with pytest.raises(ArgumentError, match="`dims` of site 'mu'"):
        Posterior.from_draws(conjugate.Level(), summarise(ragged), ragged, draws, wrong, **parts)


def test_standard_errors_of_draws_are_their_standard_deviations(fit, single) -> None:
    posterior = fit(single)
    values = posterior.tree["posterior"]["mu"].values.reshape(-1, 1)
    np.testing.assert_allclose(posterior.standard_errors["mu"], values.std(axis=0, ddof=1))
    # ArviZ 0.8 divides by the number of draws, later versions by one less.
    assert posterior.summary().loc["mu[0]", "sd"] == pytest.approx(values.std(), rel=0.01)


def test_sites_are_canonical(fit, ragged) -> None:
    posterior = fit(ragged, local=True)
    sites = posterior.sites(np.asarray)
    assert sites["mu"].shape == (80, 1, 2)
    assert sites["tau"].shape == (80, 3)
    np.testing.assert_array_equal(sites["mu"][40:, 0], posterior.tree["posterior"]["mu"][1])


def test_sites_are_thinned_evenly_and_by_the_seed(fit, ragged) -> None:
    posterior = fit(ragged)
    full = posterior.sites(np.asarray)["mu"]
    for wanted in (1, 7, 79):
        some = posterior.sites(np.asarray, wanted)["mu"]
        place = [int(np.flatnonzero((full == row).all(axis=(1, 2)))[0]) for row in some]
        assert len(place) == wanted
        assert np.ptp(np.diff(place)) <= 1 if wanted > 1 else True
        np.testing.assert_array_equal(some, posterior.sites(np.asarray, wanted)["mu"])
    assert not np.array_equal(posterior.sites(np.asarray, 7, 1)["mu"], posterior.sites(np.asarray, 7, 2)["mu"])
    np.testing.assert_array_equal(posterior.sites(np.asarray, 500)["mu"], full)
    with pytest.raises(ArgumentError, match="at least 1"):
        posterior.sites(np.asarray, 0)


def test_provenance_says_where_it_comes_from(fit, single) -> None:
    import torch

    posterior = fit(single, language="pyro", command="dynplat fit x.csv", extra={"steps": np.int64(3), "bad": np.nan})
    facts = posterior.provenance
    assert facts["model"] == "toy/level"
    assert facts["options"] == {"tau": 2.0, "hierarchical": False, "note": [], "gaussian": True}
    assert facts["plugin"] is None
    assert (facts["method"], facts["language"], facts["seed"]) == ("nuts", "pyro", 3)
    assert facts["data_fingerprint"] == single.fingerprint()
    assert facts["command"] == "dynplat fit x.csv"
    assert facts["versions"]["torch"] == torch.__version__
    assert set(facts["versions"]) == {"python", "dynplat", "numpy", "torch", "pyro-ppl"}
    assert facts["extra"] == {"steps": 3, "bad": "nan"}
    assert facts["created"].endswith("+00:00")
    assert posterior.tree["provenance"]["method"].item() == "nuts"


def test_plugin_is_found_by_its_entry_point(fit, single, monkeypatch) -> None:
    class Distribution:
        name, version = "dynplat-toys", "1.2"

    class Point:
        name, module, dist = "toys", "conjugate.plugin", Distribution()

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()])
    assert fit(single).provenance["plugin"] == {"name": "toys", "distribution": "dynplat-toys", "version": "1.2"}


def test_representation_names_model_method_and_sites(fit, ragged) -> None:
    text = repr(fit(ragged, local=True))
    assert text == ("<Posterior of toy/level by nuts: 2 chains of 40 draws; sites mu (2,), sigma (2,), tau (3,)>")


def test_predictions_become_arviz_groups(fit, single) -> None:
    posterior = fit(single)
    whole = posterior.with_prediction(impute(posterior, num_draws=30), "posterior_predictive")
    whole = whole.with_prediction(predict(posterior, [9.0], num_draws=20))
    assert whole.tree["posterior_predictive"]["y"].shape == (2, 15, 1, 7, 1)
    assert whole.tree["predictions"]["y"].dims == ("chain", "draw", "series", "time", "channel")
    assert "predictions" not in posterior.tree.children
    with pytest.raises(ArgumentError, match="at the rows of the data"):
        posterior.with_prediction(predict(posterior, [9.0]), "posterior_predictive")
    with pytest.raises(ArgumentError, match="'predictions' or 'posterior_predictive'"):
        posterior.with_prediction(predict(posterior, [9.0]), "forecasts")
    with pytest.raises(ArgumentError, match="hold draws"):
        posterior.with_prediction(predict(posterior, [9.0], num_draws=0))


def test_predictive_draws_carry_the_chain_and_draw_they_were_made_with(fit, single) -> None:
    posterior = fit(single)

    def group(**options):
        return posterior.with_prediction(impute(posterior, **options)).tree["predictions"]

    # The noise is huge in draw 7 of chain 1 alone: the predictive draw of this label is far away.
    posterior.tree["posterior"]["sigma"].loc[{"chain": 1, "draw": 7}] = 1e9
    whole = group(num_draws=80)
    assert dict(whole["y"].sizes) == {"chain": 2, "draw": 40, "series": 1, "time": 7, "channel": 1}
    far = (np.abs(whole["y"].isel(series=0, time=0, channel=0)) > 1e5).values
    assert np.argwhere(far).tolist() == [[1, 7]]
    thin = group(num_draws=20, max_components=20)
    assert thin["chain"].values.tolist() == [0, 1]
    assert np.diff(thin["draw"].values).tolist() == [4] * 9
    # Two for each draw, or an uneven selection, cannot be paired, and no label pretends that they are.
    for count in (160, 37):
        loose = group(num_draws=count)
        assert dict(loose["y"].sizes)["chain"] == 1
        assert not np.isin(loose["draw"].values, posterior.tree["posterior"]["draw"].values).any()


def test_arviz_checks_the_predictive_draws(fit, single) -> None:
    import matplotlib

    matplotlib.use("agg")
    import arviz_plots
    import arviz_stats
    import matplotlib.pyplot as plt

    posterior = fit(single, log_likelihood=terms_for(single))
    whole = posterior.with_prediction(impute(posterior, num_draws=80), "posterior_predictive")
    assert set(whole.tree["posterior_predictive"].data_vars) == {"y"}
    assert whole.tree["posterior_predictive"]["times"].dims == ("series", "time")
    # ArviZ's checks take one dimension of observations, none missing.
    seen = whole.tree.sel(time=whole.tree["log_likelihood"]["time"].values, series="0", channel="value")
    for plot in ("plot_loo_pit", "plot_ppc_interval", "plot_ppc_pit", "plot_ppc_tstat", "plot_ppc_dist"):
        assert getattr(arviz_plots, plot)(seen, backend="matplotlib").viz.children, plot
    plt.close("all")
    # With terms that hardly vary over the draws the weights are even: the share of draws below the observed value.
    pit = arviz_stats.loo_pit(seen)["y"]
    below = (seen["posterior_predictive"]["y"] <= seen["observed_data"]["y"]).mean(("chain", "draw"))
    np.testing.assert_allclose(pit, below, atol=0.02)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "time"}, ArgumentError, "may not be called 'time'"),
        ({"name": "a/b"}, ArgumentError, "may not be called 'a/b'"),
        ({"shape": (2, 5, 4)}, ArgumentError, r"must have shape \(chain, draw, 3\); got \(2, 5, 4\)"),
        ({"shape": (3, 5, 3)}, ArgumentError, r"must have shape \(2, 5, 3\)"),
        ({"value": np.inf}, InferenceError, "30 values that are not finite"),
        ({"terms": np.zeros((2, 5, 7))}, ArgumentError, r"\(chain, draw, series, time\) = \(2, 5, 1, 7\)"),
    ],
    ids=str,
)
def test_wrong_draws_are_named(single, conjugate, change, error, message) -> None:
    name = change.get("name", "b")
    draws = {"a": np.zeros((2, 5)), name: np.full(change.get("shape", (2, 5, 3)), change.get("value", 1.0))}
    infos = {"a": SiteInfo("a", "sample", (), False), name: SiteInfo(name, "sample", (3,), False)}
    if "shape" in change and change["shape"][0] == 2:
        del draws["a"], infos["a"]
    with pytest.raises(error, match=message):
        Posterior.from_draws(
            conjugate.Level(),
            summarise(single),
            single,
            draws,
            infos,
            method="nuts",
            language="pyro",
            seed=0,
            log_likelihood=change.get("terms"),
        )


def test_names_of_draws_and_infos_must_agree(single, conjugate) -> None:
    with pytest.raises(ArgumentError, match="must name the same sites"):
        Posterior.from_draws(
            conjugate.Level(), summarise(single), single, {"a": np.zeros((1, 1))}, {}, method="map", language="", seed=0
        )
