from __future__ import annotations

import numpy as np
import pytest

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError
from dynplat.inference.prior import sample_prior
from dynplat.model import observations_from
from dynplat_filtering.components import COMPONENTS, Oscillators, Seasonal, component_from
from dynplat_filtering.entries import ENTRIES
from dynplat_filtering.models import named_components

SPECS = [*COMPONENTS, "seasonal:period=365.25:harmonics=3", "periodic:harmonics=2", "oscillators:count=5"]


@pytest.mark.parametrize("spec", SPECS)
def test_spec_builds_the_component_again(spec):
    component = component_from(spec)
    assert component_from(component.spec) == component


def test_spec_carries_its_options():
    assert component_from("seasonal:harmonics=2:period=0.125") == Seasonal(period=0.125, harmonics=2)
    assert component_from("oscillators:count=3") == Oscillators(count=3)
    assert Seasonal(period=365.25, harmonics=3).spec == "seasonal:period=365.25:harmonics=3"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("matern72", "`components` has 'matern72'; the components are .*'matern32'"),
        ("seasonal:length=3", "component 'seasonal' has no option 'length'; it has .*'period'"),
        ("local-level:sd=1", "component 'local-level' has no option 'sd'; it has none"),
        ("seasonal:period=year", "component 'seasonal': `period` must be a positive number; got 'year'"),
        ("seasonal:period=-3", "`period` must be a positive number; got '-3'"),
        ("seasonal:period", "`period` must be a positive number; got ''"),
        ("periodic:harmonics=inf", "`harmonics` must be a positive number; got 'inf'"),
    ],
)
def test_malformed_spec_is_refused(spec, message):
    with pytest.raises(ArgumentError, match=message):
        component_from(spec)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("structural", {"periods": (12.0, -1.0)}, "`periods` must be positive; got -1.0"),
        ("structural", {"harmonics": 0}, "`harmonics` must be positive; got 0"),
        ("structural", {"trend": "linear"}, "`trend` must be one of .*'smooth-trend'.*; got 'linear'"),
        ("oscillators", {"count": 3, "periods": (5.0,)}, r"`periods` must hold `count` = 3 numbers; got \(5.0,\)"),
        ("periodic", {"period": 0.0}, "`period` must be positive; got 0.0"),
        ("linear-sde", {"dimension": 0}, "`dimension` must be positive; got 0"),
        ("sum", {"components": ()}, "`components` must be a tuple of one or more texts"),
    ],
)
def test_impossible_option_is_refused(name, options, message):
    with pytest.raises(ArgumentError, match=message):
        dp.load_model(f"filtering/{name}", **options)


def wavy(factor: float = 1.0, shift: float = 0.0) -> Trajectories:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.5, 1.5, 60))
    values = np.stack([np.sin(times), 0.1 * np.cumsum(rng.normal(size=60))], axis=-1) + 0.2 * rng.normal(size=(60, 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    return Trajectories.from_arrays(times, factor * (values + shift))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_prior_scales_with_the_unit_of_the_values(entry):
    model, factor = dp.load_model(entry.id), 1000.0
    totals, draws = [], []
    for data in (wavy(), wavy(factor)):
        context = model.prepare(data)
        sites, infos = sample_prior(model, context, num_draws=3, seed=1, language="pyro")
        process = model.process({name: as_tensor(value) for name, value in sites.items()}, context)
        totals.append(process.log_prob(observations_from(data)).numpy()[:, 0])
        draws.append(sites)
    # The density of values a thousand times larger is a thousand times smaller, cell by cell.
    assert totals[1] == pytest.approx(totals[0] - wavy().mask.sum() * np.log(factor), rel=1e-8)
    free = ("length_scale", "period", "shape", "memory", "rotation", "coupling", "diffusion_sd")
    for name in infos:
        ratio = 1.0 if name.endswith(free) else factor
        assert draws[1][name] == pytest.approx(ratio * draws[0][name], rel=1e-9), name


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_prior_moves_with_the_data(entry):
    model = dp.load_model(entry.id)
    totals = []
    for data in (wavy(), wavy(shift=50.0)):
        context = model.prepare(data)
        sites, _ = sample_prior(model, context, num_draws=2, seed=1, language="pyro")
        process = model.process({name: as_tensor(value) for name, value in sites.items()}, context)
        totals.append(process.log_prob(observations_from(data)).numpy())
    assert totals[1] == pytest.approx(totals[0], rel=1e-7)


def test_repeated_components_are_numbered():
    model = dp.load_model("filtering/sum", components=("matern32", "local-level", "matern32"))
    names = [name for name, _ in named_components(model.prepare(wavy()))]
    assert names == ["matern321", "local_level", "matern322"]


def test_stationary_components_get_a_mean():
    for name in ("matern12", "periodic", "oscillators"):
        assert dp.load_model(f"filtering/{name}").prepare(wavy())["components"][0] == "mean"
    for name in ("local-level", "local-linear-trend", "structural"):
        assert "mean" not in dp.load_model(f"filtering/{name}").prepare(wavy())["components"]


def test_given_periods_are_taken():
    structural = dp.load_model("filtering/structural", periods=(12.0,), harmonics=3)
    assert "seasonal:period=12.0:harmonics=3" in structural.prepare(wavy())["components"]
    assert dp.load_model("filtering/periodic", period=5.0).prepare(wavy())["periods"] == (5.0,)
    assert dp.load_model("filtering/structural", periods=()).prepare(wavy())["components"] == (
        "local-linear-trend",
        "short-memory",
    )


def as_tensor(value):
    import torch

    return torch.as_tensor(value)


def test_pairs_of_states_are_named_by_row_and_column():
    data = dp.Trajectories.from_arrays(np.arange(5.0), np.arange(15.0).reshape(5, 3), channels=["a", "b", "c"])
    model = dp.load_model("filtering/linear-sde")
    assert model.coords(model.prepare(data)) == {"pair": ["1-0", "2-0", "2-1"]}
