"""Compiled kernels as functions that XLA calls directly on the CPU, without Python and without the interpreter's lock.

XLA hands such a function one *call frame*: a C structure that holds the addresses and shapes of arguments and results
(`xla/ffi/api/c_api.h`, version 0 of the interface, of which only fields that all its minor versions share are read).
A handler reads its arrays with `arguments` and `results`, calls the kernel and returns 0::

    @handler
    def call(frame):
        if not answers_metadata(frame):
            kernel(*(arguments(frame, INPUTS) + results(frame, OUTPUTS)))
        return 0

`INPUTS` and `OUTPUTS` are tuples of empty arrays: only their types count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic, overload
from numba.np.unsafe.ndarray import to_fixed_tuple

_DIMS = np.empty(0, dtype=np.int64)

#: Signature of a handler: the address of the call frame in, the address of an error (0 = none) out.
HANDLER = types.intp(types.intp)

# Offsets in bytes of the fields of XLA_FFI_CallFrame, XLA_FFI_Args, XLA_FFI_Buffer and XLA_FFI_Metadata (64-bit).
_EXTENSION, _API, _ARGUMENTS, _RESULTS, _ITEMS = 8, 16, 40, 80, 32
_BUFFER_DATA, _BUFFER_DIMS = 24, 40
_EXTENSION_TYPE, _EXTENSION_METADATA = 8, 24
_METADATA_MAJOR, _METADATA_MINOR, _METADATA_TRAITS = 24, 28, 32


@intrinsic
def _pointer(_typing: Any, address: Any, like: Any) -> Any:
    """Turn an address into a pointer to numbers of the dtype of `like`."""
    signature = types.CPointer(like.dtype)(address, like)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return signature, codegen


@intrinsic
def _read(_typing: Any, address: Any, kind: Any) -> Any:
    """Read one integer of the type of `kind` at an address."""
    signature = kind(address, kind)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        pointer = builder.inttoptr(arguments[0], ir.PointerType(context.get_value_type(signature.return_type)))
        return builder.load(pointer)

    return signature, codegen


@intrinsic
def write(_typing: Any, address: Any, value: Any) -> Any:
    """Write one integer at an address."""
    signature = types.void(address, value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        pointer = builder.inttoptr(arguments[0], ir.PointerType(context.get_value_type(signature.args[1])))
        builder.store(arguments[1], pointer)
        return context.get_dummy_value()

    return signature, codegen


@njit(nogil=True)
def read_word(address: int) -> int:
    """Read the word (64 bits) at an address."""
    return _read(address, types.int64(0))  # pyright: ignore[reportCallIssue]


@njit(nogil=True)
def answers_metadata(frame: int) -> bool:
    """Answer XLA's question for the version of the interface, where the call is that question."""
    extension = read_word(frame + _EXTENSION)
    if extension == 0 or _read(extension + _EXTENSION_TYPE, types.int32(0)) != 1:  # pyright: ignore[reportCallIssue]
        return False
    metadata = read_word(extension + _EXTENSION_METADATA)
    write(metadata + _METADATA_MAJOR, types.int32(0))
    write(metadata + _METADATA_MINOR, types.int32(1))
    write(metadata + _METADATA_TRAITS, types.int32(0))
    return True


def _array_at(buffer: Any, like: Any) -> Any:
    raise NotImplementedError("this function exists in compiled code only")


@overload(_array_at)
def _array_at_compiled(buffer: Any, like: Any) -> Any:
    rank = like.ndim

    def read(buffer: Any, like: Any) -> Any:
        dims = carray(_pointer(read_word(buffer + _BUFFER_DIMS), _DIMS), rank)  # pyright: ignore[reportCallIssue]
        return carray(_pointer(read_word(buffer + _BUFFER_DATA), like), to_fixed_tuple(dims, rank))

    return read


def _arrays_at(table: Any, likes: Any) -> Any:
    raise NotImplementedError("this function exists in compiled code only")


@overload(_arrays_at)
def _arrays_at_compiled(table: Any, likes: Any) -> Any:
    # numba compares signatures with their annotations, and joins tuples with + alone.
    def nothing(table: Any, likes: Any) -> Any:
        return ()

    def read(table: Any, likes: Any) -> Any:
        return (_array_at(read_word(table), likes[0]),) + _arrays_at(table + 8, likes[1:])  # noqa: RUF005

    return read if len(likes) else nothing


@njit(nogil=True)
def arguments(frame: int, likes: Any) -> Any:
    """Return the arguments of a call as a tuple of arrays with the types of `likes`."""
    return _arrays_at(read_word(frame + _ARGUMENTS + _ITEMS), likes)


@njit(nogil=True)
def results(frame: int, likes: Any) -> Any:
    """Return the results of a call, to be written to, as a tuple of arrays with the types of `likes`."""
    return _arrays_at(read_word(frame + _RESULTS + _ITEMS), likes)
