"""Networks of models by the name of their cell, and their weights as sites of a prior."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from dynplat.arrays import Array, array_namespace
from dynplat.errors import ArgumentError
from dynplat.model import AbstractLanguage, Sites
from dynplat_deepssm.blocks import Block
from dynplat_deepssm.cells import LRU, S5, DeltaNet, Mamba, Mamba2
from dynplat_deepssm.executors import flatten, unflatten
from dynplat_deepssm.layer import AbstractLayer, Parameters
from dynplat_deepssm.maps import Linear, Norm
from dynplat_deepssm.mixer import Mixer
from dynplat_deepssm.network import Network, Shortcut

#: Heads of the cells that have some; the width of a network is a multiple.
NUM_HEADS = 2


#: Cells by name.
NAMES = ("s5", "lru", "mamba", "mamba2", "deltanet")


def check_cell(cell: str) -> None:
    """Refuse a cell that no block is made of."""
    if cell not in NAMES:
        raise ArgumentError(f"`cell` must be one of {NAMES}; got {cell!r}.")


def block(cell: str, width: int, num_states: int) -> Block:
    """One residual block around a cell, as its authors build it. Every cell takes any gaps."""
    if cell == "s5":
        return Block(S5(width, width, num_states), gate="half-glu")
    if cell == "lru":
        return Block(LRU(width, width, num_states), gate="glu")
    if cell == "mamba":
        return _mixed(width, Mamba(2 * width, num_states), 2 * width, "silu")
    if cell == "mamba2":
        inner = Mamba2(NUM_HEADS, 2 * width // NUM_HEADS, num_states)
        return _mixed(width, inner, inner.num_inputs - NUM_HEADS, "normed")
    delta = DeltaNet(NUM_HEADS, width // NUM_HEADS, num_states, decays=True)
    return _mixed(width, delta, delta.num_inputs - NUM_HEADS, "norm")


def _mixed(width: int, cell: AbstractLayer, convolved: int, gate: Any) -> Block:
    return Block(Mixer(width, cell, convolved=convolved, gate=gate), gate="none", norm="rms")


def stack(cell: str, num_inputs: int, num_outputs: int, *, width: int, num_layers: int, num_states: int) -> Shortcut:
    """Blocks between linear maps, with a linear shortcut from the inputs to the outputs."""
    blocks = tuple(block(cell, width, num_states) for _ in range(num_layers))
    return Shortcut(Network((Linear(num_inputs, width), *blocks, Norm(width), Linear(width, num_outputs))))


def check_sizes(width: int, num_layers: int, num_states: int, seed: int) -> None:
    """Refuse sizes of a network that are none."""
    for name, value in (("width", width), ("num_layers", num_layers), ("num_states", num_states)):
        if value < 1:
            raise ArgumentError(f"`{name}` must be at least 1; got {value}.")
    for name, value in (("width", width), ("num_states", num_states)):
        if value % NUM_HEADS:
            raise ArgumentError(f"`{name}` must be even; got {value}.")
    if seed < 0:
        raise ArgumentError(f"`seed` must be at least 0; got {seed}.")


def emit(pp: AbstractLanguage, name: str, layer: AbstractLayer, seed: int) -> None:
    """Emit the weights of a layer as point-estimated sites `name.<path>`, the same under Pyro and NumPyro."""
    pp.module(name, (_torch_module if pp.name == "pyro" else _jax_module)(layer, seed))


def weights_of(sites: Sites, name: str) -> dict[str, Any]:
    """Nested weights of a layer from sites `name.<path>`."""
    return unflatten(sites, f"{name}.")


def initial_weights(layer: AbstractLayer, seed: int, name: str) -> dict[str, Array]:
    """Weights at the start by the names of their sites."""
    return dict(flatten(layer.init(seed), f"{name}."))


def lead_of(weights: Parameters) -> tuple[int, ...]:
    """Leading shape of the weights of a `stack`, (..., series or 1)."""
    return tuple(weights["shortcut"].shape[:-2])


def widen(state: Any, lead: tuple[int, ...], wide: tuple[int, ...]) -> Any:
    """Repeat a state with leading axes `lead` for those of `wide`."""
    if isinstance(state, tuple):
        return tuple(widen(part, lead, wide) for part in state)
    if state is None:
        return None
    xp = array_namespace(state)
    return xp.broadcast_to(state, (*wide, *state.shape[len(lead) :]))


# A prior runs for every evaluation of a density; the weights at the start are drawn once.
@lru_cache(maxsize=16)
def _torch_module(layer: AbstractLayer, seed: int) -> Any:
    import torch

    from dynplat_deepssm.torch import TorchLayer

    return TorchLayer(layer, seed=seed, dtype=torch.float64)


def _jax_module(layer: AbstractLayer, seed: int) -> Any:
    from dynplat_deepssm.jax import JaxLayer

    return JaxLayer(layer, seed=seed)
