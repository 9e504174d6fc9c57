"""`koopman/edmd`: a lifted linear-Gaussian process whose operator is that of extended dynamic mode decomposition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import comb
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dynplat.arrays import Array, Observations, array_namespace, asarray_like
from dynplat.errors import ArgumentError, DataError
from dynplat.model import AbstractModel, Context, Sites, summarise
from dynplat.process import AbstractProcess, LinearSDE
from dynplat.process.dynamics import Dense
from dynplat.records import Capabilities
from dynplat_koopman import entries
from dynplat_koopman.continuous import continuous_sites, orthonormal_basis
from dynplat_koopman.delays import Window
from dynplat_koopman.dictionaries.base import AbstractDictionary
from dynplat_koopman.dictionaries.text import dictionary_from, from_arrays, to_arrays
from dynplat_koopman.gap_regression import gap_pairs
from dynplat_koopman.lifting import (
    Recipe,
    check_grid,
    commonest_step,
    complete_pairs,
    distance_from,
    lifted_sites,
    looks_ahead,
    reach_of,
    reference_rows,
    trajectories_of,
    warn_of_growth,
)
from dynplat_koopman.pairs import Pairs
from dynplat_koopman.power import PowerDynamics
from dynplat_koopman.process import Lifted

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: The dictionary `auto`: monomials up to this degree, while they are no more than so many and there are so many pairs
#: for each of them.
_MAX_DEGREE, _MAX_FUNCTIONS, _PAIRS_EACH = 5, 60, 10


@dataclass(frozen=True)
class AbstractLifted(AbstractModel):
    """What the lifted models share: a dictionary, a grid of steps, and how the state is known.

    Args:
        dictionary: The functions in a text such as `monomials:degree=3` or `monomials:degree=1+rbf:centres=50` (see
            `dynplat_koopman.dictionaries.text`), or `auto`: monomials up to degree 5, of a lower degree where they
            would be more than 60 or than a tenth of the snapshot pairs.
        step: Length of a step; by default the commonest gap. Gaps must be whole numbers of it.
        state: `lifted`: where a row is complete the state is psi of it, exactly; not coherent. `filtered`: the state is
            hidden everywhere and seen through the channels alone; a coherent linear-Gaussian law.
        seed: Seed for choosing centres of a dictionary.
    """

    dictionary: str = "auto"
    step: float | None = None
    state: Literal["lifted", "filtered"] = "lifted"
    seed: int = 0
    #: Rows before a row that its state is a function of too.
    delays = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        if self.step is not None and not (np.isfinite(self.step) and self.step > 0):
            raise ArgumentError(f"`step` must be positive; got {self.step}.")
        if self.state not in ("lifted", "filtered"):
            raise ArgumentError(f"`state` must be 'lifted' or 'filtered'; got {self.state!r}.")

    @property
    def capabilities(self) -> Capabilities:
        """What the record declares; the law is coherent where the state is hidden."""
        return replace(self.entry.capabilities, coherent=self.state == "filtered")

    def prepare(self, data: Trajectories) -> Context:
        """Summarise the training cells; add the `step` and the dictionary.

        Raises:
            DataError: Steps are unequal, or there are no complete rows one step apart.
        """
        step = commonest_step(data) if self.step is None else self.step
        check_grid(data, step)
        return self._with_dictionary(summarise(data), complete_pairs(data, step, self.delays), step)

    def _with_dictionary(self, context: Context, pairs: Pairs, step: float) -> Context:
        states = np.concatenate([pairs.first, pairs.second])
        text = self.dictionary
        if text == "auto":
            text = f"monomials:degree={auto_degree(states.shape[1], len(pairs))}"
        dictionary = dictionary_from(text, states, seed=self.seed)
        if dictionary.is_complex:
            raise ArgumentError(
                "`dictionary` must be real for a process: leave `complex=yes` out (sines and cosines span the same)."
            )
        arrays = {f"dictionary.{name}": value for name, value in to_arrays(dictionary).items()}
        return context.with_values(step=step, **arrays)

    def dictionary_of(self, context: Context) -> AbstractDictionary:
        """The dictionary of a fit."""
        prefix = "dictionary."
        arrays = {name.removeprefix(prefix): value for name, value in context.values.items() if name.startswith(prefix)}
        return from_arrays(arrays)

    def _pairs(self, observations: Observations, context: Context) -> Pairs:
        return self._pairs_of(trajectories_of(observations, context.channels), context)

    def _pairs_of(self, data: Trajectories, context: Context) -> Pairs:
        return complete_pairs(data, float(context["step"]), self.delays)


@dataclass(frozen=True)
class EDMD(AbstractLifted):
    r"""A lifted linear-Gaussian process fitted by extended dynamic mode decomposition, in steps or in continuous time.

    .. math:: z_{t+1} = K^\top z_t + B^\top u_t + q_t, \qquad y_t = C z_t + r_t, \qquad z_t \approx \psi(y_t)^\top .

    The sites that `solve` gives are `operator` K (N, N), `input_matrix` B (input, N) where there are inputs,
    `noise_factor` (a root of the covariance of q), `noise_level` (a, b: by what q is scaled), `readout` C and
    `readout_factor` (a root of the covariance of r), `start_mean` and `start_factor` (the law of psi over the training
    rows, from which a series starts), and the `spectral_radius` of K.

    With `continuous=True` times are any, and so are gaps,

    .. math:: dz = (L^\top z + B^\top u)\,dt + dM, \qquad dM\,dM^\top = W\,dt, \qquad z \approx (\psi(y) E)^\top ,

    where the functions :math:`\psi E` are orthonormal over the data (E is `basis` in the context). Sites are then
    `generator` L (r, r) in place of `operator`, a root of the intensity W as `noise_factor`, and its `growth_rate`, the
    largest real part of an eigenvalue of L, in place of `spectral_radius`; the others are those of the new state
    (see `dynplat_koopman.continuous`).

    Args:
        tolerance: Directions of the dictionary that are dropped: those whose eigenvalue of the Gram matrix of functions
            of mean square 1 is below this part of the largest.
        rank: Number of directions kept instead.
        ridge: Penalty of the regression.
        stable: Whether the operator becomes the nearest one that enlarges no function's mean square over the data: its
            eigenvalues lie in the closed unit disc (of a generator: in the closed left half-plane). With it, and with
            `measure_preserving`, rows far from all training rows are not lifted: from there the state goes on linearly,
            so that simulations do not run away.
        measure_preserving: Whether it becomes the nearest isometry: eigenvalues on the unit circle (imaginary axis).
        held_out_steps: Steps of the forecasts of held-out blocks to which the noise is scaled; 0: the covariance of the
            one-step residuals as it is. In continuous time a step is from one complete row to the next.
        continuous: Whether the process is one in continuous time, for rows at any times; `step` has no meaning then.
        max_gap: Longest gap between neighbouring complete rows that is learned from in continuous time; by default four
            times their median. The process itself takes any gap.
        delays: Number of rows before a row, each a step earlier, that the dictionary is a function of beside it
            (Hankel dynamic mode decomposition): the state of a system that is not seen in full. Variables are the
            channels, then those of the row before, and so on.
    """

    entry = entries.EDMD
    alternatives = {"irregular_times": "resample the data, or give `continuous=True`"}  # noqa: RUF012
    tolerance: float | None = 1e-12
    rank: int | None = None
    ridge: float = 0.0
    stable: bool = False
    measure_preserving: bool = False
    held_out_steps: int = 10
    continuous: bool = False
    max_gap: float | None = None
    delays: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible options."""
        super().__post_init__()
        if self.rank is not None and self.rank < 1:
            raise ArgumentError(f"`rank` must be at least 1; got {self.rank}.")
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise ArgumentError(f"`tolerance` must be in [0, 1); got {self.tolerance}.")
        if not (np.isfinite(self.ridge) and self.ridge >= 0):
            raise ArgumentError(f"`ridge` must be at least 0; got {self.ridge}.")
        if self.held_out_steps < 0:
            raise ArgumentError(f"`held_out_steps` must be at least 0; got {self.held_out_steps}.")
        if self.stable and self.measure_preserving:
            raise ArgumentError("`measure_preserving=True` is stable by itself: leave `stable` out.")
        if self.continuous and self.step is not None:
            raise ArgumentError(f"`step` has no meaning with `continuous=True`: leave it out; got {self.step}.")
        if self.max_gap is not None and not self.continuous:
            raise ArgumentError("`max_gap` is an option of continuous time: give `continuous=True`, or leave it out.")
        if self.delays < 0:
            raise ArgumentError(f"`delays` must be at least 0; got {self.delays}.")
        if self.delays and self.continuous:
            raise ArgumentError(
                f"`delays` are rows one step apart, and rows in continuous time have no step: leave `continuous` or "
                f"`delays` out; got delays={self.delays}."
            )
        if self.max_gap is not None and not self.max_gap > 0:
            raise ArgumentError(f"`max_gap` must be positive; got {self.max_gap}.")

    @property
    def capabilities(self) -> Capabilities:
        """What the record declares, with irregular times where time is continuous."""
        return replace(super().capabilities, irregular_times=self.continuous)

    @property
    def recipe(self) -> Recipe:
        """How operators are fitted."""
        return Recipe(
            ridge=self.ridge,
            rank=self.rank,
            tolerance=self.tolerance,
            shape="isometry" if self.measure_preserving else "contraction" if self.stable else "free",
            held_out_steps=self.held_out_steps,
            local_noise=self.state == "lifted",
        )

    def prepare(self, data: Trajectories) -> Context:
        """As for every lifted model; refuse data with fewer pairs than functions.

        In continuous time rows need no grid, `step` is the median gap, and `max_gap` and the `basis` are added.
        """
        if self.continuous:
            found = gap_pairs(data, max_gap=self.max_gap)
            context = self._with_dictionary(summarise(data), found.pairs, found.typical)
            pairs, apart = found.pairs, f"at most {found.max_gap:g} apart"
        else:
            context = super().prepare(data)
            pairs, apart = self._pairs_of(data, context), "one step apart"
        dictionary = self.dictionary_of(context)
        functions, count = dictionary.num_functions + len(context.inputs), len(pairs)
        if count <= functions and self.rank is None:
            raise DataError(
                f"the dictionary is larger than the data: {functions} functions and inputs for {count} pairs of "
                f"complete rows {apart}, which leave nothing to estimate the noise from.",
                hint="Take fewer functions, more data, or a `rank`.",
            )
        if self.continuous:
            context = context.with_values(
                max_gap=found.max_gap, basis=orthonormal_basis(pairs, dictionary, self.recipe)
            )
        rows = pairs.first[reference_rows(pairs)] / self._scale(context)
        return context.with_values(reference_rows=rows, reach=reach_of(rows))

    def solve(self, observations: Observations, context: Context, *, seed: int) -> Sites:
        """Fit operator or generator, noise, readout and start; a warning says where forecasts would grow."""
        if self.continuous:
            found = gap_pairs(trajectories_of(observations, context.channels), max_gap=float(context["max_gap"]))
            sites = continuous_sites(
                found, self.dictionary_of(context), context["basis"], context["scale"], self.recipe
            )
            warn_of_growth(float(np.exp(sites["growth_rate"] * found.typical)), found.typical)
            return {name: np.array(value, order="C")[None] for name, value in sites.items()}
        recipe = replace(self.recipe, shown=len(context.channels))
        sites = lifted_sites(
            self._pairs(observations, context), self.dictionary_of(context), self._scale(context), recipe
        )
        warn_of_growth(float(sites["spectral_radius"]), float(context["step"]))
        return {name: np.asarray(value)[None] for name, value in sites.items()}

    def process(self, sites: Sites, context: Context) -> AbstractProcess:
        """Build the lifted process."""
        a, b = sites["noise_level"][..., 0], sites["noise_level"][..., 1]
        xp = array_namespace(a)
        factor, inputs = sites["noise_factor"], sites.get("input_matrix")
        if self.state == "filtered":
            factor = xp.exp(0.5 * a)[..., None, None] * factor
        B, step = None if inputs is None else xp.matrix_transpose(inputs), float(context["step"])
        if self.continuous:
            dynamics = Dense(xp.matrix_transpose(sites["generator"]), factor, B=B)
        else:
            dynamics = PowerDynamics(xp.matrix_transpose(sites["operator"]), _squared(factor), step, B=B)
        shown = len(context.channels)
        linear = LinearSDE(
            dynamics,
            H=sites["readout"][..., :shown, :],
            R=_squared(sites["readout_factor"])[..., :shown, :shown],
            m0=sites["start_mean"],
            P0=_squared(sites["start_factor"]),
        )
        if self.state == "filtered":
            return linear

        lift = self._lift(context)
        known: dict[str, Any] = {"anchor": context["location"]}
        if self.delays:
            known["window"] = Window(self.delays, step)
        if self.stable or self.measure_preserving:
            known["domain"] = self._domain(context)
        if not self.held_out_steps:
            return Lifted(linear, lift, **known)
        rows = context.array("reference_rows", a)
        out = xp.matrix_transpose(sites["readout"]) / asarray_like(self._scale(context), a)
        ahead_by = asarray_like(step * np.array(looks_ahead(self.held_out_steps)), a)
        F = dynamics.step(ahead_by).F
        moves = [xp.matrix_transpose(F[..., k, :, :]) @ out for k in range(F.shape[-3])]

        def noise_scale(psi: Array) -> Array:
            """e^a D^b of lifted states (..., time, n)."""
            ahead = [psi @ move for move in moves]
            return xp.exp(a[..., None] + b[..., None] * xp.log(distance_from(ahead, rows)))

        return Lifted(linear, lift, noise_scale=noise_scale, **known)

    def _domain(self, context: Context) -> Callable[[Array], Array]:
        """Whether rows are as near to training rows as these are to each other, or nearly so."""

        def domain(values: Array) -> Array:
            rows = context.array("reference_rows", values)
            points = values / asarray_like(self._scale(context), values)
            return distance_from([points], rows) <= float(context["reach"]) ** 2

        return domain

    def _scale(self, context: Context) -> np.ndarray:
        """Scale of each variable of the dictionary: of the channels, once for each delay."""
        return np.tile(context["scale"], 1 + self.delays)

    def _lift(self, context: Context) -> Callable[[Array], Array]:
        dictionary = self.dictionary_of(context)
        if not self.continuous:
            return dictionary
        return lambda values: dictionary(values) @ context.array("basis", values)


def auto_degree(num_variables: int, num_pairs: int) -> int:
    """Degree of the monomials that `auto` stands for, at least 1."""
    for degree in range(_MAX_DEGREE, 1, -1):
        count = comb(num_variables + degree, degree)
        if count <= _MAX_FUNCTIONS and _PAIRS_EACH * count <= num_pairs:
            return degree
    return 1


def _squared(factor: Array) -> Array:
    return factor @ array_namespace(factor).matrix_transpose(factor)
