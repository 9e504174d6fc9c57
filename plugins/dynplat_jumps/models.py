"""Chains whose states are seen as they are: now and then, when they jump, or as counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like
from dynplat.errors import ArgumentError, DataError
from dynplat.model import AbstractLanguage, AbstractModel, Context, Sites, summarise
from dynplat.records import Capabilities
from dynplat_jumps import entries, parts, solvers
from dynplat_jumps.emission import CountEmission, StateEmission
from dynplat_jumps.process import MarkovJump
from dynplat_jumps.structures import RateStructure, fill_generator, structure_from

if TYPE_CHECKING:
    from dynplat.data import Trajectories


@dataclass(frozen=True)
class AbstractChain(AbstractModel):
    """A chain whose labels are its states.

    Args:
        structure: Which jumps are possible: `free`, `reversible`, `birth-death`, `banded:width=2`, `progressive`,
            `progressive:absorbing`, links such as `1-2,2-1,2-3` in the data's labels, or `seen` for those between
            which the data show a move.
        num_states: Number of states; by default as many as the largest label asks for.
        first_state: Label of the first state; by default 0 where the data hold a 0, else 1.
        initial: Law of the state at the first row: `empirical` (shares among the first rows of the training data, with
            half a series more in every state that one starts in or that can be left; a constant of the likelihood, and
            where all start alike it is one), `free` (a parameter), `uniform`, `first` (all mass on the first state) or
            `stationary`.
        covariates: Names of static covariates that act on the log of every rate, in their distance from the mean.
        inputs: Names of the data's inputs that do so too: covariates that change with time, each held from a row until
            the next.
        breaks: Times at which all rates change.
        sets: Labels that say no more than a set of states, such as `99=1,2,3`.
        rate_shape: Shape of Gamma priors of the rates, with the mean of the default's median; None for the default,
            log-normal priors.
        solver: What inference `solve` does: `em`, maximum likelihood by expectation-maximisation; `rao-teh`, a Gibbs
            sampler over paths and parameters, for which `rate_shape` must be given. Both take free rates, the same for
            all series, and any start but the stationary one.
        solver_draws: Draws of the Gibbs sampler, after a quarter as many sweeps.
        solver_thin: Sweeps of the Gibbs sampler from one draw to the next.
    """

    structure: str = "free"
    num_states: int | None = None
    first_state: int | None = None
    initial: str = "empirical"
    covariates: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    breaks: tuple[float, ...] = ()
    sets: tuple[str, ...] = ()
    rate_shape: float | None = None
    solver: str | None = None
    solver_draws: int = 1000
    solver_thin: int = 1

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        parts.check_count("num_states", self.num_states, 1)
        parts.check_count("first_state", self.first_state, 0)
        parts.check_initial(self.initial)
        if list(self.breaks) != sorted(set(self.breaks)) or not np.isfinite(self.breaks).all():
            raise ArgumentError(f"`breaks` must be finite and increase; got {self.breaks}.")
        if self.breaks and (self.initial == "stationary" or self.structure == "reversible"):
            raise ArgumentError(
                "rates that change at `breaks` have no stationary law: choose another start, structure."
            )
        parts.check_effects(self.structure, self.initial, self.covariates, self.inputs)
        self._sets(0)
        solvers.check_solver(self, self.structure, self.covariates + self.inputs)

    @property
    def capabilities(self) -> Capabilities:
        """What the model can do: it reads inputs where an option names them."""
        return replace(self.entry.capabilities, inputs=bool(self.inputs))

    def _sets(self, first: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        found = []
        for text in self.sets:
            label, _, states = text.partition("=")
            try:
                found.append((int(label), tuple(int(state) - first for state in states.split(","))))
            except ValueError:
                raise ArgumentError(f"`sets` must be texts such as '99=1,2,3'; got {text!r}.") from None
        return tuple(found)

    def prepare(self, data: Trajectories) -> Context:
        """Find states, links and the clock, and refuse data that the links make impossible."""
        visits = parts.Visits(data, self.first_state, self.num_states, [label for label, _ in self._sets(0)])
        structure = self._structure(visits)
        visits.check_possible(structure)
        visits.check_moving(structure)
        parts.check_stationary(self.initial, structure)
        return summarise(data).with_values(
            first_state=visits.first,
            num_states=visits.num_states,
            links=np.array(structure.links, dtype=np.int64).reshape(-1, 2),
            initial=visits.initial_law(structure),
            rate=visits.rate(structure),
            **parts.covariate_constants(data, self.covariates),
            **parts.input_constants(data, self.inputs),
        )

    def _structure(self, visits: parts.Visits) -> RateStructure:
        if self.structure != "seen":
            return structure_from(self.structure, visits.num_states, visits.first)
        links = visits.moves()
        if not links:
            raise DataError("the data show no move between states, so that `structure='seen'` finds no link.")
        return RateStructure(visits.num_states, links)

    def structure_of(self, context: Context) -> RateStructure:
        """The links of a fit."""
        links = tuple((int(old), int(new)) for old, new in np.asarray(context["links"]))
        return RateStructure(int(context["num_states"]), links, self.structure == "reversible")

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `rate` (or `exchange` and `law`), effects of covariates and inputs, and `initial` where it is free."""
        structure = self.structure_of(context)
        pieces = len(self.breaks) + 1
        parts.rates_prior(
            pp,
            structure,
            context,
            pieces=pieces,
            covariates=self.covariates,
            inputs=self.inputs,
            shape=self.rate_shape,
        )
        parts.initial_prior(pp, self.initial, structure.num_states)

    def coords(self, context: Context) -> dict[str, list[str]]:
        """Labels of links and states in those of the data, of pieces of time, and of covariates."""
        return parts.coords_of(
            self.structure_of(context),
            int(context["first_state"]),
            breaks=self.breaks,
            covariates=self.covariates,
            inputs=self.inputs,
        )

    def generator(self, sites: Sites, context: Context) -> Array:
        """Generator (..., series or 1, [piece,] K, K) at values of the sites, (..., series or 1, core).

        Inputs stand at their means.
        """
        structure = self.structure_of(context)
        pieces = len(self.breaks) + 1
        return parts.generator_of(sites, context, structure, pieces=pieces, covariates=self.covariates)

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites | None:
        """Find all parameters by EM, or draw them with their paths."""
        return solvers.solve(self, observations, context, seed=seed)

    def process(self, sites: Sites, context: Context) -> MarkovJump:
        """Build the chain."""
        return self._chain(self.generator(sites, context), context, sites)

    def _chain(self, generator: Array, context: Context, sites: Sites | None = None) -> MarkovJump:
        """Build the chain of a generator; `sites` are read where the law of the first state is one of them."""
        first = int(context["first_state"])
        return MarkovJump(
            generator,
            parts.log_initial_of(sites or {}, context, self.initial, generator),
            StateEmission.of_states(int(context["num_states"]), generator, first=first, sets=self._sets(first)),
            breaks=self.breaks,
            drive=parts.drive_of(sites or {}, context, self.structure_of(context), self.inputs),
            stationary=self.initial == "stationary",
        )


