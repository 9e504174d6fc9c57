"""Layers made of layers: residual blocks, both directions, patches. Any of them takes any layer.

The weights of such a layer are a dict with a dict for each part, its state is that of its parts. Executors that it runs
in are those that all its parts run in; `auto` lets each part choose its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError, CapabilityError
from dynplat_deepssm.executors import Rows
from dynplat_deepssm.layer import AbstractLayer, AbstractWrapper, Parameters, seeds
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.special import gelu, sigmoid


@dataclass(frozen=True)
class Block(AbstractWrapper):
    r"""A residual block: y = u + gate(f(norm(u))), with the norm before the layer or after the sum.

    Gates, with a the GELU of the layer's output: `none` gives the output itself, `glu` maps a to twice its width and
    multiplies one half by the sigmoid of the other (S4, LRU), `half-glu` multiplies the output by the sigmoid of a
    linear map of a (S5).

    Args:
        layer: A layer with as many outputs as inputs.
        gate: See above.
        norm: `layer`, `rms` or `none`.
        place: Where the norm stands: `before` or `after`.
    """

    layer: AbstractLayer
    gate: Literal["none", "glu", "half-glu"] = "glu"
    norm: Literal["layer", "rms", "none"] = "layer"
    place: Literal["before", "after"] = "before"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer.num_inputs != self.layer.num_outputs:
            raise ArgumentError(
                f"`layer` of a residual block must have as many outputs as inputs; {type(self.layer).__name__} has "
                f"{self.layer.num_inputs} inputs and {self.layer.num_outputs} outputs. Put it into a `Mixer`."
            )

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of all parts, each from a seed of its own."""
        first, second = seeds(seed, 2)
        weights: dict[str, Any] = {"layer": self.layer.init(first)}
        if self.gate != "none":
            weights["gate"] = self._gate.init(second)
        return weights | ({} if self.norm == "none" else {"norm": self._norm.init(None)})

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        into = self._normalise(parameters, u) if self.place == "before" else u
        y, state = self.layer.apply(parameters["layer"], into, rows, state)
        y = u + self._gated(parameters, y)
        return (self._normalise(parameters, y) if self.place == "after" else y), state

    @property
    def _norm(self) -> Norm:
        return Norm(self.num_inputs, "layer" if self.norm == "none" else self.norm)

    @property
    def _gate(self) -> Linear:
        return Linear(self.num_outputs, self.num_outputs * (2 if self.gate == "glu" else 1))

    def _normalise(self, parameters: Parameters, u: Array) -> Array:
        return u if self.norm == "none" else self._norm.map(parameters["norm"], u)

    def _gated(self, parameters: Parameters, y: Array) -> Array:
        if self.gate == "none":
            return y
        mapped = self._gate.map(parameters["gate"], gelu(y))
        if self.gate == "half-glu":
            return y * sigmoid(mapped)
        return mapped[..., : self.num_outputs] * sigmoid(mapped[..., self.num_outputs :])


@dataclass(frozen=True)
class Bidirectional(AbstractLayer):
    """Two layers, one from each end, added: y = f(u) + flip(g(flip u)). It sees the future, and has no state to carry.

    Args:
        forward: The layer from the start.
        backward: The layer from the end. The gap that a row closes is then the one to the row after it; the last row
            that is there has the first row's.
    """

    forward: AbstractLayer
    backward: AbstractLayer

    is_causal = False

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = [(layer.num_inputs, layer.num_outputs) for layer in (self.forward, self.backward)]
        if sizes[0] != sizes[1]:
            raise ArgumentError(
                f"both directions must have the same inputs and outputs; got {sizes[0]} and {sizes[1]}."
            )

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.forward.num_inputs

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.forward.num_outputs

    @property
    def modes(self) -> frozenset[str]:
        """Executors that run the layer."""
        return self.forward.modes & self.backward.modes

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.forward.takes_gaps and self.backward.takes_gaps

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of all parts, each from a seed of its own."""
        first, second = seeds(seed, 2)
        return {"ahead": self.forward.init(first), "back": self.backward.init(second)}

    def initial(self, parameters: Parameters, u: Array) -> None:
        """States of the parts."""
        return None

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, None]:
        """Run all rows (see `AbstractLayer`)."""
        if state is not None:
            raise CapabilityError("`state` of a bidirectional layer must be None: it reads whole sequences.")
        xp = array_namespace(u)
        there, _ = self.forward.apply(parameters["ahead"], u, rows._replace(keep_state=False))
        dt = None if rows.dt is None else xp.flip(_gaps_after(rows.dt, rows.mask), axis=-1)
        mask = None if rows.mask is None else xp.flip(rows.mask, axis=-1)
        rows = Rows(dt, mask, rows.mode, keep_state=False)
        back, _ = self.backward.apply(parameters["back"], xp.flip(u, axis=-2), rows)
        return there + xp.flip(back, axis=-2), None


def _gaps_after(dt: Array, mask: Array | None) -> Array:
    """Gaps from rows to the ones after them, with the first gap for the last row that is there, padding or not."""
    xp = array_namespace(dt)
    after = xp.concat([dt[..., 1:], dt[..., :1]], axis=-1)
    if mask is None:
        return after
    counts = xp.flip(xp.cumulative_sum(xp.flip(xp.astype(mask, dt.dtype), axis=-1), axis=-1), axis=-1)
    return xp.where(mask & (counts == 1), dt[..., :1], after)


@dataclass(frozen=True)
class Patched(AbstractWrapper):
    """A layer whose rows are patches: `size` rows next to each other become one with `size` times as many channels.

    Outputs are taken apart again, so that rows come out as they went in. Rows of a patch see each other. The gap that a
    patch closes is the sum of those of its rows; a row that is missing counts as 0, a patch of such rows as missing.

    Args:
        layer: The layer, whose numbers of inputs and outputs are multiples of `size`.
        size: Rows of a patch.
    """

    layer: AbstractLayer
    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1 or self.layer.num_inputs % self.size or self.layer.num_outputs % self.size:
            raise ArgumentError(
                f"`layer` must have multiples of `size` inputs and outputs; {type(self.layer).__name__} has "
                f"{self.layer.num_inputs} inputs and {self.layer.num_outputs} outputs, and `size` is {self.size}."
            )

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.layer.num_inputs // self.size

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.layer.num_outputs // self.size

    @property
    def is_causal(self) -> bool:
        """Whether no output depends on a later row; rows of a patch see each other."""
        return False

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of all parts, each from a seed of its own."""
        return {"layer": self.layer.init(seed)}

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        xp = array_namespace(u)
        num_rows = int(u.shape[-2])
        if num_rows % self.size:
            few = "shorter than one patch" if num_rows < self.size else "no whole number of patches"
            raise ArgumentError(
                f"a sequence of {num_rows} rows is {few} of {self.size} rows; put rows with `mask` False in front "
                "of it, or leave out its oldest rows."
            )
        dt, mask = rows.dt, rows.mask
        if mask is not None:
            u = xp.where(mask[..., None], u, xp.zeros_like(u))
            mask = xp.any(xp.reshape(mask, (*mask.shape[:-1], -1, self.size)), axis=-1)
        if dt is not None:
            dt = xp.sum(xp.reshape(dt, (*dt.shape[:-1], -1, self.size)), axis=-1)
        u = xp.reshape(u, (*u.shape[:-2], num_rows // self.size, self.layer.num_inputs))
        y, state = self.layer.apply(parameters["layer"], u, rows._replace(dt=dt, mask=mask), state)
        return xp.reshape(y, (*y.shape[:-2], num_rows, self.num_outputs)), state
