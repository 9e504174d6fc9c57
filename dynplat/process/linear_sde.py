r"""Linear SDEs observed at irregular times, with noise: exact likelihood, smoothing, forecasting and simulation.

.. math::
    dx = (A x + b + B u)\,dt + L\,dW, \qquad y(t_k) = H x(t_k) + d + D u_k + N(0, R)

Between two times the law is discretised exactly (`dynplat.process.dynamics`), so that the process is a linear-Gaussian
chain on any set of times: on the observed rows for a likelihood, on the union of observed and query times for a
question. Asking about one time more never changes an answer about another.
"""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random
from dynplat.errors import ArgumentError
from dynplat.process.base import AbstractConditional, AbstractProcess, Draw
from dynplat.process.dynamics.base import AbstractLinearDynamics, common_like, real_like
from dynplat.process.gaps import gaps_between, grid_transitions
from dynplat.process.gaussian_predictive import GaussianPredictive
from dynplat.process.grid import Grid, check_order, check_start, inputs_of, merge_times, rows_of, with_a_row
from dynplat.process.linear_gaussian import LinearGaussian


class LinearSDE(AbstractProcess):
    """A linear SDE observed with noise (see the module for its law).

    The law starts at the first row of the times: there x ~ N(m0, P0), or the stationary law of the dynamics when `m0`
    and `P0` are left out. A process started from its stationary law can also be asked about times before the first row;
    any other refuses them. Inputs are held from a row until the next; before the first row they are 0.

    Args:
        dynamics: The dynamics of the state (n = `dynamics.state_dim`).
        H: Observation matrix, (..., series or 1, channel, n).
        R: Observation noise covariance, (..., series or 1, channel, channel), positive semi-definite.
        m0: Mean of the state at the first row, (..., series or 1, n), or None for the stationary mean.
        P0: Covariance of the state at the first row, (..., series or 1, n, n), or None for the stationary one.
        d: Observation offset, (..., series or 1, channel), or None for 0.
        D: Effect of the inputs on the observation, (..., series or 1, channel, input), or None.
        stationary: True says that the start is the stationary law, as does leaving out `m0` and `P0`.
        diffuse: Directions in which the start is flat, (..., series or 1, n, q), or None (see `LinearGaussian`).
        share_gaps: Whether equal gaps are discretised once; it changes the speed, never the result.
        driver: How time is scanned (see `LinearGaussian`).
        steady_state: Whether converged covariances may stand still on regular times (see `LinearGaussian`).

    Raises:
        ArgumentError: The start is given in half or twice, or the dynamics have no stationary law to start from.
    """

    def __init__(
        self,
        dynamics: AbstractLinearDynamics,
        H: Array,
        R: Array,
        m0: Array | None = None,
        P0: Array | None = None,
        d: Array | None = None,
        *,
        D: Array | None = None,
        stationary: bool = False,
        diffuse: Array | None = None,
        share_gaps: bool = True,
        driver: str = "auto",
        steady_state: bool = True,
    ) -> None:
        if (m0 is None) != (P0 is None):
            raise ArgumentError("`m0` and `P0` must be given together, or both left out for the stationary law.")
        if stationary and m0 is not None:
            raise ArgumentError("`stationary=True` leaves no room for `m0` and `P0`: leave them out, or leave it out.")
        self.is_stationary = m0 is None
        if m0 is None:
            law = dynamics.stationary()
            if law is None:
                raise ArgumentError(
                    f"{type(dynamics).__name__} has no stationary law to start from: give `m0` and `P0`, the mean and "
                    "covariance of the state at the first row."
                )
            m0, P0 = law
        like = common_like(*dynamics.parameters, H, R, m0, P0, d, D, diffuse)
        self.dynamics = dynamics
        self.H, self.R, self.m0, self.P0 = (real_like(value, like) for value in (H, R, m0, P0))
        self.d, self.D, self.diffuse = (None if value is None else real_like(value, like) for value in (d, D, diffuse))
        self.share_gaps = share_gaps
        self.driver = driver
        self.steady_state = steady_state

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the process."""
        return self.H

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading shape of all parameters, (..., series or 1)."""
        matrices = (self.H, self.R, self.P0, self.D, self.diffuse)
        shapes = [tuple(value.shape[:-2]) for value in matrices if value is not None]
        shapes += [tuple(value.shape[:-1]) for value in (self.m0, self.d) if value is not None]
        return np.broadcast_shapes(self.dynamics.batch_shape, *shapes)

    @property
    def num_channels(self) -> int:
        """Number of channels."""
        return int(self.H.shape[-2])

    @property
    def has_inputs(self) -> bool:
        """Whether the process reads inputs."""
        return self.D is not None or self.dynamics.num_inputs > 0

    def chain(self, times: Array, inputs: Array | None = None) -> LinearGaussian:
        """Return the chain that this process is at `times`, (..., series, time).

        Args:
            times: Non-decreasing times; beside torch or JAX parameters they may be NumPy constants.
            inputs: Inputs at the times, (..., series, time, input), needed where the process reads inputs.

        Raises:
            ArgumentError: Times decrease, or inputs are missing.
        """
        return self._chain(times, inputs, self.m0)

    def _chain(self, times: Array, inputs: Array | None, m0: Array) -> LinearGaussian:
        if self.has_inputs and inputs is None:
            raise ArgumentError("the process reads inputs (`B` or `D`): give `inputs`, (..., series, time, input).")
        gaps = gaps_between(times)
        check_order(times, gaps)
        self.dynamics.check_gaps(gaps, times)
        F, Q, c = grid_transitions(self.dynamics, gaps, inputs, self.like, share=self.share_gaps)
        return LinearGaussian(
            F,
            Q,
            self.H[..., None, :, :],
            self.R[..., None, :, :],
            m0,
            self.P0,
            c,
            None if self.d is None else self.d[..., None, :],
            D=None if self.D is None else self.D[..., None, :, :],
            diffuse=self.diffuse,
            driver=self.driver,
            steady_state=self.steady_state,
        )

    def log_prob_steps(self, observations: Observations) -> Array:
        r"""Terms :math:`\log p(y_t \mid y_{<t})`, (..., series, time); a row with nothing observed gives exactly 0.

        Raises:
            ArgumentError: Times decrease, inputs are missing, or shapes do not fit.
            NoDensityError: The law has no density at the observations.
        """
        chain = self.chain(observations.times, observations.inputs)
        return chain.log_prob_steps(self._seen(observations))

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw trajectories at `times`, (..., series, time), one for each leading index of the parameters."""
        return self.chain(times, inputs).sample(times, random=random, inputs=inputs if self.D is not None else None)

    def condition(self, observations: Observations) -> LinearSDEConditional:
        """Return the law given `observations`, to be asked about any times."""
        return LinearSDEConditional(self, observations)

    def _seen(self, observations: Observations) -> Observations:
        """Observations as the chain of this process reads them: the inputs only where `D` does."""
        return observations._replace(inputs=observations.inputs if self.D is not None else None, marks=None)


class LinearSDEConditional(AbstractConditional):
    """A linear SDE given observations.

    Args:
        process: The process.
        observations: The observations.
    """

    def __init__(self, process: LinearSDE, observations: Observations) -> None:
        self.process = process
        self.observations = observations

    def at(self, times: Array, *, inputs: Array | None = None) -> GaussianPredictive:
        """Return the joint law at `times`, (..., series or 1, query), non-decreasing along the query axis.

        Args:
            times: Query times: between, at, after and (for a stationary process) before the observed ones.
            inputs: Inputs at the query times, (..., series, query, input), each held until the next observed or query
                row; by default the input of the last observed row goes on. At an observed time that row's input stands.

        Raises:
            ArgumentError: Times decrease, or lie before the first row of a process that is not stationary.
            NoDensityError: The law has no density at the observations.
        """
        process, seen = self.process, with_a_row(self.observations, times)
        check_order(times, gaps_between(times))
        m0 = process.m0 if process.is_stationary else process.m0 + check_start(seen.times, times)
        grid = merge_times(seen.times, times)
        on_grid = Observations(
            times=grid.times,
            values=rows_of(seen.values, grid.observed, process.like),
            mask=rows_of(seen.mask, grid.observed, process.like),
            inputs=self._inputs(seen.inputs, inputs, grid) if process.has_inputs else None,
        )
        chain = process._chain(grid.times, on_grid.inputs, m0)
        return chain.predictive(process._seen(on_grid), grid.rows)

    def _inputs(self, known: Array | None, asked: Array | None, grid: Grid) -> Array:
        if known is None:
            raise ArgumentError("the process reads inputs (`B` or `D`), and the observations have none.")
        like = self.process.like
        return inputs_of(real_like(known, like), None if asked is None else real_like(asked, like), grid, like)
