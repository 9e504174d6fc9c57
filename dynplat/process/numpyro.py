"""Processes as NumPyro distributions: events (time, channel), exact `log_prob` with missing cells.

    numpyro.sample("y", dynplat.process.numpyro.LinearGaussian(F, Q, H, R, m0, P0, mask=jnp.isfinite(y)), obs=y)

Missing cells are named by `mask` (True = observed): they contribute exactly 0, and the value may hold anything there,
NaN too. Inside a trace (as in NUTS) a law that has no density at the value gives NaN, because no error can depend on
numbers there; called with numbers, `log_prob` raises `NoDensityError` with series and row. A mask given as a NumPy
array stays known inside a trace, so that series with one pattern of holes share their covariances there too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution, constraints

from dynplat.arrays import Random, common_type
from dynplat.process import dynamics, emissions, events
from dynplat.process.base import AbstractProcess
from dynplat.process.dynamics import AbstractLinearDynamics
from dynplat.process.emissions import AbstractEmission
from dynplat.process.hidden_markov import HiddenMarkov as HiddenMarkovProcess
from dynplat.process.linear_gaussian import LinearGaussian as LinearGaussianProcess
from dynplat.process.linear_sde import LinearSDE as LinearSDEProcess


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
        self.times = times
        self.observed = mask
        self.inputs = inputs
        self.marks = marks
        batch = events.batch_shape(process, times, mask, inputs)
        event = events.event_shape(process, times, mask, inputs, num_channels)
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
        # Times that NumPy holds stay known numbers inside a trace.
        spread = np.broadcast_to if isinstance(self.times, np.ndarray) else jnp.broadcast_to
        times = spread(self.times, (*shape, self.times.shape[-1]))
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
            poisson=lambda rates: jax.random.poisson(fresh(), rates).astype(dtype),
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
        steady_state: Whether the compiled driver may let converged covariances stand still.
        times: Times, (..., time), or None for 0, 1, 2, ...
        mask: True = observed, (..., time, channel), or None.
        inputs: Known inputs, (..., time, input), or None.
        num_steps: Number of rows of an event, where no array tells it.
        validate_args: As everywhere in NumPyro.
    """

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
        steady_state: bool = True,
        times: jax.Array | None = None,
        mask: jax.Array | None = None,
        inputs: jax.Array | None = None,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        F, Q, H, R, m0, P0, c, d, B, D, diffuse = common_type(F, Q, H, R, m0, P0, c, d, B, D, diffuse)
        process = LinearGaussianProcess(
            F, Q, H, R, m0, P0, c, d, B=B, D=D, diffuse=diffuse, driver=driver, steady_state=steady_state
        )
        if times is None:
            size = num_steps or events.count_rows(process.num_steps, mask=(mask, -2), inputs=(inputs, -2))
            times = jnp.arange(size, dtype=process.like.dtype)
        super().__init__(process, times, mask, inputs, validate_args=validate_args)


