"""What a variational fit is asked for and what it gives, in either language."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dynplat.errors import InferenceError


class Plan(NamedTuple):
    """Options of a variational fit. See `dynplat.inference.svi.run`.

    Attributes:
        guide: `normal`, `low-rank`, `full-rank` or `model`.
        num_steps: Steps of Adam.
        learning_rate: Rate of the first step.
        final_rate: Rate of the last step relative to the first; it decays geometrically.
        num_particles: Draws of the guide per step.
        num_draws: Draws of the fitted guide.
        init_scale: Standard deviation of the guide at the start, on the unconstrained scale.
        rank: Rank of the `low-rank` guide; None for the language's choice, about the square root of the dimension.
        keep_interrupted: Whether Ctrl-C ends the fit with what there is.
    """

    guide: str
    num_steps: int
    learning_rate: float
    final_rate: float
    num_particles: int
    num_draws: int
    init_scale: float
    rank: int | None
    keep_interrupted: bool


class Fitted(NamedTuple):
    """A fitted guide.

    Attributes:
        values: Draws (draw, ...) of the sites, in the language's own shapes.
        elbo: Evidence lower bound at each step.
        interrupted: Whether Ctrl-C ended the fit.
    """

    values: dict[str, np.ndarray]
    elbo: np.ndarray
    interrupted: bool


def failure(model: str, step: int, plan: Plan, last: str) -> InferenceError:
    """The error of a fit whose bound is no number."""
    return InferenceError(
        f"svi: the evidence lower bound of {model} is not finite at step {step} of {plan.num_steps}; the last good "
        f"values were {last}. Lower `learning_rate` (now {plan.learning_rate:g}), raise `num_particles`, or start "
        "narrower with `init_scale`."
    )
