"""States of diagonal affine recurrences, and their gradients: dynplat beside other implementations, in one run.

`measurement.py` says how contenders are measured. All get the same arrays: x_t = a_t x_{t-1} + b_t entry by entry, from
zeros. What is compared is a sum over every 97th row of the states, or of the gradients with respect to multipliers and
offsets, to 1e-4 (single precision). The bound, for arrays beyond the caches, is the time to copy as many bytes as have
to be read and written, to memory that is in use already: states and gradients are fresh arrays, which costs more.

Systems: `moving` (a multiplier for each series and row, as in selective layers) and `constant` (one that all series and
rows share, as in S4D, S5 and LRU layers; peers that need one for each row get an array of them).

Run: python benchmarks/affine_recurrence.py [--quick] [--markdown FILE]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (series, rows, channels, dtype, system)
CASES = (
    (8, 16_384, 256, "float32", "moving"),
    (8, 16_384, 256, "complex64", "moving"),
    (8, 16_384, 256, "float32", "constant"),
    (8, 16_384, 256, "complex64", "constant"),
    (1, 16_384, 256, "float32", "moving"),
    (64, 1_024, 128, "float32", "moving"),
    (64, 1_024, 128, "complex64", "constant"),
    (1, 100_000, 4, "float32", "moving"),
)
QUICK = (
    (4, 4_096, 128, "float32", "moving"),
    (4, 4_096, 128, "complex64", "moving"),
    (4, 4_096, 128, "complex64", "constant"),
)

OURS = ("dynplat torch", "dynplat jax")
#: Every how many rows are looked at to compare contenders: reading all would be part of what is measured.
STRIDE = 97


def make_case(series: int, rows: int, channels: int, dtype: str, system: str) -> dict[str, np.ndarray]:
    """Make multipliers a (series, rows, channels) or (1, 1, channels), offsets b and the cotangent g of the states.

    Magnitudes of multipliers are near 1, so that states depend on many rows; g is real.
    """
    rng = np.random.default_rng(0)
    shape = (series, rows, channels)
    a = rng.uniform(0.9, 0.999, shape if system == "moving" else (1, 1, channels)).astype(np.float32)
    b, g = (rng.random(shape, dtype=np.float32) for _ in range(2))
    if dtype == "complex64":
        a = a * np.exp(1j * rng.uniform(0.0, 0.1, a.shape).astype(np.float32))
        b = b + 1j * rng.random(shape, dtype=np.float32)
    return {"a": a.astype(dtype), "b": b.astype(dtype), "g": g.astype(dtype)}


# ------------------------------------------------------------------------------------------------------- contenders
# Each returns a function without arguments that computes the states, or with `gradient` the gradients with respect to a
# and b too.


def in_torch(states_of: Callable[[Any, Any], Any], case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A contender from a function of torch tensors a and b."""
    import torch

    a, b, g = (torch.tensor(case[name]) for name in "abg")
    if gradient:
        a.requires_grad_()
        b.requires_grad_()

    def run() -> float:
        found = states_of(a, b)
        looked_at = torch.autograd.grad(found, (a, b), g) if gradient else (found,)
        return sum(float(array[:, ::STRIDE].abs().sum()) for array in looked_at)

    return run


