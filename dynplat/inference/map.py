r"""Maximum a posteriori: the mode of the posterior density, on the unconstrained or the natural scale.

With u the unconstrained parameters (the logarithm of a standard deviation, say) the mode on their scale maximises
:math:`p(\theta(u)) p(y \mid \theta(u)) |d\theta / du|`, that of the natural parameters the same without the Jacobian.
The two are CmdStan's `optimize` with `jacobian=true` and `false`.

A mode moves with the scale it is taken on, and under a wide log-normal prior it moves far: that of the natural
parameter lies at :math:`m \exp(-w^2)` for median m and log-sd w (a tenth of the median for w = 1.5), that of its
logarithm at m. With few data the natural mode makes variances too small, and intervals with them, as
`benchmarks/map_coverage.py` measures. The unconstrained mode is therefore the default; it is also the centre of
`laplace`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dynplat.inference.density import Objective
from dynplat.inference.point import run_point

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior


def run(
    model: AbstractModel,
    data: Trajectories | Snapshots,
    *,
    seed: int,
    language: str | None = None,
    observers: Iterable[Observer] = (),
    device: str = "cpu",
    dtype: str = "float64",
    restarts: int = 2,
    max_steps: int = 500,
    errors: bool = True,
    jacobian: bool = True,
) -> Posterior:
    """Maximise the posterior density.

    Standard errors come from the curvature of the log posterior at its mode, by the delta method. A parameter at the
    boundary of its support gets NaN and a note.

    Args:
        model: The model.
        data: The data.
        seed: Determines the draws of the prior from which the starts and the units of the search are taken.
        language: `numpyro` or `pyro`; None takes the model's first.
        observers: Told after each step of the search.
        device: Device of the arrays.
        dtype: `float64` or `float32`.
        restarts: Further starts, at draws of the prior.
        max_steps: Iterations of L-BFGS per start.
        errors: Whether standard errors are wanted.
        jacobian: True for the mode of the density on the unconstrained scale, False for that of the density of the
            natural parameters. Point-estimated sites have no density, and never a Jacobian.

    Returns:
        A posterior of one draw; `extra` in its provenance holds `log_likelihood`, `log_prior`, `standard_errors`,
        `converged`.

    Raises:
        CapabilityError: The model lacks a prior, a likelihood or gradients.
        InferenceError: The density is not finite at any start.
        NoDensityError: The process has no density at the start.
    """
    return run_point(
        "map",
        Objective.UNCONSTRAINED if jacobian else Objective.NATURAL,
        model,
        data,
        seed=seed,
        language=language,
        observers=observers,
        device=device,
        dtype=dtype,
        restarts=restarts,
        max_steps=max_steps,
        errors=errors,
        options={"jacobian": jacobian},
    )
