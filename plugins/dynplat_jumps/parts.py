"""What the models of the family share: states and links found in the data, priors of rates, checks of the data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError, DataError
from dynplat.marks import ENTERED, MEANINGS, MOVED, OBSERVED, STAYED
from dynplat.model import AbstractLanguage, Context, Sites
from dynplat_jumps.drive import Drive
from dynplat_jumps.structures import RateStructure

if TYPE_CHECKING:
    from dynplat.data import Trajectories

INITIAL = ("empirical", "free", "uniform", "first", "stationary")
#: Spread of the log of a rate, and of its change with a standard deviation of a covariate or an input.
RATE_SPREAD, EFFECT_SPREAD = 1.5, 1.0


class Visits:
    """Observed rows of all series, one after another, with the rows before them.

    Args:
        data: Data of one channel that holds labels of states.
        first: Label of the first state, or None to find it: 0 where a 0 is seen, else 1.
        num_states: Number of states, or None to find it: what the largest label asks for, and 2 at least.
        others: Labels that are no states.

    Attributes:
        series: Series of each row.
        row: Row in its series.
        time: Time.
        state: State, from 0 on.
        mark: Mark; `OBSERVED` where the data have none.

    Raises:
        DataError: A label is not whole or out of range, or a mark is unknown.
    """

    def __init__(
        self, data: Trajectories, first: int | None, num_states: int | None, others: Sequence[int] = ()
    ) -> None:
        self._data = data
        seen = np.asarray(data.mask[..., 0]) & ~np.isin(data.values[..., 0], others)
        self.series, self.row = np.nonzero(seen)
        labels = data.values[..., 0][seen]
        self._check(labels == np.round(labels), labels, "a whole number: it is the label of a state")
        self.first = first if first is not None else 0 if (labels == 0).any() else 1
        largest = int(labels.max(initial=self.first))
        self.num_states = num_states if num_states is not None else max(largest - self.first + 1, 2)
        last = self.first + self.num_states - 1
        self._check((labels >= self.first) & (labels <= last), labels, f"one of {self.first}, ..., {last}")
        self.state = labels.astype(np.int64) - self.first
        self.time = np.asarray(data.times)[seen]
        marks = np.zeros(seen.shape, np.int64) if data.marks is None else np.asarray(data.marks)
        self.mark = marks[seen]
        unknown = ~np.isin(self.mark, list(MEANINGS))
        if unknown.any():
            index = int(np.flatnonzero(unknown)[0])
            raise DataError(
                f"the mark of {self.place(index)} must be a code out of {MEANINGS}; got {self.mark[index]}."
            )
        #: Rows that follow another row of their series, and how long after.
        self.later = np.flatnonzero(self.series[1:] == self.series[:-1]) + 1
        self.gap = self.time[self.later] - self.time[self.later - 1]
        #: First observed row of each series.
        self.begins = np.flatnonzero(np.r_[True, self.series[1:] != self.series[:-1]][: len(self.series)])

    def place(self, index: int) -> str:
        """Say which row this is."""
        data = self._data
        return f"series {data.series[self.series[index]]!r} at {data.time_name or 'time'} {self.time[index]:g}"

    def _check(self, good: np.ndarray, labels: np.ndarray, what: str) -> None:
        if good.all():
            return
        index = int(np.flatnonzero(~good)[0])
        data = self._data
        place = f"series {data.series[self.series[index]]!r}, row {self.row[index]}"
        raise DataError(
            f"the state of {place} must be {what}; got {labels[index]:g}.",
            hint="Give `num_states` and `first_state` if there are more states than the data show.",
            column=data.channels[0],
        )

    def changes(self) -> int:
        """Number of rows whose state is not that of the row before."""
        return int((self.state[self.later] != self.state[self.later - 1]).sum())

    def moves(self) -> tuple[tuple[int, int], ...]:
        """Pairs of states between which a chain was seen to move."""
        old, new = self.state[self.later - 1], self.state[self.later]
        moved = (old != new) & np.isin(self.mark[self.later], (MOVED, OBSERVED))
        return tuple(sorted({(int(i), int(j)) for i, j in zip(old[moved], new[moved], strict=True)}))

    def check_possible(self, structure: RateStructure) -> None:
        """Refuse rows that no path of the structure's links explains.

        Raises:
            DataError: Naming the series, the time and the states.
        """
        for index in map(int, self.later):
            old, new, mark = int(self.state[index - 1]), int(self.state[index]), int(self.mark[index])
            arrives = structure.allowed[:, new]
            possible = {
                OBSERVED: structure.reachable[old, new],
                ENTERED: (structure.reachable[old] & arrives).any(),
                MOVED: structure.allowed[old, new],
                STAYED: old == new,
            }[mark]
            if possible:
                continue
            first = self.first
            before = f"{old + first} at {self.time[index - 1]:g}"
            reason = "which is never left" if structure.absorbing[old] else "from which no rates lead there so"
            raise DataError(
                f"{self.place(index)} is in state {new + first} ({MEANINGS[mark]}), after {before}, {reason}.",
                hint="Choose a `structure` that allows it, or correct the row.",
                column=self._data.channels[0],
            )

    def check_moving(self, structure: RateStructure) -> None:
        """Refuse data in which every series starts in a state that is never left."""
        if len(self.begins) and structure.absorbing[self.state[self.begins]].all():
            raise DataError(
                f"every series starts in a state that is never left (the first in "
                f"{self.state[self.begins[0]] + self.first}): nothing can be learnt of any rate.",
                hint="Choose a `structure` in which a starting state can be left.",
            )

    def initial_law(self, structure: RateStructure) -> np.ndarray:
        r"""Law of the state at the first row of a series, (K,), from those of these series.

        .. math:: p_k = \frac{n_k + 1/2}{\sum_{l} (n_l + 1/2)}

        with n series that start in k, over the states in which one starts or that can be left (Jeffreys' prior). Where
        two series or more all start in one state, that is how they are made, and it has probability 1.
        """
        counts = np.bincount(self.state[self.begins], minlength=self.num_states).astype(float)
        if counts.max(initial=0.0) == counts.sum() >= 2:
            return counts / counts.sum()
        weights = np.where((counts > 0) | ~structure.absorbing, counts + 0.5, 0.0)
        weights = weights if weights.any() else np.ones(self.num_states)
        return weights / weights.sum()

    def rate(self, structure: RateStructure) -> float:
        """A rate per link on the data's own clock: changes over time, spread over the links of a state."""
        total = float(self.gap.sum())
        links = max(len(structure.links) / max(int((~structure.absorbing).sum()), 1), 1.0)
        return (self.changes() + 1.0) / (total if total > 0 else 1.0) / links


def covariate_constants(
    data: Trajectories, names: tuple[str, ...], *, option: str = "covariates", prefix: str = ""
) -> dict[str, Any]:
    """Means of the static covariates that an option names, over series, and the spreads of their effects.

    Raises:
        DataError: A covariate is not there, or not a finite number.
    """
    means, spreads = [], []
    for name in names:
        if name not in data.static:
            raise DataError(
                f"`{option}` names {name!r}, and the data have {sorted(data.static) or 'no static covariates'}.",
                hint="Give it to `Trajectories.from_arrays(static=...)`, or leave it out.",
            )
        numbers = _numbers(name, data.static[name])
        means.append(float(numbers.mean()) if data.num_series else 0.0)
        spreads.append(_effect_spread(numbers))
    if not names:
        return {}
    return {f"{prefix}covariate_means": np.array(means), f"{prefix}effect_spread": np.array(spreads)}


def input_constants(data: Trajectories, names: tuple[str, ...]) -> dict[str, Any]:
    """Means of the inputs that an option names, over the rows of all series, and the spreads of their effects.

    Raises:
        DataError: An input is not there.
    """
    if not names:
        return {}
    lacking = [name for name in names if name not in data.input_names]
    if lacking:
        raise DataError(
            f"`inputs` names {lacking[0]!r}, and the data have {list(data.input_names) or 'no inputs'}.",
            hint="Give it to `Trajectories.from_arrays(inputs=..., input_names=...)`, or leave it out.",
        )
    rows = np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None]
    columns = [np.asarray(data.inputs)[..., data.input_names.index(name)][rows] for name in names]
    means = np.array([float(column.mean()) if column.size else 0.0 for column in columns])
    return {"input_means": means, "input_effect_spread": np.array([_effect_spread(column) for column in columns])}


