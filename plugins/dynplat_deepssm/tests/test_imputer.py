"""The imputer: what its laws read and do not read, what it learns, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import dynplat as dp
from dynplat.arrays import Observations, framework, random_source, to_numpy
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.model import observations_from
from dynplat_deepssm.hiding import hidden_cells
from dynplat_deepssm.neighbours import neighbours
from dynplat_deepssm.stacks import initial_weights
from dynplat_deepssm.tests.test_autoregressive import made

SMALL = {"width": 4, "num_layers": 1, "num_states": 4}


def built(data=None, seed=1, **options) -> tuple[Any, Any, dict[str, np.ndarray], Observations]:
    """A model, its context, sites that are not those of the start, and the observations."""
    data = made() if data is None else data
    model: Any = dp.load_model("deepssm/imputer", **SMALL, **options)
    context = model.prepare(data)
    rng = np.random.default_rng(seed)
    start = {f"mix.{name}": value for name, value in model.mix(context).init(0).items()}
    start |= initial_weights(model.network(context), 0, "left") | initial_weights(model.network(context), 1, "right")
    sites = {key: (value + 0.3 * rng.standard_normal(value.shape))[None] for key, value in start.items()}
    return model, context, sites, observations_from(data)


def means(process, observations, times, inputs=None):
    return process.condition(observations).at(times, inputs=inputs).mean()


@pytest.mark.parametrize("cell", ["s5", "lru", "mamba", "mamba2", "deltanet"])
def test_a_cell_reads_all_others_and_never_itself(cell):
    """Every observed value is moved, far: its own law stays bit for bit, and those of all other cells move."""
    model, context, sites, seen = built(made(inputs=True), cell=cell)
    process = model.process(sites, context)
    base = means(process, seen, seen.times, seen.inputs)
    for s, row, channel in np.argwhere(seen.mask):
        values = seen.values.copy()
        values[s, row, channel] += 1e3
        moved = means(process, seen._replace(values=values), seen.times, seen.inputs) != base
        assert not moved[s, row, channel]
        moved[s, row, channel] = True
        live = np.arange(moved.shape[1]) <= np.flatnonzero(seen.mask[s].any(axis=-1)).max()
        assert moved[s, live].all()
        assert not moved[1 - s].any()


def test_composite_terms_are_log_densities_of_values_given_all_others():
    model, context, sites, seen = built(head="gaussian")
    with framework("torch") as make:
        process = model.process({key: make(value) for key, value in sites.items()}, context)
        found = to_numpy(process.composite_steps(seen))
        for s, row in ((0, 0), (0, 5), (1, 6)):
            total = 0.0
            for channel in np.flatnonzero(seen.mask[s, row]):
                mask = seen.mask.copy()
                mask[s, row, channel] = False
                law = process.condition(seen._replace(mask=mask)).at(seen.times[:, row : row + 1])
                total += float(law.log_density(make(seen.values[:, row : row + 1]))[s, 0, channel])
            np.testing.assert_allclose(found[s, row], total, rtol=1e-10)
    assert (found[~seen.mask.any(axis=-1)] == 0).all()


def test_what_is_asked_and_rows_that_are_not_there_change_nothing():
    model, context, sites, seen = built()
    process = model.process(sites, context)
    times = np.sort(np.concatenate([seen.times, 0.5 * (seen.times[:, 1:] + seen.times[:, :-1])], axis=1), axis=1)
    every = means(process, seen, times)
    np.testing.assert_allclose(means(process, seen, times[:, ::3]), every[:, ::3], rtol=1e-12)
    np.testing.assert_allclose(means(process, seen, times[:, ::-1]), every[:, ::-1], rtol=1e-12)
    one = Observations(seen.times[:1], seen.values[:1], seen.mask[:1])
    keep = one.mask.any(axis=(0, 2))
    less = Observations(one.times[:, keep], one.values[:, keep], one.mask[:, keep])
    np.testing.assert_allclose(means(process, less, times[:1]), every[:1], rtol=1e-12)


def test_gaps_enter_on_either_side():
    model, context, sites, seen = built(made(lengths=(9,), channels=1))
    process = model.process(sites, context)
    base = means(process, seen, seen.times)
    for side in (slice(None, 4), slice(5, None)):
        times = seen.times.copy()
        times[:, side] += -3.0 if side.stop else 3.0
        moved = means(process, seen._replace(times=times), times) != base
        assert moved[0].all()


def test_rows_at_one_time_are_one_row():
    model, context, sites, _ = built(made(lengths=(9,)))
    process = model.process(sites, context)
    rng = np.random.default_rng(0)
    times, values = np.array([[0.0, 1.0, 2.5, 3.0]]), rng.normal(size=(1, 4, 2))
    together = Observations(times, values, np.ones((1, 4, 2), bool))
    rows = [0, 1, 1, 2, 3]
    mask = np.ones((1, 5, 2), bool)
    mask[0, 1, 1] = mask[0, 2, 0] = False
    apart = Observations(times[:, rows], values[:, rows], mask)
    for which in (together, apart):
        other = which._replace(values=which.values.copy())
        at = 2 if which is apart else 1
        other.values[0, at, 1] += 50.0
        before, after = (means(process, one, np.array([[1.0]])) for one in (which, other))
        assert after[0, 0, 1] == before[0, 0, 1]
        assert after[0, 0, 0] != before[0, 0, 0]
    np.testing.assert_array_equal(
        means(process, apart, times[:, rows])[:, 1], means(process, apart, times[:, rows])[:, 2]
    )


def test_neighbours_are_those_of_a_search():
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 12, (3, 10)).astype(float), axis=1)
    mask = rng.random((3, 10, 2)) < 0.5
    mask[2] = False
    queries = rng.integers(-1, 14, (3, 7)).astype(float)
    found = neighbours(times, mask, queries)
    for s in range(3):
        there = np.flatnonzero(mask[s].any(axis=-1))
        for q, time in enumerate(queries[s]):
            sides = [there[times[s, there] < time], there[times[s, there] > time]]
            ends = (sides[0][-1:], sides[1][:1])
            for side in (0, 1):
                assert [found.order[s, k] for k in found.rows[side, s, q : q + 1] if k >= 0] == list(ends[side])
                gap = np.abs(times[s, ends[side]] - time)
                assert found.row_gaps[side, s, q] == (gap[0] if gap.size else 0.0)
                for c in range(2):
                    rows = [row for row in sides[side] if mask[s, row, c]]
                    wanted = rows[-1 if side == 0 else 0] if rows else -1
                    assert found.cells[side, s, q, c] == wanted
                    assert found.cell_gaps[side, s, q, c] == (abs(times[s, wanted] - time) if rows else 0.0)
            assert sorted(row for row in found.same[s, q] if row >= 0) == list(there[times[s, there] == time])


def test_what_is_hidden_was_observed_and_comes_in_cells_rows_and_stretches():
    rng = np.random.default_rng(0)
    seen = rng.random((400, 60, 3)) < 0.8
    hidden = hidden_cells(seen, rng.random((400, 61, 5)))
    assert not (hidden & ~seen).any()
    share = hidden.sum(axis=(1, 2)) / seen.sum(axis=(1, 2))
    assert share.min() < 0.02
    assert share.max() > 0.8
    assert 0.25 < share.mean() < 0.55
    # Rows and stretches hide all that a row has; stretches last.
    whole = np.array([(one == (seen[s] & one.any(axis=-1, keepdims=True))).all() for s, one in enumerate(hidden)])
    assert 0.4 < whole.mean() < 0.7
    same = np.array([(one[1:] == one[:-1])[seen[s, 1:] & seen[s, :-1]].mean() for s, one in enumerate(hidden)])
    assert (same > 0.9).mean() > 0.3
    assert (same < 0.6).mean() > 0.05


def test_draws_have_the_density_of_each_cell():
    model, context, sites, seen = built(head="gaussian")
    law = model.process(sites, context).condition(seen).at(seen.times)
    drawn = law.draws(4000, random=random_source(0, np.zeros(1)))
    assert drawn.shape == (4000, *seen.values.shape)
    sd = np.sqrt(law.variance())
    np.testing.assert_allclose((drawn.mean(axis=0) - law.mean()) / sd, 0.0, atol=0.08)
    np.testing.assert_allclose(drawn.std(axis=0) / sd, 1.0, atol=0.06)
    assert (law.variance("signal") == 0).all()
    np.testing.assert_array_equal(law.draws(2, random=random_source(0, np.zeros(1)), of="signal")[1], law.mean())
    with pytest.raises(CapabilityError, match="no states to be asked about"):
        law.mean("state")


def ornstein(num_series: int, num_rows: int, seed: int = 0) -> dp.Trajectories:
    """Ornstein-Uhlenbeck processes of rate 0.3 and sd 2 around 5, at exponential gaps, with noise of sd 0.4."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(1.0, (num_series, num_rows)), axis=1)
    x = np.zeros((num_series, num_rows))
    x[:, 0] = rng.standard_normal(num_series)
    for k in range(1, num_rows):
        a = np.exp(-0.3 * (times[:, k] - times[:, k - 1]))
        x[:, k] = a * x[:, k - 1] + np.sqrt(1.0 - a * a) * rng.standard_normal(num_series)
    values = 5.0 + 2.0 * x + 0.4 * rng.standard_normal(x.shape)
    return dp.Trajectories.from_arrays(times, values[..., None])


