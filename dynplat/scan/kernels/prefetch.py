"""Fetching memory ahead, where rows are read in an order that hardware does not foresee."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dynplat.scan.kernels.compiling import compiled

#: Bytes that memory is fetched by.
_LINE = 64


@intrinsic
def _fetch(_typing: Any, row: Any, offset: Any) -> Any:
    """Ask for the line of memory at an offset in bytes from the start of an array."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, offset = arguments
        byte, flag = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        start = context.make_array(signature.args[0])(context, builder, row).data
        place = builder.gep(builder.bitcast(start, byte), [offset])
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, to be kept in all caches, data.
        builder.call(function, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.void(row, types.intp), codegen


@compiled
def fetch(row):
    """Ask for the memory of a row that will be needed soon."""
    for offset in range(0, row.size * row.itemsize, _LINE):
        _fetch(row, offset)  # pyright: ignore[reportCallIssue]
