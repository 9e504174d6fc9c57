"""All contact with ArviZ: the DataTree with its group names, and the diagnostics that read it.

The tree follows the `ArviZ schema <https://python.arviz.org/en/latest/schema/schema.html>`_. arviz-base 0.8 (the last
for Python 3.11) and 1.x read it alike, because the tree is built with xarray alone and only functions that both
generations have are called. Variables never share a name with a dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dynplat.errors import ArgumentError, CapabilityError, InferenceError
from dynplat.model import check_dims

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data import Trajectories
    from dynplat.model import SiteInfo

#: Names of dimensions; no site may be called so.
DIMS = ("chain", "draw", "sample", "pred_id", "series", "time", "channel", "input", "component", "quantile", "row")
#: Name of the observed variable in every group that holds one.
OBSERVED = "y"
#: Dimensions of the sites that are summarised at once.
_MOST_DIMS = 40
#: PSIS fits a tail of at least five draws, a fifth of all.
_LOO_DRAWS = 25


def site_dims(info: SiteInfo) -> tuple[str, ...]:
    """Names of the dimensions of a site after `chain` and `draw`."""
    named = info.dims or (None,) * len(info.core_shape)
    core = tuple(name or f"{info.name}_dim_{axis}" for axis, name in enumerate(named))
    return ("series", *core) if info.local else core


def check_draws(draws: Mapping[str, np.ndarray], infos: Mapping[str, SiteInfo], num_series: int) -> tuple[int, int]:
    """Refuse draws whose names, shapes or values are not what the sites say; return the number of chains and draws.

    Raises:
        ArgumentError: A name or a shape is wrong.
        InferenceError: A sampled or estimated site has a value that is not finite.
    """
    if set(draws) != set(infos):
        raise ArgumentError(f"`draws` and `infos` must name the same sites; got {sorted(draws)} and {sorted(infos)}.")
    lead: tuple[int, int] | None = None
    for name, values in draws.items():
        info = infos[name]
        core = ((num_series,) if info.local else ()) + tuple(info.core_shape)
        if name in DIMS or "/" in name:
            raise ArgumentError(
                f"a site may not be called {name!r}: rename it in the model's `prior` ({DIMS} are taken)."
            )
        if values.ndim < 2 or values.shape[2:] != core or (lead is not None and values.shape[:2] != lead):
            chains = "chain, draw" if lead is None else f"{lead[0]}, {lead[1]}"
            raise ArgumentError(
                f"`draws[{name!r}]` must have shape ({', '.join([chains, *map(str, core)])}); got {values.shape}."
            )
        lead = values.shape[:2]
        if info.kind != "deterministic" and values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InferenceError(
                f"site {name!r} has {int((~np.isfinite(values)).sum())} values that are not finite. "
                "Check the data's scale and the prior, or try another start or method."
            )
    if lead is not None and 0 in lead:
        raise ArgumentError(f"`draws` must hold at least one draw; got {lead[0]} chains of {lead[1]} draws.")
    return lead or (1, 1)


def build_tree(
    data: Trajectories,
    coords: Mapping[str, Any],
    draws: Mapping[str, np.ndarray],
    infos: Mapping[str, SiteInfo],
    *,
    method: str,
    labels: Mapping[str, Sequence[Any]] | None = None,
    sample_stats: Mapping[str, np.ndarray] | None = None,
    log_likelihood: np.ndarray | None = None,
    unconstrained: Mapping[str, np.ndarray] | None = None,
) -> xr.DataTree:
    """Build the tree of a fit.

    `log_likelihood` has one term per row at which something was observed; time is never summed away. Rows without an
    observation, and the padding of shorter series, carry no term: kept as zeros they would count as data points in
    `arviz_stats.loo`, which refuses them. Where the observed rows are the same for all series (always so for a single
    one) the dimensions are (chain, draw, series, time), with `time` along the observed rows; otherwise they are (chain,
    draw, row), series after series. The coordinate `step` counts the rows of the data either way, and
    `steps_of_tree` spreads the terms over all rows. `constant_data["observed"]` says which cells were observed.

    Args:
        data: What the model was fitted to.
        coords: Coordinates of the dimensions series, time and channel.
        draws: Sites, (chain, draw, [series,] core dimensions).
        infos: Facts of the sites.
        method: Inference method.
        labels: Labels along the model's own dimensions.
        sample_stats: Statistics of the sampler, (chain, draw, ...).
        log_likelihood: Terms log p(y_t | y_<t), (chain, draw, series, time), or None.
        unconstrained: Sites on the unconstrained scale, (chain, draw, ...), or None.
    """
    num_chains, num_draws = check_draws(draws, infos, data.num_series)
    check_dims(infos, {"channel": len(data.channels), "input": len(data.input_names)})
    rows = ("series", "time", "channel")
    lead = {"chain": np.arange(num_chains), "draw": np.arange(num_draws)}
    named = {**coords, "input": list(data.input_names), **(labels or {})}
    posterior = {
        name: (
            ("chain", "draw", *site_dims(infos[name])),
            np.asarray(values),
            {"kind": infos[name].kind, "local": int(infos[name].local)},
        )
        for name, values in draws.items()
    }
    groups = {"posterior": _sampled(posterior, lead, named, method)}
    if sample_stats:
        groups["sample_stats"] = _sampled(_loose(sample_stats), lead, coords, method)
    if unconstrained:
        groups["unconstrained_posterior"] = _sampled(
            {
                name: ((*dims[:2], *_kept(dims[2:], values, infos.get(name))), values)
                for name, (dims, values) in _loose(unconstrained).items()
            },
            lead,
            named,
            method,
        )
    if log_likelihood is not None:
        expected = (num_chains, num_draws, *data.times.shape)
        if log_likelihood.shape != expected:
            raise ArgumentError(
                f"`log_likelihood` must have shape (chain, draw, series, time) = {expected}; "
                f"got {log_likelihood.shape}."
            )
        groups["log_likelihood"] = _terms(np.asarray(log_likelihood), data, lead, coords, method)
    groups["observed_data"] = xr.Dataset({OBSERVED: (rows, np.where(data.mask, data.values, np.nan))}, coords=coords)
    groups["constant_data"] = _constants(data, coords)
    return xr.DataTree.from_dict({f"/{name}": _counted(dataset) for name, dataset in groups.items()})


def _counted(dataset: xr.Dataset) -> xr.Dataset:
    """Give every dimension without a coordinate one that counts: plots select along coordinates."""
    bare = [name for name in dataset.sizes if name not in dataset.coords]
    return dataset.assign_coords({name: np.arange(dataset.sizes[name]) for name in bare})


def _terms(
    terms: np.ndarray, data: Trajectories, lead: Mapping[str, np.ndarray], coords: Mapping[str, Any], method: str
) -> xr.Dataset:
    # A row may also say something through its mark alone.
    seen = data.mask.any(axis=2) | (terms != 0).any(axis=(0, 1))
    if (seen == seen[:1]).all() and seen.any():
        steps = np.flatnonzero(seen[0])
        kept = {name: _take(value, steps) for name, value in coords.items() if name != "channel"}
        kept["step"] = (("time",), steps)
        return _sampled({OBSERVED: (("chain", "draw", "series", "time"), terms[..., steps])}, lead, kept, method)
    series, steps = np.nonzero(seen)
    kept = {"step": (("row",), steps), "series": (("row",), np.asarray(data.series, dtype=object)[series])}
    kept["times"] = (("row",), data.times[series, steps])
    if data.is_datetime:
        kept["date"] = (("row",), data.labels[series, steps])
    return _sampled({OBSERVED: (("chain", "draw", "row"), terms[:, :, series, steps])}, lead, kept, method)


def _take(value: Any, steps: np.ndarray) -> Any:
    """Restrict a coordinate that lies along time."""
    if isinstance(value, tuple):
        return (value[0], np.asarray(value[1])[:, steps])
    return value[steps] if isinstance(value, np.ndarray) else value


def group_of(tree: xr.DataTree, name: str) -> xr.Dataset:
    """Return a group as a Dataset."""
    return tree.children[name].to_dataset()


def steps_of_tree(tree: xr.DataTree, data: Trajectories) -> np.ndarray | None:
    """Terms log p(y_t | y_<t) at all rows, (chain, draw, series, time), 0 where there is none; None if unknown."""
    if "log_likelihood" not in tree.children:
        return None
    terms = group_of(tree, "log_likelihood")[OBSERVED]
    full = np.zeros((*terms.shape[:2], *data.times.shape))
    if "row" in terms.dims:
        places = {name: index for index, name in enumerate(data.series)}
        full[:, :, [places[str(name)] for name in terms["series"].values], terms["step"].values] = terms.values
    else:
        full[..., terms["step"].values] = terms.values
    return full


def predictive_group(dataset: xr.Dataset, group: str, data: Trajectories, num_draws: int) -> xr.Dataset:
    """Give the draws of a prediction the form of a predictive group: chains and draws of the posterior.

    Draws that are not one for each of the same draws of every chain become one chain, with labels beyond the
    `num_draws` of the posterior: ArviZ pairs predictive draws and weights by their labels.

    Raises:
        ArgumentError: The group is unknown, the prediction has no draws, is not of observations, or is to be compared
            with the observed data and lies elsewhere.
    """
    if group not in ("predictions", "posterior_predictive"):
        raise ArgumentError(f"`group` must be 'predictions' or 'posterior_predictive'; got {group!r}.")
    if "draws" not in dataset or dataset.attrs.get("of", "observation") != "observation":
        raise ArgumentError("`prediction` must be of observations and hold draws. Predict again with `num_draws`.")
    at_rows = dataset["times"].shape == data.times.shape and bool(
        (dataset["valid"].values == data.rows).all() and (dataset["times"].values == data.times)[data.rows].all()
    )
    if group == "posterior_predictive" and not at_rows:
        raise ArgumentError("`posterior_predictive` must be at the rows of the data. Use `impute`, or `predictions`.")
    draws = dataset["draws"]
    lead = _grid(dataset, num_draws)
    variable = ((*lead, *draws.dims[1:]), draws.values.reshape(*map(len, lead.values()), *draws.shape[1:]))
    # Times are a coordinate: the plots of ArviZ take every variable of the group for a predicted one.
    coords = {name: coord for name, coord in draws.coords.items() if "sample" not in coord.dims}
    result = xr.Dataset({OBSERVED: variable}, coords={**coords, **lead, "times": dataset["times"]})
    result.attrs = {"creation_library": "dynplat", "sample_dims": ["chain", "draw"]}
    return _counted(result)


def _grid(dataset: xr.Dataset, num_draws: int) -> dict[str, np.ndarray]:
    """Labels of chains and draws whose grid, chain by chain, is that of the samples."""
    count = dataset.sizes["sample"]
    if "chain" in dataset.coords and "draw" in dataset.coords:
        chain, draw = dataset["chain"].values, dataset["draw"].values
        chains, draws = np.unique(chain), np.unique(draw)
        grid = np.stack(np.meshgrid(chains, draws, indexing="ij")).reshape(2, -1)
        if np.array_equal(grid, np.stack([chain, draw])):
            return {"chain": chains, "draw": draws}
    return {"chain": np.zeros(1, dtype=int), "draw": num_draws + np.arange(count)}


def summarise_tree(tree: xr.DataTree, standard_errors: Mapping[str, np.ndarray], **options: Any) -> pd.DataFrame:
    """Summarise the sites; of a point estimate only the estimate and its standard error are known."""
    options = {"round_to": "none", **options}
    posterior = group_of(tree, "posterior")
    if posterior.sizes.get("chain", 1) * posterior.sizes.get("draw", 1) > 1:
        return _table(tree, **options)
    table = _table(tree, **{**options, "kind": "stats"})[["mean"]]
    errors = {
        label: error
        for name in posterior.data_vars
        for label, error in zip(
            _table(tree, var_names=[name], kind="stats").index,
            np.broadcast_to(standard_errors.get(str(name), np.nan), posterior[name].shape[2:]).ravel(),
            strict=True,
        )
    }
    return table.assign(sd=[errors[label] for label in table.index])


def _table(tree: xr.DataTree, **options: Any) -> Any:
    import arviz_stats
    import pandas as pd

    lots = _lots(group_of(tree, options.get("group", "posterior"))) if options.get("var_names") is None else []
    if len(lots) < 2:
        return arviz_stats.summary(tree, **options)
    tables: list[Any] = [arviz_stats.summary(tree, **{**options, "var_names": names}) for names in lots]
    return pd.concat(tables)


def _lots(sites: xr.Dataset) -> list[list[str]]:
    """Sites in lots of few dimensions: ArviZ brings all that it is given into one array, and NumPy has at most 64."""
    lots: list[list[str]] = []
    dims: set[Any] = set()
    for name, site in sites.data_vars.items():
        dims = dims | set(site.dims)
        if not lots or len(dims) > _MOST_DIMS:
            lots.append([])
            dims = set(site.dims)
        lots[-1].append(str(name))
    return lots


def loo_of_tree(tree: xr.DataTree, **options: Any) -> Any:
    """PSIS leave-one-out over observed rows.

    Raises:
        CapabilityError: There is no log-likelihood, or there are too few draws to smooth a tail.
    """
    import arviz_stats

    if "log_likelihood" not in tree.children:
        raise CapabilityError("the posterior holds no log-likelihood, which leave-one-out reads.")
    sizes = group_of(tree, "log_likelihood").sizes
    num_draws = sizes["chain"] * sizes["draw"]
    if num_draws < _LOO_DRAWS:
        raise CapabilityError(
            f"leave-one-out smooths the tail of the importance weights and needs at least {_LOO_DRAWS} draws; "
            f"the posterior has {num_draws}. Fit with an inference that draws, such as 'nuts' or 'laplace'."
        )
    return arviz_stats.loo(tree, **options)


def _constants(data: Trajectories, coords: Mapping[str, Any]) -> xr.Dataset:
    constants: dict[str, Any] = {
        "observed": (("series", "time", "channel"), np.asarray(data.mask)),
        "times": (("series", "time"), np.asarray(data.times, dtype=np.float64), _unit(data)),
        "length": (("series",), np.asarray(data.lengths)),
    }
    coords = dict(coords)
    if data.inputs is not None:
        coords["input"] = list(data.input_names)
        constants["inputs"] = (("series", "time", "input"), np.asarray(data.inputs))
    if data.marks is not None:
        constants["marks"] = (("series", "time"), np.asarray(data.marks))
    for name, values in data.static.items():
        constants[f"static_{name}"] = (("series",), np.asarray(values))
    return xr.Dataset(constants, coords=coords)


def _unit(data: Trajectories) -> dict[str, str]:
    # Not `units`: xarray would read a unit of time there and turn the numbers into timedeltas.
    return {"time_unit": data.time_unit} if data.time_unit else {}


def _loose(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Give dimensions to arrays (chain, draw, ...) about which nothing more is known."""
    return {
        name: (("chain", "draw", *(f"{name}_dim_{axis}" for axis in range(np.ndim(values) - 2))), np.asarray(values))
        for name, values in arrays.items()
    }


def _kept(loose: tuple[str, ...], values: np.ndarray, info: SiteInfo | None) -> tuple[str, ...]:
    """Names of the dimensions of an unconstrained site: the site's own, unless its transform changed its shape."""
    if (
        info is None
        or values.ndim - 2 != len(info.core_shape) + info.local
        or values.shape[2 + info.local :] != tuple(info.core_shape)
    ):
        return loose
    return site_dims(info)


def _sampled(
    variables: Mapping[str, Any], lead: Mapping[str, np.ndarray], coords: Mapping[str, Any], method: str
) -> xr.Dataset:
    used = set().union(*(variable[0] for variable in variables.values())) if variables else set()
    kept = {name: value for name, value in coords.items() if set(_coord_dims(name, value)) <= used}
    attrs = {"creation_library": "dynplat", "inference_library": method, "sample_dims": ["chain", "draw"]}
    return xr.Dataset(dict(variables), coords={**lead, **kept}, attrs=attrs)


def _coord_dims(name: str, value: Any) -> tuple[str, ...]:
    return tuple(value[0]) if isinstance(value, tuple) else (name,)
