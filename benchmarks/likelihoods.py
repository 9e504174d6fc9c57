"""Log-likelihoods of linear-Gaussian chains, and their gradients: dynplat beside other libraries, in one run.

`measurement.py` says how contenders are measured; values must agree to 1e-8 (float64).

Systems: `invariant` (nothing changes in time), `general` (transitions and noise change at every row), both fully
observed, since most peers know no holes, and `holes` (general, one cell in five is missing). Gradients are those with
respect to the transition and both noise covariances. What leaves out work once covariances have converged (dynplat's
steady state, statsmodels' early stop) stands beside what never does.

Run: python benchmarks/likelihoods.py [--quick] [--markdown FILE]
Peers: pip install 'dynplat[benchmarks]'
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from measurement import Benchmark, main

#: (states, channels, rows, series, system)
CASES = (
    (4, 2, 1_000, 1, "invariant"),
    (4, 2, 10_000, 1, "invariant"),
    (4, 2, 100_000, 1, "invariant"),
    (16, 8, 1_000, 1, "invariant"),
    (16, 8, 10_000, 1, "invariant"),
    (4, 2, 1_000, 64, "invariant"),
    (16, 8, 1_000, 64, "invariant"),
    (4, 2, 1_000, 1, "general"),
    (4, 2, 10_000, 1, "general"),
    (4, 2, 100_000, 1, "general"),
    (16, 8, 1_000, 1, "general"),
    (4, 2, 1_000, 1, "holes"),
    (4, 2, 10_000, 1, "holes"),
    (4, 2, 1_000_000, 1, "invariant"),
)
QUICK = ((4, 2, 1_000, 1, "invariant"), (4, 2, 1_000, 64, "invariant"), (4, 2, 1_000, 1, "general"))

OURS = ("dynplat torch", "dynplat jax", "dynplat torch, no steady state", "dynplat jax, no steady state")
#: Longest series each peer is given: beyond it a call takes minutes.
LIMITS = {"cuthbert": 10_000, "dynamax": 100_000, "jax lax.scan": 100_000, "pyro GaussianHMM": 100_000}


def make_case(n: int, p: int, rows: int, series: int, system: str) -> dict[str, np.ndarray]:
    """The system and its data: F, Q, H, R with a time axis (length 1 where nothing changes), m0, P0, y (NaN = hole)."""
    rng = np.random.default_rng(0)
    times = 1 if system == "invariant" else rows
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    damping = rng.uniform(0.85, 0.99, (times, 1, 1))
    scale = rng.uniform(0.5, 1.5, (times, 1, 1))
    y = rng.standard_normal((series, rows, p))
    if system == "holes":
        y[rng.random(y.shape) < 0.2] = np.nan
    return {
        "F": damping * turn,
        "Q": 0.1 * scale * np.eye(n),
        "H": np.broadcast_to(rng.standard_normal((1, p, n)), (1, p, n)).copy(),
        "R": 0.5 * scale[::-1] * np.eye(p),
        "m0": np.zeros(n),
        "P0": np.eye(n),
        "y": y,
    }


# ------------------------------------------------------------------------------------------------------- contenders
# Each returns a function without arguments that computes the log-likelihood, summed over series, and with `gradient`
# the gradients with respect to F, Q and R too.


def ours_torch(case: dict[str, np.ndarray], gradient: bool, steady_state: bool = True) -> Any:
    """Our chain under torch."""
    import torch

    from dynplat.arrays import Observations
    from dynplat.process import LinearGaussian

    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in ("F", "Q", "R")]
    rows = a["y"].shape[-2]
    data = Observations(torch.arange(rows, dtype=torch.float64), a["y"].nan_to_num(), a["y"].isfinite())

    def run() -> float:
        chain = LinearGaussian(a["F"], a["Q"], a["H"], a["R"], a["m0"], a["P0"], steady_state=steady_state)
        value = chain.log_prob(data).sum()
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


def ours_jax(case: dict[str, np.ndarray], gradient: bool, steady_state: bool = True) -> Any:
    """Our chain under JAX."""
    import jax.numpy as jnp

    from dynplat.arrays import Observations
    from dynplat.process import LinearGaussian

    a = {name: jnp.asarray(value) for name, value in case.items()}
    mask = np.isfinite(case["y"])
    times = np.arange(float(case["y"].shape[-2]))
    a["y"] = jnp.nan_to_num(a["y"])

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        chain = LinearGaussian(F, Q, a["H"], R, a["m0"], a["P0"], steady_state=steady_state)
        return chain.log_prob(Observations(times, y, mask)).sum()

    return jitted(value, a, gradient)


def _refuse_holes(case: dict[str, np.ndarray]) -> None:
    if np.isnan(case["y"]).any():
        raise NotImplementedError("knows no missing cells")


def jitted(value: Any, a: dict[str, Any], gradient: bool) -> Any:
    """Compile a function of F, Q, R and y, with its gradients on request, and call it with a case."""
    import jax

    function = jax.jit(jax.value_and_grad(value, (0, 1, 2)) if gradient else value)

    def run() -> float:
        out = jax.block_until_ready(function(a["F"], a["Q"], a["R"], a["y"]))
        return float(out[0] if gradient else out)

    return run


def peer_scan(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """A Kalman filter written by hand with `lax.scan`, mapped over series."""
    import jax
    import jax.numpy as jnp

    a = {name: jnp.asarray(value) for name, value in case.items()}
    rows, p = case["y"].shape[-2:]
    moving, holes = case["F"].shape[0] > 1, bool(np.isnan(case["y"]).any())

    def one(F: Any, Q: Any, R: Any, y: Any) -> Any:
        def step(state: Any, now: Any) -> Any:
            m, P = state
            F, Q, R, y, first = now if moving else (*shared, *now)
            m, P = jnp.where(first, m, F @ m), jnp.where(first, P, F @ P @ F.T + Q)
            count, H = p, a["H"][0]
            if holes:
                seen = jnp.isfinite(y)
                count, H, y = seen.sum(), H * seen[:, None], jnp.where(seen, y, 0.0)
                R = jnp.where(seen[:, None] & seen, R, jnp.eye(p))
            S = H @ P @ H.T + R
            L = jnp.linalg.cholesky(S)
            v = y - H @ m
            K = jax.scipy.linalg.cho_solve((L, True), H @ P).T
            w = jax.scipy.linalg.solve_triangular(L, v, lower=True)
            value = -0.5 * w @ w - jnp.log(jnp.diag(L)).sum() - 0.5 * count * jnp.log(2 * jnp.pi)
            return (m + K @ v, P - K @ S @ K.T), value

        shared = (F[0], Q[0], R[0])
        first = jnp.arange(rows) == 0
        steps = (F, Q, R, y, first) if moving else (y, first)
        return jax.lax.scan(step, (a["m0"], a["P0"]), steps)[1].sum()

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        return jax.vmap(one, (None, None, None, 0))(F, Q, R, y).sum()

    return jitted(value, a, gradient)


def peer_dynamax(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """dynamax, `lgssm_filter`, mapped over series."""
    _refuse_holes(case)
    import jax
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm import lgssm_filter

    a = {name: jnp.asarray(value) for name, value in case.items()}

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        parameters = dynamax_parameters(a, F, Q, R)
        return jax.vmap(lambda y: lgssm_filter(parameters, y).marginal_loglik)(y).sum()

    return jitted(value, a, gradient)


def dynamax_parameters(a: dict[str, Any], F: Any, Q: Any, R: Any) -> Any:
    """The system in dynamax's form."""
    import jax.numpy as jnp
    from dynamax.linear_gaussian_ssm.inference import (
        ParamsLGSSM,
        ParamsLGSSMDynamics,
        ParamsLGSSMEmissions,
        ParamsLGSSMInitial,
    )

    F, Q, R = (x if x.shape[0] > 1 else x[0] for x in (F, Q, R))
    n, p = F.shape[-1], R.shape[-1]
    return ParamsLGSSM(
        initial=ParamsLGSSMInitial(mean=a["m0"], cov=a["P0"]),
        dynamics=ParamsLGSSMDynamics(weights=F, bias=jnp.zeros(n), input_weights=jnp.zeros((n, 0)), cov=Q),
        emissions=ParamsLGSSMEmissions(weights=a["H"][0], bias=jnp.zeros(p), input_weights=jnp.zeros((p, 0)), cov=R),
    )


