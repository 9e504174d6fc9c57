"""Public data sets by name: what they are (`ENTRIES`), where they come from (`registry`), one loader per family."""

from __future__ import annotations

from dynplat.data.catalogue.entries import ENTRIES

__all__ = ["ENTRIES"]