@dataclass(frozen=True)
class Panel(AbstractChain):
    """A Markov jump process whose states are looked at now and then, with exact times where marks say so."""

    entry = entries.PANEL


@dataclass(frozen=True)
class Multistate(AbstractChain):
    """A multi-state model: jumps are seen when they happen (`dynplat.marks`), and only moves that were seen have rates.

    Rows without marks are looked at now and then, as in `jumps/panel`.
    """

    entry = entries.MULTISTATE
    structure: str = "seen"


@dataclass(frozen=True)
class BirthDeath(AbstractModel):
    r"""A population in which individuals are born, die and immigrate independently, seen as counts.

    .. math:: n \to n + 1 \text{ at rate } \lambda n + \nu, \qquad n \to n - 1 \text{ at rate } \mu n

    The state space is cut at `capacity`, where nobody is born.

    Args:
        capacity: Largest count that the chain can reach; by default twice the largest in the data, and that plus 10.
        immigration: Whether there is immigration; without it a population that has died out stays so.
        initial: `empirical`, `uniform` or `stationary` (with immigration): law of the count at the first row
            (see `jumps/panel`).
        rate_shape: Shape of Gamma priors of all rates, with the mean of the default's median; None for the default,
            log-normal priors.
        solver: As in `jumps/panel`.
        solver_draws: As in `jumps/panel`.
        solver_thin: As in `jumps/panel`.
    """

    entry = entries.BIRTH_DEATH
    capacity: int | None = None
    immigration: bool = True
    initial: str = "uniform"
    rate_shape: float | None = None
    solver: str | None = None
    solver_draws: int = 1000
    solver_thin: int = 1

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        parts.check_count("capacity", self.capacity, 1)
        parts.check_initial(self.initial, ("empirical", "uniform", "stationary"))
        if self.initial == "stationary" and not self.immigration:
            raise ArgumentError("without immigration every population dies out: `initial='stationary'` means nothing.")
        solvers.check_solver(self)

    def prepare(self, data: Trajectories) -> Context:
        """Find the largest count and the clock."""
        counts = data.values[..., 0][data.mask[..., 0]]
        largest = int(counts.max(initial=0))
        capacity = self.capacity if self.capacity is not None else max(2 * largest, largest + 10)
        visits = parts.Visits(data, 0, capacity + 1)
        structure = _neighbours(capacity, self.immigration)
        visits.check_possible(structure)
        total = float(((visits.state[visits.later - 1] + 1.0) * visits.gap).sum())
        return summarise(data).with_values(
            capacity=capacity,
            initial=visits.initial_law(structure),
            rate=(visits.changes() + 1.0) / (total or 1.0) / 2.0,
        )

    def prior(self, pp: AbstractLanguage, context: Context) -> None:
        """Emit `birth` and `death` per individual, and `immigration`, all per unit of time."""
        rate, shape = float(context["rate"]), self.rate_shape
        for name in ("birth", "death", "immigration")[: 3 if self.immigration else 2]:
            if shape is None:
                pp.sample(name, pp.dist.LogNormal(log(rate), parts.RATE_SPREAD))
            else:
                pp.sample(name, pp.dist.Gamma(shape, shape / rate))

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites | None:
        """Find the rates by EM, or draw them with their paths."""
        return solvers.solve(self, observations, context, seed=seed)

    def process(self, sites: Sites, context: Context) -> MarkovJump:
        """Build the chain."""
        capacity = int(context["capacity"])
        structure = _neighbours(capacity, self.immigration)
        birth, death = sites["birth"][..., None], sites["death"][..., None]
        xp = array_namespace(birth)
        n = asarray_like(np.arange(capacity + 1, dtype=float), birth)
        up = birth * n[:-1]
        if self.immigration:
            up = up + sites["immigration"][..., None]
        else:
            up = up[..., 1:]
        generator = fill_generator(xp.concat([up, death * n[1:]], axis=-1), structure.links, capacity + 1)
        return MarkovJump(
            generator,
            parts.log_initial_of(sites, context, self.initial, generator),
            CountEmission.of_states(capacity + 1, generator, strict=False),
            stationary=self.initial == "stationary",
        )


def _neighbours(capacity: int, immigration: bool) -> RateStructure:
    """Links up, then links down."""
    least = 0 if immigration else 1
    up = tuple((n, n + 1) for n in range(least, capacity))
    return RateStructure(capacity + 1, up + tuple((n, n - 1) for n in range(1, capacity + 1)))
