r"""Linear-Gaussian chains: exact likelihood, filter, smoother, joint posterior draws and prediction.

.. math::
    x_t = F_t x_{t-1} + c_t + B_t u_{t-1} + N(0, Q_t), \qquad y_t = H_t x_t + d_t + D_t u_t + N(0, R_t), \qquad
    x_0 \sim N(m_0, P_0)

in column convention, `F @ x`. The law of the state at the *first row* is N(m0, P0): `F`, `c`, `B`, `Q` of the first row
are not used. The input of a row holds from it until the next row, so the transition into row t reads the input of row
t - 1.

Shapes: one rule. `F, Q, H, R, c, d, B, D` always carry a time axis before their core dimensions; its length is T, or 1
for what does not change with time: `F (..., series or 1, T or 1, n, n)`. `m0 (..., series or 1, n)`,
`P0 (..., series or 1, n, n)` and `diffuse (..., series or 1, n, q)` carry none. Leading axes broadcast and may be
absent. `LinearGaussian.time_invariant` takes everything without the time axis.

Singular Q, R and P0 are ordinary inputs. A law that has no density at the observations (an innovation covariance that
is singular to rounding) raises `NoDensityError` with series and row; inside a JAX trace, where no error can depend on
numbers, its terms are NaN.

Sources: Kalman (1960); Rauch, Tung and Striebel (1965); Särkkä and García-Fernández (2021); Durbin and Koopman (2012).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from dynplat.arrays import Array, Observations, Random, array_namespace, asarray_like, common_type, compiled, concrete
from dynplat.errors import ArgumentError, CapabilityError
from dynplat.process import filtering, smoothing
from dynplat.process.base import AbstractConditional, AbstractProcess, Draw
from dynplat.process.chain_checks import (
    check_density,
    check_observations,
    check_parameters,
    check_resolved,
    shared_mask,
    shared_rows,
)
from dynplat.process.chain_layout import Parameters, observation_offset
from dynplat.process.filtering import FilterRun
from dynplat.process.gaussian_predictive import GaussianPredictive, draw_noise
from dynplat.process.smoothing import SmootherRun
from dynplat.scan import check_driver, runs_compiled
from dynplat.scan.drivers import runs_triton_by_series

if TYPE_CHECKING:
    from dynplat.process.kalman import KalmanLayout
    from dynplat.process.kalman_passes import CompiledFilter, CompiledMoments, CompiledSmoother


class Filtered(NamedTuple):
    """Moments of a filter.

    Attributes:
        predicted_means: E[x_t | y_<t], (..., series, time, n).
        predicted_covs: Cov[x_t | y_<t], (..., series, time, n, n).
        means: E[x_t | y_<=t], (..., series, time, n).
        covs: Cov[x_t | y_<=t], (..., series, time, n, n).
        log_prob_steps: log p(y_t | y_<t), (..., series, time).
    """

    predicted_means: Array
    predicted_covs: Array
    means: Array
    covs: Array
    log_prob_steps: Array


class Smoothed(NamedTuple):
    """Moments of a smoother.

    Attributes:
        means: E[x_t | y], (..., series, time, n).
        covs: Cov[x_t | y], (..., series, time, n, n).
        cross_covs: Cov[x_t, x_{t+1} | y], (..., series, time - 1, n, n).
    """

    means: Array
    covs: Array
    cross_covs: Array


class LinearGaussian(AbstractProcess):
    r"""A linear-Gaussian chain (see the module for its law and shapes).

    With `diffuse`, the state at the first row is m0 + A delta + N(0, P0) with delta flat: `log_prob` is the log of the
    integral of p(y | delta) over delta, the limit of log p(y) + (q/2) log(2 pi kappa) for delta ~ N(0, kappa I): the
    diffuse log-likelihood as Durbin and Koopman's tables print it. It depends on the scale of the columns of A by a
    constant. Such a chain cannot be simulated.

    `driver` says how time is scanned. `compiled` runs likelihood, filter, smoother and draws in kernels on the CPU that
    bring their own adjoints; once the covariances of a chain that does not change in time have converged, it lets them
    stand still. For torch tensors on a GPU it runs the likelihood of many small chains (`dynplat.scan.drivers` has the
    bounds) in a kernel with a program for each series.
    `balanced` solves with products of elements; where those are ill-conditioned or do not exist (no noise at all
    between two exact observations) the sequential driver is run instead. The result never depends on the driver beyond
    rounding.

    Args:
        F: Transitions, (..., series or 1, T or 1, n, n).
        Q: Transition noise covariances, positive semi-definite, possibly singular or zero.
        H: Observation matrices, (..., series or 1, T or 1, p, n).
        R: Observation noise covariances, positive semi-definite.
        m0: Mean of the state at the first row, (..., series or 1, n).
        P0: Covariance of the state at the first row, (..., series or 1, n, n).
        c: Transition offsets, (..., series or 1, T or 1, n), or None for 0.
        d: Observation offsets, (..., series or 1, T or 1, p), or None for 0.
        B: Effect of the inputs on the state, (..., series or 1, T or 1, n, k), or None.
        D: Effect of the inputs on the observation, (..., series or 1, T or 1, p, k), or None.
        diffuse: Directions A in which the state at the first row has a flat law, linearly independent columns,
            (..., series or 1, n, q), or None.
        driver: `compiled`, `sequential`, `balanced`, or `auto`: chosen by framework, device and length.
        steady_state: Whether the compiled driver may let covariances stand still once they have converged to rounding;
            it changes the speed, and the result by less than 1e-12 of it in float64.

    Raises:
        ArgumentError: Shapes or frameworks do not fit together.
    """

    def __init__(
        self,
        F: Array,
        Q: Array,
        H: Array,
        R: Array,
        m0: Array,
        P0: Array,
        c: Array | None = None,
        d: Array | None = None,
        *,
        B: Array | None = None,
        D: Array | None = None,
        diffuse: Array | None = None,
        driver: str = "auto",
        steady_state: bool = True,
    ) -> None:
        self.parameters = Parameters(*common_type(F, Q, H, R, m0, P0, c, d, B, D, diffuse))
        self.driver = check_driver(driver)
        self.steady_state = steady_state
        self.batch_shape, self.num_steps = check_parameters(self.parameters)

    @classmethod
    def time_invariant(
        cls,
        F: Array,
        Q: Array,
        H: Array,
        R: Array,
        m0: Array,
        P0: Array,
        c: Array | None = None,
        d: Array | None = None,
        *,
        B: Array | None = None,
        D: Array | None = None,
        diffuse: Array | None = None,
        driver: str = "auto",
        steady_state: bool = True,
    ) -> LinearGaussian:
        """Build a time-invariant chain from arrays without a time axis: `F (..., series or 1, n, n)` and so on."""
        F, Q, H, R, m0, P0, c, d, B, D, diffuse = common_type(F, Q, H, R, m0, P0, c, d, B, D, diffuse)
        F, Q, H, R, B, D = (None if a is None else a[..., None, :, :] for a in (F, Q, H, R, B, D))
        c, d = (None if a is None else a[..., None, :] for a in (c, d))
        return cls(F, Q, H, R, m0, P0, c, d, B=B, D=D, diffuse=diffuse, driver=driver, steady_state=steady_state)

    @property
    def like(self) -> Array:
        """An array whose namespace, dtype and device are those of the chain."""
        return self.parameters.F

    @property
    def num_states(self) -> int:
        """Number of states, n."""
        return int(self.parameters.F.shape[-1])

    @property
    def num_channels(self) -> int:
        """Number of channels, p."""
        return int(self.parameters.H.shape[-2])

    def log_prob_steps(self, observations: Observations) -> Array:
        """Terms log p(y_t | y_<t), (..., series, time); a row with nothing observed gives exactly 0.

        Raises:
            NoDensityError: The law has no density at the observations.
            ArgumentError: Shapes do not fit.
        """
        arguments = self._arguments(observations)
        driver = self.driver
        if self._runs_triton(arguments[1]):
            from dynplat.process.kalman import run_triton_likelihood

            parameters, values, mask, inputs = arguments
            mask, lengths = shared_rows(mask)
            log_prob_steps, singular = run_triton_likelihood(parameters, values, mask, inputs, lengths)
            if not singular.any():
                return log_prob_steps
            driver = "sequential"  # says which cell has no density
        elif self._runs_compiled():
            from dynplat.process.kalman import run_compiled_likelihood
            from dynplat.scan.kernels.kalman_forward import OUTCOME, SINGULAR

            run = compiled(run_compiled_likelihood, self.parameters.F, "steady_state")
            parameters, values, mask, inputs = arguments
            mask, lengths = shared_rows(mask)
            log_prob_steps, status = run(parameters, values, mask, inputs, lengths, steady_state=self.steady_state)
            numbers = concrete(status)
            if numbers is None or not (numbers[:, OUTCOME] == SINGULAR).any():
                return log_prob_steps
            driver = "sequential"  # says which cell has no density
        run = compiled(filtering.run_likelihood, self.parameters.F, "driver")
        likelihood = run(*arguments, driver=driver)
        check_density(likelihood.singular, observations.times, self.parameters.F.dtype)
        return likelihood.log_prob_steps

    def filter(self, observations: Observations) -> Filtered:
        """Predicted and filtered moments (arguments and errors as for `log_prob_steps`).

        While a diffuse start is not resolved, the variances that it leaves free are infinite.
        """
        posterior = self.posterior(observations)
        if posterior.compiled is not None:
            return Filtered(*posterior.moments)
        run = posterior.filtered
        moments = compiled(filtering.filtered_moments, self.parameters.F)
        before = None if run.start is None else filtering.start_before(run.start)
        predicted_means, predicted_covs = moments(run.predicted, before)
        means, covs = moments(run.filtered, run.start)
        return Filtered(predicted_means, predicted_covs, means, covs, run.likelihood.log_prob_steps)

    def smooth(self, observations: Observations) -> Smoothed:
        """Smoothed moments and lag-one cross covariances (arguments and errors as for `log_prob_steps`).

        Raises:
            NoDensityError: Also when the observations leave a direction of a diffuse start undetermined.
        """
        run = self.posterior(observations).smoothed
        return Smoothed(run.means, run.covs, run.cross_covs)

    def draw_states(self, observations: Observations, num_draws: int, random: Random) -> Array:
        """Joint draws of all states given the observations, (num_draws, ..., series, time, n)."""
        return self.posterior(observations).draw_states(num_draws, random)

    def posterior(self, observations: Observations) -> ChainPosterior:
        """The states given the observations; each pass runs on first use and is kept."""
        return ChainPosterior(self, observations)

    def predictive(self, observations: Observations, rows: Array) -> GaussianPredictive:
        """The law, given the observations, at rows of the chain.

        A process in continuous time builds a chain on the union of observed and query times (query rows have mask
        False) and asks here for the rows of its query times.

        Args:
            observations: Observations at all rows of the chain.
            rows: Integer row numbers, (..., series or 1, query).
        """
        return self.posterior(observations).at_rows(rows)

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw one trajectory for each leading index of parameters and times; of `times` only the shape is read.

        Raises:
            CapabilityError: The start is diffuse.
        """
        if self.parameters.diffuse is not None:
            raise CapabilityError(
                "a chain with a `diffuse` start has no proper law to draw from. Give the first state a covariance `P0` "
                "in those directions instead."
            )
        like = self.parameters.F
        xp = array_namespace(like)
        inputs = None if inputs is None else asarray_like(inputs, like)
        size = int(times.shape[-1])
        lead = tuple(xp.broadcast_shapes(self.batch_shape, tuple(times.shape[:-1])))
        if inputs is not None:
            lead = tuple(xp.broadcast_shapes(lead, tuple(inputs.shape[:-2])))
        check_observations(self, (*lead, size, self.num_channels), inputs)
        noise = random.normal((*lead, size, self.num_states))
        simulate = compiled(smoothing.run_simulation, like, "driver")
        states = simulate(self.parameters, noise, inputs, driver=self.driver)
        H, R = self.parameters.H, self.parameters.R
        values = (H @ states[..., None])[..., 0]
        offset = observation_offset(self.parameters, inputs)
        values = values if offset is None else values + offset
        return Draw(values + draw_noise(R, tuple(values.shape), random), states)

    def condition(self, observations: Observations) -> AbstractConditional:
        """Return the law given `observations`, to be asked at rows of the chain, or (time-invariant) at later steps."""
        from dynplat.process.chain_conditional import ChainConditional

        return ChainConditional(self, observations)

    def _runs_triton(self, values: Array) -> bool:
        leads = self.batch_shape, tuple(values.shape[:-2])
        sizes = self.num_states, self.num_channels
        return self.parameters.diffuse is None and runs_triton_by_series(
            self.driver, self.parameters.F, "linear-Gaussian", sizes, leads
        )

    def _runs_compiled(self) -> bool:
        if self.parameters.diffuse is None:
            return runs_compiled(self.driver, self.parameters.F)
        if self.driver == "compiled":
            raise CapabilityError(
                "`driver='compiled'` knows no `diffuse` start. Use 'auto', 'sequential' or 'balanced'."
            )
        return False

    def _arguments(self, observations: Observations) -> tuple[Parameters, Array, Array | None, Array | None]:
        like = self.parameters.F
        values = asarray_like(observations.values, like)
        xp = array_namespace(like, values)
        if values.dtype != like.dtype:
            values = xp.astype(values, like.dtype)
        inputs = observations.inputs
        if inputs is not None:
            inputs = asarray_like(inputs, like)
            inputs = inputs if inputs.dtype == like.dtype else xp.astype(inputs, like.dtype)
        check_observations(self, tuple(values.shape), inputs)
        return self.parameters, values, shared_mask(observations.mask, values), inputs


