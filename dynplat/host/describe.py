"""A component as a plain dictionary, ready for a terminal or JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from dynplat.errors import MissingExtraError, PluginError
from dynplat.host.build import options_of
from dynplat.host.report import Component
from dynplat.records import Entry, ModelEntry


def describe_component(component: Component) -> dict[str, Any]:
    """Describe a component; this imports it, to read its options. The keys are those of `dynplat.api.describe`."""
    entry, provider = component.entry, component.provider
    common = {field.name for field in dataclasses.fields(Entry)} | {"capabilities"}
    reason = component.reason
    options: dict[str, Any] | None = None
    try:
        options = {
            option.name: {"type": option.type, "required": option.required}
            | ({} if option.required else {"default": _plain(option.default)})
            for option in options_of(component)
        }
    except (MissingExtraError, PluginError) as error:
        reason = reason or str(error)
    return {
        "id": entry.id,
        "kind": component.kind,
        "summary": entry.summary,
        "state": component.state,
        "reason": reason,
        "options": options,
        "capabilities": _plain(dataclasses.asdict(entry.capabilities)) if isinstance(entry, ModelEntry) else None,
        "details": {
            field.name: _plain(getattr(entry, field.name))
            for field in dataclasses.fields(entry)
            if field.name not in common
        },
        "references": [dataclasses.asdict(reference) for reference in entry.references],
        "requires": list(entry.requires),
        "extra": entry.extra,
        "provider": {
            "distribution": provider.distribution,
            "version": provider.version,
            "plugin": provider.name,
            "module": provider.module,
        },
        "location": entry.location,
    }


def _plain(value: Any) -> Any:
    """Bring a value to what JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value)
