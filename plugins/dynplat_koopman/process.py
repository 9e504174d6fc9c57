r"""A lifted linear process whose state is known wherever a row is completely observed.

.. math::
    z_{t+1} = F z_t + N(0, Q), \qquad y_t = C z_t + d + N(0, R),
    \qquad z_t = \psi(y_t) \text{ where } y_t \text{ is complete.}

The law is a product of conditional densities, one for each row:

.. math:: p(y_t \mid y_{<t}) = N\bigl(y_t;\; C m_t + d,\; C P_t C^\top + R\bigr),

with (m_t, P_t) = (F psi(y_{t-1}), Q) after a complete row: the state is lifted anew, and what came before no longer
matters. After a row that is missing, or missing in part, they are what the filter of the linear-Gaussian system
predicts, which met the observed channels of such rows through y = C z + r alone. Forecasts are linear from the last
complete row. This is a proper density of the observed cells, but no coherent law: a row that is left out is carried
over linearly, whereas integrating it out would average psi over its values.

With `lift_every` = m only every m-th complete row is lifted anew, the first of a series first. Between two lifted rows
the state goes on linearly, and is filtered from the rows there through y = C z + r: the density of a segment, given the
row that it follows, is that of predictions up to m rows ahead. A dictionary that is learned by it is good for more than
a single step. Forecasts, too, are linear from the last lifted row.

`LinearSDE` itself is the coherent alternative, in which z is hidden everywhere and only y = C z + r is seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynplat.arrays import (
    Array,
    Observations,
    Random,
    array_namespace,
    asarray_like,
    concrete,
    epsilon,
    eye_like,
    symmetrise,
    take_rows,
)
from dynplat.errors import ArgumentError
from dynplat.process import (
    AbstractConditional,
    AbstractProcess,
    Draw,
    GaussianPredictive,
    LinearGaussian,
    LinearSDE,
)
from dynplat.process.dynamics.base import real_like
from dynplat.process.gaps import gaps_between, grid_transitions
from dynplat.process.gaussian_predictive import draw_noise
from dynplat.process.grid import Grid, check_order, check_start, inputs_of, merge_times, rows_of, with_a_row
from dynplat_koopman import segments

#: Variance, beside the mean square of a function, with which a row that ends a hole says what its function is.
_LIFT_NOISE = 1e-10


class Lifted(AbstractProcess):
    """A linear process in the coordinates of a dictionary (see the module for its law).

    Args:
        process: The linear process of z, with a proper start that is given, and no inputs in what is observed (`D`).
        lift: The dictionary: a function from values (..., time, channel) to states (..., time, n).
        noise_scale: By what the noise is multiplied from a complete row until the next one, a function from its lifted
            state (..., time, n) to positive numbers (..., time); None for 1. Before the first complete row it is 1.
        anchor: Values (channel,) that stand in for rows that are not complete where the dictionary is evaluated, so
            that it stays finite there; None for 0. Nothing depends on them.
        lift_every: Every how many complete rows of a series the state is lifted anew.

    Raises:
        ArgumentError: The process starts from its stationary law or a diffuse one, or has `D`; `lift_every` is below 1.
    """

    def __init__(
        self,
        process: LinearSDE,
        lift: Callable[[Array], Array],
        *,
        noise_scale: Callable[[Array], Array] | None = None,
        anchor: Array | None = None,
        lift_every: int = 1,
    ) -> None:
        if process.is_stationary or process.diffuse is not None or process.D is not None:
            raise ArgumentError(
                "`process` of Lifted must have a start `m0`, `P0` of its own, and neither `diffuse` nor `D`."
            )
        if lift_every < 1:
            raise ArgumentError(f"`lift_every` of Lifted must be at least 1; got {lift_every}.")
        self.process = process
        self.lift = lift
        self.noise_scale = noise_scale
        self.anchor = anchor
        self.lift_every = lift_every

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the process."""
        return self.process.like

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); a row with nothing observed gives exactly 0.

        Where every row that says something follows a lifted one, the rows are independent given the ones before them,
        and no array of n x n numbers for each row is made. Otherwise the segments between lifted rows are independent
        given those rows, and run side by side (`segments`).

        Raises:
            ArgumentError: Times decrease or lie off the grid of steps, inputs are missing, or shapes do not fit.
            NoDensityError: The law has no density at the observations.
        """
        values, mask, inputs = self._arrays(observations)
        F, Q, c = self._transitions(observations.times, inputs)
        lifted = self._lifted_rows(mask)
        psi = self._psi(values, lifted)
        scale = self._scale(psi, lifted)
        numbers = concrete(lifted)
        if numbers is not None and not self._has_holes(observations.mask, numbers):
            chain = self._observed_chain(F, Q, c, psi, scale)
            return chain.log_prob_steps(Observations(observations.times, values, observations.mask))
        cut = None if numbers is None or numbers.ndim != 2 else segments.cut(numbers)
        if cut is not None:
            known = Observations(observations.times, values, mask)
            return segments.log_prob_steps(self.process, cut, known, F, Q, c, psi, scale)
        chain = self._chain(F, _times(Q, scale), self._offsets(F, c, psi, lifted), lifted)
        return chain.log_prob_steps(Observations(observations.times, values, observations.mask))

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), row by row: each is lifted before the next is drawn.

        The states of the draw are those before the row was lifted: y = C z + d + r.
        """
        process, like = self.process, self.like
        inputs = None if inputs is None else real_like(inputs, like)
        F, Q, c = self._transitions(times, inputs)
        xp = array_namespace(F)
        size = int(times.shape[-1])
        lead = np.broadcast_shapes(process.batch_shape, tuple(F.shape[:-3]), tuple(times.shape[:-1]))
        noise = draw_noise(Q, (*lead, size, Q.shape[-1]), random)
        fuzz = draw_noise(process.R[..., None, :, :], (*lead, size, process.num_channels), random)
        z = process.m0 + draw_noise(process.P0, (*lead, Q.shape[-1]), random)
        values, states, scale = [], [], None
        for row in range(size):
            if row:
                here = 0 if F.shape[-3] == 1 else row
                shock = noise[..., row, :]
                if (row - 1) % self.lift_every == 0:
                    psi = self.lift(values[-1][..., None, :])
                    z = psi[..., 0, :]
                    scale = None if self.noise_scale is None else xp.sqrt(self.noise_scale(psi))
                shock = shock if scale is None else scale * shock
                z = (F[..., here, :, :] @ z[..., None])[..., 0] + shock
                z = z if c is None else z + c[..., 0 if c.shape[-2] == 1 else row, :]
            y = (process.H @ z[..., None])[..., 0] + fuzz[..., row, :]
            values.append(y if process.d is None else y + process.d)
            states.append(z)
        return Draw(xp.stack(values, axis=-2), xp.stack(states, axis=-2))

    def condition(self, observations: Observations) -> LiftedConditional:
        """Return the law given `observations`, to be asked about any times that the dynamics has transitions to."""
        return LiftedConditional(self, observations)

    def _arrays(self, observations: Observations) -> tuple[Array, Array, Array | None]:
        like = self.like
        inputs = None if observations.inputs is None else real_like(observations.inputs, like)
        return real_like(observations.values, like), asarray_like(observations.mask, like), inputs

    def _transitions(self, times: Array, inputs: Array | None) -> tuple[Array, Array, Array | None]:
        process = self.process
        gaps = gaps_between(times)
        check_order(times, gaps)
        process.dynamics.check_gaps(gaps, times)
        inputs = inputs if process.has_inputs else None
        return grid_transitions(process.dynamics, gaps, inputs, self.like, share=process.share_gaps)

    def _lifted_rows(self, mask: Array) -> Array:
        """Whether each row is lifted, (..., series, time)."""
        xp = array_namespace(mask)
        complete = xp.all(mask, axis=-1)
        if self.lift_every == 1:
            return complete
        number = xp.cumulative_sum(xp.astype(complete, xp.int32), axis=-1) - 1
        return complete & (number % self.lift_every == 0)

    def _psi(self, values: Array, complete: Array) -> Array:
        """Lifted rows; a row that is not lifted is replaced by the anchor, and not used."""
        xp = array_namespace(values)
        anchor = 0.0 if self.anchor is None else asarray_like(self.anchor, values)
        return self.lift(xp.where(complete[..., None], values, anchor))

    def _scale(self, psi: Array, complete: Array) -> Array | None:
        """By what the noise into each row is multiplied, (..., time): as the last complete row before it says."""
        if self.noise_scale is None:
            return None
        xp = array_namespace(psi)
        last = _last_complete(complete)
        scale = self.noise_scale(psi)
        held = take_rows(scale, xp.where(last >= 0, last, xp.zeros_like(last)), num_core=0)
        return xp.where(last >= 0, held, xp.ones_like(held))

    def _has_holes(self, mask: Array, lifted: np.ndarray) -> bool:
        """Whether something is observed in a row after one that is not lifted (while nobody can look: yes)."""
        numbers = concrete(mask)
        if numbers is None:
            return True
        return bool((np.any(numbers, axis=-1)[..., 1:] & ~lifted[..., :-1]).any())

    def _offsets(self, F: Array, c: Array | None, psi: Array, complete: Array) -> Array:
        """Offsets of the transitions: after a complete row, where its lifted state goes."""
        xp = array_namespace(psi)
        moved = _moved(F, psi)
        moved = xp.where(_before(complete, False)[..., None], moved, xp.zeros_like(moved))
        return moved if c is None else moved + c

    def _chain(self, F: Array, Q: Array, c: Array, complete: Array) -> LinearGaussian:
        """The chain of z that forgets, after a complete row, everything but that row."""
        process = self.process
        xp = array_namespace(F)
        known = _before(complete, False)[..., None, None]
        F = xp.where(known, xp.zeros_like(F), F)
        d = None if process.d is None else process.d[..., None, :]
        H, R = process.H[..., None, :, :], process.R[..., None, :, :]
        return LinearGaussian(F, Q, H, R, process.m0, process.P0, c, d, driver=process.driver)

    def _observed_chain(self, F: Array, Q: Array, c: Array | None, psi: Array, scale: Array | None) -> LinearGaussian:
        """The chain of C z + d, each row of which depends on the row before through its lifted state only."""
        process, H = self.process, self.process.H
        xp = array_namespace(F)
        transposed = xp.matrix_transpose(H)
        moved = _moved(H[..., None, :, :] @ F, psi)
        if c is not None:
            moved = moved + (H[..., None, :, :] @ c[..., None])[..., 0]
        start = (H @ process.m0[..., None])[..., 0]
        if process.d is not None:
            moved, start = moved + process.d[..., None, :], start + process.d
        identity = eye_like(process.num_channels, H)[None]
        noise = _times(symmetrise(H[..., None, :, :] @ Q @ transposed[..., None, :, :]), scale)
        spread = symmetrise(H @ process.P0 @ transposed)
        R = process.R[..., None, :, :]
        return LinearGaussian(0.0 * identity, noise, identity, R, start, spread, moved, driver=process.driver)


