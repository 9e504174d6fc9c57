"""Log-likelihoods of hidden Markov chains, and their gradients: dynplat beside other libraries, in one run.

`measurement.py` says how contenders are measured; values must agree to 1e-8 (float64). Every contender is given the
observations, one normal channel, and log-probabilities of the first state and of transitions; densities are computed
inside. Gradients are those with respect to both log-probabilities, means and standard deviations.

Systems: `invariant` (one transition) and `moving` (a transition for each row, which few peers know).

Run: python benchmarks/hidden_markov.py [--quick] [--markdown FILE]
Peers: pip install 'dynplat[benchmarks]' deeptime
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (states, rows, series, system)
CASES = (
    *((states, rows, 1, "invariant") for states in (3, 10, 50) for rows in (1_000, 10_000, 100_000)),
    (3, 1_000, 64, "invariant"),
    (10, 1_000, 64, "invariant"),
    (50, 1_000, 64, "invariant"),
    *((states, rows, 1, "moving") for states in (3, 10) for rows in (1_000, 10_000, 100_000)),
    (50, 1_000, 1, "moving"),
    (50, 10_000, 1, "moving"),
)
QUICK = ((3, 1_000, 1, "invariant"), (10, 1_000, 64, "invariant"), (3, 1_000, 1, "moving"))

OURS = ("dynplat torch", "dynplat jax")


def make_case(states: int, rows: int, series: int, system: str) -> dict[str, np.ndarray]:
    """Make a chain that dwells in its states, and its data.

    Returns:
        Log-probabilities `initial` (K,), `before` (K,), which the first transition turns into `initial`, and
        `transition` (rows or 1, K, K); `means` and `scales` (K,); `y` (series, rows).
    """
    rng = np.random.default_rng(0)
    times = rows if system == "moving" else 1
    # Rates that differ by state, and by row where they may.
    leave = rng.uniform(0.05, 0.3, (times, states, 1))
    A = (1.0 - leave) * np.eye(states) + leave * rng.dirichlet(np.ones(states), states)
    before = rng.dirichlet(np.full(states, 5.0))
    means, scales = np.linspace(-3.0, 3.0, states), rng.uniform(0.5, 1.0, states)
    hidden = np.repeat(rng.integers(states, size=(series, rows // 10)), 10, axis=1)
    y = means[hidden] + scales[hidden] * rng.standard_normal((series, rows))
    return {
        "initial": np.log(before @ A[0]),
        "before": np.log(before),
        "transition": np.log(A),
        "means": means,
        "scales": scales,
        "y": y,
    }


#: What gradients are taken of.
LEAVES = ("initial", "transition", "means", "scales")

# ------------------------------------------------------------------------------------------------------- contenders
# Each returns a function without arguments that computes the log-likelihood, summed over series, and with `gradient`
# the gradients too.


def ours_torch(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our chain under torch."""
    import torch

    from dynplat.arrays import Observations
    from dynplat.process import GaussianEmission, HiddenMarkov

    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in LEAVES]
    y = a["y"][..., None]
    data = Observations(torch.arange(y.shape[-2]), y, torch.ones(y.shape, dtype=torch.bool))

    def run() -> float:
        emission = GaussianEmission(a["means"][:, None], a["scales"][:, None])
        value = HiddenMarkov(a["initial"], a["transition"], emission).log_prob(data).sum()
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


def ours_jax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our chain under JAX."""
    from dynplat.arrays import Observations
    from dynplat.process import GaussianEmission, HiddenMarkov

    mask = np.ones((*case["y"].shape, 1), dtype=bool)
    times = np.arange(case["y"].shape[-1])

    def value(initial: Any, transition: Any, means: Any, scales: Any, y: Any) -> Any:
        emission = GaussianEmission(means[:, None], scales[:, None])
        return HiddenMarkov(initial, transition, emission).log_prob(Observations(times, y[..., None], mask)).sum()

    return _jitted(value, case, gradient)


def _jitted(value: Any, case: dict[str, np.ndarray], gradient: bool) -> Any:
    import jax

    a = {name: jax.numpy.asarray(array) for name, array in case.items()}
    function = jax.jit(jax.value_and_grad(value, (0, 1, 2, 3)) if gradient else value)

    def run() -> float:
        out = jax.block_until_ready(function(*(a[name] for name in LEAVES), a["y"]))
        return float(out[0] if gradient else out)

    return run


def _mapped(one: Any, case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A function of initial law, transitions and log densities of one series, mapped over series."""
    import jax

    def value(initial: Any, transition: Any, means: Any, scales: Any, y: Any) -> Any:
        log_density = jax.scipy.stats.norm.logpdf(y[..., None], means, scales)
        return jax.vmap(lambda density: one(initial, transition, density))(log_density).sum()

    return _jitted(value, case, gradient)


