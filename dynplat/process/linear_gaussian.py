r"""Linear-Gaussian chains: exact likelihood, filter, smoother, joint posterior draws and prediction.

.. math::
    x_t = F_t x_{t-1} + c_t + B_t u_{t-1} + N(0, Q_t), \qquad y_t = H_t x_t + d_t + D_t u_t + N(0, R_t), \qquad
    x_0 \sim N(m_0, P_0)

in column convention, `F @ x`. The law of the state at the *first row* is N(m0, P0): `F`, `c`, `Q` of the first row are
not used. The input of a row holds from it until the next row, so the transition into row t reads the input of row t - 1.

Shapes: one rule. `F, Q, H, R, c, d, B, D` always carry a time axis before their core dimensions; its length is T, or 1
for what does not change with time: `F (..., series or 1, T or 1, n, n)`. `m0 (..., series or 1, n)`,
`P0 (..., series or 1, n, n)` and `diffuse (..., series or 1, n, q)` carry none. Leading axes broadcast and may be
absent. `LinearGaussian.time_invariant` takes everything without the time axis.
"""

from __future__ import annotations

from typing import NamedTuple

from dynplat.arrays import Array, Observations, Random
from dynplat.process.base import AbstractConditional, AbstractProcess, Draw
from dynplat.process.gaussian_predictive import GaussianPredictive


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
    """A linear-Gaussian chain (see the module for its law and shapes).

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
        diffuse: Directions in which the state at the first row has a flat law, (..., series or 1, n, q), or None.
        driver: `sequential`, `balanced`, or `auto`: chosen by framework, device and length.
    """

    batch_shape: tuple[int, ...]
    num_states: int
    num_channels: int

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
    ) -> None: ...

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
    ) -> LinearGaussian:
        """Build a time-invariant chain from arrays without a time axis: `F (..., series or 1, n, n)` and so on."""
        ...

    def log_prob_steps(self, observations: Observations) -> Array:
        """Terms log p(y_t | y_<t), (..., series, time)."""
        ...

    def filter(self, observations: Observations) -> Filtered:
        """Predicted and filtered moments."""
        ...

    def smooth(self, observations: Observations) -> Smoothed:
        """Smoothed moments and lag-one cross covariances."""
        ...

    def draw_states(self, observations: Observations, num_draws: int, random: Random) -> Array:
        """Joint draws of all states given the observations, (num_draws, ..., series, time, n)."""
        ...

    def predictive(self, observations: Observations, rows: Array) -> GaussianPredictive:
        """The law, given the observations, at rows of the chain: `rows` are integers, (..., series, query).

        A process in continuous time builds a chain on the union of observed and query times (query rows have mask
        False) and asks here for the rows of its query times. Everything is computed on first use and kept.
        """
        ...

    def sample(self, times: Array, *, random: Random, inputs: Array | None = None) -> Draw:
        """Draw one trajectory for each leading index of parameters and times; of `times` only the shape is read."""
        ...

    def condition(self, observations: Observations) -> AbstractConditional:
        """Return the law given `observations`, to be asked at rows of the chain, or (time-invariant) at later steps."""
        ...
