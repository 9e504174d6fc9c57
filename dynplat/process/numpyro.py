"""Processes as NumPyro distributions: events (time, channel), exact `log_prob` with missing cells.

    numpyro.sample("y", dynplat.process.numpyro.LinearGaussian(F, Q, H, R, m0, P0, mask=jnp.isfinite(y)), obs=y)

Missing cells are named by `mask` (True = observed): they contribute exactly 0, and the value may hold anything there,
NaN too. Inside a trace (as in NUTS) a law that has no density at the value gives NaN, because no error can depend on
numbers there; called with numbers, `log_prob` raises `NoDensityError` with series and row. A mask given as a NumPy
array stays known inside a trace, so that series with one pattern of holes share their covariances there too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions import Distribution, constraints

from dynplat.arrays import Random, common_type
from dynplat.process import events
from dynplat.process.base import AbstractProcess
from dynplat.process.filtering import Parameters
from dynplat.process.linear_gaussian import LinearGaussian as LinearGaussianProcess


class ProcessDistribution(Distribution):
    """Any process on JAX arrays as a distribution.

    The batch shape is that of the process (its `batch_shape`, where it has one) and of times, mask and inputs,
    broadcast; the event shape is (time, channel).

    Args:
        process: The process; it must offer `log_prob` to be observed and `sample` to be drawn.
        times: Times, (..., time).
        mask: True = observed, (..., time, channel); None = everything is observed.
        inputs: Known inputs, (..., time, input), or None.
        marks: A code per row, (..., time), or None.
        num_channels: Number of channels, where neither the process nor the mask tells it.
        validate_args: As everywhere in NumPyro.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 - NumPyro reads it from the class
    support: Any = constraints.independent(constraints.real, 2)
    pytree_data_fields = ("process", "times", "observed", "inputs", "marks")

    def __init__(
        self,
        process: AbstractProcess,
        times: jax.Array,
        mask: jax.Array | None = None,
        inputs: jax.Array | None = None,
        marks: jax.Array | None = None,
        *,
        num_channels: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.process = process
        self._set(times, mask, inputs, marks, num_channels, validate_args)

    def _set(self, times: Any, mask: Any, inputs: Any, marks: Any, num_channels: Any, validate_args: Any) -> None:
        self.times = times
        self.observed = mask
        self.inputs = inputs
        self.marks = marks
        batch = events.batch_shape(self.process, times, mask, inputs)
        event = events.event_shape(self.process, times, mask, inputs, num_channels)
        super().__init__(batch, event, validate_args=validate_args)

    def log_prob_steps(self, value: jax.Array) -> jax.Array:
        """Terms log p(y_t | y_<t), (..., time)."""
        if self._validate_args:
            events.check_event(value, self.event_shape, self.observed)
        steps = self.process.log_prob_steps(events.observed(value, self.times, self.observed, self.inputs, self.marks))
        lead = jnp.broadcast_shapes(self.batch_shape, value.shape[:-2])
        return jnp.broadcast_to(steps, (*lead, steps.shape[-1]))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Log density of the observed cells of `value`, (sample shape, batch shape)."""
        return jnp.sum(self.log_prob_steps(value), axis=-1)

    def sample(self, key: jax.Array, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draw, (sample shape, batch shape, time, channel); differentiable where the process's draws are."""
        shape = (*sample_shape, *self.batch_shape)
        times = jnp.broadcast_to(self.times, (*shape, self.times.shape[-1]))
        # Times tell the precision of a process that does not tell its own.
        like = getattr(self.process, "like", None)
        dtype = (times if like is None else like).dtype
        state = {"key": key}

        def fresh() -> jax.Array:
            state["key"], new = jax.random.split(state["key"])
            return new

        random = Random(
            normal=lambda size: jax.random.normal(fresh(), tuple(size), dtype=dtype),
            uniform=lambda size: jax.random.uniform(fresh(), tuple(size), dtype=dtype),
        )
        return self.process.sample(times, random=random, inputs=self.inputs).values


class LinearGaussian(ProcessDistribution):
    """A linear-Gaussian chain as a distribution (parameters as for `dynplat.process.LinearGaussian`).

    Args:
        F: Transitions, (..., T or 1, n, n): batch axes stand in front of the time axis.
        Q: Transition noise covariances.
        H: Observation matrices.
        R: Observation noise covariances.
        m0: Mean of the state at the first row.
        P0: Covariance of the state at the first row.
        c: Transition offsets, or None.
        d: Observation offsets, or None.
        B: Effect of the inputs on the state, or None.
        D: Effect of the inputs on the observation, or None.
        diffuse: Directions with a flat start, or None; such a chain cannot be drawn from.
        driver: Driver of the scan.
        times: Times, (..., time), or None for 0, 1, 2, ...
        mask: True = observed, (..., time, channel), or None.
        inputs: Known inputs, (..., time, input), or None.
        num_steps: Number of rows of an event, where no array tells it.
        validate_args: As everywhere in NumPyro.
    """

    pytree_data_fields = ("parameters", "times", "observed", "inputs", "marks")
    pytree_aux_fields = ("driver",)

    def __init__(
        self,
        F: jax.Array,
        Q: jax.Array,
        H: jax.Array,
        R: jax.Array,
        m0: jax.Array,
        P0: jax.Array,
        c: jax.Array | None = None,
        d: jax.Array | None = None,
        *,
        B: jax.Array | None = None,
        D: jax.Array | None = None,
        diffuse: jax.Array | None = None,
        driver: str = "auto",
        times: jax.Array | None = None,
        mask: jax.Array | None = None,
        inputs: jax.Array | None = None,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.parameters = Parameters(*common_type(F, Q, H, R, m0, P0, c, d, B, D, diffuse))
        self.driver = driver
        process = self.process
        if times is None:
            size = num_steps or events.count_rows(process.num_steps, mask=(mask, -2), inputs=(inputs, -2))
            times = jnp.arange(size, dtype=process.like.dtype)
        self._set(times, mask, inputs, None, None, validate_args)

    @property
    def process(self) -> LinearGaussianProcess:  # type: ignore[override]
        """The chain."""
        F, Q, H, R, m0, P0, c, d, B, D, diffuse = self.parameters
        return LinearGaussianProcess(F, Q, H, R, m0, P0, c, d, B=B, D=D, diffuse=diffuse, driver=self.driver)
