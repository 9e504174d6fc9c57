"""Layers of deep state-space models, and their gradients: dynplat beside other implementations, in one run.

`measurement.py` says how contenders are measured. All get the same inputs and the same weights, in single precision.
Gradients are those with respect to inputs and all weights; what is compared is a sum over every 97th row of the
outputs, or of the gradient with respect to the inputs, to 1e-4.

Layers: `Mamba`, the whole block (maps in and out, convolution over 4 rows, gate; twice as many channels as the width,
16 states); `S5` with 64 states, which s5-pytorch holds as they are and others as 32 of conjugate pairs; and `S5, gaps`
with a gap for each row. Contenders `associative_scan` are the same layers written with the frameworks' own scans.

`--kept` measures instead what the forward pass of a Mamba block keeps for the backward pass under torch.

Run: python benchmarks/deep_layers.py [--quick] [--markdown FILE] [--kept]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (layer, series, rows, width)
CASES = (
    ("Mamba", 8, 1_024, 64),
    ("Mamba", 1, 4_096, 64),
    ("Mamba", 32, 256, 128),
    ("S5", 8, 1_024, 64),
    ("S5", 1, 16_384, 64),
    ("S5, gaps", 8, 1_024, 64),
)
QUICK = (("Mamba", 2, 256, 32), ("S5", 2, 256, 32), ("S5, gaps", 2, 256, 32))

OURS = ("dynplat torch", "dynplat jax")
#: Every how many rows are looked at.
STRIDE = 97
NUM_STATES = 64


def our_layer(name: str, width: int) -> Any:
    """The layer of a case."""
    from dynplat_deepssm.cells import S5, Mamba
    from dynplat_deepssm.mixer import Mixer

    if name == "Mamba":
        return Mixer(width, Mamba(2 * width, rank=-(-width // 16)), convolved=2 * width, gate="silu")
    return S5(width, width, NUM_STATES)


def make_case(name: str, series: int, rows: int, width: int) -> dict[str, Any]:
    """Make inputs `u` and cotangents `g`, gaps `dt` where there are any, and weights by their names.

    The direct part of an S5 layer is one factor for each channel, as s5-pytorch has it.
    """
    from dynplat_deepssm.executors import flatten

    rng = np.random.default_rng(0)
    u, g = rng.standard_normal((2, series, rows, width)).astype(np.float32)
    weights = our_layer(name, width).init(0)
    if name != "Mamba":
        weights["skip"] = np.diag(rng.standard_normal(width))
    flat = {key: value.astype(np.float32) for key, value in flatten(weights)}
    case = {"layer": name, "u": u, "g": g, "weights": flat}
    if name == "S5, gaps":
        case["dt"] = rng.uniform(0.5, 1.5, (series, rows)).astype(np.float32)
    return case


# ------------------------------------------------------------------------------------------------------- contenders
# Each returns a function without arguments that computes outputs, or with `gradient` the gradients with respect to
# inputs and all weights too.


def in_torch(
    outputs_of: Callable[[Any, list[Any]], Any], weights: list[Any], case: dict[str, Any], gradient: bool
) -> Any:
    """A contender from a function of inputs and weights, torch tensors."""
    import torch

    u, g = (torch.tensor(case[name]) for name in "ug")
    if gradient:
        u.requires_grad_()

    def run() -> float:
        with torch.set_grad_enabled(gradient):
            found = outputs_of(u, weights)
        if gradient:
            found = torch.autograd.grad(found, (u, *weights), g)[0]
        return float(found[:, ::STRIDE].abs().sum())

    return run


def in_jax(outputs_of: Callable[[Any, Any], Any], case: dict[str, Any], gradient: bool) -> Any:
    """A contender from a function of inputs and weights by name, JAX arrays."""
    import jax
    import jax.numpy as jnp

    u, g = (jnp.asarray(case[name]) for name in "ug")
    weights = {name: jnp.asarray(value) for name, value in case["weights"].items()}

    @jax.jit
    def compute(u: Any, weights: Any, g: Any) -> Any:
        if not gradient:
            found = outputs_of(u, weights)
            return found, jnp.abs(found[:, ::STRIDE]).sum()
        slopes = jax.vjp(outputs_of, u, weights)[1](g)
        return slopes, jnp.abs(slopes[0][:, ::STRIDE]).sum()

    return lambda: float(jax.block_until_ready(compute(u, weights, g))[1])


def torch_weights(case: dict[str, Any], gradient: bool) -> dict[str, Any]:
    """Weights as torch tensors."""
    import torch

    return {name: torch.tensor(value, requires_grad=gradient) for name, value in case["weights"].items()}


def ours_torch(case: dict[str, Any], gradient: bool) -> Any:
    """Our layer under torch."""
    import torch

    from dynplat_deepssm.executors import run, unflatten

    layer, weights = our_layer(case["layer"], case["u"].shape[-1]), torch_weights(case, gradient)
    dt = torch.tensor(case["dt"]) if "dt" in case else None

    def outputs_of(u: Any, values: list[Any]) -> Any:
        return run(layer, unflatten(dict(zip(weights, values, strict=True))), u, dt, keep_state=False)[0]

    return in_torch(outputs_of, list(weights.values()), case, gradient)


def ours_jax(case: dict[str, Any], gradient: bool) -> Any:
    """Our layer under JAX."""
    import jax.numpy as jnp

    from dynplat_deepssm.executors import Rows, unflatten

    layer = our_layer(case["layer"], case["u"].shape[-1])
    rows = Rows(jnp.asarray(case["dt"]) if "dt" in case else None)
    return in_jax(lambda u, weights: layer.apply(unflatten(weights), u, rows)[0], case, gradient)


def peer_mambapy(case: dict[str, Any], gradient: bool) -> Any:
    """The block of mambapy, with its default sizes and parallel scan."""
    if case["layer"] != "Mamba":
        raise NotImplementedError("it has no S5")
    import torch
    from mambapy.mamba import MambaBlock, MambaConfig

    block = MambaBlock(MambaConfig(d_model=case["u"].shape[-1], n_layers=1))
    w = case["weights"]
    values = {
        "in_proj.weight": w["into.weight"].T,
        "conv1d.weight": w["taps.taps"][::-1].T[:, None, :],
        "conv1d.bias": w["taps.bias"],
        "x_proj.weight": w["cell.select"].T,
        "dt_proj.weight": w["cell.step_weight"].T,
        "dt_proj.bias": w["cell.step_bias"],
        "A_log": w["cell.log_rate"],
        "D": w["cell.skip"],
        "out_proj.weight": w["out.weight"].T,
    }
    block.load_state_dict({name: torch.tensor(value.copy()) for name, value in values.items()})
    block.requires_grad_(gradient)
    return in_torch(lambda u, _: block(u), list(block.parameters()), case, gradient)


def peer_s5_pytorch(case: dict[str, Any], gradient: bool) -> Any:
    """The layer of s5-pytorch, with all 64 states."""
    if case["layer"] == "Mamba":
        raise NotImplementedError("it has no Mamba")
    import torch
    from s5 import S5

    w = case["weights"]
    layer = S5(case["u"].shape[-1], NUM_STATES)
    rates = -np.exp(w["log_rate"]) + 1j * w["frequency"]
    parts: Any = (w[name][..., 0] + 1j * w[name][..., 1] for name in ("write", "readout"))
    write, readout = parts
    both: Any = np.concatenate([write, write.conj()], axis=1).T
    values = {
        "Lambda": np.concatenate([rates, rates.conj()]),
        "B": np.stack([both.real, both.imag], axis=-1),
        "C": np.concatenate([readout, readout.conj()], axis=0).T,
        "D": np.diag(w["skip"]),
        "log_step": np.tile(w["log_step"], 2),
    }
    layer.seq.load_state_dict({name: torch.tensor(value.copy()) for name, value in values.items()})
    layer.requires_grad_(gradient)
    scale = torch.tensor(case["dt"]) if "dt" in case else 1.0
    return in_torch(lambda u, _: layer(u, step_scale=scale), list(layer.parameters()), case, gradient)


def _mamba(u: Any, w: Any, scan: Callable[[Any, Any], Any], xp: Any, softplus: Any, silu: Any) -> Any:
    """A Mamba block of torch or JAX around a scan of (series, time, channel, state)."""
    x, z = xp.split(u @ w["into.weight"], w["out.weight"].shape[0], -1)
    rows = x.shape[1]
    past = xp.concatenate([xp.zeros_like(x[:, :3]), x], axis=1)
    x = silu(w["taps.bias"] + sum(w["taps.taps"][j] * past[:, 3 - j : 3 - j + rows] for j in range(4)))
    select = x @ w["cell.select"]
    rank, N = w["cell.step_weight"].shape[0], w["cell.log_rate"].shape[1]
    steps = softplus(select[..., :rank] @ w["cell.step_weight"] + w["cell.step_bias"])
    write, query = select[..., rank : rank + N], select[..., rank + N :]
    a = xp.exp(-steps[..., None] * xp.exp(w["cell.log_rate"]))
    states = scan(a, (steps * x)[..., None] * write[..., None, :])
    y = (states @ query[..., None])[..., 0] + w["cell.skip"] * x
    return (y * silu(z)) @ w["out.weight"]


def _s5(u: Any, w: Any, dt: Any, scan: Callable[[Any, Any], Any], xp: Any) -> Any:
    """An S5 layer of torch or JAX around a scan of (series, time, mode)."""
    rates = -xp.exp(w["log_rate"]) + 1j * w["frequency"]
    step = xp.exp(w["log_step"])
    write, readout = (w[name][..., 0] + 1j * w[name][..., 1] for name in ("write", "readout"))
    a = xp.exp(rates * step * (1.0 if dt is None else dt[..., None]))
    written = ((a - 1.0) / rates) * (u @ write.real + 1j * (u @ write.imag))
    states = scan(xp.broadcast_to(a, written.shape), written)
    return 2.0 * (states.real @ readout.real - states.imag @ readout.imag) + u @ w["skip"]


def _join(first: Any, second: Any) -> Any:
    return first[0] * second[0], second[0] * first[1] + second[1]


def peer_torch_scan(case: dict[str, Any], gradient: bool) -> Any:
    """The layer around torch's own `associative_scan`, a prototype."""
    import torch
    from torch._higher_order_ops.associative_scan import associative_scan

    weights = torch_weights(case, gradient)
    dt = torch.tensor(case["dt"]) if "dt" in case else None
    functions = torch.nn.functional.softplus, torch.nn.functional.silu

    def scan(a: Any, b: Any) -> Any:
        return associative_scan(_join, (a, b), dim=1, combine_mode="generic")[1]

    def outputs_of(u: Any, values: list[Any]) -> Any:
        w = dict(zip(weights, values, strict=True))
        return _mamba(u, w, scan, torch, *functions) if case["layer"] == "Mamba" else _s5(u, w, dt, scan, torch)

    return in_torch(outputs_of, list(weights.values()), case, gradient)