class LiftedConditional(AbstractConditional):
    """A lifted process given observations.

    Between a complete row and the next row that says something, the law is linear from the former; a complete row that
    ends a hole tells the rows inside it what their lifted future was, as an observation of z with next to no noise.
    With `lift_every` above 1, where such ends are the rule, the last row of a segment says what its channels say.

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
        seen = _recent(seen, times, lifted._lifted_rows(seen.mask))
        grid = merge_times(seen.times, times)
        on_grid = Observations(
            times=grid.times,
            values=rows_of(seen.values, grid.observed, like),
            mask=rows_of(seen.mask, grid.observed, like),
            inputs=self._inputs(seen.inputs, inputs, grid) if process.has_inputs else None,
        )
        values, mask, held = lifted._arrays(on_grid)
        F, Q, c = lifted._transitions(grid.times, held)
        complete = lifted._lifted_rows(mask)
        psi = lifted._psi(values, complete)
        Q = _times(Q, lifted._scale(psi, complete))
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
        hole observes it, so that the hole hears of it.
        """
        lifted, process = self.lifted, self.lifted.process
        xp = array_namespace(psi)
        before = _before(complete, True)
        given = complete & before
        c = lifted._offsets(F, c, psi, complete)
        c = xp.where(given[..., None], psi, c)
        known = _before(complete, False)[..., None, None]
        F = xp.where(known, xp.zeros_like(F), F)
        Q = xp.where(given[..., None, None], xp.zeros_like(Q), Q)
        first = given[..., 0]
        m0 = xp.where(first[..., None], psi[..., 0, :], process.m0 + early)
        P0 = xp.where(first[..., None, None], xp.zeros_like(process.P0), process.P0)
        H, R = process.H[..., None, :, :], process.R[..., None, :, :]
        d = None if process.d is None else process.d[..., None, :]
        if lifted.lift_every > 1:
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