def _effect_spread(numbers: np.ndarray) -> float:
    """Spread of an effect per unit: that of a standard deviation of what acts."""
    deviation = float(numbers.std()) if numbers.size else 0.0
    return EFFECT_SPREAD / deviation if deviation > 0 else EFFECT_SPREAD


def check_effects(structure: str, initial: str, covariates: tuple[str, ...], inputs: tuple[str, ...]) -> None:
    """Refuse covariates and inputs of chains in which they mean nothing, and names that stand twice."""
    if structure == "reversible" and (covariates or inputs):
        which = "covariates" if covariates else "inputs"
        raise ArgumentError(f"{which} on single rates break detailed balance: choose another `structure`.")
    if initial == "stationary" and inputs:
        raise ArgumentError("rates that `inputs` move have no stationary law: choose another `initial`.")
    for name, values in (("covariates", covariates), ("inputs", inputs)):
        if len(set(values)) < len(values):
            raise ArgumentError(f"`{name}` must be different names; got {values}.")


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise DataError(f"the covariate {name!r} must hold a finite number for each series; it holds others.")
    return numbers


def rates_prior(
    pp: AbstractLanguage,
    structure: RateStructure,
    context: Context,
    *,
    pieces: int = 1,
    covariates: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
    shape: float | None = None,
) -> None:
    """Emit `rate`, or `exchange` and `law`; `effect` where there are covariates, `input_effect` where inputs.

    Rates are log-normal around the context's `rate`, or Gamma with that mean and a `shape`.
    """
    rate = float(context["rate"])
    if structure.reversible:
        count = len(structure.pairs)
        median = np.full(count, log(rate * structure.num_states))
        pp.sample("exchange", pp.dist.LogNormal(median, np.full(count, RATE_SPREAD)).to_event(1), dims=("pair",))
        pp.sample("law", pp.dist.Dirichlet(np.ones(structure.num_states)), dims=("state",))
    else:
        size = (pieces, len(structure.links)) if pieces > 1 else (len(structure.links),)
        if shape is None:
            law = pp.dist.LogNormal(np.full(size, log(rate)), np.full(size, RATE_SPREAD))
        else:
            law = pp.dist.Gamma(np.full(size, shape), np.full(size, shape / rate))
        law = law.to_event(len(size))
        pp.sample("rate", law, dims=("piece", "link") if pieces > 1 else ("link",))
    for name, dim, spread, names in (
        ("effect", "covariate", "effect_spread", covariates),
        ("input_effect", "moving_covariate", "input_effect_spread", inputs),
    ):
        if names:
            size = (len(names), len(structure.links))
            sd = np.broadcast_to(context[spread][:, None], size).copy()
            law = pp.dist.Normal(np.zeros(size), sd).to_event(2)
            pp.sample(name, law, dims=(dim, "link"))


