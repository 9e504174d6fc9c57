"""New trajectories from a model: the posterior predictive law, and the prior predictive one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.model import check_request, rows_of
from dynplat.posterior.arguments import channel_names, check_count, framework_of, read_inputs
from dynplat.posterior.ask import Engine, Question, ask
from dynplat.posterior.posterior import Posterior
from dynplat.posterior.prediction import Prediction
from dynplat.posterior.times import along, ascending, coordinates, inverse, query_from

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel, Context


def simulate(
    posterior: Posterior,
    times: Any,
    *,
    inputs: Any = None,
    of: str = "observation",
    num_draws: int = 200,
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Prediction:
    """Draw new trajectories from the posterior predictive law; the data enter through the parameters only.

    Each draw takes one parameter draw (evenly thinned, or each several times when there are fewer). A posterior made
    from draws of a prior gives the prior predictive law.

    Args:
        posterior: The fitted model.
        times: Floats or dates, as in `predict`.
        inputs: Known inputs at these times, where the model has some.
        of: `observation` or `state`.
        num_draws: Number of trajectories of each series.
        seed: Seed.
        framework: `jax`, `torch` or `numpy`; by default that of the language of the fit.
        device: A device of the framework.
        dtype: `float64` or `float32`.

    Raises:
        CapabilityError: The model does not simulate.
    """
    check_count("num_draws", num_draws, 1)
    sites = posterior.sites(np.asarray, min(num_draws, posterior.num_draws), seed)
    # Trajectories beyond the number of parameter draws go round once more.
    repeated = {name: values[np.arange(num_draws) % len(values)] for name, values in sites.items()}
    return simulate_sites(
        posterior.model,
        posterior.context,
        repeated,
        posterior.data,
        times,
        inputs=inputs,
        of=of,
        seed=seed,
        framework=framework or framework_of(posterior.model, posterior.provenance["language"]),
        device=device,
        dtype=dtype,
    )


def simulate_sites(
    model: AbstractModel,
    context: Context,
    sites: Mapping[str, np.ndarray],
    data: Trajectories | Snapshots,
    times: Any,
    *,
    inputs: Any = None,
    of: str = "observation",
    seed: int = 0,
    framework: str | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Prediction:
    """Draw one new trajectory per draw of the sites, such as draws of a prior.

    Args:
        model: The model.
        context: Its context.
        sites: Host arrays, (draw, series or 1, core dimensions).
        data: Data that name the series and the channels and hold the clock; its values are not looked at.
        times: Floats or dates, as in `predict`.
        inputs: Known inputs at these times, where the model has some.
        of: `observation` or `state`.
        seed: Seed.
        framework: `jax`, `torch` or `numpy`; by default that of the model's first language.
        device: A device of the framework.
        dtype: `float64` or `float32`.

    Raises:
        CapabilityError: The model does not simulate.
    """
    if of not in ("observation", "state"):
        raise ArgumentError(f"`of` must be 'observation' or 'state' in a simulation; got {of!r}.")
    needs = ("simulate", "states") if of == "state" else ("simulate",)
    check_request(model, None, needs, device=device, purpose="`simulate`")
    data = rows_of(data)
    query = query_from(data, times)
    order = ascending(query)
    given = read_inputs(inputs, query, context.inputs)
    count = len(next(iter(sites.values()))) if sites else 1
    question = Question(None, along(query.times, order), along(given, order), of, count)
    local = {name: values.shape[1] == data.num_series != 1 for name, values in sites.items()}
    engine = Engine(framework or framework_of(model, ""), device, dtype, seed)
    answer = ask(model, context, sites, local, question, engine)
    drawn = along(answer.draws, inverse(order))
    channels = channel_names(model, context, of, drawn.shape[-1])
    return Prediction.from_arrays(
        query.times,
        query.valid,
        coords=coordinates(data, query, channels),
        draws=drawn,
        attrs={"of": of, "model": model.entry.id, "question": "simulate", "seed": seed, "num_components": count},
    )
