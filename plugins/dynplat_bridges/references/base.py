r"""What a reference is: the law of a particle that a bridge stays as close to as the snapshots allow.

.. math:: dX = b(X, t; \theta)\,dt + \operatorname{diag}(\sigma)\,dW, \qquad dW \text{ of unit intensity.}

A bridge moves particles by another drift and the same noise: two laws with different :math:`\sigma` have no finite
Kullback-Leibler divergence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from dynplat.arrays import Array, array_namespace, asarray_like
from dynplat.errors import ArgumentError, DataError
from dynplat.process.dynamics import Dense

if TYPE_CHECKING:
    from dynplat.model import Context


class LinearTransition(NamedTuple):
    """The law x(t + h) | x(t) ~ N(F x(t) + c, Q) of a linear reference over gaps h.

    Attributes:
        F: Transition matrices, (..., gap, channel, channel), (new, old).
        c: Offsets, (..., gap, channel).
        Q: Covariances, (..., gap, channel, channel).
    """

    F: Array
    c: Array
    Q: Array


@dataclass(frozen=True, kw_only=True)
class AbstractReference(ABC):
    """A reference process. Subclasses are frozen dataclasses of options.

    An option with the name of a parameter fixes that parameter; None leaves it to be fitted.

    Attributes:
        num_channels: Number of channels that the reference speaks of, or None for any.
        positive: Names of the parameters that must be positive.
        linear: Names of parameters in which the drift is linear together, given the others: a fit starts from their
            closed form, and ends there where they are all.
        fitted_by: How parameters are fitted to increments of paths: `least-squares`, or `adam` for networks.

    Args:
        diffusion: Noise sigma per square root of time, a positive number or one per channel; None: to be fitted.

    Raises:
        ArgumentError: The diffusion is not positive, or a parameter that must be is not.
    """

    num_channels: ClassVar[int | None] = None
    positive: ClassVar[tuple[str, ...]] = ()
    linear: ClassVar[tuple[str, ...]] = ()
    fitted_by: ClassVar[str] = "least-squares"

    diffusion: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no law has."""
        for name in ("diffusion", *self.positive):
            given = getattr(self, name, None)
            if given is None:
                continue
            numbers = np.asarray(given, dtype=np.float64)
            if not (np.isfinite(numbers).all() and (numbers > 0).all()):
                raise ArgumentError(
                    f"`{name}` of {type(self).__name__} must be positive; got {given}. Leave it out to have it fitted."
                )

    @abstractmethod
    def parameters(self, num_channels: int) -> dict[str, tuple[int, ...]]:
        """Core shapes of all parameters of the drift, by name; those that options fix are among them."""

    @abstractmethod
    def start(self, context: Context) -> dict[str, np.ndarray]:
        """Values of all parameters of the drift from which a fit starts, those that options fix at their value."""

    @abstractmethod
    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The drift b(x, t), (..., particle, channel). Pure; leading axes broadcast.

        Args:
            x: Places, (..., particle, channel).
            t: Times, a number or (..., particle).
            parameters: All parameters, (..., core dimensions).
        """

    def units(self, context: Context) -> dict[str, np.ndarray]:
        """Sizes by which parameters of the drift are measured in a fit; 1 unless a reference knows better."""
        return {name: np.ones(shape) for name, shape in self.parameters(len(context.channels)).items()}

    def free(self, num_channels: int) -> tuple[str, ...]:
        """Names of the parameters of the drift that are to be fitted."""
        return tuple(name for name in self.parameters(num_channels) if getattr(self, name, None) is None)

    def check_channels(self, channels: tuple[str, ...]) -> None:
        """Refuse data with another number of channels.

        Raises:
            DataError: The reference speaks of another number of channels.
            ArgumentError: An option has another number of entries.
        """
        if self.num_channels is not None and len(channels) != self.num_channels:
            raise DataError(
                f"the reference {type(self).__name__} has {self.num_channels} channels; the data have {len(channels)} "
                f"({', '.join(channels)}).",
                hint="Select channels, or take another reference.",
            )
        self.known_diffusion(len(channels))

    def known_diffusion(self, num_channels: int) -> np.ndarray | None:
        """The diffusion that the option gives, (channel,), or None where it is to be fitted."""
        return None if self.diffusion is None else per_channel("diffusion", self.diffusion, num_channels)

    def start_diffusion(self, context: Context) -> np.ndarray:
        """Diffusion from which a fit starts, (channel,): the known one, or what crosses the data once in their span."""
        known = self.known_diffusion(len(context.channels))
        return context["scale"] / np.sqrt(context["span"]) if known is None else known


@dataclass(frozen=True, kw_only=True)
class AbstractLinearReference(AbstractReference):
    r"""A reference with the drift :math:`b(x) = A x + b`, whose transitions are Gaussian and exact over any gap."""

    @abstractmethod
    def matrices(self, parameters: Mapping[str, Array], like: Array) -> tuple[Array, Array]:
        """A (..., channel, channel) and b (..., channel).

        Args:
            parameters: All parameters, (..., core dimensions).
            like: An array (..., channel) of the framework, dtype and device of the answer.
        """

    def drift(self, x: Array, t: Array | float, parameters: Mapping[str, Array]) -> Array:
        """The drift A x + b, (..., particle, channel)."""
        A, b = self.matrices(parameters, x[..., 0, :])
        return x @ array_namespace(x).matrix_transpose(A) + b[..., None, :]

    def transition(self, gaps: Array, parameters: Mapping[str, Array], diffusion: Array) -> LinearTransition:
        """Discretise exactly over every gap.

        Args:
            gaps: Lengths of time, (gap,), at least 0.
            parameters: All parameters, (..., core dimensions).
            diffusion: Diffusion, (..., channel).
        """
        xp = array_namespace(diffusion)
        A, b = self.matrices(parameters, diffusion)
        L = diffusion[..., :, None] * asarray_like(np.eye(diffusion.shape[-1]), diffusion)
        F, c, Q = Dense(A, L, b).transition(asarray_like(np.asarray(gaps, dtype=np.float64), diffusion))
        return LinearTransition(F, xp.zeros_like(F[..., 0]) if c is None else c, Q)


def per_channel(name: str, value: Any, num_channels: int) -> np.ndarray:
    """A number for each channel, (channel,), from one number or one per channel.

    Raises:
        ArgumentError: There are neither one nor as many numbers as channels.
    """
    numbers = np.asarray(value, dtype=np.float64)
    if numbers.shape not in ((), (1,), (num_channels,)):
        raise ArgumentError(
            f"`{name}` must be one number, or one for each of {num_channels} channels; got shape {numbers.shape}."
        )
    return np.broadcast_to(numbers, (num_channels,)).copy()
