"""Direct forecasters: their law written out, where they start, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import dynplat as dp
from dynplat.arrays import Observations, framework, random_source
from dynplat.errors import ArgumentError, CapabilityError, DataError
from dynplat_deepssm.direct import Direct, SpaceTime
from dynplat_deepssm.executors import flatten
from dynplat_deepssm.ridge import center
from dynplat_deepssm.windows import Standard, WindowLaw

LOOKBACK, HORIZON = 8, 3
MODELS = (
    Direct(lookback=LOOKBACK, horizon=HORIZON, patch=4, width=6, depth=1, num_states=4),
    Direct(lookback=LOOKBACK, horizon=HORIZON, patch=2, width=6, depth=2, num_states=4, cell="mamba"),
    Direct(lookback=LOOKBACK, horizon=HORIZON, patch=4, width=6, depth=1, num_states=4, cell="lru"),
    SpaceTime(lookback=LOOKBACK, horizon=HORIZON, width=5, depth=1, num_states=6),
    SpaceTime(lookback=LOOKBACK, horizon=1, width=5, depth=1, num_states=6),
)


def made(rng: np.random.Generator, lengths: tuple[int, ...] = (70, 45)) -> dp.Trajectories:
    """Two channels on steps of half an hour, with holes, an absent row and series of two lengths."""
    num_series, num_rows = len(lengths), max(lengths)
    times = np.broadcast_to(0.5 * (np.arange(num_rows) + (np.arange(num_rows) > 20)), (num_series, num_rows)).copy()
    values = np.stack([3.0 + np.sin(times), 10.0 * np.cos(1.3 * times)], axis=-1)
    values = values + rng.standard_normal(values.shape) * np.array([0.1, 2.0])
    values[rng.random(values.shape) < 0.05] = np.nan
    for s, length in enumerate(lengths):
        values[s, length:] = np.nan
    return dp.Trajectories.from_arrays(times, values, lengths=np.array(lengths))


def arrays_of(data: dp.Trajectories) -> Observations:
    return Observations(np.asarray(data.times), np.where(data.mask, data.values, 0.0), np.asarray(data.mask))


def start_of(model: Direct | SpaceTime) -> dict[str, np.ndarray]:
    """Sites where a fit begins."""
    size = 2 * model.steps_of_read
    return {
        **{f"net.{name}": weight for name, weight in flatten(model.network.init(model.seed))},
        "skip": np.zeros((model.lookback, model.horizon)),
        "out.weight": np.zeros((model.num_outputs, size)),
        "out.bias": np.zeros(size),
        "log_freedom": np.array(np.log(5.0)),
    }


def toy_law(freedom: float = 5.0, scale: float = 0.4, lead: tuple[int, ...] = ()) -> WindowLaw:
    """A law whose block repeats the window's level, channel by channel, with scales that grow with the step."""

    def outlook(x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        level = center(x, seen)[1]
        mean = np.broadcast_to(level, (*level.shape[:-1], HORIZON)) + 0.0 * np.zeros((*lead, 1, 1, 1))
        return mean, np.log(scale) + 0.1 * np.arange(HORIZON) + 0.0 * mean

    return WindowLaw(
        outlook,
        lookback=LOOKBACK,
        horizon=HORIZON,
        step=0.5,
        standard=Standard(np.array([3.0, 0.0]), np.array([0.7, 7.0])),
        freedom=np.full((*lead, 1), freedom),
    )


def test_the_law_is_that_of_blocks_after_windows_written_out() -> None:
    data = made(np.random.default_rng(0))
    law = toy_law()
    found = law.log_prob_steps(arrays_of(data))
    expected = np.zeros(found.shape)
    location, scale = law.standard
    for s, length in enumerate(data.lengths):
        places = np.round(data.times[s, :length] / 0.5).astype(int)
        size = int(places[-1]) + 1
        values, seen = np.zeros((size, 2)), np.zeros((size, 2), bool)
        values[places] = np.where(data.mask[s, :length], (data.values[s, :length] - location) / scale, 0.0)
        seen[places] = data.mask[s, :length]
        for row, place in enumerate(places):
            for channel in np.flatnonzero(seen[place]):
                y = values[place, channel]
                if place < LOOKBACK:
                    expected[s, row] += stats.norm.logpdf(y) - np.log(scale[channel])
                    continue
                begin = LOOKBACK + (place - LOOKBACK) // HORIZON * HORIZON
                past = slice(begin - LOOKBACK, begin)
                level = values[past, channel][seen[past, channel]].mean()
                sd = 0.4 * np.exp(0.1 * (place - begin))
                expected[s, row] += stats.t.logpdf(y, 5.0, loc=level, scale=sd) - np.log(scale[channel])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_rows_do_not_know_later_ones_and_draws_of_weights_are_answered_one_by_one(model) -> None:
    rng = np.random.default_rng(1)
    data = made(rng)
    context = model.prepare(data)
    observations = arrays_of(data)
    sites = {
        name: (site + 0.3 * rng.standard_normal((3, *site.shape)))[:, None] for name, site in start_of(model).items()
    }
    with framework("torch") as make:
        every = {name: make(site) for name, site in sites.items()}
        steps = model.process(every, context).log_prob_steps(observations).numpy()
        assert steps.shape == (3, *data.times.shape)
        for draw in range(3):
            one = {name: site[draw] for name, site in every.items()}
            alone = model.process(one, context).log_prob_steps(observations).numpy()
            np.testing.assert_allclose(alone, steps[draw], rtol=1e-9, atol=1e-9)
        changed = observations.values.copy()
        changed[:, 30:] += 5.0 * rng.standard_normal(changed[:, 30:].shape)
        after = model.process(every, context).log_prob_steps(observations._replace(values=changed)).numpy()
        np.testing.assert_array_equal(after[..., :30], steps[..., :30])
        assert np.abs(after[..., 30:] - steps[..., 30:]).max() > 0.1
    with framework("jax") as make:
        every = {name: make(site) for name, site in sites.items()}
        np.testing.assert_allclose(
            np.asarray(model.process(every, context).log_prob_steps(observations)), steps, rtol=1e-8, atol=1e-8
        )


def test_a_fit_begins_at_the_ridge() -> None:
    data = made(np.random.default_rng(2), lengths=(300, 200))
    model = MODELS[0]
    context = model.prepare(data)
    with framework("torch") as make:
        law = model.process({name: make(site[None]) for name, site in start_of(model).items()}, context)
        ahead = np.array([[data.times[s, length - 1]] for s, length in enumerate(data.lengths)])
        predictive = law.condition(arrays_of(data)).at(ahead + 0.5 * np.arange(1, HORIZON + 1))
        mean = predictive.mean().numpy()
    for s, length in enumerate(data.lengths):
        for channel in range(2):
            rows = slice(length - LOOKBACK, length)
            values = (data.values[s, rows, channel] - context["location"][channel]) / context["scale"][channel]
            x, level = center(np.nan_to_num(values), data.mask[s, rows, channel])
            expected = (x @ context["linear"] + level) * context["scale"][channel] + context["location"][channel]
            np.testing.assert_allclose(mean[s, :, channel], expected, rtol=1e-9)


def test_forecasts_are_the_next_block_and_draws_of_the_blocks_after_it() -> None:
    data = made(np.random.default_rng(3))
    observations = arrays_of(data)
    law = toy_law(freedom=1e6, scale=0.3, lead=(2,))
    last = np.array([[data.times[s, length - 1]] for s, length in enumerate(data.lengths)])
    ahead = law.condition(observations).at(last + 0.5 * np.arange(1, 3 * HORIZON + 1))
    draws = ahead.draws(4_000, random=random_source(0, observations.values))
    assert draws.shape == (4_000, 2, 2, 3 * HORIZON, 2)
    first = law.condition(observations).at(last + 0.5 * np.array([1, 3]))
    mean, sd = first.mean(), np.sqrt(first.variance())
    seen = draws[:, :, :, [0, 2]]
    np.testing.assert_allclose(seen.mean(axis=0), np.broadcast_to(mean, seen.shape[1:]), atol=6 * sd.max() / 4_000**0.5)
    np.testing.assert_allclose(seen.std(axis=0), np.broadcast_to(sd, seen.shape[1:]), rtol=0.06)
    # The window of the next block has a whole block of draws in it, and the mean of its values spreads with them.
    for s, length in enumerate(data.lengths):
        count = data.mask[s, length - LOOKBACK + HORIZON : length].sum(axis=0) + HORIZON
        spread = (np.exp(0.2 * np.arange(HORIZON)).sum() / count**2 + 1.0) * (0.3 * law.standard.scale) ** 2
        found = draws[:, :, s, HORIZON].var(axis=0)
        np.testing.assert_allclose(found, np.broadcast_to(spread, found.shape), rtol=0.12)
    density = first.log_density(np.zeros((2, 2, 2)))
    np.testing.assert_allclose(density, stats.t.logpdf(0.0, 1e6, mean, sd), rtol=1e-5)
    with pytest.raises(CapabilityError, match="up to `horizon`, 3 steps, ahead; asked was for 9"):
        ahead.mean()
    with pytest.raises(CapabilityError, match="after the last row"):
        law.condition(observations).at(last)


def test_draws_are_student_t() -> None:
    observations = Observations(np.arange(8.0)[None] / 2, np.zeros((1, 8, 2)), np.ones((1, 8, 2), bool))
    law = toy_law(freedom=4.0)
    ahead = law.condition(observations).at(np.array([[4.0]]))
    draws = ahead.draws(40_000, random=random_source(1, np.zeros(1)))[:, 0, 0, 0]
    units = (draws - ahead.mean()[..., 0, 0]) / (0.4 * law.standard.scale[0])
    assert stats.kstest(units, stats.t(4.0).cdf).pvalue > 1e-3


def test_bad_input_is_refused_by_name() -> None:
    data = made(np.random.default_rng(4))
    with pytest.raises(DataError, match="longest series has 70 rows, and `lookback` is 80"):
        dp.fit(Direct(lookback=80, horizon=2), data, inference="mle", seed=0)
    with pytest.raises(ArgumentError, match="`lookback` must be whole patches; got 50 rows"):
        Direct(lookback=50)
    with pytest.raises(ArgumentError, match="`cell` must be 's5', 'lru' or 'mamba'; got 's4'"):
        Direct(cell="s4")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="`horizon` must be at least 1; got 0"):
        SpaceTime(horizon=0)
    irregular = dp.Trajectories.from_arrays(np.sort(np.random.default_rng(0).random((1, 99))), np.zeros((1, 99, 1)))
    with pytest.raises(CapabilityError, match="equal steps"):
        dp.fit(MODELS[0], irregular, inference="mle", seed=0)