def generator_of(
    sites: Sites, context: Context, structure: RateStructure, *, pieces: int = 1, covariates: tuple[str, ...] = ()
) -> Array:
    """Generator (..., series or 1, [piece,] K, K) of the sites that `rates_prior` emits."""
    if structure.reversible:
        law = sites["law"]
        total = array_namespace(law).sum(law, axis=-1, keepdims=True)
        rates = structure.reversible_rates(sites["exchange"], law / total)
    else:
        rates = sites["rate"]
    if covariates:
        xp = array_namespace(rates)
        shift = shift_of(sites["effect"], context, covariates, context["covariate_means"])  # (..., series, link)
        rates = rates * xp.exp(shift[..., None, :] if pieces > 1 else shift)
    return structure.generator(rates)


def shift_of(effect: Array, context: Context, names: tuple[str, ...], means: np.ndarray) -> Array:
    """What static covariates in their distance from means add, (..., series, n), by effects (..., 1, covariate, n)."""
    x = np.stack([_numbers(name, context.static[name]) for name in names], axis=-1) - means
    return array_namespace(effect).sum(asarray_like(x, effect)[..., :, None] * effect, axis=-2)


def drive_of(sites: Sites, context: Context, structure: RateStructure, inputs: tuple[str, ...]) -> Drive | None:
    """How the inputs that an option names move the rates."""
    if not inputs:
        return None
    effect = sites["input_effect"]
    basis = np.zeros((len(structure.links), structure.num_states, structure.num_states))
    for index, link in enumerate(structure.links):
        basis[(index, *link)] = 1.0
    flat = effect @ asarray_like(basis.reshape(len(structure.links), -1), effect)
    effect = array_namespace(effect).reshape(flat, (*flat.shape[:-1], structure.num_states, structure.num_states))
    return Drive(effect, tuple(context.inputs.index(name) for name in inputs), np.asarray(context["input_means"]))


