"""Kernels as functions for XLA."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import llvmlite.binding
from numba import typeof, types
from numba.core import cgutils
from numba.extending import intrinsic

from dynplat.scan.kernels.compiling import handler
from dynplat.scan.kernels.frame import answers_metadata, arguments, results
from dynplat.scan.kernels.kernel import Kernel


@lru_cache(maxsize=64)
def handlers_of(kernel: Kernel, number: Any) -> tuple[Any, Any]:
    """A kernel and its adjoint as functions for XLA, for numbers of a dtype."""
    return (
        _handler(kernel.forward, f"{kernel.name} {number} forward", *kernel.forward_types(number)),
        _handler(kernel.backward, f"{kernel.name} {number} backward", *kernel.backward_types(number)),
    )


def _handler(function: Any, name: str, reads: tuple[Any, ...], writes: tuple[Any, ...]) -> Any:
    kinds = tuple(typeof(array) for array in (*reads, *writes))
    run = _compiled_at(function, name, kinds)

    def call(frame: int) -> int:
        if not answers_metadata(frame):
            run(arguments(frame, reads) + results(frame, writes))
        return 0

    return handler(call, f"{name} {kinds}")


def _compiled_at(function: Any, name: str, kinds: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], None]:
    """A compiled function for arrays of some types as a function of a tuple of them, for use in compiled code.

    numba would compile the function a second time as a part of what calls it. Here the caller knows nothing but a name,
    which is bound to the address of what was compiled.
    """
    function.compile(kinds)
    found = function.overloads[kinds]
    symbol = f"dynplat {name}"
    llvmlite.binding.add_symbol(symbol, found.library.get_pointer_to_function(found.fndesc.llvm_func_name))

    @intrinsic
    def run(_typing: Any, arrays: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            convention = context.call_conv
            kind = convention.get_function_type(types.none, kinds)
            entry = cgutils.get_or_insert_function(builder.module, kind, symbol)
            convention.call_function(builder, entry, types.none, kinds, cgutils.unpack_tuple(builder, values[0]))
            return context.get_dummy_value()

        return types.void(arrays), codegen

    return run  # pyright: ignore[reportReturnType]
