"""Log-likelihoods of linear SDEs at irregular times, discretisation included, and their gradients.

`measurement.py` says how contenders are measured; values must agree to 1e-8 (float64).

Gaps: `all different`, or `ten different` ones in random order. Gradients are those with respect to the drift matrix,
the noise loading and the observation noise covariance. Peers discretise by the exponential of a block matrix (Van
Loan).

Run: python benchmarks/irregular_times.py [--quick] [--markdown FILE]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (states, channels, rows, gaps)
CASES = (
    (4, 2, 1_000, "all different"),
    (4, 2, 10_000, "all different"),
    (4, 2, 10_000, "ten different"),
    (4, 2, 100_000, "all different"),
    (16, 8, 1_000, "all different"),
)
QUICK = CASES[:2]
OURS = ("dynplat torch", "dynplat jax")


def make_case(n: int, p: int, rows: int, gaps: str) -> dict[str, np.ndarray]:
    """The system and its data: A, L, H, R, m0, P0, times, y."""
    rng = np.random.default_rng(0)
    between = rng.exponential(1.0, rows)
    if gaps == "ten different":
        between = between[:10][rng.integers(0, 10, rows)]
    return {
        "A": 0.6 * rng.standard_normal((n, n)) / np.sqrt(n) - 0.7 * np.eye(n),
        "L": 0.6 * np.eye(n),
        "H": rng.standard_normal((p, n)),
        "R": 0.5 * np.eye(p),
        "m0": np.zeros(n),
        "P0": np.eye(n),
        "times": np.cumsum(between),
        "y": rng.standard_normal((rows, p)),
    }


def ours_torch(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our linear SDE under torch."""
    import torch

    from dynplat.arrays import Observations
    from dynplat.process import LinearSDE
    from dynplat.process.dynamics import Dense

    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in ("A", "L", "R")]
    data = Observations(case["times"], a["y"], np.ones(case["y"].shape, dtype=bool))

    def run() -> float:
        process = LinearSDE(Dense(a["A"], a["L"]), a["H"], a["R"], a["m0"], a["P0"])
        value = process.log_prob(data)
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


def ours_jax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Our linear SDE under JAX; the times are known numbers."""
    import jax.numpy as jnp

    from dynplat.arrays import Observations
    from dynplat.process import LinearSDE
    from dynplat.process.dynamics import Dense

    a = {name: jnp.asarray(value) for name, value in case.items()}
    mask = np.ones(case["y"].shape, dtype=bool)

    def value(A: Any, L: Any, R: Any) -> Any:
        process = LinearSDE(Dense(A, L), a["H"], R, a["m0"], a["P0"])
        return process.log_prob(Observations(case["times"], a["y"], mask))

    return _jitted(value, a, gradient)


def _jitted(value: Any, a: dict[str, Any], gradient: bool) -> Any:
    import jax

    function = jax.jit(jax.value_and_grad(value, (0, 1, 2)) if gradient else value)

    def run() -> float:
        out = jax.block_until_ready(function(a["A"], a["L"], a["R"]))
        return float(out[0] if gradient else out)

    return run


def peer_scan(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """`jax.scipy.linalg.expm` mapped over the different gaps, then a filter written by hand with `lax.scan`."""
    import jax
    import jax.numpy as jnp

    a = {name: jnp.asarray(value) for name, value in case.items()}
    n, p = case["A"].shape[0], case["H"].shape[0]
    unique, place = np.unique(np.diff(case["times"]), return_inverse=True)

    def value(A: Any, L: Any, R: Any) -> Any:
        F, Q = _jax_discretise(A, L, jnp.asarray(unique))
        F, Q = (jnp.concatenate([x[:1], x[place]]) for x in (F, Q))

        def step(state: Any, now: Any) -> Any:
            m, P = state
            F, Q, y, first = now
            m, P = jnp.where(first, m, F @ m), jnp.where(first, P, F @ P @ F.T + Q)
            S = a["H"] @ P @ a["H"].T + R
            factor = jnp.linalg.cholesky(S)
            v = y - a["H"] @ m
            K = jax.scipy.linalg.cho_solve((factor, True), a["H"] @ P).T
            w = jax.scipy.linalg.solve_triangular(factor, v, lower=True)
            value = -0.5 * w @ w - jnp.log(jnp.diag(factor)).sum() - 0.5 * p * jnp.log(2 * jnp.pi)
            return (m + K @ v, P - K @ S @ K.T), value

        first = jnp.arange(len(case["y"])) == 0
        return jax.lax.scan(step, (a["m0"], a["P0"]), (F, Q, a["y"], first))[1].sum()

    assert n == case["L"].shape[0]
    return _jitted(value, a, gradient)


def _jax_discretise(A: Any, L: Any, gaps: Any) -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    n = A.shape[0]

    def one(gap: Any) -> tuple[Any, Any]:
        block = jnp.block([[-A, L @ L.T], [jnp.zeros((n, n)), A.T]])
        exponential = jax.scipy.linalg.expm(block * gap)
        F = exponential[n:, n:].T
        return F, F @ exponential[:n, n:]

    return jax.vmap(one)(gaps)


def peer_statsmodels(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """`scipy.linalg.expm` of all different gaps at once, then statsmodels' compiled filter; no gradients."""
    import scipy.linalg
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

    if gradient:
        raise NotImplementedError("no gradients")
    n = case["A"].shape[0]
    unique, place = np.unique(np.diff(case["times"]), return_inverse=True)
    built = KalmanFilter(k_endog=case["y"].shape[1], k_states=n, loglikelihood_burn=0)
    built.bind(np.asfortranarray(case["y"].T))
    built["selection"], built["design"], built["obs_cov"] = np.eye(n), case["H"], case["R"]
    built.initialize_known(case["m0"], case["P0"])
    built.tolerance = 0.0
    block = np.block([[-case["A"], case["L"] @ case["L"].T], [np.zeros((n, n)), case["A"].T]])

    def run() -> float:
        exponential = scipy.linalg.expm(block * unique[:, None, None])
        F = exponential[:, n:, n:].swapaxes(1, 2)
        Q = F @ exponential[:, :n, n:]
        # Its transition of row t leads into row t + 1; the last leads nowhere.
        into = np.concatenate([place, place[-1:]])
        built["transition"], built["state_cov"] = np.moveaxis(F[into], 0, -1), np.moveaxis(Q[into], 0, -1)
        return float(built.loglike())

    return run


