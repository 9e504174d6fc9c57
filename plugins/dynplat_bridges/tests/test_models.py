"""The models: what they say at, between and after the snapshots, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.arrays import Observations, random_source
from dynplat.data import Snapshots
from dynplat.errors import ArgumentError, DataError, InferenceError
from dynplat_bridges.entries import ENTRIES
from dynplat_bridges.populations import checked_populations
from dynplat_bridges.tests.conftest import observations_of, reverting_populations, solved

DATA = reverting_populations(count=50)


def test_gaussian_law_has_the_moments_of_the_snapshots_and_goes_on():
    model = dp.load_model("bridges/gaussian", reference="ornstein-uhlenbeck")
    _, sites, law = solved(model, DATA)
    predictive = law.at(np.append(DATA.times, [3.5, 100.0])[None])
    assert predictive.family == "gaussian"
    mean, variance = predictive.mean(), predictive.variance()
    assert mean.shape == (1, 1, 7, 2)
    for k, particles in enumerate(DATA.populations):
        np.testing.assert_allclose(mean[0, 0, k], particles.mean(axis=0), atol=1e-10)
        np.testing.assert_allclose(variance[0, 0, k], particles.var(axis=0), rtol=1e-9)
    # Far ahead the stationary law of the reference is all that is known.
    np.testing.assert_allclose(mean[0, 0, -1], sites["centre"][0, 0], atol=1e-8)
    np.testing.assert_allclose(variance[0, 0, -1], (sites["diffusion"] ** 2 / 2 / sites["rate"])[0, 0], rtol=1e-8)
    drawn = predictive.draws(7, random=random_source(0, np.empty(0)))
    assert drawn.shape == (7, 1, 1, 7, 2)


def test_leading_axes_of_sites():
    model = dp.load_model("bridges/gaussian")
    context, sites, _ = solved(model, DATA)
    many = {name: np.multiply.outer([0.5, 1.0, 2.0], value[0]) for name, value in sites.items()}
    seen = observations_of(DATA)
    at = np.array([[0.2, 1.0]])
    law = model.process(many, context).condition(seen).at(at)
    assert law.mean().shape == (3, 1, 2, 2)
    for i in range(3):
        alone = {name: value[i : i + 1] for name, value in many.items()}
        np.testing.assert_allclose(
            law.variance()[i], model.process(alone, context).condition(seen).at(at).variance()[0], rtol=1e-12
        )


def test_particles_are_met_at_the_snapshots():
    for name in ("bridges/static", "bridges/multimarginal"):
        _, _, law = solved(dp.load_model(name), DATA)
        predictive = law.at(np.append(DATA.times, 3.5)[None])
        drawn, mean = predictive.draws(50, random=random_source(0, np.empty(0))), predictive.mean()
        assert drawn.shape == (50, 1, 1, 6, 2)
        assert mean.shape == (1, 1, 6, 2)
        for k, particles in enumerate(DATA.populations):
            np.testing.assert_allclose(mean[0, 0, k], particles.mean(axis=0), atol=1e-5)
            np.testing.assert_array_equal(np.abs(drawn[:, 0, 0, k, None] - particles).sum(axis=-1).min(axis=1), 0.0)
        np.testing.assert_allclose(predictive.covariance()[0, 0, 0], np.cov(DATA.populations[0].T, ddof=0), atol=1e-5)


def test_one_diffusion_for_all_pairs_or_one_for_each():
    models = [dp.load_model(f"bridges/{name}", reference="brownian") for name in ("multimarginal", "static")]
    (_, whole, _), (_, each, law) = (solved(model, DATA) for model in models)
    assert whole["diffusion"].shape == (1, 1, 2)
    assert each["diffusion"].shape == (1, 1, 4, 2)
    # What fits all pairs lies between what fits each.
    assert (whole["diffusion"][0] > each["diffusion"][0, 0].min(axis=0)).all()
    assert (whole["diffusion"][0] < each["diffusion"][0, 0].max(axis=0)).all()
    # Each is that of the coupled increments of its pair.
    bridge = law.bridge
    for k, coupling in enumerate(bridge.couplings):
        squares = (bridge.particles[k][:, None] - bridge.particles[k + 1]) ** 2
        wanted = (np.exp(coupling.log_plan[0, 0])[..., None] * squares).sum(axis=(0, 1)) / np.diff(DATA.times)[k]
        np.testing.assert_allclose(each["diffusion"][0, 0, k] ** 2, wanted, rtol=1e-3)


def test_multimarginal_fits_the_drift():
    _, sites, _ = solved(dp.load_model("bridges/multimarginal", reference="ornstein-uhlenbeck"), DATA)
    np.testing.assert_allclose(sites["centre"][0, 0], [3.0, -1.0], atol=0.6)
    np.testing.assert_allclose(sites["rate"][0, 0], [0.8, 0.8], rtol=0.5)
    np.testing.assert_allclose(sites["diffusion"][0, 0], [0.5, 1.0], rtol=0.3)


def test_static_refuses_an_open_drift_and_other_numbers_of_snapshots():
    with pytest.raises(ArgumentError, match="must have a known drift; 'ornstein-uhlenbeck' leaves centre, rate open"):
        dp.load_model("bridges/static", reference="ornstein-uhlenbeck").prepare(DATA)
    model = dp.load_model("bridges/static", reference="ornstein-uhlenbeck:rate=0.8:centre=3,-1")
    context, sites, _ = solved(model, DATA)
    np.testing.assert_array_equal(sites["centre"], np.broadcast_to([3.0, -1.0], (1, 1, 4, 2)))
    with pytest.raises(ArgumentError, match=r"was fitted to 5 snapshots.*asked about 3"):
        model.process(sites, context).condition(observations_of(DATA.select_times([0, 1, 2])))


def test_velocity_changes_the_fitted_diffusion_and_not_the_bridge():
    _, sites, _ = solved(dp.load_model("bridges/static"), DATA)
    moved = np.diff([particles.mean(axis=0) for particles in DATA.populations], axis=0)
    np.testing.assert_allclose(sites["velocity"][0, 0], moved / np.diff(DATA.times)[:, None], atol=1e-4)
    _, still, _ = solved(dp.load_model("bridges/static", reference="brownian"), DATA)
    assert (sites["diffusion"][0, 0, 0] < still["diffusion"][0, 0, 0]).all()
    at = np.array([[0.2, 0.9, 2.7]])
    laws = [
        solved(dp.load_model(f"bridges/{name}", reference=text, diffusion=0.7), DATA)[2].at(at)
        for name in ("static", "multimarginal")
        for text in ("brownian", "drifting-brownian")
    ]
    for law in laws[1:]:
        np.testing.assert_allclose(law.covariance(), laws[0].covariance(), atol=1e-5)


def test_automatic_references():
    names = {}
    for name in ("gaussian", "static", "multimarginal"):
        model = dp.load_model(f"bridges/{name}")
        names[name] = [model.prepare(DATA.select_times(range(count)))["reference"] for count in (2, 3, 4)]
    assert names.pop("static") == ["drifting-brownian"] * 3
    assert set(map(tuple, names.values())) == {("drifting-brownian", "drifting-brownian", "linear-sde")}


def test_noise_too_small_for_the_iterations_is_refused():
    model = dp.load_model("bridges/multimarginal", diffusion=0.1, max_iterations=2)
    with pytest.raises(InferenceError, match=r"between the snapshots at 0 and 0\.5: .* the marginal error is"):
        solved(model, DATA)[2].at(np.array([[0.2]]))
    with pytest.raises(ArgumentError, match="`tolerance` must be between 0 and 1"):
        dp.load_model("bridges/static", tolerance=0.0)
    with pytest.raises(ArgumentError, match="`max_iterations` must be at least 1"):
        dp.load_model("bridges/static", max_iterations=0)


def test_fewer_than_two_snapshots_are_refused():
    with pytest.raises(DataError, match="at least two snapshots; the data have 1"):
        dp.load_model("bridges/gaussian").prepare(DATA.select_times([0]))


def test_an_empty_population_is_refused():
    data = Snapshots.from_arrays([0.0, 1.0, 2.0], [np.zeros((3, 1)), np.zeros((0, 1)), np.ones((3, 1))])
    with pytest.raises(DataError, match=r"population at time 1\.0 is empty.*hide_times"):
        dp.load_model("bridges/gaussian").prepare(data)


def test_options_are_refused():
    with pytest.raises(ArgumentError, match="`diffusion` of Brownian must be positive; got 0"):
        dp.load_model("bridges/gaussian", diffusion=0.0)
    with pytest.raises(ArgumentError, match="must name one of brownian"):
        dp.load_model("bridges/gaussian", reference="unknown")
    with pytest.raises(ArgumentError, match="one for each of 2 channels"):
        dp.load_model("bridges/gaussian", diffusion=(1.0, 2.0, 3.0)).prepare(DATA)
    with pytest.raises(ArgumentError, match="one for each of 2 channels"):
        dp.load_model("bridges/gaussian", reference="ornstein-uhlenbeck:centre=1,2,3").prepare(DATA)


def test_a_single_snapshot_is_refused():
    times, values = np.array([[0.0, 0.0, 1.0]]), np.zeros((1, 3, 2))
    mask = np.ones(values.shape, dtype=bool)
    assert [len(p) for p in checked_populations(Observations(times, values, mask)).particles] == [2, 1]
    with pytest.raises(DataError, match="at least two snapshots; the data have 1"):
        checked_populations(Observations(np.zeros((1, 3)), values, mask))


@pytest.mark.parametrize("name", [entry.id for entry in ENTRIES])
def test_fit_predict_forecast_save(name, tmp_path):
    fit = dp.fit(dp.load_model(name), DATA, seed=0)
    assert fit.provenance["method"] == "solve"
    between = dp.predict(fit, [0.25, 1.2], num_draws=300, seed=1)
    assert between.draws.shape == (300, 1, 2, 2)
    particles = DATA.populations[2]
    np.testing.assert_allclose(between.draws[:, 0, 1].mean(axis=0), particles.mean(axis=0), atol=0.3)
    ahead = dp.forecast(fit, times=[4.0])
    assert np.isfinite(ahead.draws).all()
    fit.save(tmp_path / "fit.nc")
    again = dp.predict(dp.load_posterior(tmp_path / "fit.nc"), [0.25, 1.2], num_draws=300, seed=1)
    np.testing.assert_array_equal(again.draws, between.draws)
    with pytest.raises(ArgumentError, match="before the first"):
        dp.predict(fit, [-1.0])