def _moved(F: Array, psi: Array) -> Array:
    """F psi of the row before, for every row; the first row, which has none before it, takes its own."""
    xp = array_namespace(psi)
    before = xp.concat([psi[..., :1, :], psi[..., :-1, :]], axis=-2)
    if F.shape[-3] == 1:  # one product instead of one for each row
        return before @ xp.matrix_transpose(F[..., 0, :, :])
    return (F @ before[..., None])[..., 0]


def _times(Q: Array, scale: Array | None) -> Array:
    return Q if scale is None else Q * scale[..., None, None]


def _last_complete(complete: Array) -> Array:
    """Number of the last complete row before each row, (..., time), -1 where there is none."""
    xp = array_namespace(complete)
    size = int(complete.shape[-1])
    numbers = concrete(complete)
    if numbers is not None:
        here = np.where(numbers, np.arange(size), -1)
        last = np.maximum.accumulate(
            np.concatenate([np.full_like(here[..., :1], -1), here[..., :-1]], axis=-1), axis=-1
        )
        return asarray_like(last.astype(np.int64), complete)
    rows = asarray_like(np.arange(size), complete)
    earlier = complete[..., None, :] & (rows[None, :] < rows[:, None])
    return xp.max(xp.where(earlier, rows, xp.full_like(rows, -1)), axis=-1)