class ChainPosterior:
    """The states of a chain given observations. Passes run on first use and are kept.

    Args:
        chain: The chain.
        observations: Observations at all its rows.
    """

    def __init__(self, chain: LinearGaussian, observations: Observations) -> None:
        self.chain = chain
        self.observations = observations
        self._call = chain._arguments(observations)

    @cached_property
    def compiled(self) -> CompiledFilter | None:
        """The filter pass of the kernel; None where it does not run or finds no density: the generic one says where."""
        if not self.chain._runs_compiled():
            return None
        from dynplat.process.kalman_passes import run_compiled_filter
        from dynplat.scan.kernels.kalman_forward import OUTCOME, SINGULAR

        run = compiled(run_compiled_filter, self.chain.parameters.F, "steady_state")
        found = run(*self._call, steady_state=self.chain.steady_state)
        numbers = concrete(found.status)
        return found if numbers is None or not (numbers[:, OUTCOME] == SINGULAR).any() else None

    @cached_property
    def _layout(self) -> KalmanLayout:
        from dynplat.process.kalman import kalman_layout

        return kalman_layout(*self._call)

    @cached_property
    def moments(self) -> CompiledMoments:
        """Moments before and after each update, of the kernel's filter pass."""
        from dynplat.process.kalman_passes import filter_moments

        return compiled(filter_moments, self.chain.parameters.F, "layout")(self.compiled, layout=self._layout)

    @cached_property
    def filtered(self) -> FilterRun:
        """The generic filter pass."""
        run = compiled(filtering.run_filter, self.chain.parameters.F, "driver")
        filtered = run(*self._call, driver=self.chain.driver)
        check_density(filtered.likelihood.singular, self.observations.times, self.chain.parameters.F.dtype)
        return filtered

    @cached_property
    def smoothed(self) -> SmootherRun | CompiledSmoother:
        """The smoother pass."""
        like = self.chain.parameters.F
        if self.compiled is not None:
            from dynplat.process.kalman_passes import run_compiled_smoother

            return compiled(run_compiled_smoother, like, "layout")(self.compiled, layout=self._layout)
        return self._generic_smoothed

    @cached_property
    def _generic_smoothed(self) -> SmootherRun:
        run = compiled(smoothing.run_smoother, self.chain.parameters.F, "driver")
        smoothed = run(self.filtered, driver=self.chain.driver)
        check_resolved(smoothed.improper)
        return smoothed

    def draw_states(self, num_draws: int, random: Random) -> Array:
        """Joint draws of all states, (num_draws, ..., series, time, n)."""
        if num_draws < 1:
            raise ArgumentError(f"`num_draws` must be at least 1; got {num_draws}.")
        if self.compiled is not None:
            from dynplat.process.kalman_passes import run_compiled_draws

            shape = (*self._layout.lead, int(self._call[1].shape[-2]), self.chain.num_states)
            noise = random.normal((num_draws, *shape))
            return compiled(run_compiled_draws, noise, "layout")(self.compiled, noise, layout=self._layout)
        smoothed = self._generic_smoothed
        noise = random.normal((num_draws, *smoothed.means.shape))
        start_noise = None
        if smoothed.start_mean is not None:
            start_noise = random.normal((num_draws, *smoothed.start_mean.shape))
        run = compiled(smoothing.run_draws, noise, "driver")
        return run(smoothed, noise, start_noise, driver=self.chain.driver)

    def at_rows(self, rows: Array) -> GaussianPredictive:
        """The law at rows of the chain, (..., series or 1, query)."""
        from dynplat.process.chain_conditional import predictive_at_rows

        return predictive_at_rows(self, rows)
