"""Foreign code and what goes wrong in it: whatever it raises becomes one line of text that names the place."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pluggy

from dynplat import records

#: How names of files begin whose lines say nothing about a plugin: generated code, imports, pluggy, host, records.
_PASSAGES = (
    "<",
    *(os.path.dirname(str(file)) + os.sep for file in (importlib.__file__, pluggy.__file__, __file__)),
    str(records.__file__),
)


class PluginFault(Exception):
    """Why a plugin cannot be active. Internal: it ends in a report and never reaches a user as an exception.

    Args:
        reason: One line of text.
        state: State of the plugin, `broken` or `incompatible`.
    """

    def __init__(self, reason: str, state: str = "broken") -> None:
        super().__init__(reason)
        self.state = state


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn whatever foreign code raises inside into a `PluginFault` that begins with `what`.

    `SystemExit` and other exceptions that `except Exception` lets through are caught too: a plugin that calls
    `sys.exit` costs only itself. Ctrl-C is the user's, and passes.
    """
    try:
        yield
    except (KeyboardInterrupt, PluginFault):
        raise
    except BaseException as error:
        raise PluginFault(f"{what}: {explain(error)}") from error


def explain(error: BaseException) -> str:
    """Say in one line what was raised and, where known, at which line of which file."""
    # `format_exception_only` survives an exception whose own text cannot be made, and shows the line of a SyntaxError.
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(_PASSAGES)]
    if isinstance(error, SyntaxError) or not frames:
        return text
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})"
