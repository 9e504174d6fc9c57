"""A plugin's lifecycle hooks as an observer that an inference can be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from dynplat.errors import PluginError
from dynplat.host.faults import PluginFault, blaming
from dynplat.host.report import Provider


class PluginObserver:
    """One plugin as a `dynplat.observer.Observer`.

    Args:
        provider: Where the plugin comes from.
        manager: A manager that holds this plugin alone.

    Raises:
        PluginError: Each method, when the plugin's hook raises; `GuardedObservers` reports it and goes on.
    """

    def __init__(self, provider: Provider, manager: pluggy.PluginManager) -> None:
        self._provider = provider
        self._hook = manager.hook

    def started(self, model: Any, data: Any, method: str) -> None:
        """Call `dynplat_fit_started`."""
        self._call("dynplat_fit_started", model=model, data=data, method=method)

    def step(self, step: int, total: int | None, info: Mapping[str, Any]) -> None:
        """Call `dynplat_fit_step`."""
        self._call("dynplat_fit_step", step=step, total=total, info=info)

    def ended(self, posterior: Any, error: BaseException | None) -> None:
        """Call `dynplat_fit_ended`."""
        self._call("dynplat_fit_ended", posterior=posterior, error=error)

    def _call(self, hook: str, **arguments: Any) -> None:
        try:
            with blaming(f"hook {hook} of {self._provider} failed"):
                getattr(self._hook, hook)(**arguments)
        except PluginFault as fault:
            raise PluginError(str(fault)) from fault.__cause__