def peer_scaled(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A filter written by hand with `lax.scan`: probabilities, scaled at every row."""
    import jax
    import jax.numpy as jnp

    moving = len(case["transition"]) > 1

    def one(initial: Any, transition: Any, density: Any) -> Any:
        A = jnp.exp(transition)

        def update(predicted: Any, density: Any) -> Any:
            largest = density.max()
            joint = predicted * jnp.exp(density - largest)
            total = joint.sum()
            return joint / total, jnp.log(total) + largest

        def step(law: Any, now: Any) -> Any:
            A_t, density = now if moving else (A[0], now)
            return update(law @ A_t, density)

        law, first = update(jnp.exp(initial), density[0])
        return first + jax.lax.scan(step, law, (A[1:], density[1:]) if moving else density[1:])[1].sum()

    return _mapped(one, case, gradient)


def peer_log(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A filter written by hand with `lax.scan`, in logarithms."""
    import jax

    moving = len(case["transition"]) > 1

    def one(initial: Any, transition: Any, density: Any) -> Any:
        def step(joint: Any, now: Any) -> Any:
            A, density = now if moving else (transition[0], now)
            return jax.scipy.special.logsumexp(joint[:, None] + A, axis=0) + density, None

        joint, _ = jax.lax.scan(step, initial + density[0], (transition[1:], density[1:]) if moving else density[1:])
        return jax.scipy.special.logsumexp(joint)

    return _mapped(one, case, gradient)


def peer_dynamax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """dynamax, `hmm_filter`, mapped over series."""
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_filter

    moving = len(case["transition"]) > 1

    def one(initial: Any, transition: Any, density: Any) -> Any:
        A = jnp.exp(transition[1:] if moving else transition[0])
        return hmm_filter(jnp.exp(initial), A, density).marginal_loglik

    return _mapped(one, case, gradient)


def peer_hmmlearn(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """hmmlearn, `GaussianHMM.score` with scaled probabilities; it has no gradients."""
    from hmmlearn.hmm import GaussianHMM

    if gradient:
        raise NotImplementedError("no gradients")
    if len(case["transition"]) > 1:
        raise NotImplementedError("one transition for all rows")
    series, rows = case["y"].shape
    model = GaussianHMM(len(case["means"]), covariance_type="diag", implementation="scaling")
    model.startprob_, model.transmat_ = np.exp(case["initial"]), np.exp(case["transition"][0])
    model.means_, model.covars_ = case["means"][:, None], case["scales"][:, None] ** 2
    y = case["y"].reshape(-1, 1)
    return lambda: float(model.score(y, [rows] * series))


def peer_deeptime(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """deeptime, its compiled forward pass over its Gaussian densities, series by series; it has no gradients."""
    from deeptime.markov.hmm import GaussianOutputModel
    from deeptime.markov.hmm._hmm_bindings.util import forward

    if gradient:
        raise NotImplementedError("no gradients")
    if len(case["transition"]) > 1:
        raise NotImplementedError("one transition for all rows")
    K = len(case["means"])
    model = GaussianOutputModel(K, case["means"], case["scales"])
    kept = np.empty((case["y"].shape[1], K))

    def run() -> float:
        start, A = np.exp(case["initial"]), np.exp(case["transition"][0])
        return sum(forward(A, model.to_state_probability_trajectory(y), start, alpha_out=kept) for y in case["y"])

    return run


def peer_pyro(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Pyro, `DiscreteHMM`, whose law starts one transition before the first row."""
    import torch
    from pyro.distributions import DiscreteHMM, Normal

    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in ("before", *LEAVES[1:])]
    rows = case["y"].shape[-1]

    def run() -> float:
        law = DiscreteHMM(a["before"], a["transition"], Normal(a["means"], a["scales"]), duration=rows)
        value = law.log_prob(a["y"]).sum()
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


def too_large(name: str, case: tuple[Any, ...]) -> bool:
    """Whether a peer would need more memory than common machines have: Pyro forms all sums of products of matrices."""
    states, rows, series, _ = case
    return name == "pyro DiscreteHMM" and states**3 * rows * series > 10**8


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    states, rows, series, system = case
    return f"{states}, {rows:,}, {series}, {system}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Log-likelihood of hidden Markov chains",
    columns="states, rows, series, system",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders={
        "dynplat torch": ours_torch,
        "dynplat jax": ours_jax,
        "jax scan, scaled": peer_scaled,
        "jax scan, logarithms": peer_log,
        "dynamax": peer_dynamax,
        "hmmlearn": peer_hmmlearn,
        "deeptime": peer_deeptime,
        "pyro DiscreteHMM": peer_pyro,
    },
    ours=OURS,
    best_of=OURS,
    too_large=too_large,
    describe=describe,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
