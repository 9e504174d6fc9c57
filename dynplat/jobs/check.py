"""The job of `dynplat check`: the conformance kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynplat import api
from dynplat.jobs.compilation import compilation_cache

if TYPE_CHECKING:
    from dynplat.testing import Report


@compilation_cache()
def check_job(component: str, *, options: Mapping[str, Any], seed: int, slow: bool) -> Report:
    """Run the conformance kit on a model, or on a plugin by its name."""
    from dynplat.testing import check_model, check_plugin

    if "/" in component:
        return check_model(api.load_model(component, **options), seed=seed, slow=slow)
    return check_plugin(component, seed=seed, slow=slow)
