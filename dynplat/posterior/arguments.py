"""Arguments of a question: checked once, at the door, and brought to one shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.errors import ArgumentError
from dynplat.posterior.ask import FRAMEWORKS
from dynplat.posterior.times import Query

if TYPE_CHECKING:
    from dynplat.model import AbstractModel, Context
#: Number of parameter draws from which on compiling a question pays.
MANY_DRAWS = 16


def framework_of(model: AbstractModel, language: str, num_draws: int = MANY_DRAWS) -> str:
    """Choose the framework of the language of the fit, of the model's first language, or NumPy.

    JAX compiles for seconds what torch computes at once: below `MANY_DRAWS` parameter draws torch is taken where the
    model declares its language.
    """
    if num_draws < MANY_DRAWS and "pyro" in model.capabilities.languages:
        return FRAMEWORKS["pyro"]
    for candidate in (language, *model.capabilities.languages):
        if candidate in FRAMEWORKS:
            return FRAMEWORKS[candidate]
    return "numpy"


def channel_names(model: AbstractModel, context: Context, of: str, width: int) -> tuple[str, ...]:
    """Names along the channel axis of an answer; states are called as the model labels its dimension `state`."""
    if of != "state":
        return context.channels
    labels = tuple(str(label) for label in model.coords(context).get("state", ()))
    return labels if len(labels) == width else tuple(f"state{index}" for index in range(width))


def check_count(name: str, count: Any, least: int) -> None:
    """Refuse what is not an integer of at least `least`."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise ArgumentError(f"`{name}` must be an integer of at least {least}; got {count!r}.")


def read_inputs(inputs: Any, query: Query, names: tuple[str, ...]) -> np.ndarray | None:
    """Bring known inputs at the query times to (series, query, input).

    Raises:
        ArgumentError: They are missing, superfluous, of another shape or not finite.
    """
    if not names:
        if inputs is not None:
            raise ArgumentError("`inputs` were given, and the model was fitted without any. Leave them out.")
        return None
    if inputs is None:
        raise ArgumentError(
            f"`inputs` at the query times are needed, (query, input) or (series, query, input): {names}."
        )
    shape = (*query.times.shape, len(names))
    try:
        given = np.broadcast_to(np.asarray(inputs, dtype=np.float64), shape)
    except ValueError as error:
        raise ArgumentError(
            f"`inputs` must be numbers that broadcast to (series, query, input) = {shape}; got {np.shape(inputs)}."
        ) from error
    if not np.isfinite(given[query.valid]).all():
        raise ArgumentError("`inputs` must be finite at every query time.")
    return np.where(query.valid[:, :, None], given, 0.0)


def read_values(values: Any, query: Query, num_channels: int, of: str) -> np.ndarray:
    """Bring values whose density is wanted to (series, query, channel)."""
    if of != "observation":
        raise ArgumentError(f"`values` are observations; ask for `of='observation'`, not {of!r}.")
    shape = (*query.times.shape, num_channels)
    try:
        return np.array(np.broadcast_to(np.asarray(values, dtype=np.float64), shape))
    except ValueError as error:
        raise ArgumentError(
            f"`values` must be numbers that broadcast to (series, query, channel) = {shape}; got {np.shape(values)}."
        ) from error
