"""The hooks: all that the platform asks of a plugin.

A plugin is a module, named by an entry point of the group `dynplat.plugins`, that holds functions of these names marked
with `hookimpl`, and the integer `requires_api`. An implementation may leave out arguments that it does not use, so a
hook can gain arguments without breaking plugins.

The first four say what a plugin provides: records, never objects, so that reading them imports no numerical framework.
The last three let a plugin watch fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from dynplat.records import DatasetEntry, Entry, InferenceEntry, ModelEntry, ScoreEntry

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel
    from dynplat.posterior import Posterior

PROJECT = "dynplat"

hookspec = pluggy.HookspecMarker(PROJECT)

#: Marks a function of a plugin as the implementation of the hook whose name it bears.
hookimpl = pluggy.HookimplMarker(PROJECT)

#: Kind of component -> hook that provides it and type of its record.
KINDS: dict[str, tuple[str, type[Entry]]] = {
    "model": ("dynplat_models", ModelEntry),
    "dataset": ("dynplat_datasets", DatasetEntry),
    "inference": ("dynplat_inferences", InferenceEntry),
    "score": ("dynplat_scores", ScoreEntry),
}


@hookspec
def dynplat_models() -> Iterable[ModelEntry]:
    """Return the models that the plugin provides."""
    raise NotImplementedError


@hookspec
def dynplat_datasets() -> Iterable[DatasetEntry]:
    """Return the data sets that the plugin provides."""
    raise NotImplementedError


@hookspec
def dynplat_inferences() -> Iterable[InferenceEntry]:
    """Return the inference methods that the plugin provides."""
    raise NotImplementedError


@hookspec
def dynplat_scores() -> Iterable[ScoreEntry]:
    """Return the scores that the plugin provides."""
    raise NotImplementedError


@hookspec
def dynplat_fit_started(model: AbstractModel, data: Trajectories | Snapshots, method: str) -> None:
    """Hear that a fit starts.

    Args:
        model: The model.
        data: The training data.
        method: Id of the inference.
    """


@hookspec
def dynplat_fit_step(step: int, total: int | None, info: Mapping[str, Any]) -> None:
    """Hear that a step of the running fit has ended.

    Args:
        step: Number of steps that have ended; 1 after the first.
        total: Number of steps there will be, or None when nobody knows.
        info: Figures of the step by name, such as `loss`.
    """


@hookspec
def dynplat_fit_ended(posterior: Posterior | None, error: BaseException | None) -> None:
    """Hear that the fit has ended: exactly one of the two arguments is None.

    Args:
        posterior: The result, or None.
        error: What ended the fit, or None.
    """
