"""Processes as Pyro distributions: events (time, channel), exact `log_prob` with missing cells, reparameterised draws.

    pyro.sample("y", dynplat.process.pyro.LinearGaussian(F, Q, H, R, m0, P0, mask=y.isfinite()), obs=y)

Missing cells are named by `mask` (True = observed): they contribute exactly 0, and the value may hold anything there,
NaN too. A value that is not finite in an observed cell is an error when Pyro's validation is on.

While it adapts its step, NUTS looks at parameters so extreme that the law has no density in float64, which the
distributions refuse with `NoDensityError`. Importing this module tells Pyro's integrator to count that refusal as a
divergence, as it does with singular matrices.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from pyro.ops.integrator import register_exception_handler
from torch.distributions import constraints

from dynplat.arrays import Random, common_type
from dynplat.errors import NoDensityError
from dynplat.process import events
from dynplat.process.base import AbstractProcess
from dynplat.process.dynamics import AbstractLinearDynamics
from dynplat.process.emissions import AbstractEmission
from dynplat.process.hidden_markov import HiddenMarkov as HiddenMarkovProcess
from dynplat.process.linear_gaussian import LinearGaussian as LinearGaussianProcess
from dynplat.process.linear_sde import LinearSDE as LinearSDEProcess

# A module that is loaded again registers again, which is no reason for Pyro's warning.
register_exception_handler(
    "dynplat: no density", lambda error: isinstance(error, NoDensityError), warn_on_overwrite=False
)


class ProcessDistribution(TorchDistribution):
    """Any process on torch arrays as a distribution.

    The batch shape is that of the process (its `batch_shape`, where it has one) and of times, mask and inputs,
    broadcast; the event shape is (time, channel).

    Args:
        process: The process; it must offer `log_prob` to be observed and `sample` to be drawn.
        times: Times, (..., time).
        mask: True = observed, (..., time, channel); None = everything is observed.
        inputs: Known inputs, (..., time, input), or None.
        marks: A code per row, (..., time), or None.
        num_channels: Number of channels, where neither the process nor the mask tells it.
        has_rsample: Whether draws are differentiable in the parameters of the process.
        validate_args: As everywhere in Pyro.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 - torch reads it from the class
    support: Any = constraints.independent(constraints.real, 2)
    has_rsample = False

    def __init__(
        self,
        process: AbstractProcess,
        times: torch.Tensor,
        mask: torch.Tensor | None = None,
        inputs: torch.Tensor | None = None,
        marks: torch.Tensor | None = None,
        *,
        num_channels: int | None = None,
        has_rsample: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        self.process = process
        self.times = times
        self.observed = mask
        self.inputs = inputs
        self.marks = marks
        self.has_rsample = has_rsample
        batch = events.batch_shape(process, times, mask, inputs)
        event = events.event_shape(process, times, mask, inputs, num_channels)
        super().__init__(torch.Size(batch), torch.Size(event), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ProcessDistribution:
        """Return the distribution repeated to a larger batch shape."""
        batch_shape = torch.Size(batch_shape)
        if torch.broadcast_shapes(batch_shape, self.batch_shape) != batch_shape:
            raise ValueError(f"a batch of shape {tuple(self.batch_shape)} cannot be expanded to {tuple(batch_shape)}.")
        new = copy.copy(self)
        new._batch_shape = batch_shape
        return new

    def log_prob_steps(self, value: torch.Tensor) -> torch.Tensor:
        """Terms log p(y_t | y_<t), (..., time)."""
        if self._validate_args:
            events.check_event(value, tuple(self.event_shape), self.observed)
        steps = self.process.log_prob_steps(events.observed(value, self.times, self.observed, self.inputs, self.marks))
        lead = value.shape[:-2]
        if lead != self.batch_shape:
            lead = torch.broadcast_shapes(self.batch_shape, lead)
        return steps.expand((*lead, steps.shape[-1]))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of the observed cells of `value`, (sample shape, batch shape).

        Raises:
            NoDensityError: The process has no density at the value.
        """
        return self.log_prob_steps(value).sum(-1)

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        """Draw from torch's global generator, (sample shape, batch shape, time, channel)."""
        with torch.no_grad():
            return self._draw(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        """Draw, differentiable in the parameters."""
        if not self.has_rsample:
            raise NotImplementedError(f"draws of {type(self.process).__name__} are not differentiable")
        return self._draw(sample_shape)

    def _draw(self, sample_shape: Any) -> torch.Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        times = self.times.expand((*shape, self.times.shape[-1]))
        # Times tell the precision of a process that does not tell its own.
        like = getattr(self.process, "like", None)
        like = times if like is None else like
        options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        random = Random(
            normal=lambda size: torch.randn(tuple(size), **options),
            uniform=lambda size: torch.rand(tuple(size), **options),
            poisson=lambda rates: torch.poisson(rates.detach()),
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
        validate_args: As everywhere in Pyro.
    """

    def __init__(
        self,
        F: torch.Tensor,
        Q: torch.Tensor,
        H: torch.Tensor,
        R: torch.Tensor,
        m0: torch.Tensor,
        P0: torch.Tensor,
        c: torch.Tensor | None = None,
        d: torch.Tensor | None = None,
        *,
        B: torch.Tensor | None = None,
        D: torch.Tensor | None = None,
        diffuse: torch.Tensor | None = None,
        driver: str = "auto",
        steady_state: bool = True,
        times: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        inputs: torch.Tensor | None = None,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        F, Q, H, R, m0, P0, c, d, B, D, diffuse = common_type(F, Q, H, R, m0, P0, c, d, B, D, diffuse)
        process = LinearGaussianProcess(
            F, Q, H, R, m0, P0, c, d, B=B, D=D, diffuse=diffuse, driver=driver, steady_state=steady_state
        )
        if times is None:
            size = num_steps or events.count_rows(process.num_steps, mask=(mask, -2), inputs=(inputs, -2))
            times = torch.arange(size, dtype=F.dtype, device=F.device)
        super().__init__(process, times, mask, inputs, has_rsample=True, validate_args=validate_args)


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
        validate_args: As everywhere in Pyro.
    """

    def __init__(
        self,
        log_initial: torch.Tensor,
        log_transition: torch.Tensor,
        emission: AbstractEmission,
        *,
        driver: str = "auto",
        times: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        num_steps: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        process = HiddenMarkovProcess(log_initial, log_transition, emission, driver=driver)
        if times is None:
            size = num_steps or events.count_rows(process.num_steps, mask=(mask, -2))
            times = torch.arange(size, dtype=process.like.dtype, device=process.like.device)
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
        times: Times, (..., time), non-decreasing, a tensor or NumPy array in float64.
        mask: True = observed, (..., time, channel), or None.
        inputs: Known inputs, (..., time, input), or None.
        validate_args: As everywhere in Pyro.
    """

    def __init__(
        self,
        dynamics: AbstractLinearDynamics,
        H: torch.Tensor,
        R: torch.Tensor,
        m0: torch.Tensor | None = None,
        P0: torch.Tensor | None = None,
        d: torch.Tensor | None = None,
        *,
        times: torch.Tensor,
        D: torch.Tensor | None = None,
        diffuse: torch.Tensor | None = None,
        driver: str = "auto",
        steady_state: bool = True,
        mask: torch.Tensor | None = None,
        inputs: torch.Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        process = LinearSDEProcess(
            dynamics, torch.as_tensor(H), R, m0, P0, d, D=D, diffuse=diffuse, driver=driver, steady_state=steady_state
        )
        super().__init__(process, torch.as_tensor(times), mask, inputs, has_rsample=True, validate_args=validate_args)
