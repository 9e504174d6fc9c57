"""Log-likelihoods of hidden Markov jump processes at irregular times, and their gradients, in one run.

`measurement.py` says how contenders are measured; values must agree to 1e-8 (float64). Every contender is given the
rates, irregular times with no two gaps alike, and one normal channel. Gradients are those of the generator, the law
of the first state, means and standard deviations. The peers are the forms that are written by hand in JAX:

- `expm`: mapped `jax.scipy.linalg.expm`, one for each gap, and a scan with scaled probabilities. Safe.
- `uniformisation`: a series of non-negative terms applied to the law itself, gap by gap. Safe.
- `eigen`: exponentials of eigenvalues, decomposed beforehand. Not safe where eigenvectors are nearly dependent; it
  counts as a bound and not as a peer, and no gradient of it is taken.

Run: python benchmarks/jump_process.py [--quick] [--markdown FILE]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (states, rows)
CASES = ((3, 10_000), (6, 10_000), (20, 10_000))
QUICK = ((3, 1_000), (6, 1_000))

OURS = ("dynplat torch", "dynplat jax")
#: What gradients are taken of.
LEAVES = ("generator", "initial", "means", "scales")


def make_case(states: int, rows: int) -> dict[str, np.ndarray]:
    """Make a chain, irregular times and values."""
    rng = np.random.default_rng(0)
    Q = rng.gamma(1.0, size=(states, states)) * (1.0 - np.eye(states)) * 3.0 / states
    Q -= np.diag(Q.sum(axis=1))
    times = np.cumsum(rng.exponential(0.5, rows))
    means, scales = np.linspace(-3.0, 3.0, states), rng.uniform(0.5, 1.0, states)
    hidden = np.repeat(rng.integers(states, size=rows // 10), 10)
    return {
        "generator": Q,
        "initial": np.log(rng.dirichlet(np.full(states, 5.0))),
        "means": means,
        "scales": scales,
        "times": times,
        "y": means[hidden] + scales[hidden] * rng.standard_normal(rows),
    }


def ours(a: dict[str, Any], times: np.ndarray, mask: Any) -> Any:
    """Our process; the times are known on the host."""
    from dynplat.arrays import Observations
    from dynplat.process import GaussianEmission
    from dynplat_jumps.process import MarkovJump

    emission = GaussianEmission(a["means"][None, :, None], a["scales"][None, :, None])
    process = MarkovJump(a["generator"][None], a["initial"][None], emission)
    return process.log_prob(Observations(times[None], a["y"][None, :, None], mask)).sum()


def ours_torch(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our process under torch."""
    import torch

    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in LEAVES]
    mask = torch.ones((1, len(case["y"]), 1), dtype=torch.bool)

    def run() -> float:
        value = ours(a, case["times"], mask)
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


def _compiled(function: Any, case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A function of leaves and data, compiled by JAX."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    leaves = {name: jnp.array(case[name]) for name in LEAVES}
    y, gaps = jnp.array(case["y"]), jnp.array(np.diff(case["times"]))
    call = jax.jit(jax.value_and_grad(function) if gradient else function)

    def run() -> float:
        found = jax.block_until_ready(call(leaves, y, gaps))
        return float(found[0] if gradient else found)

    return run


def ours_jax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our process under JAX."""
    mask = np.ones((1, len(case["y"]), 1), dtype=bool)
    return _compiled(lambda leaves, y, gaps: ours({**leaves, "y": y}, case["times"], mask), case, gradient)


def _filter(advance: Any, leaves: dict[str, Any], y: Any, steps: Any) -> Any:
    """The scaled filter; `advance` leads a law over a step."""
    import jax
    import jax.numpy as jnp

    z = (y[:, None] - leaves["means"]) / leaves["scales"]
    log_density = -0.5 * z * z - jnp.log(leaves["scales"]) - 0.5 * np.log(2 * np.pi)
    top = log_density.max(axis=1)
    density = jnp.exp(log_density - top[:, None])

    def update(law: Any, density: Any) -> Any:
        joint = law * density
        total = joint.sum()
        return joint / total, jnp.log(total)

    law, first = update(jnp.exp(leaves["initial"]), density[0])
    _, rest = jax.lax.scan(lambda law, now: update(advance(law, now[0]), now[1]), law, (steps, density[1:]))
    return first + rest.sum() + top.sum()


def peer_expm(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """An exponential for each gap."""

    def value(leaves: dict[str, Any], y: Any, gaps: Any) -> Any:
        import jax

        P = jax.vmap(lambda gap: jax.scipy.linalg.expm(leaves["generator"] * gap))(gaps)
        return _filter(lambda law, step: law @ step, leaves, y, P)

    return _compiled(value, case, gradient)


def peer_uniformisation(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A series for each gap, applied to the law; as many terms as the longest gap needs."""
    reach = float(np.abs(np.diag(case["generator"])).max() * np.diff(case["times"]).max())
    terms = int(reach + 6 * np.sqrt(reach) + 10)

    def value(leaves: dict[str, Any], y: Any, gaps: Any) -> Any:
        import jax
        import jax.numpy as jnp

        Q = leaves["generator"]
        omega = jax.lax.stop_gradient(jnp.abs(jnp.diag(Q)).max())
        B = jnp.eye(len(Q)) + Q / omega

        def advance(law: Any, gap: Any) -> Any:
            x = omega * gap

            def add(carry: Any, k: Any) -> Any:
                term, total = carry
                term = (term @ B) * (x / k)
                return (term, total + term), None

            start = law * jnp.exp(-x)
            (_, total), _ = jax.lax.scan(add, (start, start), jnp.arange(1.0, terms + 1.0))
            return total

        return _filter(advance, leaves, y, gaps)

    return _compiled(value, case, gradient)


def bound_eigen(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Exponentials of eigenvalues, with the decomposition done beforehand: less than any contender has to do."""
    if gradient:
        raise NotImplementedError("no gradient of the decomposition")
    values, vectors = np.linalg.eig(case["generator"])
    inverse = np.linalg.inv(vectors)

    def value(leaves: dict[str, Any], y: Any, gaps: Any) -> Any:
        import jax.numpy as jnp

        P = ((vectors * jnp.exp(values * gaps[:, None])[:, None, :]) @ inverse).real
        return _filter(lambda law, step: law @ step, leaves, y, P)

    return _compiled(value, case, gradient)


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Log-likelihood of hidden Markov jump processes",
    columns="states, rows",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders={
        "dynplat torch": ours_torch,
        "dynplat jax": ours_jax,
        "jax expm": peer_expm,
        "jax uniformisation": peer_uniformisation,
        "jax eigen": bound_eigen,
    },
    ours=OURS,
    best_of=OURS,
    bounds=("jax eigen",),
    too_large=lambda name, case: False,
    describe=lambda case: f"{case[0]}, {case[1]:,}",
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
