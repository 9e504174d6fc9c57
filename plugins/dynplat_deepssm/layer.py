"""What layers are: shapes and options in a frozen dataclass, weights in a dict, pure functions of both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_deepssm import executors
from dynplat_deepssm.executors import Rows
from dynplat_deepssm.transitions import Transition

#: Weights: arrays by name, in dicts of dicts for layers made of layers.
Parameters = Mapping[str, Any]


class AbstractLayer(ABC):
    """A map of sequences, (..., time, input) to (..., time, output), that carries a state.

    A layer holds shapes and options only. `init` makes its weights, real NumPy arrays (float64); every other method
    takes them as an argument, in any framework, so that a layer can be compiled, differentiated and moved to a device.
    Weights may have leading axes for draws, which broadcast with those of the data: (..., 1, *shape) beside
    (..., series, time, input).
    """

    #: Length of the last axis of what goes in, and of what comes out.
    num_inputs: int
    num_outputs: int
    #: Executors that run this layer, of `dynplat_deepssm.executors.MODES`.
    modes: frozenset[str]
    #: Whether the layer knows what a gap of time is, so that `dt` may be given.
    takes_gaps: bool
    #: Whether no output depends on a later row, so that the layer can run one row at a time.
    is_causal: bool = True

    def __post_init__(self) -> None:
        """Check the fields that are one of a few words."""
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ArgumentError(f"`{name}` must be one of {get_args(hint)}; got {getattr(self, name)!r}.")

    @abstractmethod
    def init(self, seed: Any) -> dict[str, Any]:
        """Draw weights; the same seed (an integer or a `numpy.random.SeedSequence`) gives the same ones."""

    @abstractmethod
    def initial(self, parameters: Parameters, u: Array) -> Any:
        """State before the first row, for inputs u (..., time, input): leading axes, dtype and device are theirs."""

    @abstractmethod
    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows of u (..., time, input); `dynplat_deepssm.executors.run` checks the arguments first."""

    def feedback(self, parameters: Parameters, y: Array) -> tuple[Array, Array]:
        """What a closed loop gives out and what it takes in next, from an output y (..., output): y itself, twice."""
        return y, y


class Channelwise(AbstractLayer):
    """A layer that takes `num_channels` inputs and, unless it says otherwise, gives as many outputs."""

    num_channels: int

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.num_channels

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.num_channels


class AbstractWrapper(AbstractLayer):
    """A layer around another one, which runs as that one does."""

    layer: AbstractLayer

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.layer.num_inputs

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.layer.num_outputs

    @property
    def modes(self) -> frozenset[str]:
        """Executors that run the layer."""
        return self.layer.modes

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.layer.takes_gaps

    @property
    def is_causal(self) -> bool:
        """Whether no output depends on a later row."""
        return self.layer.is_causal

    def initial(self, parameters: Parameters, u: Array) -> Any:
        """State of the inner layer."""
        return self.layer.initial(parameters["layer"], u)


class AbstractCell(AbstractLayer):
    """A layer that is one recurrence x_k = F_k x_{k-1} + G_k with a transition of one family.

    Attributes:
        transition: The family of F.
        is_time_invariant: Whether, on equal gaps, F and what is written and read do not depend on the row.
        order: Executors in the order in which `auto` takes the first that runs.
    """

    transition: ClassVar[Transition]
    is_time_invariant: ClassVar[bool] = False
    order: ClassVar[tuple[str, ...]] = ("fused", "chunk", "scan", "loop")

    @property
    def modes(self) -> frozenset[str]:
        """Executors that run the layer."""
        found = {"loop"} | {name for name in ("scan", "chunk") if getattr(self.transition, name) is not None}
        if type(self).respond is not AbstractCell.respond:
            found.add("convolution")
        if type(self).fuse is not AbstractCell.fuse:
            found.add("fused")
        return frozenset(found)

    @abstractmethod
    def elements(self, parameters: Parameters, u: Array, dt: Array | None = None) -> Any:
        """Elements of the family for rows u (..., time, input) and gaps dt (..., time)."""

    @abstractmethod
    def read(self, parameters: Parameters, seen: Array, u: Array) -> Array:
        """Outputs (..., time, output) from what is seen of the states."""

    def respond(
        self, parameters: Parameters, u: Array, state: Array | None, keep_state: bool
    ) -> tuple[Array, Array | None]:
        """Outputs of all rows and the last state by a convolution in time, on equal gaps."""
        raise CapabilityError(f"{type(self).__name__} has no convolution. Its modes: {', '.join(sorted(self.modes))}.")

    def fuse(self, parameters: Parameters, u: Array, state: Array, dt: Array | None = None) -> tuple[Array, Array]:
        """Outputs of all rows and the last state, by what keeps no states; u is 0 in rows that are missing."""
        raise CapabilityError(f"{type(self).__name__} has no fused form. Its modes: {', '.join(sorted(self.modes))}.")

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        return executors.run_cell(self, parameters, u, rows, state)


def seeds(seed: Any, count: int) -> Iterator[np.random.SeedSequence]:
    """Give independent seeds to the parts of a layer."""
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return iter(np.random.SeedSequence(root.entropy, spawn_key=root.spawn_key).spawn(count))


def zeros(u: Array, core: tuple[int, ...], *, is_complex: bool = False) -> Array:
    """Zeros (..., *core) with the leading axes, dtype and device of rows u (..., time, input)."""
    xp = array_namespace(u)
    lead = tuple(u.shape[:-2])
    zero = xp.zeros_like(u[..., 0, 0])
    zero = xp.reshape(zero, lead + (1,) * len(core))
    zero = zero + 0j if is_complex else zero
    return xp.broadcast_to(zero, (*lead, *core))


def over_time(dt: Array | None, u: Array) -> Array:
    """Gaps (..., time or 1, 1): those given, or one gap of 1 for all rows."""
    if dt is not None:
        return dt[..., None]
    xp = array_namespace(u)
    return xp.ones_like(u[(0,) * (u.ndim - 2)][:1, :1])
