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

With `lift_noise` = S a lifted row says its state with an error, z_t = psi(y_t) + N(0, S): what the noise of the row
does to psi, and what psi leaves out. P_t is then Q + F S F^T after it.

With a `window` the state is psi of a delay vector: of a row and those before it. A row is lifted where all of them are
complete and a step apart, and is filtered elsewhere, as at the start of a series and behind a hole.

With a `domain` rows outside of it are not lifted either: where no data were, nobody knows what psi becomes, and with
polynomials simulations would run away. A state that has left it goes on linearly until a row lies in it again. Whether
a row is lifted depends on this row and those before it, so that the law is a proper density all the same.

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
    eye_like,
    symmetrise,
    take_rows,
)
from dynplat.errors import ArgumentError
from dynplat.process import (
    AbstractProcess,
    Draw,
    LinearGaussian,
    LinearSDE,
)
from dynplat.process.dynamics.base import real_like
from dynplat.process.gaps import gaps_between, grid_transitions
from dynplat.process.gaussian_predictive import draw_noise
from dynplat.process.grid import check_order
from dynplat_koopman import segments
from dynplat_koopman.conditional import LiftedConditional
from dynplat_koopman.delays import Window
from dynplat_koopman.known import before_each, last_complete, moved_by, scaled


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
        lift_noise: Covariance S of the error of a lifted state, (..., series or 1, n, n); None for 0.
        window: What rows a delay vector reaches over, where `lift` is a function of delay vectors.
        domain: Which rows (..., time, channel), or delay vectors, are lifted, a function to booleans (..., time); None
            for all.

    Raises:
        ArgumentError: The process starts from its stationary law or a diffuse one, or has `D`; `lift_every` is below 1,
            or above it beside a `window`.
    """

    def __init__(
        self,
        process: LinearSDE,
        lift: Callable[[Array], Array],
        *,
        noise_scale: Callable[[Array], Array] | None = None,
        anchor: Array | None = None,
        lift_every: int = 1,
        lift_noise: Array | None = None,
        window: Window | None = None,
        domain: Callable[[Array], Array] | None = None,
    ) -> None:
        if process.is_stationary or process.diffuse is not None or process.D is not None:
            raise ArgumentError(
                "`process` of Lifted must have a start `m0`, `P0` of its own, and neither `diffuse` nor `D`."
            )
        if lift_every < 1:
            raise ArgumentError(f"`lift_every` of Lifted must be at least 1; got {lift_every}.")
        if window is not None and lift_every > 1:
            raise ArgumentError(f"`lift_every` of Lifted must be 1 with a `window` of delays; got {lift_every}.")
        self.process = process
        self.lift = lift
        self.window = window
        self.domain = domain
        self.noise_scale = noise_scale
        self.anchor = anchor
        self.lift_every = lift_every
        self.lift_noise = lift_noise

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
        lifted, psi = self._lifted(values, mask, observations.times)
        scale = self._scale(psi, lifted)
        numbers = concrete(lifted)
        if numbers is not None and not self._has_holes(observations.mask, numbers):
            chain = self._observed_chain(F, self._after(F, scaled(Q, scale)), c, psi)
            return chain.log_prob_steps(Observations(observations.times, values, observations.mask))
        cut = None if numbers is None or numbers.ndim != 2 else segments.cut(numbers)
        if cut is not None:
            known = Observations(observations.times, values, mask)
            return segments.log_prob_steps(self.process, cut, known, F, Q, c, psi, scale, self.lift_noise)
        Q = self._after(F, scaled(Q, scale), before_each(lifted, False))
        chain = self._chain(F, Q, self._offsets(F, c, psi, before_each(lifted, False)), lifted)
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
        slips, every = None, np.ones((*times.shape, process.num_channels), dtype=bool)
        reach = 0 if self.window is None else self.window.num_delays
        if self.lift_noise is not None:
            slips = draw_noise(self.lift_noise[..., None, :, :], (*lead, size, Q.shape[-1]), random)
        z = process.m0 + draw_noise(process.P0, (*lead, Q.shape[-1]), random)
        values, states, scale = [], [], None
        for row in range(size):
            if row:
                here = 0 if F.shape[-3] == 1 else row
                shock = noise[..., row, :]
                if (row - 1) % self.lift_every == 0 and row > reach:
                    recent = slice(row - 1 - reach, row)
                    seen, shown = xp.stack(values[recent], axis=-2), asarray_like(every[..., recent, :], like)
                    is_lifted, psi = self._lifted(seen, shown, times[..., recent])
                    is_lifted, psi = is_lifted[..., -1:], psi[..., -1:, :]
                    known = psi[..., 0, :] if slips is None else psi[..., 0, :] + slips[..., row - 1, :]
                    z = xp.where(is_lifted, known, z)
                    if self.noise_scale is not None:
                        new = xp.sqrt(self.noise_scale(psi))
                        scale = xp.where(is_lifted, new, xp.ones_like(new) if scale is None else scale)
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

    def _lifted(self, values: Array, mask: Array, times: Array) -> tuple[Array, Array]:
        """Whether each row is lifted, (..., time), and its psi, (..., time, n); others have that of the anchor."""
        xp = array_namespace(values)
        complete = xp.all(mask, axis=-1)
        anchor = xp.zeros_like(values[..., :1, :])
        if self.anchor is not None:
            anchor = anchor + asarray_like(self.anchor, values)
        values = xp.where(complete[..., None], values, anchor)
        if self.window is not None:
            complete = self.window.whole(complete, times)
            values, anchor = self.window.vectors(values), self.window.vectors(anchor)
        if self.domain is not None:
            inside = self.domain(values)
            complete, values = complete & inside, xp.where(inside[..., None], values, anchor)
        if self.lift_every > 1:
            number = xp.cumulative_sum(xp.astype(complete, xp.int32), axis=-1) - 1
            complete = complete & (number % self.lift_every == 0)
        return complete, self.lift(values)

    def _scale(self, psi: Array, complete: Array) -> Array | None:
        """By what the noise into each row is multiplied, (..., time): as the last complete row before it says."""
        if self.noise_scale is None:
            return None
        xp = array_namespace(psi)
        last = last_complete(complete)
        scale = self.noise_scale(psi)
        held = take_rows(scale, xp.where(last >= 0, last, xp.zeros_like(last)), num_core=0)
        return xp.where(last >= 0, held, xp.ones_like(held))

    def _after(self, F: Array, Q: Array, known: Array | None = None) -> Array:
        """Noise into rows after lifted ones, all or those that `known` names, with what comes of the lifted state's."""
        if self.lift_noise is None:
            return Q
        xp = array_namespace(F)
        more = symmetrise(F @ self.lift_noise[..., None, :, :] @ xp.matrix_transpose(F))
        return Q + (more if known is None else xp.where(known[..., None, None], more, xp.zeros_like(more)))

    def _has_holes(self, mask: Array, lifted: np.ndarray) -> bool:
        """Whether something is observed in a row after one that is not lifted (while nobody can look: yes)."""
        numbers = concrete(mask)
        if numbers is None:
            return True
        return bool((np.any(numbers, axis=-1)[..., 1:] & ~lifted[..., :-1]).any())

    def _offsets(self, F: Array, c: Array | None, psi: Array, known: Array) -> Array:
        """Offsets of the transitions: where the row before is known, where its lifted state goes."""
        xp = array_namespace(psi)
        moved = moved_by(F, psi)
        moved = xp.where(known[..., None], moved, xp.zeros_like(moved))
        return moved if c is None else moved + c

    def _chain(self, F: Array, Q: Array, c: Array, complete: Array) -> LinearGaussian:
        """The chain of z that forgets, after a complete row, everything but that row."""
        process = self.process
        xp = array_namespace(F)
        known = before_each(complete, False)[..., None, None]
        F = xp.where(known, xp.zeros_like(F), F)
        d = None if process.d is None else process.d[..., None, :]
        H, R = process.H[..., None, :, :], process.R[..., None, :, :]
        return LinearGaussian(F, Q, H, R, process.m0, process.P0, c, d, driver=process.driver)

    def _observed_chain(self, F: Array, Q: Array, c: Array | None, psi: Array) -> LinearGaussian:
        """The chain of C z + d, each row of which depends on the row before through its lifted state only."""
        process, H = self.process, self.process.H
        xp = array_namespace(F)
        transposed = xp.matrix_transpose(H)
        moved = moved_by(H[..., None, :, :] @ F, psi)
        if c is not None:
            moved = moved + (H[..., None, :, :] @ c[..., None])[..., 0]
        start = (H @ process.m0[..., None])[..., 0]
        if process.d is not None:
            moved, start = moved + process.d[..., None, :], start + process.d
        identity = eye_like(process.num_channels, H)[None]
        noise = symmetrise(H[..., None, :, :] @ Q @ transposed[..., None, :, :])
        spread = symmetrise(H @ process.P0 @ transposed)
        R = process.R[..., None, :, :]
        return LinearGaussian(0.0 * identity, noise, identity, R, start, spread, moved, driver=process.driver)
