r"""Linear SDEs observed at irregular times, with noise: exact likelihood, smoothing, forecasting and simulation.

.. math::
    dx = (A x + b + B u)\,dt + L\,dW, \qquad y(t_k) = H x(t_k) + d + D u_k + N(0, R)

Between two times the law is discretised exactly (`dynplat.process.dynamics`), so that the process is a linear-Gaussian
chain on any set of times: on the observed rows for a likelihood, on the union of observed and query times for a
question. Asking about one time more never changes an answer about another.
"""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, concrete, take_rows
from dynplat.errors import ArgumentError
from dynplat.process.base import AbstractConditional, AbstractProcess, Draw
from dynplat.process.dynamics.base import AbstractLinearDynamics, common_like, real_like
from dynplat.process.gaps import gaps_between, grid_transitions
from dynplat.process.gaussian_predictive import GaussianPredictive
from dynplat.process.grid import Grid, merge_times
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
        _check_order(times, gaps)
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
        process, seen = self.process, _with_a_row(self.observations, times)
        _check_order(times, gaps_between(times))
        m0 = process.m0 if process.is_stationary else process.m0 + self._check_start(seen.times, times)
        grid = merge_times(seen.times, times)
        on_grid = Observations(
            times=grid.times,
            values=_rows_of(seen.values, grid.observed, process.like),
            mask=_rows_of(seen.mask, grid.observed, process.like),
            inputs=self._grid_inputs(seen.inputs, grid, inputs) if process.has_inputs else None,
        )
        chain = process._chain(grid.times, on_grid.inputs, m0)
        return chain.predictive(process._seen(on_grid), grid.rows)

    def _grid_inputs(self, known: Array | None, grid: Grid, asked: Array | None) -> Array:
        """Inputs on the grid: of the observed row, else of the query, else of the last observed row, else 0."""
        if known is None:
            raise ArgumentError("the process reads inputs (`B` or `D`), and the observations have none.")
        like = self.process.like
        held = _rows_of(real_like(known, like), grid.held, like)
        if asked is None:
            return held
        xp = array_namespace(like)
        use = asarray_like((grid.observed < 0) & (grid.query >= 0), like)
        return xp.where(use[..., None], _rows_of(real_like(asked, like), grid.query, like), held)

    def _check_start(self, times: Array, query: Array) -> Array | float:
        """Refuse queries before the law starts; while JAX traces, return NaN for such series and 0 for others."""
        known, asked = concrete(times), concrete(query)
        if known is None or asked is None:
            xp = array_namespace(next(part for part in (times, query) if concrete(part) is None))
            return xp.where(xp.asarray(query)[..., :1] < xp.asarray(times)[..., :1], xp.nan, 0.0)
        known, asked = np.broadcast_arrays(known[..., :1], asked[..., :1])
        early = np.argwhere(asked < known)
        if len(early):
            index = tuple(int(i) for i in early[0])
            series = f" of series {index[-2]}" if known.ndim > 1 else ""
            raise ArgumentError(
                f"`times` contains {asked[index]!s}, before the first row{series} at {known[index]!s}, where the law "
                "of this process starts. Only a process started from its stationary law can be asked about earlier "
                "times; put an unobserved row at the earliest time into the data instead."
            )
        return 0.0


def _with_a_row(observations: Observations, times: Array) -> Observations:
    """Observations without any row get one at the first query in which nothing is observed: the law starts there."""
    if observations.times.shape[-1] or not times.shape[-1]:
        return observations
    values, inputs = observations.values, observations.inputs
    return Observations(
        times=times[..., :1],
        values=np.zeros((*values.shape[:-2], 1, values.shape[-1])),
        mask=np.zeros((*values.shape[:-2], 1, values.shape[-1]), dtype=bool),
        inputs=None if inputs is None else np.zeros((*inputs.shape[:-2], 1, inputs.shape[-1])),
    )


def _rows_of(values: Array, index: Array, like: Array) -> Array:
    """Rows `index` of `values` (..., time, core), zeros (or False) where the index is -1."""
    if not isinstance(values, np.ndarray):
        index = asarray_like(index, values)
    elif not isinstance(index, np.ndarray):
        values = asarray_like(values, like)
    xp = array_namespace(values, index)
    rows = take_rows(values, xp.where(index >= 0, index, 0), num_core=1)
    return xp.where((index >= 0)[..., None], rows, xp.zeros_like(rows))


def _check_order(times: Array, gaps: Array) -> None:
    host = concrete(gaps)
    if host is None or (host[..., 1:] >= 0).all():
        return
    *lead, row = (int(i) for i in np.argwhere(~(host[..., 1:] >= 0))[0])
    line = np.asarray(concrete(times))[tuple(lead)]
    series = f" of series {lead[-1]}" if lead else ""
    raise ArgumentError(
        f"`times` must not decrease within a series; row {row + 1}{series} has {line[row + 1]!s} after {line[row]!s}. "
        "Sort the rows of each series by time."
    )
