"""Questions to a fitted model: predict, impute, forecast.

Each runs the model's process once more for (up to `max_components`) parameter draws and returns plain arrays. Where the
law given the parameters is Gaussian, the marginals are the exact mixture over the parameter draws; a point estimate
gives a mixture of one. The same posterior, question and seed give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from dynplat.errors import ArgumentError, CapabilityError
from dynplat.model import check_request, observations_from, rows_of
from dynplat.posterior.arguments import channel_names, check_count, framework_of, read_inputs, read_values
from dynplat.posterior.ask import Answer, Engine, Question, ask, components_of_draws
from dynplat.posterior.mixture import mixture_log_density, mixture_moments
from dynplat.posterior.posterior import Posterior, thinned
from dynplat.posterior.prediction import Prediction
from dynplat.posterior.times import (
    Query,
    along,
    ascending,
    coordinates,
    inverse,
    on_clock,
    query_from,
    query_future,
    query_rows,
)

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import Context

#: Numbers that the components of a prediction may take by default: a gigabyte.
_NUMBERS = 125_000_000
_KINDS = ("observation", "signal", "state")


def predict(
    posterior: Posterior,
    times: Any,
    *,
    series: str | Iterable[str] | None = None,
    inputs: Any = None,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int | None = None,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    values: Any = None,
    data: Trajectories | Snapshots | None = None,
) -> Prediction:
    """Ask about any times, given all observed values.

    Args:
        posterior: The fitted model.
        times: Floats or dates: (query,) for all series, (series, query), or a list with one array per series; any
            order. What is asked about a time of the data is the value that would have been observed there.
        series: Names of the series asked about; all by default.
        inputs: Known inputs at the query times, (query, input) or (series, query, input), where the model has some.
        of: `observation` (noise included), `signal` (the observation without its noise) or `state`.
        num_draws: Number of joint draws over all times, spread evenly over the parameter draws; 0 for none where the
            marginals are known in closed form (they are read from 200 draws otherwise).
        max_components: At most so many parameter draws, evenly thinned; by default 200, or as many as keep the arrays
            of the prediction near a gigabyte, and never fewer than 10.
        seed: Seed of the draws.
        framework: `jax`, `torch` or `numpy`; by default that of the language of the fit, or torch where the model
            runs there too and a few parameter draws are not worth a compilation.
        device: A device of the framework.
        dtype: `float64` or `float32`.
        values: Values whose log density is wanted, (series, query, channel), NaN = not asked.
        data: Other data to condition on, of the kind that the model was fitted to; by default those themselves.

    Of a model of snapshots, the answer is a population at each time: there is one series, `population`, and a draw is a
    particle with its whole path over the times asked about.

    Raises:
        CapabilityError: The model does not offer the answer.
        ArgumentError: An argument does not fit.
    """
    wanted = _Wanted(of, num_draws, max_components, values)
    asked = _asked(posterior, data, series)
    query = query_from(asked.data, times)
    given = read_inputs(inputs, query, asked.context.inputs)
    return _answer(
        posterior, asked, query, given, wanted, _engine(posterior, framework, device, dtype, seed), "`predict`"
    )


def impute(
    posterior: Posterior,
    *,
    series: str | Iterable[str] | None = None,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int | None = None,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    values: Any = None,
    data: Trajectories | Snapshots | None = None,
) -> Prediction:
    """Ask about the rows of the data: the law of the value that would have been observed at each, given the data.

    Rows come back in the order of the data. For a cell that was observed the answer is the law of another observation
    at its place; whoever fills a table keeps the observed values. The arguments are those of `predict`.

    Raises:
        CapabilityError: The model does not offer the answer, or the data are snapshots, in which nothing is missing.
    """
    if rows_of(posterior.data) is not posterior.data:
        raise CapabilityError(
            "`impute` fills the rows of trajectories; particles of snapshots have no identity, and no value of theirs "
            "is missing. Ask `predict` about the times at which you want the population."
        )
    wanted = _Wanted(of, num_draws, max_components, values)
    asked = _asked(posterior, data, series)
    query = query_rows(asked.data)
    engine = _engine(posterior, framework, device, dtype, seed)
    return _answer(posterior, asked, query, asked.data.inputs, wanted, engine, "`impute`")


def forecast(
    posterior: Posterior,
    *,
    horizon: int | None = None,
    times: Any = None,
    series: str | Iterable[str] | None = None,
    inputs: Any = None,
    of: str = "observation",
    num_draws: int = 200,
    max_components: int | None = None,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    values: Any = None,
    data: Trajectories | Snapshots | None = None,
) -> Prediction:
    """Ask about the future: `horizon` further rows of each series, or given times after its last row.

    With `horizon`, dates that follow a calendar (months, quarters, business days, ...) are continued along it; any
    other series, irregular ones among them, goes on from its last row in steps of the median of its gaps between rows.
    The other arguments are those of `predict`.

    Raises:
        ArgumentError: Neither or both of `horizon` and `times` are given, or a time is not after the last row.
        CapabilityError: The model does not forecast.
    """
    if (horizon is None) == (times is None):
        raise ArgumentError("`forecast` needs either `horizon` (a number of rows) or `times`, and not both.")
    wanted = _Wanted(of, num_draws, max_components, values)
    asked = _asked(posterior, data, series)
    query = query_from(asked.data, times) if horizon is None else query_future(asked.data, horizon)
    early = query.valid & (query.times <= _last(asked.data)[:, None])
    if early.any():
        row = int(np.flatnonzero(early.any(axis=1))[0])
        raise ArgumentError(
            f"`times` of a forecast must lie after the last row of each series; series {asked.data.series[row]!r} ends "
            f"at {asked.data.to_labels(_last(asked.data))[row]}. Ask `predict` about times inside the data."
        )
    engine = _engine(posterior, framework, device, dtype, seed)
    return _answer(
        posterior, asked, query, read_inputs(inputs, query, asked.context.inputs), wanted, engine, "`forecast`"
    )


class _Wanted(NamedTuple):
    """The options of a question that say what, not where."""

    of: str
    num_draws: int
    max_components: int | None
    values: Any


class _Asked(NamedTuple):
    """What is conditioned on: rows on the clock of the fit, their context, and which fitted series each one is.

    `other` is what was given in place of the data of the fit, or None.
    """

    data: Trajectories
    context: Context
    places: np.ndarray
    other: Trajectories | Snapshots | None = None


def _asked(posterior: Posterior, data: Trajectories | Snapshots | None, series: str | Iterable[str] | None) -> _Asked:
    known = rows_of(posterior.data)
    if data is None and series is None:
        return _Asked(known, posterior.context, np.arange(known.num_series))
    if data is not None and type(data) is not type(posterior.data):
        raise ArgumentError(
            f"`data` must be {type(posterior.data).__name__}, as those that the model was fitted to; "
            f"got {type(data).__name__}."
        )
    chosen = known if data is None else on_clock(rows_of(data), known.clock)
    if chosen.channels != known.channels:
        raise ArgumentError(
            f"`data` must have the channels that the model was fitted to, {known.channels}; got {chosen.channels}. "
            "Select and order them with `select`."
        )
    if series is not None:
        chosen = chosen.select(series=series)
    lacking = [name for name in posterior.context.static if name not in chosen.static]
    if lacking:
        raise ArgumentError(f"`data` must have the static covariates of the fit; {', '.join(lacking)} are not there.")
    where = {name: index for index, name in enumerate(known.series)}
    unseen = [name for name in chosen.series if name not in where]
    if unseen:
        check_request(posterior.model, chosen, ("new_series",), purpose=f"series {unseen[0]!r}")
        if posterior.local_sites:
            raise CapabilityError(
                f"series {unseen[0]!r} was not among the fitted ones, and {posterior.model.entry.id} has sites of "
                f"each series ({', '.join(posterior.local_sites)}) that were never drawn for it; drawing them from "
                "their law is not offered yet. Fit again with this series among the data."
            )
    static = {name: chosen.static[name] for name in posterior.context.static}
    context = replace(posterior.context, num_series=chosen.num_series, static=static)
    places = np.array([where.get(name, 0) for name in chosen.series], dtype=int)
    other = chosen if known is posterior.data else data
    return _Asked(chosen, context, places, None if other is posterior.data else other)


def _answer(
    posterior: Posterior,
    asked: _Asked,
    query: Query,
    inputs: np.ndarray | None,
    wanted: _Wanted,
    engine: Engine,
    purpose: str,
) -> Prediction:
    _check_wanted(wanted)
    needs = _needs(asked.data, query, wanted.of)
    check_request(posterior.model, asked.other, needs, device=engine.device, purpose=purpose)
    order = ascending(query)
    values = None if wanted.values is None else read_values(wanted.values, query, len(asked.data.channels), wanted.of)
    question = Question(
        observations_from(asked.data),
        along(query.times, order),
        along(inputs, order),
        wanted.of,
        wanted.num_draws,
        along(values, order),
    )
    cells = max(1, query.times.size * len(asked.data.channels))
    most = wanted.max_components or int(np.clip(_NUMBERS // (2 * cells), 10, 200))
    sites = posterior.sites(np.asarray, most, engine.seed)
    local = {name: name in posterior.local_sites for name in sites}
    sites = {name: held[:, asked.places] if local[name] else held for name, held in sites.items()}
    answer = _in_order(ask(posterior.model, asked.context, sites, local, question, engine), inverse(order))
    width = next(array.shape[-1] for array in (answer.mean, answer.draws) if array is not None)
    attrs = {
        "of": wanted.of,
        "model": posterior.model.entry.id,
        "question": purpose.strip("`"),
        "seed": engine.seed,
        "num_components": len(next(iter(sites.values()))) if sites else 1,
        "time_unit": asked.data.time_unit,
        "joint": int(posterior.model.capabilities.joint),
    }
    coords = coordinates(asked.data, query, channel_names(posterior.model, asked.context, wanted.of, width))
    if answer.draws is not None:
        chosen = thinned(posterior.num_draws, most, engine.seed) if sites else np.zeros(1, dtype=int)
        coords |= posterior.labels_of_draws(chosen[components_of_draws(len(chosen), len(answer.draws))])
    return _prediction(answer, query, values, coords, attrs)


def _prediction(
    answer: Answer, query: Query, values: np.ndarray | None, coords: dict[str, Any], attrs: dict[str, Any]
) -> Prediction:
    mean = sd = log_density = None
    if answer.mean is not None and answer.sd is not None:
        # The law of total variance holds for components of any form.
        mean, sd = mixture_moments(answer.mean, answer.sd)
    if answer.log_density is not None and values is not None:
        mixed = logsumexp(answer.log_density, axis=0) - np.log(len(answer.log_density))
        log_density = np.where(np.isnan(values), np.nan, mixed)
    elif values is not None and answer.is_gaussian and answer.mean is not None and answer.sd is not None:
        asked = np.where(query.valid[:, :, None], values, np.nan)
        log_density = mixture_log_density(answer.mean, answer.sd, asked)
    return Prediction.from_arrays(
        query.times,
        query.valid,
        coords=coords,
        mean=mean,
        sd=sd,
        draws=answer.draws,
        component_mean=answer.mean if answer.is_gaussian else None,
        component_sd=answer.sd if answer.is_gaussian else None,
        log_density=log_density,
        log_density_values=None if log_density is None else values,
        attrs=attrs,
    )


def _needs(data: Trajectories, query: Query, of: str) -> tuple[str, ...]:
    later = query.times > _last(data)[:, None]
    needs = []
    if (query.valid & ~later).any():
        needs.append("condition")
    if (query.valid & later).any():
        needs.append("forecast")
    return (*needs, "states") if of == "state" else tuple(needs)


def _last(data: Trajectories) -> np.ndarray:
    """Time of the last row of each series; minus infinity for a series without rows."""
    if data.times.shape[1] == 0:
        return np.full(data.num_series, -np.inf)
    last = data.times[np.arange(data.num_series), np.maximum(data.lengths - 1, 0)]
    return np.where(data.lengths > 0, last, -np.inf)


def _engine(posterior: Posterior, framework: str | None, device: str, dtype: str, seed: int) -> Engine:
    name = framework or framework_of(posterior.model, posterior.provenance["language"], posterior.num_draws)
    return Engine(name, device, dtype, seed)


def _check_wanted(wanted: _Wanted) -> None:
    if wanted.of not in _KINDS:
        raise ArgumentError(f"`of` must be one of {_KINDS}; got {wanted.of!r}.")
    check_count("num_draws", wanted.num_draws, 0)
    if wanted.max_components is not None:
        check_count("max_components", wanted.max_components, 1)


def _in_order(answer: Answer, order: np.ndarray | None) -> Answer:
    moved = {name: along(getattr(answer, name), order) for name in ("mean", "sd", "draws", "log_density")}
    return answer._replace(**moved)
