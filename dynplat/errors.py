"""Errors of dynplat: one root, and one child per kind of fault.

Every message names the argument (or file, row and column), says what was expected, what came, and what to do next.
A child also derives from the built-in exception that it is, so that ordinary ``except ValueError`` code works.
The command line prints the message of any `DynplatError` without a traceback and exits with code 2.
"""

from __future__ import annotations


class DynplatError(Exception):
    """Root of every error that dynplat raises on purpose."""


class DataError(DynplatError, ValueError):
    """A file or table that cannot be understood as observations.

    Args:
        problem: What is wrong: what was expected and what came.
        hint: What the reader can do about it.
        source: File or object the data came from.
        row: Row of the source; in a text file counted as an editor counts lines (the header is line 1).
        column: Column name.
    """

    def __init__(
        self,
        problem: str,
        *,
        hint: str = "",
        source: object = None,
        row: int | None = None,
        column: object = None,
    ) -> None:
        where = []
        if source is not None:
            where.append(f"{source}")
        if row is not None:
            where.append(f"row {row}")
        if column is not None:
            where.append(f"column {column!r}")
        text = (", ".join(where) + ": " if where else "") + problem
        if hint:
            text = f"{text} {hint}"
        super().__init__(text)
        self.problem = problem
        self.hint = hint
        self.source = source
        self.row = row
        self.column = column


class ArgumentError(DynplatError, ValueError):
    """An argument whose value is outside what the function accepts."""


class UnknownNameError(DynplatError, LookupError):
    """A name that no registered component carries."""


class ConflictError(DynplatError, ValueError):
    """Two components that claim the same id."""


class CapabilityError(DynplatError, TypeError):
    """A request that the component does not declare it can serve."""


class NoDensityError(DynplatError, ArithmeticError):
    """A law without a density at the given observations (a singular innovation covariance)."""


class InferenceError(DynplatError, RuntimeError):
    """An inference run that cannot go on: a NaN, a divergence, an optimiser that fails."""


class PluginError(DynplatError, RuntimeError):
    """A plugin that cannot be loaded, or a component of it that breaks its contract."""


class MissingExtraError(DynplatError, ImportError):
    """An optional package that a component needs and that is not installed."""


class StorageError(DynplatError, OSError):
    """A file that cannot be written or that does not hold what it should."""