def in_jax(states_of: Callable[[Any, Any], Any], case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A contender from a function of JAX arrays a and b."""
    import jax
    import jax.numpy as jnp

    a, b, g = (jnp.asarray(case[name]) for name in "abg")

    @jax.jit
    def compute(a: Any, b: Any, g: Any) -> Any:
        looked_at = jax.vjp(states_of, a, b)[1](g) if gradient else (states_of(a, b),)
        return looked_at, sum(jnp.abs(array[:, ::STRIDE]).sum() for array in looked_at)

    return lambda: float(jax.block_until_ready(compute(a, b, g))[1])


def ours_torch(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our scan under torch."""
    from dynplat.scan.affine import scan_diagonal

    return in_torch(scan_diagonal, case, gradient)


def ours_jax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our scan under JAX."""
    from dynplat.scan.affine import scan_diagonal

    return in_jax(scan_diagonal, case, gradient)


def peer_loop(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A loop over rows in torch."""
    import torch

    def states_of(a: Any, b: Any) -> Any:
        a = a.expand(b.shape).unbind(1)
        state = torch.zeros_like(b[:, 0])
        states = []
        for multiplier, offset in zip(a, b.unbind(1), strict=True):
            state = multiplier * state + offset
            states.append(state)
        return torch.stack(states, dim=1)

    return in_torch(states_of, case, gradient)


def peer_torch_scan(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Torch's own `associative_scan`, a prototype."""
    from torch._higher_order_ops.associative_scan import associative_scan

    def join(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[0] * first[1] + second[1]

    def states_of(a: Any, b: Any) -> Any:
        return associative_scan(join, (a.expand(b.shape), b), dim=1, combine_mode="generic")[1]

    return in_torch(states_of, case, gradient)


def peer_mambapy(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """mambapy, `pscan`, whose adjoint is written by hand."""
    from mambapy.pscan import pscan

    if gradient and case["a"].dtype.kind == "c":
        raise NotImplementedError("its adjoint does not conjugate, so that gradients of complex numbers are wrong")

    def states_of(a: Any, b: Any) -> Any:
        return pscan(a.expand(b.shape)[..., None], b[..., None])[..., 0]

    return in_torch(states_of, case, gradient)


def peer_lax_scan(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A loop with `lax.scan`."""
    import jax
    import jax.numpy as jnp

    def states_of(a: Any, b: Any) -> Any:
        def step(state: Any, now: Any) -> Any:
            state = now[0] * state + now[1] if len(now) == 2 else a[:, 0] * state + now[0]
            return state, state

        rows = (b,) if a.shape[1] == 1 else (a, b)
        _, states = jax.lax.scan(step, jnp.zeros_like(b[:, 0]), tuple(jnp.moveaxis(x, 1, 0) for x in rows))
        return jnp.moveaxis(states, 0, 1)

    return in_jax(states_of, case, gradient)


def peer_lax_associative(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """`lax.associative_scan`."""
    import jax
    import jax.numpy as jnp

    def join(first: Any, second: Any) -> Any:
        return first[0] * second[0], second[0] * first[1] + second[1]

    def states_of(a: Any, b: Any) -> Any:
        return jax.lax.associative_scan(join, (jnp.broadcast_to(a, b.shape), b), axis=1)[1]

    return in_jax(states_of, case, gradient)


def copy_bound(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Copy, with all threads of torch, as many bytes as must be read and written."""
    import torch

    a, b, g = (case[name].nbytes for name in "abg")
    moved = a + 2 * b
    if gradient:  # multipliers, states and cotangents are read, gradients of multipliers and offsets are written
        moved += 2 * a + 2 * b + g
    source = torch.ones(moved // 8, dtype=torch.float32)
    target = torch.zeros_like(source)

    def run() -> float:
        target.copy_(source)
        return float(target[-1])

    return run


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    series, rows, channels, dtype, system = case
    return f"{series} x {rows:,} x {channels}, {dtype}, {system}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="States of a diagonal recurrence",
    columns="series x rows x channels, dtype, system",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders={
        "dynplat torch": ours_torch,
        "dynplat jax": ours_jax,
        "torch loop": peer_loop,
        "torch associative_scan": peer_torch_scan,
        "mambapy pscan": peer_mambapy,
        "jax lax.scan": peer_lax_scan,
        "jax associative_scan": peer_lax_associative,
        "memory copy": copy_bound,
    },
    ours=OURS,
    best_of=OURS,
    too_large=lambda name, case: False,
    describe=describe,
    tolerance=1e-4,
    bounds=("memory copy",),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