def interpolated(task: dp.Imputation) -> np.ndarray:
    """Errors of linear interpolation in time at the hidden cells of the first channel."""
    errors = []
    for s, hidden in enumerate(task.hidden[..., 0]):
        seen, times = task.train.mask[s, :, 0], task.data.times[s]
        found = np.interp(times[hidden], times[seen], task.data.values[s, seen, 0])
        errors.append(found - task.data.values[s, hidden, 0])
    return np.concatenate(errors)


def test_it_learns_to_fill_holes_of_an_ornstein_uhlenbeck_process():
    """Better than the mean and linear interpolation, near the smoother of the true law, and calibrated."""
    data = ornstein(60, 50)
    task = dp.Imputation(data, fraction=0.3, seed=0)
    model = dp.load_model("deepssm/imputer", width=16, num_layers=1, num_states=8)
    fit = dp.fit(model, task.train, seed=0, num_epochs=25, batch_size=16, learning_rate=0.015)
    extra = fit.provenance["extra"]
    assert fit.provenance["method"] == "train"
    assert np.isfinite(extra["composite_log_likelihood"])
    assert fit.log_likelihood is None
    filled = task.predict(fit, num_draws=400, seed=0)
    hidden = task.hidden
    truth = data.values[hidden]
    rmse = np.sqrt(np.mean((filled.mean.values[hidden] - truth) ** 2))
    lower, upper = (part.values[hidden] for part in filled.interval(0.9))
    coverage = np.mean((lower <= truth) & (truth <= upper))
    # The smoother of the law that made the data.
    from dynplat.process import LinearSDE
    from dynplat.process.dynamics import OrnsteinUhlenbeck

    law = LinearSDE(
        OrnsteinUhlenbeck(np.array([0.3]), np.array([2.0])),
        np.ones((1, 1)),
        np.full((1, 1, 1), 0.16),
        d=np.full((1, 1), 5.0),
    )
    best = law.condition(observations_from(task.train)).at(data.times).mean()[hidden]
    least = np.sqrt(np.mean((best - truth) ** 2))
    mean = np.sqrt(np.mean((truth - data.values[task.train.mask].mean()) ** 2))
    linear = np.sqrt(np.mean(interpolated(task) ** 2))
    assert least < rmse < 1.03 * least
    assert rmse < 0.99 * linear
    assert rmse < 0.65 * mean
    assert abs(coverage - 0.9) < 0.04


