"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import ModelEntry

ENTRIES: tuple[ModelEntry, ...] = ()