def coords_of(
    structure: RateStructure,
    first: int,
    *,
    breaks: tuple[float, ...] = (),
    covariates: tuple[str, ...] = (),
    inputs: tuple[str, ...] = (),
) -> dict[str, list[str]]:
    """Labels of states, links, pairs of states, pieces of time, covariates and inputs."""
    edges = [np.format_float_positional(time, trim="-") for time in breaks]
    inner = [f"{low} to {high}" for low, high in pairwise(edges)]
    return {
        "state": [str(first + state) for state in range(structure.num_states)],
        "link": [f"{old + first}-{new + first}" for old, new in structure.links],
        "pair": [f"{one + first}-{other + first}" for one, other in structure.pairs],
        "piece": [f"until {edges[0]}", *inner, f"from {edges[-1]}"] if edges else [],
        "covariate": list(covariates),
        "moving_covariate": list(inputs),
    }


def initial_prior(pp: AbstractLanguage, kind: str, num_states: int) -> None:
    """Emit `initial` where the law of the first state is free."""
    if kind == "free":
        pp.sample("initial", pp.dist.Dirichlet(np.ones(num_states)), dims=("state",))


def log_initial_of(sites: Sites, context: Context, kind: str, generator: Array) -> Array:
    """Log-probabilities of the state at the first row, (..., series or 1, K)."""
    xp = array_namespace(generator)
    K = int(generator.shape[-1])
    if kind == "free":
        return log_normalised(sites["initial"])
    if kind == "stationary":
        return xp.log(stationary_law(generator))
    shares = np.full(K, 1.0 / K)
    if kind == "first":
        shares = np.eye(K)[0]
    if kind == "empirical":
        shares = np.asarray(context["initial"])
    with np.errstate(divide="ignore"):
        return asarray_like(np.log(shares)[None], generator)


def stationary_law(generator: Array) -> Array:
    """The law pi with pi Q = 0 of chains that get from every state to every other, (..., K), differentiable.

    By elimination without subtractions, so that small probabilities keep their digits in any precision (Grassmann,
    Taksar and Heyman 1985, doi:10.1287/opre.33.5.1107).
    """
    xp = array_namespace(generator)
    K = int(generator.shape[-1])
    A, parts = generator * asarray_like(1.0 - np.eye(K), generator), []
    for n in range(K - 1, 0, -1):
        left = A[..., n, :n]
        into = A[..., :n, n] / xp.sum(left, axis=-1)[..., None]
        parts.append(into)
        A = A[..., :n, :n] + into[..., :, None] * left[..., None, :]
    law = xp.ones_like(generator[..., :1, 0])
    for into in reversed(parts):
        law = xp.concat([law, xp.sum(law * into, axis=-1)[..., None]], axis=-1)
    return law / xp.sum(law, axis=-1)[..., None]


def check_stationary(initial: str, structure: RateStructure) -> None:
    """Refuse a stationary start of a chain that cannot get from every state to every other."""
    if initial == "stationary" and not structure.reachable.all():
        raise ArgumentError("`initial='stationary'` needs a `structure` in which every state leads to every other.")


def log_normalised(weights: Array) -> Array:
    """Logarithms of laws (..., K), which stay laws where an optimiser or a finite difference leaves the simplex."""
    xp = array_namespace(weights)
    return xp.log(weights) - xp.log(xp.sum(weights, axis=-1, keepdims=True))


def check_initial(kind: str, legal: tuple[str, ...] = INITIAL) -> None:
    """Refuse another word for the law of the first state."""
    if kind not in legal:
        raise ArgumentError(f"`initial` must be one of {legal}; got {kind!r}.")


def check_count(name: str, value: int | None, least: int) -> None:
    """Refuse a number that is too small; None passes."""
    if value is not None and value < least:
        raise ArgumentError(f"`{name}` must be at least {least}; got {value}.")
