"""One plugin: imported, held to the contract, and asked for its records, each failure costing only itself."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pluggy

from dynplat.host import hookspecs
from dynplat.host.faults import PluginFault, blaming
from dynplat.host.hookspecs import KINDS, PROJECT
from dynplat.host.report import Provider
from dynplat.records import API_VERSION, Capabilities, Entry, InferenceEntry, ModelEntry, Reference

#: Attribute of a plugin's module that states the version of the contract it is written for.
API_ATTRIBUTE = "requires_api"

#: Names of the hooks.
HOOKS = tuple(
    name
    for name in vars(hookspecs)
    if name.startswith(f"{PROJECT}_") and hasattr(getattr(hookspecs, name), f"{PROJECT}_spec")
)


@dataclass(frozen=True)
class Plugin:
    """A plugin after loading, whatever came of it.

    Args:
        provider: Where it comes from.
        state: State of `dynplat.host.report.PLUGIN_STATES`.
        reason: Why it is not active.
        hooks: Names of the hooks that it implements.
        entries: Its records by kind.
        manager: A manager that holds this plugin alone: pluggy ends a hook call at the first implementation that
            raises, and alone each failure has one author.
    """

    provider: Provider
    state: str
    reason: str = ""
    hooks: tuple[str, ...] = ()
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    manager: pluggy.PluginManager | None = None


def load_plugin(provider: Provider) -> Plugin:
    """Import the plugin's module, check it against the contract and collect its records. Never raises."""
    hooks: tuple[str, ...] = ()
    try:
        with blaming(f"importing {provider.module!r} failed"):
            module = importlib.import_module(provider.module)
        check_api(module)
        manager = register(module)
        hooks = tuple(name for name in HOOKS if _implementations(manager, name))
        if not hooks:
            raise PluginFault(
                f"{provider.module!r} implements no hook; a plugin has at least one of {', '.join(HOOKS)}"
            )
        entries = {kind: collect(manager, kind) for kind in KINDS}
    except PluginFault as fault:
        return Plugin(provider, fault.state, str(fault), hooks)
    return Plugin(provider, "active", "", hooks, entries, manager)


def check_api(module: ModuleType) -> None:
    """Refuse a module that is written for another version of the contract, or does not say for which.

    Raises:
        PluginFault: The module's `requires_api` is absent, not an integer, or not `dynplat.records.API_VERSION`.
    """
    required = getattr(module, API_ATTRIBUTE, None)
    if required is None:
        raise PluginFault(
            f"{module.__name__!r} does not say for which version of the contract it is written; "
            f"add the line `{API_ATTRIBUTE} = {API_VERSION}`"
        )
    if not isinstance(required, int) or isinstance(required, bool):
        raise PluginFault(f"`{API_ATTRIBUTE}` of {module.__name__!r} must be an integer; got {required!r}")
    if required != API_VERSION:
        older = "dynplat" if required > API_VERSION else "the plugin"
        raise PluginFault(
            f"it is written for version {required} of the contract, and this dynplat offers version {API_VERSION}; "
            f"upgrade {older}",
            state="incompatible",
        )


def register(module: ModuleType) -> pluggy.PluginManager:
    """Put a module into a manager of its own.

    Raises:
        PluginFault: An implementation has arguments that the hook lacks, bears an unknown name, or is not marked.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    with blaming("a hook implementation does not fit its specification"):
        manager.register(module)
    # What pluggy's `check_pending` checks, for all names at once and with the name that was meant.
    unknown = [
        caller.name
        for caller in manager.get_hookcallers(module) or ()
        if not caller.has_spec() and not all(impl.optionalhook for impl in caller.get_hookimpls())
    ]
    if unknown:
        named = [f"{name!r}{_suggestion(name)}" for name in unknown]
        raise PluginFault(f"unknown hook {', '.join(named)}; the hooks are {', '.join(HOOKS)}")
    unmarked = [
        name for name in HOOKS if callable(vars(module).get(name)) and manager.parse_hookimpl_opts(module, name) is None
    ]
    if unmarked:
        raise PluginFault(f"{' and '.join(unmarked)} must be marked with `@hookimpl`, imported from `dynplat.host`")
    return manager


def collect(manager: pluggy.PluginManager, kind: str) -> tuple[Entry, ...]:
    """Ask the plugin in `manager` for its records of one kind.

    Raises:
        PluginFault: The hook raises, or returns something else than well-formed records with different ids.
    """
    hook, record = KINDS[kind]
    wanted = f"a list of {record.__name__}"
    entries: list[Any] = []
    with blaming(f"hook {hook} failed"):
        answers = getattr(manager.hook, hook)()
        # pluggy leaves answers of None out.
        if len(answers) < _implementations(manager, hook):
            raise PluginFault(f"hook {hook} returned None instead of {wanted}")
        for answer in answers:
            if not hasattr(answer, "__iter__"):
                raise PluginFault(f"hook {hook} returned an object of type {type(answer).__name__} instead of {wanted}")
            entries += answer
    seen = set()
    for entry in entries:
        if not isinstance(entry, record):
            raise PluginFault(f"hook {hook} must return {wanted}; it returned, among others, {entry!r:.200}")
        problem = _problem(entry)
        if problem:
            raise PluginFault(f"hook {hook}: the record {entry.id!r} {problem}")
        if entry.id in seen:
            raise PluginFault(f"hook {hook} returned two records with the id {entry.id!r}")
        seen.add(entry.id)
    return tuple(entries)


def _problem(entry: Entry) -> str:
    """Say what is wrong with a record beyond what its constructor checks."""
    if not entry.location:
        return "has no `location`; give it one like 'package.module:Name'"
    if not isinstance(entry.requires, tuple) or not all(isinstance(name, str) and name for name in entry.requires):
        return f"must have a tuple of module names as `requires`; it has {entry.requires!r}"
    if not isinstance(entry.references, tuple) or not all(isinstance(item, Reference) for item in entry.references):
        return f"must have a tuple of `Reference` as `references`; it has {entry.references!r:.200}"
    if isinstance(entry, ModelEntry) and not isinstance(entry.capabilities, Capabilities):
        return f"must have a `Capabilities` as `capabilities`; it has {entry.capabilities!r:.200}"
    if isinstance(entry, InferenceEntry):
        claims = {f.name for f in dataclasses.fields(Capabilities) if isinstance(f.default, bool)}
        known = isinstance(entry.needs, tuple) and all(set(need.split(" or ")) <= claims for need in entry.needs)
        if not known:
            return f"must have a tuple of capabilities out of {sorted(claims)} as `needs`; it has {entry.needs!r}"
    return ""


def _implementations(manager: pluggy.PluginManager, hook: str) -> int:
    return len(
        [impl for impl in getattr(manager.hook, hook).get_hookimpls() if not impl.wrapper and not impl.hookwrapper]
    )


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, HOOKS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