@pytest.mark.slow
def test_it_fills_weeks_and_stretches_of_co2():
    """Hidden weeks about as well as between their neighbours, stretches of two years with bands that hold."""
    data = dp.load_dataset("mauna-loa-co2")
    for pattern, most in (("values", 0.37), ("blocks", 3.0)):
        task = dp.Imputation(data, fraction=0.3, pattern=pattern, seed=0)
        model = dp.load_model("deepssm/imputer", width=16, num_layers=1, num_states=8)
        fit = dp.fit(
            model, task.train, seed=0, window=400, batch_size=4, num_epochs=150, learning_rate=0.01, patience=60
        )
        filled = task.predict(fit, num_draws=400, seed=0)
        truth = data.values[task.hidden]
        assert np.sqrt(np.mean((filled.mean.values[task.hidden] - truth) ** 2)) < most
        lower, upper = (part.values[task.hidden] for part in filled.interval(0.9))
        assert 0.84 < np.mean((lower <= truth) & (truth <= upper)) < 1.0


def test_inputs_go_on_until_the_next_row():
    model, context, sites, seen = built(made(inputs=True))
    process = model.process(sites, context)
    times = seen.times[:, 2:4] + 1e-3
    assert seen.inputs is not None
    held = means(process, seen, times, seen.inputs[:, 2:4])
    np.testing.assert_array_equal(means(process, seen, times), held)
    assert not np.array_equal(means(process, seen, times, seen.inputs[:, 2:4] + 1.0), held)
    with pytest.raises(ArgumentError, match="the process reads 1 inputs: give `inputs`"):
        process.composite_steps(seen._replace(inputs=None))


def test_what_it_has_not_is_refused_by_name():
    data = made()
    fit = dp.fit(dp.load_model("deepssm/imputer", **SMALL), data, seed=0, num_epochs=1)
    with pytest.raises(CapabilityError, match=r"`forecast` needs answers after the data .* does not offer"):
        dp.forecast(fit, 3)
    with pytest.raises(CapabilityError, match=r"inference 'map' needs a likelihood, which deepssm/imputer does not"):
        dp.fit("deepssm/imputer", data, "map", seed=0)
    task = dp.Imputation(data, fraction=0.3, pattern="rows", seed=0)
    table = dp.compare(task, {"imputer": dp.fit(fit.model, task.train, seed=0, num_epochs=1)})
    reason = table.results[0].failures["energy-score"]
    assert "compares joint draws, and deepssm/imputer gives the law of each cell by itself" in reason
    model, context, sites, seen = built(data)
    with pytest.raises(ArgumentError, match="`times` must not decrease along a series"):
        model.process(sites, context).composite_steps(seen._replace(times=seen.times[:, ::-1]))
    with pytest.raises(ArgumentError, match=r"`cell` must be one of \('s5', .*\); got 's4'"):
        type(model)(cell="s4")
