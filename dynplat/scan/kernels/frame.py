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

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

#: Signature of a handler: the address of the call frame in, the address of an error (0 = none) out.
HANDLER = types.intp(types.intp)

# Offsets in bytes of the fields of XLA_FFI_CallFrame, XLA_FFI_Args, XLA_FFI_Buffer and XLA_FFI_Metadata (64-bit).
_EXTENSION, _API, _ARGUMENTS, _RESULTS, _ITEMS = 8, 16, 40, 80, 32
_BUFFER_DATA, _BUFFER_DIMS = 24, 40
_EXTENSION_TYPE, _EXTENSION_METADATA = 8, 24
_METADATA_MAJOR, _METADATA_MINOR, _METADATA_TRAITS = 24, 28, 32


@intrinsic
def _read(_typing: Any, address: Any, kind: Any) -> Any:
    """Read one integer of the type of `kind` at an address."""
    signature = kind(address, kind)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.PointerType(context.get_value_type(signature.return_type)))
        return builder.load(pointer)

    return signature, codegen


@intrinsic
def write(_typing: Any, address: Any, value: Any) -> Any:
    """Write one integer at an address."""
    signature = types.void(address, value)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
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


def _arrays(table: int) -> Any:
    @intrinsic
    def arrays(_typing: Any, frame: Any, likes: Any) -> Any:
        # Arrays that compiled code closes over are constants to numba.
        kinds = tuple(types.Array(like.dtype, like.ndim, "C") for like in likes)

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def word(address: Any, offset: int) -> Any:
                place = builder.add(address, ir.Constant(address.type, offset))
                return builder.load(builder.inttoptr(place, address.type.as_pointer()))

            buffers = word(arguments[0], table + _ITEMS)
            found = [_array(context, builder, kind, word, word(buffers, 8 * i)) for i, kind in enumerate(kinds)]
            return context.make_tuple(builder, signature.return_type, found)

        return types.Tuple(kinds)(frame, likes), codegen

    return arrays


def _array(context: Any, builder: Any, kind: Any, word: Any, buffer: Any) -> Any:
    """Make an array of a buffer of XLA, whose numbers are contiguous."""
    dims = word(buffer, _BUFFER_DIMS)
    shape = [word(dims, 8 * axis) for axis in range(kind.ndim)]
    strides = [context.get_constant(types.intp, kind.dtype.bitwidth // 8)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    data = builder.inttoptr(word(buffer, _BUFFER_DATA), context.get_data_type(kind.dtype).as_pointer())
    array = context.make_array(kind)(context, builder)
    itemsize = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


#: Functions (frame, likes) that give the arguments of a call, and its results to be written to, as tuples of arrays of
#: the types of `likes`.
arguments, results = _arrays(_ARGUMENTS), _arrays(_RESULTS)
