"""A lifted process given observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dynplat.arrays import (
    Array,
    Observations,
    Random,
    array_namespace,
    concrete,
    epsilon,
    eye_like,
)
from dynplat.errors import ArgumentError
from dynplat.process import AbstractConditional, GaussianPredictive, LinearGaussian
from dynplat.process.dynamics.base import real_like
from dynplat.process.gaps import gaps_between
from dynplat.process.grid import Grid, check_order, check_start, inputs_of, merge_times, rows_of, with_a_row
from dynplat_koopman.known import before_each, scaled

if TYPE_CHECKING:
    from dynplat_koopman.process import Lifted

#: Variance, beside the mean square of a function, with which a row that ends a hole says what its function is.
_LIFT_NOISE = 1e-10


class LiftedConditional(AbstractConditional):
    """A lifted process given observations.

    Between a complete row and the next row that says something, the law is linear from the former; a complete row that
    ends a hole tells the rows inside it what their lifted future was, as an observation of z with next to no noise.
    With `lift_every` above 1, where such ends are the rule, with `lift_noise` or a `window`, it says what its channels
    say.

    Args:
        lifted: The process.
        observations: The observations.
    """

    def __init__(self, lifted: Lifted, observations: Observations) -> None:
        self.lifted = lifted
        self.observations = observations

    def at(self, times: Array, *, inputs: Array | None = None) -> GaussianPredictive:
        """Return the joint law at `times`, (..., series or 1, query), non-decreasing along the query axis.

        Args:
            times: Query times at or after the first observed row.
            inputs: Inputs at the query times (see `LinearSDEConditional.at`).

        Raises:
            ArgumentError: Times decrease, lie off the grid of steps, or before the first row.
            NoDensityError: The law has no density at the observations.
        """
        lifted, process, like = self.lifted, self.lifted.process, self.lifted.like
        seen = with_a_row(self.observations, times)
        check_order(times, gaps_between(times))
        early = check_start(seen.times, times)
        reach = 0 if lifted.window is None else lifted.window.num_delays
        is_lifted, _ = lifted._lifted(*lifted._arrays(seen)[:2], seen.times)
        seen = _recent(seen, times, is_lifted, reach)
        grid = merge_times(seen.times, times)
        on_grid = Observations(
            times=grid.times,
            values=rows_of(seen.values, grid.observed, like),
            mask=rows_of(seen.mask, grid.observed, like),
            inputs=self._inputs(seen.inputs, inputs, grid) if process.has_inputs else None,
        )
        values, mask, held = lifted._arrays(on_grid)
        F, Q, c = lifted._transitions(grid.times, held)
        complete, psi = lifted._lifted(values, mask, grid.times)
        Q = scaled(Q, lifted._scale(psi, complete))
        chain, observations = self._chain(F, Q, c, psi, complete, values, mask, grid.times, early)
        answer = chain.predictive(observations, grid.rows)

        def draw_states(num_draws: int, random: Random) -> Array:
            return answer.draws(num_draws, random=random, of="state")

        d = None if process.d is None else process.d[..., None, :]
        return GaussianPredictive(
            answer.means, answer.covs, process.H[..., None, :, :], d, process.R[..., None, :, :], draw_states
        )

    def _inputs(self, known: Array | None, asked: Array | None, grid: Grid) -> Array:
        if known is None:
            raise ArgumentError("the process reads inputs (`B`), and the observations have none.")
        like = self.lifted.like
        return inputs_of(real_like(known, like), None if asked is None else real_like(asked, like), grid, like)

    def _chain(
        self,
        F: Array,
        Q: Array,
        c: Array | None,
        psi: Array,
        complete: Array,
        values: Array,
        mask: Array,
        times: Array,
        early: Array | float,
    ) -> tuple[LinearGaussian, Observations]:
        """The chain of z with the lifted rows in it, and what it sees.

        A complete row that follows a complete row (or starts the series) is set to its lifted state; one that ends a
        hole observes it, so that the hole hears of it. What comes after a row that is set goes on from there.
        """
        lifted, process = self.lifted, self.lifted.process
        xp = array_namespace(psi)
        before = before_each(complete, True)
        given = complete & before
        slip, cut = lifted.lift_noise, before_each(complete, False)
        if slip is None:
            slip = xp.zeros_like(process.P0)
        else:  # a state that is not known for certain hears of the rows after it
            cut = cut & ~before_each(given, False)
        Q = lifted._after(F, Q, cut)
        c = lifted._offsets(F, c, psi, cut)
        c = xp.where(given[..., None], psi, c)
        F = xp.where((cut | given)[..., None, None], xp.zeros_like(F), F)
        Q = xp.where(given[..., None, None], slip[..., None, :, :], Q)
        first = given[..., 0]
        m0 = xp.where(first[..., None], psi[..., 0, :], process.m0 + early)
        P0 = xp.where(first[..., None, None], slip, process.P0)
        H, R = process.H[..., None, :, :], process.R[..., None, :, :]
        d = None if process.d is None else process.d[..., None, :]
        if lifted.lift_every > 1 or lifted.lift_noise is not None or lifted.window is not None:
            # Between two lifted rows, too, the state is seen through the channels alone: so the last row of a segment.
            chain = LinearGaussian(F, Q, H, R, m0, P0, c, d, driver=process.driver)
            return chain, Observations(times, values, mask & ~given[..., None])
        seen = mask & ~complete[..., None]
        ends = complete & ~before
        numbers = concrete(ends)
        if numbers is not None and not numbers.any():
            chain = LinearGaussian(F, Q, H, R, m0, P0, c, d, driver=process.driver)
            return chain, Observations(times, values, seen)
        n = psi.shape[-1]
        identity = eye_like(n, H)
        noise = max(_LIFT_NOISE, 1e3 * epsilon(H))
        # Beside the mean square of each function under the law of the start, at least that of a function of order 1.
        square = process.m0**2 + xp.linalg.diagonal(process.P0)
        R_psi = (noise * (1.0 + square))[..., None, :, None] * identity
        H = xp.concat([H, xp.broadcast_to(identity, (*H.shape[:-2], n, n))], axis=-2)
        R = _block_diagonal(R, R_psi)
        if d is not None:
            d = xp.concat([d, xp.broadcast_to(0.0 * d[..., :1], (*d.shape[:-1], n))], axis=-1)
        lead = np.broadcast_shapes(tuple(values.shape[:-1]), tuple(psi.shape[:-1]))
        everything = xp.concat([xp.broadcast_to(values, (*lead, values.shape[-1])), psi], axis=-1)
        ends = xp.broadcast_to(ends[..., None], (*ends.shape, n))
        chain = LinearGaussian(F, Q, H, R, m0, P0, c, d, driver=process.driver)
        return chain, Observations(times, everything, xp.concat([seen, ends], axis=-1))


def _block_diagonal(first: Array, second: Array) -> Array:
    xp = array_namespace(first)
    lead = np.broadcast_shapes(tuple(first.shape[:-2]), tuple(second.shape[:-2]))
    first, second = (xp.broadcast_to(part, (*lead, *part.shape[-2:])) for part in (first, second))
    p, n = first.shape[-1], second.shape[-1]
    corner = xp.broadcast_to(0.0 * first[..., :, :1], (*lead, p, n))
    top = xp.concat([first, corner], axis=-1)
    bottom = xp.concat([xp.matrix_transpose(corner), second], axis=-1)
    return xp.concat([top, bottom], axis=-2)


def _recent(observations: Observations, times: Array, lifted: Array, reach: int) -> Observations:
    """Leave out the rows before the last one, at or before all queries, that is lifted in every series.

    The `reach` rows before it, which its delay vector holds, stay.
    """
    known, asked, mask = concrete(observations.times), concrete(times), concrete(lifted)
    if known is None or asked is None or mask is None or not asked.shape[-1] or known.shape[-1] < 2:
        return observations
    size = known.shape[-1]
    good = mask.reshape(-1, size).all(axis=0)
    good &= (known.reshape(-1, size) <= asked.reshape(-1, asked.shape[-1])[:, 0].min()).all(axis=0)
    rows = np.flatnonzero(good)
    if not len(rows) or rows[-1] == 0:
        return observations
    values, inputs = observations.values, observations.inputs
    cut = slice(max(int(rows[-1]) - reach, 0), None)
    return Observations(
        times=observations.times[..., cut],
        values=values[..., cut, :],
        mask=observations.mask[..., cut, :],
        inputs=None if inputs is None else inputs[..., cut, :],
    )
