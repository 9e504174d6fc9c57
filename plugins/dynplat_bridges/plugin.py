"""What the host reads: the hook implementations of the family."""

from __future__ import annotations

from dynplat.host import hookimpl
from dynplat.records import ModelEntry
from dynplat_bridges.entries import ENTRIES

#: Version of the platform's contract that this plugin is written for.
requires_api = 1


@hookimpl
def dynplat_models() -> tuple[ModelEntry, ...]:
    """Return the records of the bridges."""
    return ENTRIES
