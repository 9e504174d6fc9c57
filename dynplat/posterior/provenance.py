"""Where a posterior comes from: versions, the model and its plugin, the data's fingerprint, the seed, the command."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dynplat.model import AbstractModel

#: Distributions whose versions decide the numbers of a fit, by language.
_STACK = {"numpyro": ("jax", "jaxlib", "numpyro"), "pyro": ("torch", "pyro-ppl")}


def provenance(
    model: AbstractModel,
    *,
    method: str,
    language: str,
    seed: int,
    fingerprint: str,
    command: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe how a posterior came about, as a dictionary that JSON can hold (options and extras encoded elsewhere).

    Args:
        model: The fitted model.
        method: Inference method, such as `nuts`.
        language: Language that ran the prior, `numpyro` or `pyro`, or an empty string.
        seed: Seed of the inference.
        fingerprint: Fingerprint of the data.
        command: Command line that made the fit, or None.
        extra: Further facts that the inference wants to keep.
    """
    stack = ("dynplat", "numpy", *_STACK.get(language, ()))
    return {
        "model": model.entry.id,
        "options": dict(model.options),
        "plugin": plugin_of(model),
        "method": method,
        "language": language,
        "seed": int(seed),
        "data_fingerprint": fingerprint,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in stack},
        "extra": dict(extra or {}),
    }


def plugin_of(model: AbstractModel) -> dict[str, str] | None:
    """Name the distribution, its version and the entry point of the plugin that `model` belongs to, where known.

    The package of the model's class is looked up among the registered entry points; a model that a script defines
    belongs to no plugin.
    """
    package = type(model).__module__.partition(".")[0]
    for point in metadata.entry_points(group="dynplat.plugins"):
        if point.module.partition(".")[0] == package and point.dist is not None:
            return {"name": point.name, "distribution": point.dist.name, "version": point.dist.version}
    return None


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def plain_json(value: Any) -> str:
    """Write facts as JSON that any tool can read: arrays and tuples become lists, numbers that are not finite words."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