class HiddenMarkov(ProcessDistribution):
    """A hidden Markov chain as a distribution (parameters as for `dynplat.process.HiddenMarkov`).

    Observations that are impossible have log density -inf. Draws are not differentiable.

    Args:
        log_initial: Log-probabilities of the state at the first row, (..., K).
        log_transition: Log-probabilities of transitions, (..., T or 1, K, K), (old, new): batch axes stand in front of
            the time axis.
        emission: What the states emit, of `dynplat.process`.
        driver: Driver of the scan.
        times: Times, (..., time), or None for 0, 1, 2, ...
        mask: True = observed, (..., time, channel), or None.
        num_steps: Number of rows of an event, where no array tells it.
        validate_args: As everywhere in NumPyro.
    """

    def __init__(
        self,
        log_initial: jax.Array,
        log_transition: jax.Array,
        emission: AbstractEmission,
        *,
        driver: str = "auto",
        times: jax.Array | None = None,
        mask: jax.Array | None = None,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        process = HiddenMarkovProcess(log_initial, log_transition, emission, driver=driver)
        if times is None:
            size = num_steps or events.count_rows(process.num_steps, mask=(mask, -2))
            times = jnp.arange(size, dtype=process.like.dtype)
        super().__init__(process, times, mask, validate_args=validate_args)


class LinearSDE(ProcessDistribution):
    """A linear SDE observed at any times as a distribution (parameters as for `dynplat.process.LinearSDE`).

    Args:
        dynamics: Dynamics of the state, of `dynplat.process.dynamics`.
        H: Observation matrix, (..., channel, n).
        R: Observation noise covariance, (..., channel, channel).
        m0: Mean of the state at the first row, or None for the stationary law.
        P0: Covariance of the state at the first row, or None for the stationary law.
        d: Observation offset, or None.
        D: Effect of the inputs on the observation, or None.
        diffuse: Directions with a flat start, or None; such a process cannot be drawn from.
        driver: Driver of the scan.
        steady_state: Whether the compiled driver may let converged covariances stand still.
        times: Times, (..., time), non-decreasing. NumPy constants keep their gaps in float64 whatever the precision of
            the parameters, and equal gaps are discretised once.
        mask: True = observed, (..., time, channel), or None.
        inputs: Known inputs, (..., time, input), or None.
        validate_args: As everywhere in NumPyro.
    """

    def __init__(
        self,
        dynamics: AbstractLinearDynamics,
        H: jax.Array,
        R: jax.Array,
        m0: jax.Array | None = None,
        P0: jax.Array | None = None,
        d: jax.Array | None = None,
        *,
        times: jax.Array,
        D: jax.Array | None = None,
        diffuse: jax.Array | None = None,
        driver: str = "auto",
        steady_state: bool = True,
        mask: jax.Array | None = None,
        inputs: jax.Array | None = None,
        validate_args: bool | None = None,
    ) -> None:
        process = LinearSDEProcess(
            dynamics, jnp.asarray(H), R, m0, P0, d, D=D, diffuse=diffuse, driver=driver, steady_state=steady_state
        )
        super().__init__(process, times, mask, inputs, validate_args=validate_args)


def _register(cls: type, data: tuple[str, ...], static: tuple[str, ...]) -> None:
    """Let JAX see the arrays inside a class, so that a distribution made of it may cross `jit`, `vmap` and `scan`."""

    def flatten(instance: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(instance, name) for name in data), tuple(getattr(instance, name) for name in static)

    def unflatten(values: tuple[Any, ...], arrays: tuple[Any, ...]) -> Any:
        instance = object.__new__(cls)  # without `__init__`, because JAX also puts placeholders where arrays were
        for name, value in (*zip(data, arrays, strict=True), *zip(static, values, strict=True)):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)


_register(LinearGaussianProcess, ("parameters",), ("driver", "steady_state", "batch_shape", "num_steps"))
_register(
    LinearSDEProcess,
    ("dynamics", "H", "R", "m0", "P0", "d", "D", "diffuse"),
    ("is_stationary", "share_gaps", "driver", "steady_state"),
)
_register(
    HiddenMarkovProcess,
    ("log_initial", "log_transition", "emission"),
    ("driver", "normalised", "batch_shape", "num_steps"),
)
_SIZES = ("batch_shape", "num_states", "num_channels", "num_steps")
_register(emissions.GaussianEmission, ("means", "scales"), _SIZES)
_register(emissions.MultivariateGaussianEmission, ("means", "covs"), _SIZES)
_register(emissions.StudentTEmission, ("degrees", "locations", "scales"), _SIZES)
_register(emissions.PoissonEmission, ("rates",), _SIZES)
_register(emissions.CategoricalEmission, ("log_probs",), (*_SIZES, "num_codes"))
_register(dynamics.Stack, ("components",), ("state_dim", "num_inputs"))
for _name in set(dynamics.__all__) - {"AbstractLinearDynamics", "Stack"}:
    # Parameters may be of any type and are annotated so; what is a plain number is an option.
    _fields = dataclasses.fields(getattr(dynamics, _name))
    _register(
        getattr(dynamics, _name),
        tuple(field.name for field in _fields if field.type == "Any"),
        tuple(field.name for field in _fields if field.type != "Any"),
    )
