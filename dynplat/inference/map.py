r"""Maximum a posteriori: the mode of the density of the natural parameters.

The density is that of the parameters as the prior writes them, :math:`p(\theta) p(y \mid \theta)`: no Jacobian of the
map from the unconstrained scale enters, so that the estimate does not depend on how the platform parametrises its
search. (The mode on the unconstrained scale is what `laplace` uses.)
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
) -> Posterior:
    """Maximise the posterior density of the natural parameters.

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
        Objective.NATURAL,
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
    )