def peer_cuthbert(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """cuthbert, `gaussian.kalman`, sequential, mapped over series; square roots of covariances are its parameters."""
    _refuse_holes(case)
    import jax
    import jax.numpy as jnp
    from cuthbert import filter as run_filter
    from cuthbert.gaussian import kalman

    a = {name: jnp.asarray(value) for name, value in case.items()}
    n, p = case["F"].shape[-1], case["H"].shape[-2]
    rows = case["y"].shape[-2]

    def one(F: Any, Q: Any, R: Any, y: Any) -> Any:
        pick = lambda x, t: x[jnp.minimum(t, x.shape[0] - 1)]  # noqa: E731

        def dynamics(t: Any) -> Any:
            # Its start is the state before the first row: that transition is the identity.
            first = t == 0
            factor = jnp.linalg.cholesky(pick(Q, t))
            return jnp.where(first, jnp.eye(n), pick(F, t)), jnp.zeros(n), jnp.where(first, 0.0, factor)

        built = kalman.build_filter(
            a["m0"],
            jnp.linalg.cholesky(a["P0"]),
            dynamics,
            lambda t: (a["H"][0], jnp.zeros(p), jnp.linalg.cholesky(pick(R, t)), pick(y, t)),
        )
        states = run_filter(built, jnp.arange(rows), built.init_prepare(), parallel=False)
        return states.log_normalizing_constant[-1]

    def value(F: Any, Q: Any, R: Any, y: Any) -> Any:
        return jax.vmap(one, (None, None, None, 0))(F, Q, R, y).sum()

    return jitted(value, a, gradient)


def peer_statsmodels(case: dict[str, np.ndarray], gradient: bool, tolerance: float = 0.0) -> Any:
    """statsmodels, the compiled Kalman filter, series one after the other; it has no gradients.

    With a tolerance above 0 (1e-19 is its default) it stops updating covariances that have converged.
    """
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

    if gradient:
        raise NotImplementedError("no gradients")
    filters = []
    for y in case["y"]:
        built = KalmanFilter(k_endog=y.shape[1], k_states=case["F"].shape[-1], loglikelihood_burn=0)
        built.bind(np.asfortranarray(y.T))
        # Its transition of row t leads into row t + 1.
        F, Q = (np.concatenate([case[x][1:], case[x][:1]]) if len(case[x]) > 1 else case[x] for x in "FQ")
        built["transition"], built["state_cov"] = np.moveaxis(F, 0, -1), np.moveaxis(Q, 0, -1)
        built["selection"] = np.eye(case["F"].shape[-1])
        built["design"], built["obs_cov"] = np.moveaxis(case["H"], 0, -1), np.moveaxis(case["R"], 0, -1)
        built.initialize_known(case["m0"], case["P0"])
        built.tolerance = tolerance
        filters.append(built)

    def run() -> float:
        return sum(float(built.loglike()) for built in filters)

    return run


def peer_pyro(case: dict[str, np.ndarray], gradient: bool) -> Any:
    """Pyro, `GaussianHMM`; its law starts one transition before the first row, so the start is shifted to agree."""
    import torch
    from pyro.distributions import GaussianHMM, MultivariateNormal

    _refuse_holes(case)
    if case["F"].shape[0] > 1:
        raise NotImplementedError("its first transition cannot be left out of a chain that changes in time")
    a = {name: torch.tensor(value) for name, value in case.items()}
    leaves = [a[name].requires_grad_(gradient) for name in ("F", "Q", "R")]
    n, p = case["F"].shape[-1], case["H"].shape[-2]
    # x_0 ~ N(m0, P0) is F x_{-1} + N(0, Q) with x_{-1} ~ N(F^{-1} m0, F^{-1} (P0 - Q) F^{-T}).
    inverse = np.linalg.inv(case["F"][0])
    start = torch.tensor(inverse @ (case["P0"] - case["Q"][0]) @ inverse.T)
    rows = case["y"].shape[-2]

    def run() -> float:
        law = GaussianHMM(
            MultivariateNormal(torch.zeros(n, dtype=torch.float64), start),
            a["F"][0].mT,
            MultivariateNormal(torch.zeros(n, dtype=torch.float64), a["Q"][0]),
            a["H"][0].mT,
            MultivariateNormal(torch.zeros(p, dtype=torch.float64), a["R"][0]),
            duration=rows,
        )
        value = law.log_prob(a["y"]).sum()
        if gradient:
            torch.autograd.grad(value, leaves)
        return float(value.detach())

    return run


CONTENDERS = {
    "dynplat torch": ours_torch,
    "dynplat torch, no steady state": lambda case, gradient: ours_torch(case, gradient, steady_state=False),
    "dynplat jax, no steady state": lambda case, gradient: ours_jax(case, gradient, steady_state=False),
    "dynplat jax": ours_jax,
    "jax lax.scan": peer_scan,
    "dynamax": peer_dynamax,
    "cuthbert": peer_cuthbert,
    "statsmodels": peer_statsmodels,
    "statsmodels, early stop": lambda case, gradient: peer_statsmodels(case, gradient, tolerance=1e-19),
    "pyro GaussianHMM": peer_pyro,
}


def describe(case: tuple[Any, ...]) -> str:
    """Words for a case in a table."""
    n, p, rows, series, system = case
    return f"({n}, {p}), {rows:,}, {series}, {system}"


BENCHMARK = Benchmark(
    doc=__doc__ or "",
    heading="Log-likelihood",
    columns="(n, p), rows, series, system",
    file=__file__,
    cases=CASES,
    quick=QUICK,
    make_case=make_case,
    contenders=CONTENDERS,
    ours=OURS,
    best_of=OURS[:2],
    too_large=lambda name, case: case[2] > LIMITS.get(name, 10**9),
    describe=describe,
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
