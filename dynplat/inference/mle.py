"""Maximum likelihood: the prior only says where the parameters live and where the search starts."""

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
    """Maximise the likelihood over the supports of the prior's sites.

    Standard errors are those of the inverse observed information, by the delta method. A parameter at the boundary of
    its support, or one that the data do not determine, gets NaN and a note.

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
        A posterior of one draw; `extra` in its provenance holds `log_likelihood`, `standard_errors`, `converged`.

    Raises:
        CapabilityError: The model lacks a likelihood, gradients or a prior program that names its parameters.
        InferenceError: The likelihood is not finite at any start.
        NoDensityError: The process has no density at the start.
    """
    return run_point(
        "mle",
        Objective.LIKELIHOOD,
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