def peer_jax_scan(case: dict[str, Any], gradient: bool) -> Any:
    """The layer around `lax.associative_scan`."""
    import jax
    import jax.numpy as jnp

    dt = jnp.asarray(case["dt"]) if "dt" in case else None

    def scan(a: Any, b: Any) -> Any:
        return jax.lax.associative_scan(_join, (a, b), axis=1)[1]

    class Names:
        exp, concatenate, zeros_like, broadcast_to = jnp.exp, jnp.concatenate, jnp.zeros_like, jnp.broadcast_to

        @staticmethod
        def split(array: Any, size: int, axis: int) -> Any:
            return jnp.split(array, [size], axis)

    def outputs_of(u: Any, w: Any) -> Any:
        if case["layer"] == "Mamba":
            return _mamba(u, w, scan, Names, jax.nn.softplus, jax.nn.silu)
        return _s5(u, w, dt, scan, Names)

    return in_jax(outputs_of, case, gradient)


CONTENDERS = {
    "dynplat torch": ours_torch,
    "dynplat jax": ours_jax,
    "mambapy": peer_mambapy,
    "s5-pytorch": peer_s5_pytorch,
    "torch associative_scan": peer_torch_scan,
    "jax associative_scan": peer_jax_scan,
}


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    name, series, rows, width = case
    return f"{name}, {series} x {rows:,} x {width}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Layers of deep state-space models",
    columns="layer, series x rows x width",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders=CONTENDERS,
    ours=OURS,
    best_of=OURS,
    too_large=lambda name, case: False,
    describe=describe,
    tolerance=1e-4,
)


