"""Autoregressive models: against a loop over rows, the past they read, and the draws they give."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import dynplat as dp
from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.data import Trajectories
from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.model import observations_from
from dynplat_deepssm.executors import step
from dynplat_deepssm.stacks import initial_weights, weights_of

SMALL = {"width": 4, "num_layers": 1, "num_states": 4}
CELLS = ("s5", "lru", "mamba", "mamba2", "deltanet")


def made(seed=0, lengths=(12, 7), channels=2, inputs=False, counts=False):
    """Ragged series at irregular times, with holes and rows in which nothing was observed."""
    rng = np.random.default_rng(seed)
    times = [np.cumsum(rng.exponential(1.0, size) + 0.01) for size in lengths]
    values = [rng.poisson(4.0, (size, channels)).astype(float) for size in lengths]
    values = values if counts else [5.0 + block + rng.normal(size=block.shape) for block in values]
    for block in values:
        block[rng.random(block.shape) < 0.2] = np.nan
        block[3] = np.nan
        block[0, 0] = 4.0
    known = [rng.normal(size=(size, 1)) for size in lengths] if inputs else None
    return Trajectories.from_arrays(times, values, inputs=known, input_names=("push",) if inputs else None)


def built(name="s5", data=None, seed=1, **options) -> tuple[Any, Any, dict[str, np.ndarray], Observations]:
    """A model, its context, sites that are not those of the start, and the observations."""
    data = made() if data is None else data
    model: Any = dp.load_model(f"deepssm/{name}", **SMALL, **options)
    context = model.prepare(data)
    rng = np.random.default_rng(seed)
    start = initial_weights(model.network(context), 0, "net")
    sites = {key: (value + 0.3 * rng.standard_normal(value.shape))[None] for key, value in start.items()}
    return model, context, sites, observations_from(data)


def row_by_row(model, context, sites, seen):
    """Terms of the likelihood by a loop over the rows that are there, one series at a time."""
    network, head = model.network(context), model.law
    weights = {key: value[0] for key, value in sites.items()}
    weights = weights_of(weights, "net")
    location, scale = context["location"], context["scale"]
    terms = np.zeros(seen.mask.shape[:2])
    for s in range(len(terms)):
        state, before, last = None, np.zeros(2 * len(location)), None
        there = seen.mask[s].any(axis=-1)
        stop = np.flatnonzero(there).max(initial=-1) + 1
        for t in range(stop):
            if not there[t] and seen.inputs is None:
                continue
            gap = 0.0 if last is None else (seen.times[s, t] - last) / context["gap"]
            known = []
            if seen.inputs is not None:
                known = [(seen.inputs[s, t] - context["input_location"]) / context["input_scale"]]
            u = np.concatenate([before, [np.log1p(gap), float(last is None)], *known])
            state = network.initial(weights, u[None]) if state is None else state
            raw, state = step(network, weights, state, u, np.array(gap))
            law = head.parameters(raw.reshape(len(location), -1), location, scale)
            mask = seen.mask[s, t]
            values = np.where(mask, seen.values[s, t], location)
            terms[s, t] = np.where(mask, head.log_density(law, values), 0.0).sum()
            before = np.concatenate([np.where(mask, head.features(values, location, scale), 0.0), mask])
            last = seen.times[s, t]
    return terms


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("inputs", [False, True])
def test_one_pass_is_the_loop_over_rows(name, inputs):
    """Every cell on irregular, ragged series with holes, under torch."""
    model, context, sites, seen = built(name, made(inputs=inputs))
    with framework("torch") as make:
        found = model.process({key: make(value) for key, value in sites.items()}, context).log_prob_steps(seen)
    wanted = row_by_row(model, context, sites, seen)
    np.testing.assert_allclose(to_numpy(found), wanted, rtol=1e-9, atol=1e-10)
    assert (to_numpy(found)[~seen.mask.any(axis=-1)] == 0).all()


@pytest.mark.parametrize("head", ["gaussian", "student-t", "mixture", "negative-binomial"])
def test_every_head_gives_the_loop_over_rows(head):
    model, context, sites, seen = built("s5", made(counts=True), head=head)
    assert model.capabilities.values == (("count",) if head == "negative-binomial" else ("real",))
    found = model.process(sites, context).log_prob_steps(seen)
    np.testing.assert_allclose(found, row_by_row(model, context, sites, seen), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_a_term_reads_all_rows_before_it_and_none_after(name):
    """The Jacobian of the terms with respect to the values has nothing above its diagonal."""
    data = made(lengths=(8,), channels=1)
    model, context, sites, seen = built(name, data)
    with framework("torch") as make:
        process = model.process({key: make(value) for key, value in sites.items()}, context)

        def terms(values):
            return process.log_prob_steps(seen._replace(values=values[None, :, None]))[0]

        slopes = to_numpy(torch.autograd.functional.jacobian(terms, make(seen.values[0, :, 0])))
    rows = np.flatnonzero(seen.mask[0, :, 0])
    assert (np.triu(slopes, 1) == 0).all()
    assert (slopes[:, ~seen.mask[0, :, 0]] == 0).all()
    inner = slopes[np.ix_(rows, rows)]
    assert (np.abs(inner[np.tril_indices(len(rows))]) > 0).all()


def test_a_row_without_observations_is_as_if_it_were_not_there():
    model, context, sites, seen = built()
    keep = seen.mask[:1].any(axis=(0, 2))
    one = Observations(seen.times[:1], seen.values[:1], seen.mask[:1])
    less = Observations(one.times[:, keep], one.values[:, keep], one.mask[:, keep])
    process = model.process(sites, context)
    np.testing.assert_allclose(process.log_prob(less), process.log_prob(one), rtol=1e-12)
    nothing = one._replace(mask=np.zeros_like(one.mask))
    assert (process.log_prob_steps(nothing) == 0).all()


@pytest.mark.parametrize("name", CELLS)
def test_gaps_matter_and_padding_does_not(name):
    """Ragged, masked, irregular series: a gap moves all terms from the row that closes it on, padding moves none."""
    model, context, sites, seen = built(name)
    process = model.process(sites, context)
    base = process.log_prob_steps(seen)
    late = seen.times.copy()
    late[:, 5:] += 2.0
    moved = process.log_prob_steps(seen._replace(times=late)) != base
    there = seen.mask.any(axis=-1)
    assert not moved[:, :5].any()
    assert moved[:, 5:][there[:, 5:]].all()
    padded = Observations(
        np.concatenate([seen.times, np.repeat(seen.times[:, -1:], 3, axis=1)], axis=1),
        np.concatenate([seen.values, np.full((2, 3, 2), 7.0)], axis=1),
        np.concatenate([seen.mask, np.zeros((2, 3, 2), bool)], axis=1),
    )
    found = process.log_prob_steps(padded)
    np.testing.assert_allclose(found[:, : base.shape[1]], base, rtol=1e-12, atol=1e-12)
    assert (found[:, base.shape[1] :] == 0).all()


@pytest.mark.parametrize("name", ["s5", "imputer"])
def test_a_loss_that_is_no_number_names_batch_and_series(name):
    values = [np.arange(6.0)[:, None] % 3, np.arange(8.0)[:, None] % 2]
    data = Trajectories.from_arrays([np.arange(6.0), np.arange(8.0)], values, series=("north", "south"))
    options: Any = {"validation": 0, "learning_rate": 1e30, "ramp": 0.0, "num_epochs": 5, "batch_size": 1}
    with pytest.raises(InferenceError) as caught:
        dp.fit(dp.load_model(f"deepssm/{name}", **SMALL), data, seed=0, **options)
    message = str(caught.value)
    assert re.search(rf"the loss of deepssm/{name} is not finite in epoch \d, batch \d of 2 \(step \d\), of", message)
    assert re.search(r"of series '(north|south)'", message)
    assert "Lower `learning_rate`" in message


def test_the_forecast_of_several_rows_is_that_of_draws_and_integrates_to_one():
    model, context, sites, seen = built("s5", made(lengths=(9, 6), channels=1))
    process = model.process(sites, context)
    times = seen.times[:, -1:] + np.array([0.4, 1.0, 3.0])
    law = process.condition(seen).at(times)
    drawn = law.draws(4000, random=random_source(0, np.zeros(1)))
    assert drawn.shape == (4000, 2, 3, 1)
    grid = np.linspace(-40.0, 60.0, 401)
    values = np.broadcast_to(grid[:, None, None, None], (len(grid), 2, 3, 1))
    density = np.exp([law.log_density(one) for one in values])[..., 0]
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=0), 1.0, atol=0.01)
    near = np.abs(drawn[..., 0] - np.median(drawn)) < 3.0
    inside = np.abs(grid - np.median(drawn)) < 3.0
    np.testing.assert_allclose(near.mean(axis=0), np.trapezoid(density[inside], grid[inside], axis=0), atol=0.06)
    # The next row is exact: its draws follow the head's law.
    state = process.condition(seen)
    (parameters, _), *_ = process._rollout(state.past, times, None, random_source(0, np.zeros(1)))
    for series in range(2):
        own: Any = [part[series, 0] for part in parameters]
        assert stats.kstest(drawn[:, series, 0, 0], stats.t(*own).cdf).pvalue > 1e-4
    signal = law.draws(5, random=random_source(0, np.zeros(1)), of="signal")
    np.testing.assert_allclose(signal[:, :, 0], np.broadcast_to(model.law.mean(parameters), (5, 2, 1)))


def test_given_nothing_the_forecast_is_a_simulation():
    model, context, sites, seen = built()
    process = model.process(sites, context)
    nothing = seen._replace(mask=np.zeros_like(seen.mask))
    times = seen.times[:, -1:] + np.arange(1.0, 4.0)
    asked = process.condition(nothing).at(times).draws(1, random=random_source(3, np.zeros(1)))[0]
    np.testing.assert_allclose(asked, process.sample(times, random=random_source(3, np.zeros(1))).values, rtol=1e-12)


def test_inputs_of_the_last_row_go_on_where_none_are_given():
    model, context, sites, seen = built("s5", made(inputs=True))
    condition = model.process(sites, context).condition(seen)
    times = seen.times[:, -1:] + np.array([1.0, 2.0])
    assert seen.inputs is not None
    last = [seen.inputs[s, np.flatnonzero(seen.mask[s].any(axis=-1)).max()] for s in range(2)]
    held = np.broadcast_to(np.asarray(last)[:, None], (2, 2, 1))
    draws = [condition.at(times, inputs=given).draws(3, random=random_source(0, np.zeros(1))) for given in (None, held)]
    np.testing.assert_array_equal(*draws)
    other = condition.at(times, inputs=held + 1.0).draws(3, random=random_source(0, np.zeros(1)))
    assert not np.array_equal(draws[0], other)
    with pytest.raises(ArgumentError, match="the process reads 1 inputs: give `inputs`"):
        model.process(sites, context).log_prob(seen._replace(inputs=None))


def test_a_fit_learns_an_autoregression_and_its_forecast():
    """An AR(1) with coefficient .9 and innovations of sd .5, at equal steps, by its own likelihood."""
    rng = np.random.default_rng(0)
    y = np.zeros((6, 80))
    for t in range(1, 80):
        y[:, t] = 0.9 * y[:, t - 1] + 0.5 * rng.standard_normal(6)
    data = Trajectories.from_arrays([np.arange(80.0)] * 6, list(10.0 + y[..., None]))
    model = dp.load_model("deepssm/s5", head="gaussian", **SMALL)
    fit = dp.fit(model, data, seed=0, num_epochs=60, batch_size=5, validation=0.2, learning_rate=0.02)
    assert fit.provenance["method"] == "train"
    innovations: Any = stats.norm(0.9 * y[:, :-1], 0.5)
    found = fit.provenance["extra"]["log_likelihood"] / y.size
    assert abs(found - innovations.logpdf(y[:, 1:]).mean()) < 0.1
    ahead = dp.forecast(fit, horizon=3, num_draws=400)
    assert np.corrcoef(ahead.mean.values[:, 0, 0] - 10.0, 0.9 * y[:, -1])[0, 1] > 0.95
    np.testing.assert_allclose(ahead.sd.values[:, 0], 0.5, rtol=0.2)


def test_questions_inside_the_data_are_refused():
    model, context, sites, seen = built()
    law = model.process(sites, context).condition(seen)
    with pytest.raises(CapabilityError, match=r"series 0 lies before its last observed row, at .*: an autoregressive"):
        law.at(seen.times[:, 2:4])
    fit = dp.fit(model, made(), seed=0, num_epochs=1, patience=None)
    with pytest.raises(CapabilityError, match=r"answers inside the data .imputation., which deepssm/s5 does not offer"):
        dp.impute(fit)


def test_counts_are_refused_by_name_and_place():
    values = np.array([[1.0], [2.0], [-1.0], [3.0]])
    data = Trajectories.from_arrays([np.arange(4.0)], [values], channels=("visits",), series=("ward",))
    model = dp.load_model("deepssm/s5", head="negative-binomial", **SMALL)
    with pytest.raises(CapabilityError, match=r"such as -1 in channel 'visits' of series 'ward', time 2.0"):
        dp.fit(model, data, seed=0)


def test_dtype_and_device_follow_the_weights():
    model, context, sites, seen = built("mamba")
    meta = {key: torch.zeros(value.shape, dtype=torch.float32, device="meta") for key, value in sites.items()}
    found = model.process(meta, context).log_prob_steps(seen)
    assert (found.device.type, found.dtype, found.shape) == ("meta", torch.float32, (2, 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "quantile"}, "`head` must be one of .'gaussian', 'student-t', .*; got 'quantile'"),
        ({"width": 3}, "`width` must be even; got 3"),
        ({"num_layers": 0}, "`num_layers` must be at least 1; got 0"),
        ({"num_states": 5}, "`num_states` must be even; got 5"),
        ({"seed": -1}, "`seed` must be at least 0; got -1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        dp.load_model("deepssm/s5", **options)
