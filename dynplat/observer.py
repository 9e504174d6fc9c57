"""Observers of a fit: what an inference method tells while it runs, and how it tells it without getting hurt.

An inference takes `observers`, any objects with the methods of `Observer`, and speaks to them through one
`GuardedObservers`: progress bars, loggers and checkpoints are guests, and a guest that falls over never ends the fit.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

_LOGGER = logging.getLogger("dynplat")


class Observer(Protocol):
    """Whoever wants to see a fit: a progress bar, a logger, a writer of checkpoints."""

    def started(self, model: Any, data: Any, method: str) -> None:
        """Hear that a fit starts.

        Args:
            model: The model (`dynplat.model.AbstractModel`).
            data: The training data (`Trajectories` or `Snapshots`).
            method: Id of the inference.
        """

    def step(self, step: int, total: int | None, info: Mapping[str, Any]) -> None:
        """Hear that a step has ended.

        Args:
            step: Number of steps that have ended; 1 after the first.
            total: Number of steps there will be, or None when nobody knows.
            info: Figures of the step by name, such as `loss`.
        """

    def ended(self, posterior: Any, error: BaseException | None) -> None:
        """Hear that the fit has ended: exactly one of the two arguments is None.

        Args:
            posterior: The result (`dynplat.posterior.Posterior`), or None.
            error: What ended the fit, or None.
        """


class GuardedObservers:
    """Several observers as one that never raises.

    An observer that raises is reported once, through the logger `dynplat`, and goes on being called, so that it can
    close what it opened. Ctrl-C passes through.

    Args:
        observers: Objects with the methods of `Observer`.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._reported: set[int] = set()

    def started(self, model: Any, data: Any, method: str) -> None:
        """Tell all observers that a fit starts."""
        self._tell(lambda observer: observer.started(model, data, method))

    def step(self, step: int, total: int | None, info: Mapping[str, Any]) -> None:
        """Tell all observers that a step has ended."""
        self._tell(lambda observer: observer.step(step, total, info))

    def ended(self, posterior: Any, error: BaseException | None) -> None:
        """Tell all observers that the fit has ended."""
        self._tell(lambda observer: observer.ended(posterior, error))

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for position, observer in enumerate(self._observers):
            try:
                call(observer)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._report(position, observer, error)

    def _report(self, position: int, observer: Observer, error: BaseException) -> None:
        # A log record and not a warning: under `-W error` a warning is an exception, and would end the fit after all.
        if position in self._reported:
            return
        self._reported.add(position)
        # `format_exception_only` survives an exception whose own text cannot be made.
        reason = "".join(traceback.format_exception_only(error)).strip()
        kind = type(observer)
        _LOGGER.warning(
            "an observer of the fit (%s.%s) failed; the fit goes on, and further failures of it are not reported. %s",
            kind.__module__,
            kind.__qualname__,
            reason,
        )
        _LOGGER.debug("where the observer failed", exc_info=error)
