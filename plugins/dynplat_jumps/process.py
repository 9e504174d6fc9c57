r"""Markov jump processes seen at any times, at the moments of their jumps, or through noise.

.. math::
    P(x(t + h) = j \mid x(t) = i) = \bigl(e^{Q h}\bigr)_{ij}, \qquad y_k \mid x(t_k) = j \sim p_j

with K states and a generator Q: rates off the diagonal, rows that sum to 0. A row's mark says how its state became
known (`dynplat.marks`), and decides what leads into the row:

| mark | factor from state r to state s over a gap h |
|---|---|
| `OBSERVED` | :math:`(e^{Q h})_{rs}` |
| `ENTERED` | :math:`\sum_{u \ne s} (e^{Q h})_{ru}\, q_{us}` |
| `MOVED` | :math:`e^{q_{rr} h} q_{rs}` |
| `STAYED` | :math:`e^{q_{rr} h}` where r = s |

Factors of rows that were entered or moved to are densities per unit of time. On any set of times the process is a
hidden Markov chain: on the observed rows for a likelihood, on the union of observed and query times for a question.

A generator may be constant by pieces, between `breaks` of time; a jump at a break belongs to the piece before it. Known
inputs, held from a row until the next, may move the rates (`dynplat_jumps.drive`).

Sources: Kalbfleisch and Lawless (1985), doi:10.1080/01621459.1985.10478195; Jackson (2011), doi:10.18637/jss.v038.i08.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, common_type, concrete, take_rows
from dynplat.errors import ArgumentError, NoDensityError
from dynplat.process import AbstractConditional, AbstractEmission, AbstractProcess, Draw, HiddenMarkov
from dynplat.process.gaps import gaps_between, spread_rows
from dynplat.process.grid import Grid, check_order, check_start, inputs_of, merge_times, rows_of, with_a_row
from dynplat.process.hidden_markov_conditional import HiddenMarkovPredictive
from dynplat.scan import check_driver, runs_compiled
from dynplat_jumps.drive import Drive
from dynplat_jumps.kinds import Kinds, between, kinds_of
from dynplat_jumps.likelihood import compiled_log_prob_steps
from dynplat_jumps.transition import log_transition_probabilities, logarithm, transition_probabilities
from dynplat_jumps.ways import Ways, share

#: Row sums of a generator are 0 to this, relative to its largest rate.
_SUMS = 1e-6
#: Part of the rows up to which it pays to find the different ones among them.
_WORTH = 0.5


class MarkovJump(AbstractProcess):
    """A Markov jump process with noise or without (see the module for its law).

    The law starts at the first row of the times. Asked about earlier times it refuses, unless `stationary` says that
    its start is the stationary law.

    Args:
        generator: Rates per unit of time, (..., series or 1, K, K), (old, new); with `breaks`
            (..., series or 1, piece, K, K).
        log_initial: Log-probabilities of the state at the first row, (..., series or 1, K).
        emission: What the states show.
        breaks: Times at which the generator changes, increasing, one less than there are pieces.
        drive: How known inputs move the rates, or None where none do.
        stationary: Whether `log_initial` is the stationary law of the generator.
        driver: How time is scanned (see `dynplat.process.HiddenMarkov`).

    Raises:
        ArgumentError: Shapes do not fit, a rate is negative, or a row of the generator does not sum to 0.
    """

    def __init__(
        self,
        generator: Array,
        log_initial: Array,
        emission: AbstractEmission,
        *,
        breaks: tuple[float, ...] = (),
        drive: Drive | None = None,
        stationary: bool = False,
        driver: str = "auto",
    ) -> None:
        effect = None if drive is None else drive.effect
        generator, self.log_initial, _, effect = common_type(generator, log_initial, emission.like, effect)
        self.drive = None if drive is None else drive._replace(effect=effect)
        self.breaks = tuple(float(b) for b in breaks)
        if list(self.breaks) != sorted(set(self.breaks)):
            raise ArgumentError(f"`breaks` must increase; got {breaks}.")
        if not self.breaks and generator.ndim >= 2:
            generator = generator[..., None, :, :]
        shape, K = tuple(generator.shape), int(self.log_initial.shape[-1])
        if len(shape) < 3 or shape[-3:] != (len(self.breaks) + 1, K, K):
            pieces = f"piece = {len(self.breaks) + 1}, " if self.breaks else ""
            raise ArgumentError(
                f"`generator` must have shape (..., series or 1, {pieces}K, K) with K = {K}, as `log_initial`; got "
                f"{shape if self.breaks else (*shape[:-3], *shape[-2:])}."
            )
        if drive is not None and tuple(effect.shape[-3:]) != (len(drive.columns), K, K):
            raise ArgumentError(
                f"`effect` of `drive` must have shape (..., series or 1, {len(drive.columns)}, {K}, {K}), one matrix "
                f"for each input; got {tuple(effect.shape)}."
            )
        if stationary and (self.breaks or drive is not None):
            raise ArgumentError(
                "a generator with `breaks`, or one that inputs move, has no stationary law: leave `stationary` out."
            )
        _check_generator(generator)
        #: Rates, (..., series or 1, piece, K, K).
        self.generator = generator
        self.emission = emission
        self.is_stationary = stationary
        self.driver = driver

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the process."""
        return self.generator

    @property
    def num_states(self) -> int:
        """Number of states, K."""
        return int(self.log_initial.shape[-1])

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return self.emission.num_channels

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of all parameters, (..., series or 1)."""
        shapes = [tuple(self.generator.shape[:-3]), tuple(self.log_initial.shape[:-1]), self.emission.batch_shape]
        shapes += [] if self.drive is None else [tuple(self.drive.effect.shape[:-3])]
        return tuple(np.broadcast_shapes(*shapes))

    def chain(self, times: Array, inputs: Array | None = None, *, kinds: Kinds | None = None) -> HiddenMarkov:
        """Return the chain that this process is at `times`, (..., series, time).

        Args:
            times: Non-decreasing times; beside torch or JAX parameters they may be NumPy constants.
            inputs: Inputs at the times, (..., series, time, input), needed where inputs move the rates.
            kinds: What is known of the way into each row; by default nothing.

        Raises:
            ArgumentError: Times decrease, or inputs are missing.
        """
        return self._chain(times, inputs, kinds, self.log_initial)

    def _chain(self, times: Array, inputs: Array | None, kinds: Kinds | None, log_initial: Array) -> HiddenMarkov:
        gaps = gaps_between(times)
        check_order(times, gaps)
        log_transition = self._log_transition(times, gaps, inputs, kinds)
        return HiddenMarkov(
            log_initial,
            log_transition,
            self.emission,
            driver=self.driver,
            normalised=kinds is None or not kinds.any,
        )

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); a row with nothing observed gives exactly 0.

        Raises:
            ArgumentError: Times decrease, a mark or a value is unknown, inputs are missing, or shapes do not fit.
        """
        kinds = kinds_of(observations)
        terms = self._terms_by_gaps(observations) if kinds is None or not kinds.any else None
        if terms is not None:
            return terms
        return self.chain(observations.times, observations.inputs, kinds=kinds).log_prob_steps(observations)

    def _terms_by_gaps(self, observations: Observations) -> Array | None:
        """Terms of rows that share no gaps, by a kernel that keeps no transitions; None elsewhere."""
        shapes = tuple(observations.times.shape), tuple(observations.values.shape)
        if self.breaks or self.drive is not None or not runs_compiled(check_driver(self.driver), self.like):
            return None
        if 0 in (*self.batch_shape, *shapes[0], *shapes[1]) or shapes[0][-1:] != shapes[1][-2:-1]:
            return None
        gaps = gaps_between(observations.times)
        check_order(observations.times, gaps)
        if self._shared(self._ways(observations.times, gaps, None, None)) is not None:
            return None
        # A chain that stays where it is checks all but the transitions.
        K, like = self.num_states, self.like
        lead = np.broadcast_shapes(tuple(self.generator.shape[:-3]), tuple(gaps.shape[:-1]))
        still = np.broadcast_to(np.where(np.eye(K, dtype=bool), 0.0, -np.inf), (*lead, 1, K, K))
        chain = HiddenMarkov(self.log_initial, asarray_like(still, like), self.emission, driver=self.driver)
        log_density = chain.log_density(observations)
        if prod(np.broadcast_shapes(lead, self.log_initial.shape[:-1], log_density.shape[:-2])) > max(prod(lead), 1):
            return None
        steps = compiled_log_prob_steps(
            *common_type(self.generator[..., 0, :, :], asarray_like(gaps, like), chain.log_initial, log_density)
        )
        xp = array_namespace(steps)
        return xp.where(xp.any(asarray_like(observations.mask, steps), axis=-1), steps, 0.0)

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), one for each leading index of the parameters."""
        return self.chain(times, inputs).sample(times, random=random)

    def condition(self, observations: Observations) -> MarkovJumpConditional:
        """Return the law given `observations`, to be asked about any times."""
        return MarkovJumpConditional(self, observations)

    def _log_transition(self, times: Array, gaps: Array, inputs: Array | None, kinds: Kinds | None) -> Array:
        """Logarithms of what leads into each row, (..., series or 1, T or 1, K, K)."""
        ways = self._ways(times, gaps, inputs, kinds)
        shared = self._shared(ways)
        if shared is None:
            return self._log_factors(ways)
        table = self._log_factors(shared[0])
        return spread_rows(table, np.arange(shared[0].size), shared[1])

    def _shared(self, ways: Ways) -> tuple[Ways, np.ndarray] | None:
        """What `share` gives, where that is less work."""
        shared = share(ways)
        own = tuple(self.generator.shape[:-3])
        if self.drive is not None:
            own = tuple(np.broadcast_shapes(own, tuple(self.drive.effect.shape[:-3])))
        lead = np.broadcast_shapes(own, ways.lead)
        if shared is None or prod(own) * shared[0].size > _WORTH * prod(lead) * ways.size:
            return None
        return shared

    def _ways(self, times: Array, gaps: Array, inputs: Array | None, kinds: Kinds | None) -> Ways:
        spans = _spans(times, gaps, self.breaks)
        some = kinds is not None and kinds.any
        return Ways(
            spans,
            kinds.quiet if some and kinds is not None else None,
            kinds.jump if some and kinds is not None else None,
            _piece_of(times, self.breaks) if some and self.breaks else None,
            None if self.drive is None else self.drive.held(inputs),
        )

    def _log_factors(self, ways: Ways) -> Array:
        spans, quiet, jump, piece, held = ways
        # Generators of the rows, (..., series or 1, T or 1, piece, K, K).
        Q = self.generator[..., None, :, :, :] if self.drive is None else self.drive.move(self.generator, held)
        if quiet is None or jump is None:
            return _log_free(Q, spans, self.driver)
        like = self.like
        xp = array_namespace(like)
        rates = Q * asarray_like(1.0 - np.eye(self.num_states), like)
        if piece is None:
            rates = rates[..., 0, :, :]
        else:
            rates = take_rows(rates, asarray_like(piece, like)[..., None], num_core=2)[..., 0, :, :]
        found = None
        # Where nothing happened on the way only the rate of leaving counts, and there in logarithms: a long stay has a
        # probability that no float64 holds.
        stay = _log_stay(Q, spans) if quiet.any() else None
        spans = [_where_free(span, quiet) for span in spans] if quiet.any() else spans
        free = _free(Q, spans, self.driver) if (~quiet & jump).any() else None
        log_free = None
        if (~quiet & ~jump).any():
            log_free = _log_free(Q, spans, self.driver) if free is None else logarithm(free)
        diagonal = asarray_like(np.where(np.eye(self.num_states, dtype=bool), 0.0, -np.inf), like)
        for is_quiet, is_jump in ((False, False), (False, True), (True, False), (True, True)):
            where = (quiet == is_quiet) & (jump == is_jump)
            if not where.any():
                continue
            if is_quiet:
                assert stay is not None
                value = stay[..., :, None] + (logarithm(rates) if is_jump else diagonal)
            else:
                value = logarithm(free @ rates) if is_jump else log_free
            found = value if found is None else xp.where(asarray_like(where, like)[..., None, None], value, found)
        assert found is not None
        return found


def _log_free(Q: Array, spans: list[Array], driver: str) -> Array:
    """Logarithms of transition probabilities over spans of the pieces, (..., series or 1, T, K, K)."""
    if len(spans) > 1:
        return logarithm(_free(Q, spans, driver))
    return _over_gaps(log_transition_probabilities, Q, 0, spans[0], driver)


def _free(Q: Array, spans: list[Array], driver: str) -> Array:
    """Transition probabilities over spans of the pieces, (..., series or 1, T, K, K)."""
    product = None
    for piece, span in enumerate(spans):
        known = concrete(span)
        if known is not None and not known.any() and (product is not None or piece + 1 < len(spans)):
            continue
        factor = _over_gaps(transition_probabilities, Q, piece, span, driver)
        product = factor if product is None else product @ factor
    return product


def _over_gaps(function: Any, Q: Array, piece: int, span: Array, driver: str) -> Array:
    """A function of generators and gaps, with the generators of a piece (T or 1 of them) and its part of each gap."""
    gaps, driver = asarray_like(span, Q), driver if driver in ("auto", "compiled") else "sequential"
    if Q.shape[-4] == 1:
        return function(Q[..., 0, piece, :, :], gaps, driver=driver)
    return function(Q[..., piece, :, :], gaps[..., None], driver=driver)[..., 0, :, :]


def _log_stay(Q: Array, spans: list[Array]) -> Array:
    """Log-probability of staying over spans of the pieces in each state, (..., series or 1, T, K)."""
    exits = array_namespace(Q).linalg.diagonal(Q)
    total: Any = 0.0
    for piece, span in enumerate(spans):
        total = total + asarray_like(span, Q)[..., None] * exits[..., piece, :]
    return total


def _where_free(span: Array, quiet: np.ndarray) -> Array:
    """A span, 0 where the way is quiet and no probabilities are needed."""
    if isinstance(span, np.ndarray):
        return np.where(quiet, 0.0, span)
    return array_namespace(span).where(asarray_like(quiet, span), 0.0 * span, span)


class MarkovJumpConditional(AbstractConditional):
    """A Markov jump process given observations.

    Args:
        process: The process.
        observations: The observations.
    """

    def __init__(self, process: MarkovJump, observations: Observations) -> None:
        self.process = process
        self.observations = observations

    def at(self, times: Array, *, inputs: Array | None = None) -> HiddenMarkovPredictive:
        """Return the joint law at `times`, (..., series or 1, query), non-decreasing along the query axis.

        Args:
            times: Query times: between, at, after and (for a stationary process) before the observed ones.
            inputs: Inputs at the query times, (..., series, query, input), each held until the next observed or query
                row; by default the input of the last observed row goes on. At an observed time that row's input stands.

        Raises:
            ArgumentError: Times decrease, or lie before the first row of a process that is not stationary; or inputs
                are given to a process that reads none.
            NoDensityError: The observations are impossible.
        """
        if inputs is not None and self.process.drive is None:
            raise ArgumentError("no inputs move the rates of this process: leave `inputs` out.")
        seen = with_a_row(self.observations, times)
        check_order(times, gaps_between(times))
        start = self.process.log_initial
        if not self.process.is_stationary:
            start = start + check_start(seen.times, times)
        grid = merge_times(seen.times, times)
        like = self.process.like
        values, mask = rows_of(seen.values, grid.observed, like), rows_of(seen.mask, grid.observed, like)
        kinds = kinds_of(seen)
        if kinds is not None:
            kinds = between(kinds, grid.observed)
        chain = self.process._chain(grid.times, self._inputs(seen.inputs, inputs, grid), kinds, start)
        posterior = chain.posterior(Observations(grid.times, values, mask))
        rows = asarray_like(grid.rows.astype(np.int64), like) if isinstance(grid.rows, np.ndarray) else grid.rows
        try:
            return HiddenMarkovPredictive(posterior, rows)
        except NoDensityError:
            # Name the row of the observations and not that of the grid.
            self.process.chain(seen.times, seen.inputs, kinds=kinds_of(seen)).posterior(seen).laws  # noqa: B018
            raise

    def _inputs(self, known: Array | None, asked: Array | None, grid: Grid) -> Array | None:
        """Inputs on the grid, NumPy where they are known numbers, so that equal ways are found."""
        if self.process.drive is None or known is None:
            return None
        numbers, wanted = concrete(known), None if asked is None else concrete(asked)
        if numbers is None or (asked is not None and wanted is None) or not isinstance(grid.times, np.ndarray):
            return inputs_of(known, asked, grid, self.process.like)
        return inputs_of(numbers, wanted, grid, numbers)


def _spans(times: Array, gaps: Array, breaks: tuple[float, ...]) -> list[Array]:
    """Part of the gap before each row that lies in each piece, (..., time)."""
    if not breaks:
        return [gaps]
    known = concrete(times)
    at = np.asarray(known, np.float64) if known is not None else times
    xp = array_namespace(at)
    before = xp.concat([at[..., :1], at[..., :-1]], axis=-1)
    bounds = [-np.inf, *breaks, np.inf]
    return [_inside(at, low, high) - _inside(before, low, high) for low, high in pairwise(bounds)]


def _inside(times: Array, low: float, high: float) -> Array:
    """Times moved into an interval, either end of which may be open."""
    xp = array_namespace(times)
    return xp.clip(times, low if np.isfinite(low) else None, high if np.isfinite(high) else None)


def _piece_of(times: Array, breaks: tuple[float, ...]) -> Array:
    """Piece of the generator at each time: a break belongs to the piece that ends there."""
    known = concrete(times)
    if known is not None:
        return np.searchsorted(breaks, np.asarray(known, np.float64), side="left")
    xp = array_namespace(times)
    return xp.sum(xp.astype(times[..., None] > asarray_like(np.array(breaks), times), xp.int32), axis=-1)


def _check_generator(generator: Array) -> None:
    """Refuse rates that are negative, and rows that do not sum to 0; NaN passes, because it shows in the result."""
    numbers = concrete(generator)
    if numbers is None:
        return
    off = numbers * (1.0 - np.eye(numbers.shape[-1]))
    if (off < 0).any():
        where = tuple(int(i) for i in np.argwhere(off < 0)[0])
        raise ArgumentError(f"rates of `generator` must not be negative; generator{list(where)} is {off[where]:g}.")
    sums = np.abs(numbers.sum(axis=-1))
    if (sums > _SUMS * np.maximum(off.sum(axis=-1), 1e-300)).any():
        where = tuple(int(i) for i in np.argwhere(sums > _SUMS * off.sum(axis=-1))[0])
        raise ArgumentError(
            f"rows of `generator` must sum to 0; row {list(where)} sums to {numbers.sum(axis=-1)[where]:g}. The "
            "diagonal is minus the sum of the rates of leaving."
        )
