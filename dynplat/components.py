"""The core's own components, provided through the same hooks as those of plugins.

Each hook imports its records when it is called, so that asking for one kind does not import the rooms of the others.
"""

from __future__ import annotations

from dynplat.host import hookimpl
from dynplat.records import DatasetEntry, InferenceEntry, ModelEntry, ScoreEntry


@hookimpl
def dynplat_models() -> tuple[ModelEntry, ...]:
    """Return the baselines that models of populations are compared with."""
    from dynplat.comparison.baselines.entries import ENTRIES

    return ENTRIES


@hookimpl
def dynplat_datasets() -> tuple[DatasetEntry, ...]:
    """Return the data sets of the catalogue."""
    from dynplat.data.catalogue.entries import ENTRIES

    return ENTRIES


@hookimpl
def dynplat_inferences() -> tuple[InferenceEntry, ...]:
    """Return the inference methods of the core."""
    from dynplat.inference.entries import ENTRIES

    return ENTRIES


@hookimpl
def dynplat_scores() -> tuple[ScoreEntry, ...]:
    """Return the scores of the core."""
    from dynplat.comparison.entries import ENTRIES, POPULATION_ENTRIES

    return (*ENTRIES, *POPULATION_ENTRIES)
