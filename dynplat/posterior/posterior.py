"""A fitted model: draws of its sites, what it was fitted to, and where it all comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dynplat.arrays import Array
from dynplat.errors import ArgumentError
from dynplat.model import check_coords, rows_of
from dynplat.posterior.arviz import (
    OBSERVED,
    build_tree,
    group_of,
    loo_of_tree,
    predictive_group,
    steps_of_tree,
    summarise_tree,
)
from dynplat.posterior.provenance import plain_json, provenance
from dynplat.posterior.storage import Parts, read_parts, write_parts
from dynplat.posterior.times import coordinates

if TYPE_CHECKING:
    import pandas as pd

    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel, Context, SiteInfo
    from dynplat.posterior.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of a model's sites with everything needed to ask it further questions.

    A point estimate is a posterior of one chain and one draw. Build one with `Posterior.from_draws`.

    Args:
        tree: ArviZ groups: `posterior`, `sample_stats`, `log_likelihood` (with its time axis), `observed_data`,
            `constant_data`, `unconstrained_posterior`, `provenance`; after `with_prediction` also
            `posterior_predictive` or `predictions`.
        model: The model.
        context: Its known constants, from the training data.
        data: The data that it was fitted to, holes included. Of snapshots the tree holds the particles as rows of one
            series, `population`.
    """

    tree: xr.DataTree
    model: AbstractModel
    context: Context
    data: Trajectories | Snapshots

    @classmethod
    def from_draws(
        cls,
        model: AbstractModel,
        context: Context,
        data: Trajectories | Snapshots,
        draws: Mapping[str, np.ndarray],
        infos: Mapping[str, SiteInfo],
        *,
        method: str,
        language: str,
        seed: int,
        sample_stats: Mapping[str, np.ndarray] | None = None,
        log_likelihood: np.ndarray | None = None,
        unconstrained: Mapping[str, np.ndarray] | None = None,
        extra: Mapping[str, Any] | None = None,
        command: str | None = None,
    ) -> Posterior:
        """Build a posterior from draws.

        Args:
            model: The model.
            context: Its context.
            data: The data it was fitted to.
            draws: Draws by site name, (chain, draw, core dimensions), or (chain, draw, series, core dimensions) for a
                site inside `pp.plate("series")`.
            infos: Facts of the sites, by the same names.
            method: Inference method, such as `map` or `nuts`.
            language: Language that ran the prior, `numpyro` or `pyro`; an empty string when none did.
            seed: Seed of the inference.
            sample_stats: Statistics of the sampler under ArviZ's names, (chain, draw, ...).
            log_likelihood: Terms log p(y_t | y_<t), (chain, draw, series, time).
            unconstrained: Sites on the unconstrained scale, (chain, draw, ...).
            extra: Further facts to keep: numbers, strings, lists, mappings, NumPy arrays. `standard_errors` (arrays by
                site name, of the shape of one draw) is what `standard_errors` reports for a point estimate.
            command: Command line that made the fit.

        Raises:
            ArgumentError: A name, a label or a shape does not fit.
            InferenceError: A draw is not finite.
        """
        rows = rows_of(data)
        tree = build_tree(
            rows,
            coordinates(rows),
            draws,
            infos,
            labels=check_coords(model.coords(context), infos),
            method=method,
            sample_stats=sample_stats,
            log_likelihood=log_likelihood,
            unconstrained=unconstrained,
        )
        facts = provenance(
            model,
            method=method,
            language=language,
            seed=seed,
            fingerprint=data.fingerprint(),
            command=command,
            extra=extra,
        )
        tree.attrs["provenance"] = plain_json(facts)
        tree["provenance"] = xr.DataTree(xr.Dataset({name: _text(value) for name, value in facts.items()}))
        return cls(tree, model, context, data)

    def __repr__(self) -> str:
        posterior = group_of(self.tree, "posterior")
        sites = ", ".join(f"{name} {tuple(site.shape[2:])}" for name, site in posterior.data_vars.items())
        chains, draws = posterior.sizes.get("chain", 1), posterior.sizes.get("draw", 1)
        return (
            f"<Posterior of {self.model.entry.id} by {self.provenance['method']}: {chains} chains of {draws} draws; "
            f"sites {sites or 'none'}>"
        )

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Versions, model, options, plugin, method, language, seed, fingerprint of the data, command, time, extras."""
        return json.loads(self.tree.attrs["provenance"])

    def with_command(self, command: str) -> Posterior:
        """Return a copy whose provenance names the command line that made the fit."""
        facts = {**self.provenance, "command": command}
        tree = self.tree.copy()
        tree.attrs["provenance"] = plain_json(facts)
        tree["provenance"] = xr.DataTree(xr.Dataset({name: _text(value) for name, value in facts.items()}))
        return Posterior(tree, self.model, self.context, self.data)

    @property
    def num_draws(self) -> int:
        """Number of draws over all chains."""
        sizes = group_of(self.tree, "posterior").sizes
        return int(sizes.get("chain", 1) * sizes.get("draw", 1))

    @cached_property
    def local_sites(self) -> tuple[str, ...]:
        """Names of the sites with one value per series."""
        return tuple(
            str(name) for name, site in group_of(self.tree, "posterior").data_vars.items() if site.attrs["local"]
        )

    @property
    def log_likelihood(self) -> float | None:
        """Log-likelihood of the observed values, at the point estimate or averaged over the draws; None if unknown."""
        if "log_likelihood" not in self.tree.children:
            return None
        terms = group_of(self.tree, "log_likelihood")[OBSERVED].values
        return float(terms.reshape(*terms.shape[:2], -1).sum(axis=2).mean())

    @property
    def log_likelihood_steps(self) -> np.ndarray | None:
        """Terms log p(y_t | y_<t), (chain, draw, series, time), 0 where nothing was observed; None if unknown."""
        return steps_of_tree(self.tree, rows_of(self.data))

    @property
    def standard_errors(self) -> dict[str, np.ndarray]:
        """Standard errors by site: posterior standard deviations, or what the method reported with a point estimate.

        A site about which nothing is known (a point estimate without a curvature) is left out.
        """
        if self.num_draws > 1:
            sites = group_of(self.tree, "posterior").data_vars.items()
            return {str(name): np.asarray(site.std(("chain", "draw"), ddof=1)) for name, site in sites}
        reported = self.provenance["extra"].get("standard_errors", {})
        return {name: np.asarray(value, dtype=np.float64) for name, value in reported.items()}

    def sites(self, to_array: Callable[[Any], Array], num_draws: int | None = None, seed: int = 0) -> dict[str, Array]:
        """Return the sites in the form that processes take, (draw, series or 1, core dimensions).

        Chains are laid end to end. With fewer draws asked for than there are, they are thinned evenly from a start that
        `seed` determines.

        Args:
            to_array: Turns a NumPy array into one of the framework, such as `dynplat.arrays.framework` gives.
            num_draws: At most so many draws; None for all.
            seed: Determines which draws a thinned selection holds.
        """
        chosen = thinned(self.num_draws, num_draws, seed)
        sites = {}
        for name, site in group_of(self.tree, "posterior").data_vars.items():
            values = site.values.reshape(-1, *site.shape[2:])[chosen]
            sites[str(name)] = to_array(values if site.attrs["local"] else values[:, None])
        return sites

    def labels_of_draws(self, draws: np.ndarray) -> dict[str, Any]:
        """Labels `chain` and `draw` of draws counted over all chains laid end to end, along the dimension `sample`."""
        posterior = group_of(self.tree, "posterior")
        chain, draw = np.divmod(draws, posterior.sizes.get("draw", 1))
        return {
            "chain": (("sample",), posterior["chain"].values[chain]),
            "draw": (("sample",), posterior["draw"].values[draw]),
        }

    def with_prediction(self, prediction: Prediction, group: str = "predictions") -> Posterior:
        """Return a copy whose tree also holds the draws of a prediction under ArviZ's name.

        The draws carry the chain and the draw of the posterior that they were made with, where there is one for each
        draw of the posterior, or of an even thinning of every chain; ask for `num_draws` and `max_components` of
        `posterior.num_draws` where ArviZ is to pair them (`plot_loo_pit`). Otherwise they are one chain, whose draws
        are counted on from the posterior's, so that nothing pairs them.

        Args:
            prediction: A prediction of observations, with draws.
            group: `predictions`, or `posterior_predictive` for a prediction at the rows of the data, which ArviZ then
                compares with `observed_data`.

        Raises:
            ArgumentError: The group is unknown, or `posterior_predictive` is not at the rows of the data, which
                snapshots do not have.
        """
        rows = rows_of(self.data)
        if rows is not self.data and group == "posterior_predictive":
            raise ArgumentError(
                "`posterior_predictive` pairs draws with the rows of the data, and particles of snapshots have no "
                "identity. Use `predictions`."
            )
        tree = self.tree.copy()
        tree[group] = xr.DataTree(predictive_group(prediction.dataset, group, rows, self.num_draws))
        return replace(self, tree=tree)

    def summary(self, **options: Any) -> pd.DataFrame:
        """Table of the sites: mean, sd, intervals, effective sample sizes and R-hat (`arviz_stats.summary`).

        The table of a point estimate has the estimate as `mean` and its standard error as `sd` (NaN where the method
        reported none).

        Args:
            options: Options of `arviz_stats.summary`, such as `var_names`; `round_to` is 'none' unless given.
        """
        return summarise_tree(self.tree, self.standard_errors, **options)

    def loo(self, **options: Any) -> Any:
        """Estimate out-of-sample predictive accuracy by PSIS leave-one-out (`arviz_stats.loo`) over observed rows.

        The terms are log p(y_t | y_<t): what is left out is one such factor of the likelihood, the one-step-ahead
        prediction of a row, not the row's role as history of later rows. Rows at which nothing was observed, and the
        padding of shorter series, carry no term and are left out, so they count neither as data points nor in the
        standard error.

        Args:
            options: Options of `arviz_stats.loo`, such as `pointwise=True`.

        Raises:
            CapabilityError: The posterior holds no log-likelihood, or too few draws.
        """
        return loo_of_tree(self.tree, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one NetCDF file, replacing a file that is there in one step. No pickle.

        Raises:
            ArgumentError: The context holds a value that has no exact form in a file.
            StorageError: The file cannot be written.
        """
        write_parts(Parts(self.tree, self.model, self.context, self.data), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], resolve: Callable[[str, dict[str, Any]], AbstractModel]) -> Posterior:
        """Read a posterior that `save` wrote. Loading runs no code that the file could choose.

        Args:
            path: The file.
            resolve: Function of a model's id and options that returns the model; its errors pass through (a model
                that is not installed).

        Raises:
            StorageError: The file is missing, damaged, of another kind or of another version.
        """
        return cls(*read_parts(path, resolve))


def thinned(available: int, wanted: int | None, seed: int) -> np.ndarray:
    """Indices of `wanted` out of `available` draws, evenly spaced from a start within the first stride."""
    if wanted is not None and wanted < 1:
        raise ArgumentError(f"`num_draws` must be at least 1, or None for all; got {wanted}.")
    if wanted is None or wanted >= available:
        return np.arange(available)
    start = np.random.default_rng(seed).random()
    return np.minimum(((np.arange(wanted) + start) * available / wanted).astype(int), available - 1)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else plain_json(value)
