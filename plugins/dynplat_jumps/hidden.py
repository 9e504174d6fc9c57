"""Hidden chains: states seen through noise, as counts, or as labels that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Observations, asarray_like
from dynplat.errors import ArgumentError, DataError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.process import (
    AbstractEmission,
    CategoricalEmission,
    GaussianEmission,
    PoissonEmission,
    StudentTEmission,
)
from dynplat.records import Capabilities
from dynplat_jumps import entries, parts, solvers
from dynplat_jumps.emission import StateEmission, misclassification
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.structures import RateStructure, structure_from

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: Emission -> types of value.
EMISSIONS = {
    "gaussian": ("real",),
    "student-t": ("real",),
    "poisson": ("count",),
    "categorical": ("categorical",),
    "misclassification": ("categorical",),
}


@dataclass(frozen=True)
class Hidden(AbstractModel):
    """A Markov jump process seen through noise.

    Priors: rates log-normal, around one change in the geometric mean of gap and span; centres of states around
    quantiles of the data; log odds of an error N(-2, 1.5^2); laws over codes and over the first state uniform.

    Args:
        num_states: Number of states; for `misclassification` as many as there are labels by default, else 2.
        emission: What a state shows: `gaussian` or `student-t` values, `poisson` counts, `categorical` codes, or
            `misclassification`: its own label, with errors.
        structure: Which jumps are possible, as in `jumps/panel`; links by numbers 1, ..., K, or by labels for
            `misclassification`.
        initial: Law of the state at the first row: `free`, `uniform`, `first` or `stationary`.
        errors: For `misclassification`: which labels are mistaken for which, such as `1-2,2-1` (state, label);
            `neighbours` or `all`.
        first_state: For `misclassification`: label of the first state.
        first_known: For `misclassification`: whether the label of a series' first row is right in any case.
        error_covariates: For `misclassification`: names of static covariates that act on the log odds of every error,
            in their distance from the mean.
        covariates: Names of static covariates that act on the log of every rate, in their distance from the mean.
        inputs: Names of the data's inputs that do so too: covariates that change with time, each held from a row until
            the next.
        rate_shape: Shape of Gamma priors of the rates, with the mean of the default's median; None for the default,
            log-normal priors.
        solver: What inference `solve` does: `em`, maximum likelihood by expectation-maximisation, the best from three
            starts; `rao-teh`, a Gibbs sampler over paths and parameters, for which `rate_shape` must be given. Both
            take free rates, the same for all series, and any start but the stationary one.
        solver_draws: Draws of the Gibbs sampler, after a quarter as many sweeps.
        solver_thin: Sweeps of the Gibbs sampler from one draw to the next.
    """

    entry = entries.HIDDEN
    num_states: int | None = None
    emission: str = "gaussian"
    structure: str = "free"
    initial: str = "free"
    errors: str = "neighbours"
    first_state: int | None = None
    first_known: bool = False
    error_covariates: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    rate_shape: float | None = None
    solver: str | None = None
    solver_draws: int = 1000
    solver_thin: int = 1

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        parts.check_count("num_states", self.num_states, 1)
        parts.check_count("first_state", self.first_state, 0)
        parts.check_initial(self.initial, ("free", "uniform", "first", "stationary"))
        if self.emission not in EMISSIONS:
            raise ArgumentError(f"`emission` must be one of {tuple(EMISSIONS)}; got {self.emission!r}.")
        if self.first_known and self.emission != "misclassification":
            raise ArgumentError(
                "`first_known` speaks of labels of states: it goes with `emission='misclassification'`."
            )
        if self.error_covariates and self.emission != "misclassification":
            raise ArgumentError(
                "`error_covariates` speak of labels that are wrong: they go with `emission='misclassification'`."
            )
        if len(set(self.error_covariates)) < len(self.error_covariates):
            raise ArgumentError(f"`error_covariates` must be different names; got {self.error_covariates}.")
        parts.check_effects(self.structure, self.initial, self.covariates, self.inputs)
        solvers.check_solver(self, self.structure, self.covariates + self.inputs + self.error_covariates)

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do: values are those of its emission, and inputs are read where an option names them."""
        return replace(
            self.entry.capabilities,
            values=EMISSIONS[self.emission],
            multichannel=self.emission != "misclassification",
            inputs=bool(self.inputs),
        )

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells; find states, links and codes."""
        context = summarise(data)
        num_states, first, constants = self.num_states or 2, 1, {}
        seen = np.asarray(data.mask)
        if self.emission == "misclassification":
            visits = parts.Visits(data, self.first_state, self.num_states)
            num_states, first = visits.num_states, visits.first
            constants["errors"] = np.array(_errors(self.errors, num_states, first), dtype=np.int64).reshape(-1, 2)
        elif self.emission == "categorical":
            codes = data.values[seen]
            if (codes != np.round(codes)).any() or (codes < 0).any():
                raise DataError("codes must be whole numbers 0, 1, ...; the data hold others.")
            constants["num_codes"] = int(codes.max(initial=1)) + 1
        elif self.emission == "poisson":
            counts = [data.values[..., c][seen[..., c]] for c in range(len(data.channels))]
            constants["mean_count"] = np.array([max(float(one.mean()), 0.1) if one.size else 1.0 for one in counts])
        structure = structure_from(self.structure, num_states, first)
        parts.check_stationary(self.initial, structure)
        links = max(len(structure.links) / max(int((~structure.absorbing).sum()), 1), 1.0)
        tau = float(np.sqrt(context["gap"] * max(context["span"] / 4.0, context["gap"])))
        return context.with_values(
            first_state=first,
            num_states=num_states,
            links=np.array(structure.links, dtype=np.int64).reshape(-1, 2),
            rate=1.0 / tau / links,
            **constants,
            **parts.covariate_constants(data, self.covariates),
            **parts.covariate_constants(data, self.error_covariates, option="error_covariates", prefix="error_"),
            **parts.input_constants(data, self.inputs),
        )

    def structure_of(self, context: Context) -> RateStructure:
        """The links of a fit."""
        links = tuple((int(old), int(new)) for old, new in np.asarray(context["links"]))
        return RateStructure(int(context["num_states"]), links, self.structure == "reversible")

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit the rates, the law of the first state, and what the emission needs."""
        structure = self.structure_of(context)
        K, C = structure.num_states, len(context.channels)
        parts.rates_prior(pp, structure, context, covariates=self.covariates, inputs=self.inputs, shape=self.rate_shape)
        parts.initial_prior(pp, self.initial, K)
        if self.emission in ("gaussian", "student-t"):
            # Spread over the data in order, so that states have names.
            place = np.linspace(-1.0, 1.0, K)[:, None] if K > 1 else np.zeros((1, 1))
            centre = context["location"] + place * context["scale"]
            spread = np.broadcast_to(context["scale"], (K, C)).copy()
            pp.sample("location", pp.dist.Normal(centre, spread).to_event(2), dims=("state", "channel"))
            law = pp.dist.LogNormal(np.log(0.5 * spread), np.ones((K, C))).to_event(2)
            pp.sample("noise_scale", law, dims=("state", "channel"))
        if self.emission == "student-t":
            pp.sample("degrees", pp.dist.LogNormal(log(5.0), 0.7))
        if self.emission == "poisson":
            place = np.linspace(-1.0, 1.0, K)[:, None] if K > 1 else np.zeros((1, 1))
            centre = np.log(context["mean_count"]) + place
            law = pp.dist.LogNormal(centre, np.ones((K, C))).to_event(2)
            pp.sample("count_rate", law, dims=("state", "channel"))
        if self.emission == "categorical":
            law = pp.dist.Dirichlet(np.ones((K, C, int(context["num_codes"])))).to_event(2)
            pp.sample("code_probability", law, dims=("state", "channel", "code"))
        if self.emission == "misclassification":
            count = len(context["errors"])
            law = pp.dist.Normal(np.full(count, -2.0), np.full(count, 1.5)).to_event(1)
            pp.sample("error_logit", law, dims=("error",))
            if self.error_covariates:
                size = (len(self.error_covariates), count)
                spread = np.broadcast_to(context["error_effect_spread"][:, None], size).copy()
                law = pp.dist.Normal(np.zeros(size), spread).to_event(2)
                pp.sample("error_effect", law, dims=("error_covariate", "error"))

    def coords(self, context: Context) -> dict[str, list[str]]:
        """Labels of links, states and errors (state-label), of codes, and of covariates."""
        first = int(context["first_state"])
        found = parts.coords_of(self.structure_of(context), first, covariates=self.covariates, inputs=self.inputs)
        if self.emission == "misclassification":
            found["error_covariate"] = list(self.error_covariates)
            found["error"] = [f"{state + first}-{label + first}" for state, label in np.asarray(context["errors"])]
        if self.emission == "categorical":
            found["code"] = [str(code) for code in range(int(context["num_codes"]))]
        return found

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites | None:
        """Find all parameters by EM, or draw them with the paths."""
        return solvers.solve(self, observations, context, seed=seed)

    def process(self, sites: Sites, context: Context) -> MarkovJump:
        """Build the hidden chain."""
        structure = self.structure_of(context)
        generator = parts.generator_of(sites, context, structure, covariates=self.covariates)
        return MarkovJump(
            generator,
            parts.log_initial_of(sites, context, self.initial, generator),
            self._emission(sites, context),
            drive=parts.drive_of(sites, context, structure, self.inputs),
            stationary=self.initial == "stationary",
        )

    def _emission(self, sites: Sites, context: Context) -> AbstractEmission:
        if self.emission == "misclassification":
            errors = tuple((int(i), int(j)) for i, j in np.asarray(context["errors"]))
            logits = sites["error_logit"]
            if self.error_covariates:
                means = context["error_covariate_means"]
                logits = logits + parts.shift_of(sites["error_effect"], context, self.error_covariates, means)
            table = misclassification(logits, errors, int(context["num_states"]))
            return StateEmission(table, first=int(context["first_state"]), first_known=self.first_known)
        if self.emission == "categorical":
            return CategoricalEmission(parts.log_normalised(sites["code_probability"]))
        if self.emission == "poisson":
            return PoissonEmission(sites["count_rate"])
        if self.emission == "student-t":
            degrees = sites["degrees"][..., None, None] + asarray_like(np.zeros((1, 1)), sites["degrees"])
            return StudentTEmission(degrees, sites["location"], sites["noise_scale"])
        return GaussianEmission(sites["location"], sites["noise_scale"])


def _errors(spec: str, num_states: int, first: int) -> tuple[tuple[int, int], ...]:
    if spec == "all":
        return structure_from("free", num_states).links
    if spec == "neighbours":
        return structure_from("birth-death", num_states).links
    try:
        return structure_from(spec, num_states, first).links
    except ArgumentError as error:
        raise ArgumentError(
            f"`errors` must be 'neighbours', 'all' or pairs (state-label) such as 1-2,2-1; got {spec!r}."
        ) from error
