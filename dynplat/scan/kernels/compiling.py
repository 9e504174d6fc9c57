"""How kernels are compiled: once on a machine, kept on disk, found again only while all their sources are the same.

numba keeps what it compiled next to a function's source (or in the user's cache folder where that can't be written) and
looks at that one file for changes. Kernels call functions of other files, so here the key holds a digest of the files
of all functions that a function calls. Where nothing can be written, each process compiles for itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import extending, njit
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc

from dynplat.scan.kernels.frame import HANDLER

_OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    # Sums may be reordered and fused; NaN and infinity keep their meaning.
    "fastmath": {"contract", "reassoc", "nsz"},
}
#: Where numba's dispatchers and callbacks keep their cache.
_CACHE = "_cache"
_log = logging.getLogger("dynplat")


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of numbers and arrays, without Python and without the interpreter's lock."""
    return _kept(function, _OPTIONS)


def leaf(function: Callable[..., Any]) -> Any:
    """Compile a function that makes no arrays, as `compiled` does, without counting references to those it is given.

    Counting takes some 25 ns a call: more than a product of small matrices.
    """
    return _kept(function, {**_OPTIONS, "_nrt": False})


def _kept(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    dispatcher = njit(**options)(function)
    with suppress(RuntimeError):  # numba found no folder to write to
        setattr(dispatcher, _CACHE, _Cache(function))
    return dispatcher


def inlined(function: Callable[..., Any]) -> Any:
    """Like `compiled`, written out wherever it is called.

    A call passes ten numbers for each array, which costs more than what small functions of small matrices do.
    """
    return njit(inline="always", **_OPTIONS)(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Decorate a function that writes LLVM's code (it is called without its first argument)."""
    return extending.intrinsic(function)


def handler(function: Callable[[int], int], name: str) -> CFunc:
    """Compile a function of a call frame (see `frame`) for XLA.

    Args:
        function: The function.
        name: Tells it from others of the same code (closures over another kernel, or another dtype).
    """
    callback = CFunc(function, (HANDLER.args, HANDLER.return_type), {}, {})
    with suppress(RuntimeError):
        setattr(callback, _CACHE, _HandlerCache(function, name))
    callback.compile()
    return callback


class _Cache(FunctionCache):
    """numba's cache of a function, with all its sources in the key; says when it has to compile."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._function = function

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return (*super()._index_key(signature, codegen), _digest(self._function))

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        found = super().load_overload(signature, target_context)
        if found is None:
            _say_compiling(self._cache_path)
        return found


class _HandlerCache(_Cache):
    """The same for a closure over a kernel; numba's own key would hold a number that is new in every process."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(function)
        self._name = name

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        return (signature, codegen.magic_tuple(), self._name, _digest(self._function))


@lru_cache(maxsize=1)
def _say_compiling(folder: str) -> None:
    """Tell once in a process that kernels are being compiled: seconds that the next process won't need."""
    _log.warning("compiling kernels for this machine: some seconds, once; they are kept in %s", folder)


@lru_cache(maxsize=256)
def _digest(function: Callable[..., Any]) -> str:
    """Digest of the files and constants that a function and the compiled functions that it calls are made of."""
    files: set[str] = set()
    constants: set[str] = set()
    pending: list[Any] = [function]
    seen: set[Any] = set()
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        files.add(current.__code__.co_filename)
        cells = zip(current.__code__.co_freevars, current.__closure__ or (), strict=True)
        enclosed = {name: cell.cell_contents for name, cell in cells}
        for name in (*current.__code__.co_names, *enclosed):
            value: Any = enclosed.get(name, current.__globals__.get(name))
            if isinstance(value, int | float):
                constants.add(f"{name}={value!r}")
            elif hasattr(value, "py_func"):
                pending.append(value.py_func)
            elif hasattr(value, "_defn"):  # an intrinsic
                pending.append(value._defn)
    total = hashlib.sha256("\n".join(sorted(constants)).encode())
    for path in sorted(files):
        total.update(Path(path).read_bytes())
    return total.hexdigest()
