"""The joint program of a model and its data: the prior, and the likelihood as one factor per series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.arrays import Observations

if TYPE_CHECKING:
    from dynplat.inference.dialect import AbstractDialect
    from dynplat.model import AbstractModel, Context

#: Name of the likelihood's term in the joint program.
LOG_LIKELIHOOD = "log_likelihood"


def joint_program(
    model: AbstractModel, context: Context, observations: Observations, dialect: Callable[[], AbstractDialect]
) -> Callable[[], None]:
    """Return the joint program, a function without arguments that emits to the language of `dialect`.

    It says `prior`, then inside `pp.plate("series")` the factor `log_likelihood` with one term per series, so that what
    scales the plate scales the likelihood.
    """

    def program() -> None:
        pp = dialect()
        model.prior(pp, context)
        log_likelihood = model.process(pp.sites, context).log_prob(observations)
        with pp.plate("series"):
            pp.factor(LOG_LIKELIHOOD, log_likelihood)

    return program


def log_joint(
    model: AbstractModel,
    context: Context,
    observations: Observations,
    values: Mapping[str, Any],
    language: str,
    *,
    dtype: str = "float64",
    device: str = "cpu",
) -> float:
    """Log prior plus log likelihood at given values of the sites, on their natural scale.

    Args:
        model: The model.
        context: Its context.
        observations: What its process sees, as host arrays.
        values: Value of each random and point-estimated site: core dimensions, after the series dimension where the
            site is local. Axes of length 1 may be added or left out.
        language: `numpyro` or `pyro`: evaluates the prior, and its framework the likelihood.
        dtype: `float64` or `float32`.
        device: Device of the arrays.

    Returns:
        log p(theta) + log p(y | theta), point-estimated sites counting 0 in the first term.

    Raises:
        ArgumentError: A site has no value, or one of another size.
    """
    from dynplat.inference.fitting import density_for, runtime

    with runtime(language, seed=0, dtype=dtype, device=device) as to_array:
        density = density_for(language)(model, context, observations, to_array)
        return density.log_joint({name: np.asarray(value, dtype=np.float64) for name, value in values.items()})
