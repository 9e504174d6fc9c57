"""The no-U-turn sampler of NumPyro on a flat vector, in compiled chunks of steps.

The chains move on z, the unconstrained sites in prior units. Each chain has its own key, and its state carries it from
chunk to chunk, so the size of a chunk does not change a draw.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from numpyro.infer import NUTS

from dynplat.arrays import framework
from dynplat.inference.density import Objective
from dynplat.inference.fitting import Fit
from dynplat.inference.jax import JaxDensity
from dynplat.inference.mode import Units
from dynplat.inference.sampler.plan import MIN_KEPT, Chains, Plan

#: Steps between two words to the observers, and between two places where Ctrl-C is heard.
_CHUNK = 50


def sample(fit: Fit, plan: Plan, units: Units, starts: np.ndarray, seed: int) -> Chains:
    """Run the chains from `starts` (chain, size); see `dynplat.inference.nuts.run`."""
    density = fit.density
    assert isinstance(density, JaxDensity)
    origin, unit = density.to_array(units.origin), density.to_array(units.unit)

    def potential(z: Any) -> Any:
        return -density.objective(origin + unit * z, Objective.UNCONSTRAINED)

    kernel = NUTS(
        potential_fn=potential,
        target_accept_prob=plan.target_accept,
        max_tree_depth=plan.max_tree_depth,
        dense_mass=plan.dense_mass,
    )

    def begin(key: Any, z: Any) -> Any:
        return kernel.init(key, plan.num_warmup, z, (), {})

    def advance(state: Any) -> tuple[Any, Any]:
        def step(state: Any, _: Any) -> tuple[Any, Any]:
            state = kernel.sample(state, (), {})
            return state, _record(state)

        return jax.lax.scan(step, state, None, length=_CHUNK)

    keys = jax.random.split(jax.random.key(seed), plan.num_chains)
    first = density.to_array(starts)
    if plan.chain_method == "vectorized":
        state = jax.jit(jax.vmap(begin))(keys, first)
        forward = jax.jit(jax.vmap(advance))
        return _collect(fit, plan, state, forward)
    begin, single = jax.jit(begin), jax.jit(advance)
    states = [begin(keys[chain], first[chain]) for chain in range(plan.num_chains)]

    def in_thread(state: Any) -> Any:
        with framework("jax", dtype=fit.dtype, device=fit.device):  # JAX's switches are a thread's own
            return jax.block_until_ready(single(state))

    if plan.chain_method == "sequential":
        return _collect(fit, plan, states, lambda states: _stack([single(state) for state in states]))
    with ThreadPoolExecutor(max_workers=plan.num_chains) as pool:
        return _collect(fit, plan, states, lambda states: _stack(list(pool.map(in_thread, states))))


def _record(state: Any) -> tuple[Any, ...]:
    return (
        state.z,
        -state.potential_energy,
        state.energy,
        state.diverging,
        state.accept_prob,
        state.num_steps,
        state.adapt_state.step_size,
    )


def _stack(results: list[tuple[Any, Any]]) -> tuple[list[Any], tuple[Any, ...]]:
    columns = zip(*(records for _, records in results), strict=True)
    return [state for state, _ in results], tuple(np.stack([np.asarray(c) for c in column]) for column in columns)


def _collect(fit: Fit, plan: Plan, state: Any, forward: Callable[[Any], tuple[Any, Any]]) -> Chains:
    total = plan.num_warmup + plan.num_samples
    chunks: list[tuple[np.ndarray, ...]] = []
    interrupted = False
    while len(chunks) * _CHUNK < total:
        # The last chunk may run over the end: its surplus is cut off, and one compiled form serves all.
        try:
            state, records = forward(state)
            chunks.append(tuple(np.asarray(column) for column in records))
            done = min(len(chunks) * _CHUNK, total)
            fit.watch.step(
                done,
                total,
                {
                    "warmup": done <= plan.num_warmup,
                    "divergences": int(sum(chunk[3].sum() for chunk in chunks[plan.num_warmup // _CHUNK :])),
                    "step_size": float(chunks[-1][6][:, -1].mean()),
                },
            )
        except KeyboardInterrupt:
            if not plan.keep_interrupted or len(chunks) * _CHUNK < plan.num_warmup + MIN_KEPT:
                raise
            interrupted = True
            break
    kept = slice(plan.num_warmup, min(total, len(chunks) * _CHUNK))
    z, lp, energy, diverging, accept, num_steps, step_size = (
        np.concatenate(column, axis=1)[:, kept] for column in zip(*chunks, strict=True)
    )
    stats = {
        "lp": lp,
        "energy": energy,
        "diverging": diverging.astype(bool),
        "acceptance_rate": accept,
        "n_steps": num_steps.astype(np.int64),
        "tree_depth": np.ceil(np.log2(num_steps + 1)).astype(np.int64),
        "step_size": step_size,
    }
    return Chains(z.astype(np.float64), stats, interrupted)