def _before(complete: Array, first: bool) -> Array:
    """Whether the row before each is complete; `first` stands for the row before the first."""
    xp = array_namespace(complete)
    edge = complete[..., :1] | True if first else complete[..., :1] & False
    return xp.concat([edge, complete[..., :-1]], axis=-1)


def _block_diagonal(first: Array, second: Array) -> Array:
    xp = array_namespace(first)
    lead = np.broadcast_shapes(tuple(first.shape[:-2]), tuple(second.shape[:-2]))
    first, second = (xp.broadcast_to(part, (*lead, *part.shape[-2:])) for part in (first, second))
    p, n = first.shape[-1], second.shape[-1]
    corner = xp.broadcast_to(0.0 * first[..., :, :1], (*lead, p, n))
    top = xp.concat([first, corner], axis=-1)
    bottom = xp.concat([xp.matrix_transpose(corner), second], axis=-1)
    return xp.concat([top, bottom], axis=-2)


def _recent(observations: Observations, times: Array, lifted: Array) -> Observations:
    """Leave out the rows before the last one, at or before all queries, that is lifted in every series."""
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
    cut = slice(int(rows[-1]), None)
    return Observations(
        times=observations.times[..., cut],
        values=values[..., cut, :],
        mask=observations.mask[..., cut, :],
        inputs=None if inputs is None else inputs[..., cut, :],
    )
