from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dynplat.errors import ArgumentError, CapabilityError, StorageError
from dynplat.posterior import Prediction, impute, predict


@pytest.fixture
def mixture() -> Prediction:
    rng = np.random.default_rng(4)
    mean, sd = rng.standard_normal((6, 2, 3, 1)), rng.gamma(3.0, 0.3, (6, 2, 3, 1))
    valid = np.array([[True, True, True], [True, True, False]])
    times = np.array([[0.0, 1.0, 2.0], [0.0, 5.0, 5.0]])
    coords = {"series": ["a", "b"], "channel": ["y"]}
    return Prediction.from_arrays(times, valid, coords=coords, component_mean=mean, component_sd=sd)


def test_quantiles_have_their_probability(mixture) -> None:
    levels = np.array([0.01, 0.5, 0.99])
    quantiles = mixture.quantile(levels)
    assert quantiles.dims == ("quantile", "series", "time", "channel")
    for level, cells in zip(levels, quantiles, strict=True):
        np.testing.assert_allclose(mixture.cdf(cells.values).values[mixture.valid.values], level, rtol=1e-12)
        np.testing.assert_array_equal(cells.values, mixture.quantile(float(level)).values)
    assert np.isnan(quantiles.values[:, 1, 2]).all()


def test_interval_is_equal_tailed(mixture) -> None:
    lower, upper = mixture.interval(0.8)
    # (1 - 0.8) / 2 and 0.1 differ in the last bit.
    np.testing.assert_allclose(lower.values, mixture.quantile(0.1).values, rtol=1e-12)
    np.testing.assert_allclose(upper.values, mixture.quantile(0.9).values, rtol=1e-12)


def test_one_component_is_a_normal_law() -> None:
    mean, sd = np.full((1, 1, 1, 1), 3.0), np.full((1, 1, 1, 1), 2.0)
    law = Prediction.from_arrays(
        np.zeros((1, 1)),
        np.ones((1, 1), dtype=bool),
        coords={"series": ["0"], "channel": ["y"]},
        component_mean=mean,
        component_sd=sd,
    )
    exact = stats.norm(3.0, 2.0)
    assert law.cdf(4.0).item() == pytest.approx(exact.cdf(4.0), rel=1e-14)
    assert law.quantile(0.3).item() == pytest.approx(exact.ppf(0.3), rel=1e-14)
    assert law.log_density(4.0).item() == pytest.approx(exact.logpdf(4.0), rel=1e-14)
    assert law.sd.item() == 2.0


def test_draws_serve_where_there_are_no_components() -> None:
    draws = np.arange(101.0).reshape(101, 1, 1, 1)
    law = Prediction.from_arrays(
        np.zeros((1, 1)), np.ones((1, 1), dtype=bool), coords={"series": ["0"], "channel": ["y"]}, draws=draws
    )
    assert law.mean.item() == 50.0
    assert law.quantile(0.25).item() == 25.0
    assert law.interval(0.9).upper.item() == pytest.approx(95.0)
    assert law.cdf(49.5).item() == pytest.approx(50 / 101)
    assert law.sd.item() == pytest.approx(draws.std(ddof=1))
    with pytest.raises(CapabilityError, match="no closed form"):
        law.log_density(1.0)


def test_frame_has_one_line_per_valid_cell(fit, ragged, single) -> None:
    frame = impute(fit(ragged), num_draws=0).to_frame(levels=(0.9, 0.5))
    assert list(frame.columns) == [
        "series",
        "time",
        "channel",
        "mean",
        "sd",
        "lower_90",
        "upper_90",
        "lower_50",
        "upper_50",
    ]
    assert len(frame) == ragged.lengths.sum() * 2
    assert frame["time"].iloc[0] == ragged.labels[0, 0]
    assert (frame["lower_90"] < frame["lower_50"]).all()
    assert impute(fit(single), num_draws=0).to_frame()["time"].tolist() == single.times[0].tolist()


@pytest.mark.parametrize("data", ["ragged", "single"])
def test_save_and_load_give_the_same_prediction(fit, data, request, tmp_path) -> None:
    trajectories = request.getfixturevalue(data)
    prediction = predict(fit(trajectories), trajectories.times[0], num_draws=5, values=1.0)
    prediction.save(tmp_path / "p.nc")
    again = Prediction.load(tmp_path / "p.nc")
    assert again.dataset.identical(prediction.dataset)
    np.testing.assert_array_equal(again.quantile(0.1).values, prediction.quantile(0.1).values)


def test_file_of_another_kind_is_refused(fit, single, tmp_path) -> None:
    posterior = fit(single)
    posterior.save(tmp_path / "fit.nc")
    with pytest.raises(StorageError, match=r"a dynplat posterior, not a dynplat prediction.*Prediction.save"):
        Prediction.load(tmp_path / "fit.nc")
    with pytest.raises(StorageError, match="no such file"):
        Prediction.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(StorageError, match="not a readable NetCDF file"):
        Prediction.load(tmp_path / "text.nc")


def test_wrong_levels_and_values_are_named(mixture) -> None:
    for wrong in (0.0, 1.0, [0.2, 1.5], float("nan"), [[0.1]]):
        with pytest.raises(ArgumentError, match="`p` must be a probability"):
            mixture.quantile(wrong)
    with pytest.raises(ArgumentError, match="`level` must be between"):
        mixture.interval(90)
    with pytest.raises(ArgumentError, match=r"must broadcast to .* = \(2, 3, 1\); got \(4,\)"):
        mixture.cdf(np.zeros(4))
    with pytest.raises(CapabilityError, match="holds no draws"):
        mixture.draws  # noqa: B018
