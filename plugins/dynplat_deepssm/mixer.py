"""The layer of Mamba and its kin: maps into and out of a cell, a short convolution before it and a gate after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat_deepssm.cells.taps import Taps
from dynplat_deepssm.executors import Rows
from dynplat_deepssm.layer import AbstractLayer, Parameters, seeds
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.special import silu


@dataclass(frozen=True)
class Mixer(AbstractLayer):
    """Maps around a cell, with a short convolution before it and a gate after it.

    The input is mapped to the inputs of the cell (and of the gate z); the first `convolved` inputs of the cell pass a
    short causal convolution and SiLU. After the cell, `silu` gives y SiLU(z), `normed` the RMS norm of that, `norm` the
    RMS norm of y, and `none` y. Then everything is mapped back.

    - Mamba: `Mixer(d, Mamba(2 * d), convolved=2 * d, gate="silu")`;
    - Mamba-2: `Mixer(d, cell, convolved=cell.num_inputs - cell.num_heads, gate="normed")`;
    - DeltaNet: `Mixer(d, cell, convolved=cell.num_inputs - cell.num_heads, gate="norm")`.

    The convolution is over rows, whatever their gaps.

    Args:
        width: Number of inputs and of outputs.
        cell: The layer within.
        convolved: Number of its inputs that pass the convolution.
        taps: Width of the convolution.
        gate: See above.
    """

    width: int
    cell: AbstractLayer
    convolved: int = 0
    taps: int = 4
    gate: Literal["none", "silu", "norm", "normed"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.convolved <= self.cell.num_inputs:
            raise ArgumentError(
                f"`convolved` must be a number of the cell's {self.cell.num_inputs} inputs; got {self.convolved}."
            )

    @property
    def num_inputs(self) -> int:
        """Length of the last axis of what goes in."""
        return self.width

    @property
    def num_outputs(self) -> int:
        """Length of the last axis of what comes out."""
        return self.width

    @property
    def modes(self) -> frozenset[str]:
        """Executors that run the layer."""
        return self.cell.modes

    @property
    def takes_gaps(self) -> bool:
        """Whether `dt` may be given."""
        return self.cell.takes_gaps

    @property
    def is_causal(self) -> bool:
        """Whether no output depends on a later row."""
        return self.cell.is_causal

    def init(self, seed: Any) -> dict[str, Any]:
        """Draw the weights of all parts, each from a seed of its own."""
        keys = seeds(seed, 4)
        weights: dict[str, Any] = {
            "into": self._into.init(next(keys)),
            "cell": self.cell.init(next(keys)),
            "out": self._out.init(next(keys)),
        }
        if self.convolved:
            weights["taps"] = self._taps.init(next(keys))
        return weights | ({"norm": self._norm.init(None)} if self.gate in ("norm", "normed") else {})

    def initial(self, parameters: Parameters, u: Array) -> tuple[Any, Any]:
        """The last inputs of the taps, and the state of the cell."""
        taps = self._taps.initial(parameters["taps"], u) if self.convolved else None
        return taps, self.cell.initial(parameters["cell"], u)

    def apply(self, parameters: Parameters, u: Array, rows: Rows, state: Any = None) -> tuple[Array, Any]:
        """Run all rows (see `AbstractLayer`)."""
        xp = array_namespace(u)
        taps, inner = (None, None) if state is None else state
        mapped = self._into.map(parameters["into"], u)
        x, z = mapped[..., : self.cell.num_inputs], mapped[..., self.cell.num_inputs :]
        if self.convolved:
            # Every mode but `loop`, the reference of all, runs the taps as a convolution.
            how = rows._replace(dt=None, mode="loop" if rows.mode == "loop" else "auto")
            near, taps = self._taps.apply(parameters["taps"], x[..., : self.convolved], how, taps)
            x = xp.concat([silu(near), x[..., self.convolved :]], axis=-1)
        y, inner = self.cell.apply(parameters["cell"], x, rows, inner)
        y = y * silu(z) if self._is_gated else y
        y = self._norm.map(parameters["norm"], y) if self.gate in ("norm", "normed") else y
        return self._out.map(parameters["out"], y), (taps, inner)

    @property
    def _is_gated(self) -> bool:
        return self.gate in ("silu", "normed")

    @property
    def _into(self) -> Linear:
        extra = self.cell.num_outputs if self._is_gated else 0
        return Linear(self.width, self.cell.num_inputs + extra, bias=False)

    @property
    def _out(self) -> Linear:
        return Linear(self.cell.num_outputs, self.width, bias=False)

    @property
    def _taps(self) -> Taps:
        return Taps(self.convolved, self.taps)

    @property
    def _norm(self) -> Norm:
        return Norm(self.cell.num_outputs, "rms")
