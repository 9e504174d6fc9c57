"""Covariates that change with time, in the models: published numbers, breaks, predictions, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import dynplat as dp
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat.model import observations_from
from dynplat_jumps import derived
from dynplat_jumps.tests.test_models import CAV


def made(seed=0, num_series=6, states=3):
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.uniform(0.0, 9.0, 8)) for _ in range(num_series)]
    values = [rng.integers(1, states + 1, 8).astype(float) for _ in range(num_series)]
    inputs = [rng.normal(size=(8, 2)) for _ in range(num_series)]
    return times, values, inputs


def test_sex_as_an_input_is_sex_as_a_covariate(mirror):
    data = dp.load_dataset("heart-transplant")
    rows = [slice(0, int(length)) for length in data.lengths]
    moving = Trajectories.from_arrays(
        [data.times[s, row] for s, row in enumerate(rows)],
        [data.values[s, row] for s, row in enumerate(rows)],
        marks=[data.marks[s, row] for s, row in enumerate(rows)],
        inputs=[np.full((int(length), 1), data.static["sex"][s], float) for s, length in enumerate(data.lengths)],
        input_names=["sex"],
        series=data.series,
        channels=data.channels,
    )
    model = dp.load_model("jumps/panel", structure=CAV, inputs=("sex",))
    fit = dp.fit(model, moving, "mle", restarts=0, errors=False)
    assert -2.0 * fit.provenance["extra"]["log_likelihood"] == pytest.approx(3954.777, abs=2e-3)
    assert list(fit.summary().index)[7:9] == ["input_effect[sex, 1-2]", "input_effect[sex, 1-4]"]


@pytest.mark.parametrize("name", ["panel", "hidden"])
def test_an_indicator_of_time_is_a_break(name):
    """With a row at the break, rates r exp(g (0 - m)) before it and r exp(g (1 - m)) after it."""
    times, values, _ = made()
    times = [np.sort(np.r_[t, 4.0]) for t in times]
    values = [np.r_[v, 2.0] for v in values]
    after = [(t >= 4.0).astype(float)[:, None] for t in times]
    options = {"num_states": 3} if name == "hidden" else {}
    model = dp.load_model(f"jumps/{name}", inputs=("after",), initial="uniform", **options)
    data = Trajectories.from_arrays(times, values, inputs=after, input_names=["after"])
    context = model.prepare(data)
    rng = np.random.default_rng(1)
    rate, effect = rng.gamma(2.0, 0.1, 6), rng.normal(size=(1, 6))
    sites = {"rate": torch.tensor(rate)[None], "input_effect": torch.tensor(effect)[None]}
    if name == "hidden":
        sites |= {
            "location": torch.tensor([[[1.0], [2.0], [3.0]]]).double(),
            "noise_scale": torch.ones(1, 3, 1).double(),
        }
    mean = float(np.concatenate(after).mean())
    broken = dp.load_model("jumps/panel", breaks=(4.0,), initial="uniform")
    pieces = np.stack([rate * np.exp(effect[0] * (u - mean)) for u in (0.0, 1.0)])
    process = broken.process({"rate": torch.tensor(pieces)[None]}, broken.prepare(data))
    driven = model.process(sites, context)
    process.emission = driven.emission
    observations = observations_from(data)
    expected = process.log_prob_steps(observations._replace(inputs=None))
    np.testing.assert_allclose(driven.log_prob_steps(observations), expected, rtol=1e-11, atol=1e-12)


def test_predictions_follow_the_inputs_that_are_given():
    times, values, inputs = made()
    data = Trajectories.from_arrays(times, values, inputs=inputs, input_names=["idle", "dose"])
    fit = dp.fit(dp.load_model("jumps/panel", inputs=("dose",)), data, "map", restarts=0)
    sites = {name: value.values[0, 0] for name, value in fit.tree["posterior"].data_vars.items()}
    mean = np.concatenate(inputs)[:, 1].mean()
    links = np.asarray(fit.context["links"])

    def generator(u):
        Q = np.zeros((3, 3))
        Q[tuple(links.T)] = sites["rate"] * np.exp(sites["input_effect"][0] * (u - mean))
        return Q - np.diag(Q.sum(1))

    np.testing.assert_allclose(derived.generators(fit)[0, 0], generator(mean), rtol=1e-12)
    np.testing.assert_allclose(derived.generators(fit, inputs={"dose": 1.5})[0, 0], generator(1.5), rtol=1e-12)
    ahead = [10.0, 11.0]
    dose = np.array([[0.0, 2.0], [5.0, -1.0]])
    found = dp.predict(fit, ahead, inputs=dose, of="state").dataset["mean"].values
    for series, (t, v, u) in enumerate(zip(times, values, inputs, strict=True)):
        law = np.eye(3)[int(v[-1]) - 1] @ expm(generator(u[-1, 1]) * (10.0 - t[-1]))
        np.testing.assert_allclose(found[series, 0], law, rtol=1e-9)
        np.testing.assert_allclose(found[series, 1], law @ expm(generator(2.0)), rtol=1e-9)
    with pytest.raises(ArgumentError, match="`inputs` at the query times are needed"):
        dp.predict(fit, ahead, of="state")
    with pytest.raises(ArgumentError, match=r"`inputs` must give a finite number for 'dose'; got \{'dosis': 1.0\}"):
        derived.generators(fit, inputs={"dosis": 1.0})


def test_effects_are_on_the_scale_of_what_acts():
    """A unit of measurement changes neither the prior of what an effect does, nor the likelihood."""
    times, values, inputs = made()
    static = {"age": np.array([30.0, 40.0, 55.0, 60.0, 62.0, 70.0])}

    def spreads(factor):
        data = Trajectories.from_arrays(
            times,
            values,
            inputs=[factor * u for u in inputs],
            input_names=["idle", "dose"],
            static={"age": factor * static["age"]},
        )
        context = dp.load_model("jumps/panel", inputs=("dose",), covariates=("age",)).prepare(data)
        return np.r_[context["effect_spread"], context["input_effect_spread"]]

    base = spreads(1.0)
    np.testing.assert_allclose(base, [1.0 / static["age"].std(), 1.0 / np.concatenate(inputs)[:, 1].std()], rtol=1e-12)
    np.testing.assert_allclose(spreads(1000.0), base / 1000.0, rtol=1e-12)


def test_refusals():
    times, values, inputs = made()
    data = Trajectories.from_arrays(times, values, inputs=inputs, input_names=["idle", "dose"])
    with pytest.raises(CapabilityError, match="no inputs, and the data carry some"):
        dp.fit(dp.load_model("jumps/panel"), data, "mle")
    with pytest.raises(DataError, match=r"`inputs` names 'doses', and the data have \['idle', 'dose'\]"):
        dp.load_model("jumps/panel", inputs=("doses",)).prepare(data)
    with pytest.raises(DataError, match="and the data have no inputs"):
        dp.load_model("jumps/hidden", inputs=("dose",)).prepare(Trajectories.from_arrays(times, values))
    for options, message in (
        ({"structure": "reversible"}, "inputs on single rates break detailed balance"),
        ({"initial": "stationary"}, "rates that `inputs` move have no stationary law"),
        ({"inputs": ("dose", "dose")}, "`inputs` must be different names"),
        ({"solver": "em"}, "free rates without covariates or inputs"),
    ):
        with pytest.raises(ArgumentError, match=message):
            dp.load_model("jumps/panel", **{"inputs": ("dose",), **options})