def peer_cuthbert(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """cuthbert, sequential, with the same exponentials; square roots of covariances are its parameters."""
    import jax.numpy as jnp
    from cuthbert import filter as run_filter
    from cuthbert.gaussian import kalman

    a = {name: jnp.asarray(value) for name, value in case.items()}
    n, p = case["A"].shape[0], case["H"].shape[0]
    rows = len(case["y"])
    unique, place = np.unique(np.diff(case["times"]), return_inverse=True)
    into = jnp.asarray(np.concatenate([place[:1], place]))

    def value(A: Any, L: Any, R: Any) -> Any:
        F, Q = _jax_discretise(A, L, jnp.asarray(unique))
        factors = jnp.linalg.cholesky((Q + Q.mT) / 2)

        def dynamics(t: Any) -> Any:
            # Its start is the state before the first row: that transition is the identity.
            first = t == 0
            at = into[t]
            return jnp.where(first, jnp.eye(n), F[at]), jnp.zeros(n), jnp.where(first, 0.0, factors[at])

        built = kalman.build_filter(
            a["m0"],
            jnp.linalg.cholesky(a["P0"]),
            dynamics,
            lambda t: (a["H"], jnp.zeros(p), jnp.linalg.cholesky(R), a["y"][t]),
        )
        states = run_filter(built, jnp.arange(rows), built.init_prepare(), parallel=False)
        return states.log_normalizing_constant[-1]

    return _jitted(value, a, gradient)


CONTENDERS = {
    "dynplat torch": ours_torch,
    "dynplat jax": ours_jax,
    "jax lax.scan": peer_scan,
    "cuthbert": peer_cuthbert,
    "statsmodels": peer_statsmodels,
}

if __name__ == "__main__":
    sys.exit(
        main(
            Benchmark(
                doc=str(__doc__),
                heading="Log-likelihood of a linear SDE",
                columns="(n, p), rows, gaps",
                file=__file__,
                cases=CASES,
                quick=QUICK,
                make_case=make_case,
                contenders=CONTENDERS,
                ours=OURS,
                best_of=OURS,
                too_large=lambda name, case: name not in OURS and case[2] > 10_000,
                describe=lambda case: f"({case[0]}, {case[1]}), {case[2]:,}, {case[3]}",
            )
        )
    )