# ------------------------------------------------------------------------------------------------------------ memory


def kept_bytes(layer: Any, u: Any) -> int:
    """Bytes that the graph of a layer's outputs keeps: tensors that it saved, and arrays of compiled kernels."""
    import torch

    saved: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = layer(u)
    pending, seen, arrays = [outputs.grad_fn], set(), 0
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            arrays += sum(array.nbytes for array in getattr(node, "kept", None) or ())
            pending += [parent for parent, _ in node.next_functions]
    return arrays + sum(storage.nbytes() for storage in saved.values())


def print_kept() -> None:
    """Print what the forward pass of a Mamba block of the first case keeps, weights and inputs included."""
    import torch

    from dynplat_deepssm.torch import TorchLayer

    name, series, rows, width = CASES[0]
    u = torch.zeros((series, rows, width))
    module = TorchLayer(our_layer(name, width), seed=0)
    found = {f"dynplat, {mode}": kept_bytes(lambda u, m=mode: module(u, mode=m)[0], u) for mode in ("fused", "scan")}
    try:
        from mambapy.mamba import MambaBlock, MambaConfig

        found["mambapy"] = kept_bytes(MambaBlock(MambaConfig(d_model=width, n_layers=1)), u)
    except ImportError:
        print("mambapy is not installed")
    for key, size in found.items():
        print(f"{key}: {size / 1e6:.0f} MB kept by the forward pass of {describe(CASES[0])}")


if __name__ == "__main__":
    if "--kept" in sys.argv:
        print_kept()
        sys.exit(0)
    sys.exit(main(BENCHMARK))
