"""Parts of one call side by side, on the threads that XLA has.

A handler (see `frame`) that was called with a frame opens a *job* and lends it to XLA's thread pool, as many times as
it wants help. A thread of the pool calls the same handler with the job in place of a frame. Whoever holds the job, the
first caller too, claims one part after the other and runs it, until none is left::

    @handler
    def call(address):
        if not is_job(address) and answers_metadata(address):
            return 0
        job = job_at(address, own_address(), num_parts)  # at most `num_threads`, 1 without `HAS_POOL`
        part = claim(job)
        while part >= 0:
            ...  # the arrays of `frame_of(job)`; part `part` of `parts_of(job)`
            finish(job)
            part = claim(job)
        leave(job, address)
        return 0

No thread ever waits for one that has not started: the first caller waits for parts that others are computing, not for
tasks that still stand in a queue. Those find no part left whenever they run, so a job lives until all have let it go.
A frame may be read only by who holds a part of its job.

Offsets are those of `xla/ffi/api/c_api.h`, as in `frame`; functions of the interface are only ever added at its end.
"""

# Intrinsics are called without the first argument that they are written with.
# pyright: reportCallIssue=false

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from dynplat.scan.kernels.frame import read_word, write

#: Whether there is a pool to ask. Windows has other names for what a job needs.
HAS_POOL = sys.platform != "win32"

# Offsets in bytes of the fields of XLA_FFI_CallFrame and XLA_FFI_Api (64-bit), and sizes of structures of arguments.
_API, _CONTEXT = 16, 24
_DESTROY_ERROR, _SCHEDULE, _NUM_THREADS = 64, 136, 144
# Offsets in bytes of the words of a job.
_NEXT, _FINISHED, _HOLDERS, _PARTS, _FRAME, _SIZE = 0, 8, 16, 24, 32, 40

_malloc = types.ExternalFunction("malloc", types.intp(types.intp))
_free = types.ExternalFunction("free", types.void(types.intp))
_yield = types.ExternalFunction("sched_yield", types.intc())

if HAS_POOL:

    @njit(nogil=True)
    def _pause():
        """Let another thread run."""
        _yield()

else:

    @njit(nogil=True)
    def _pause():
        """Do nothing: nobody helps."""


@intrinsic
def own_address(_typing: Any) -> Any:
    """Address of the handler that asks, as a C function of an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inner = builder.function
        word = context.get_value_type(types.intp)
        name = inner.name + ".task"
        outer = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [word]), name=name)
        outer.linkage = "internal"
        inside = ir.IRBuilder(outer.append_basic_block())
        # numba's convention: a place for the result and one for an exception come first.
        places = [inside.alloca(argument.type.pointee) for argument in inner.args[:2]]
        inside.call(inner, [*places, *outer.args])
        inside.ret_void()
        return builder.ptrtoint(outer, word)

    return types.intp(), codegen


@intrinsic
def _call(_typing: Any, function: Any, words: Any) -> Any:
    """Call the C function at an address on a structure, an array of words; it returns an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.intp)
        function, words = arguments
        structure = context.make_array(signature.args[1])(context, builder, words).data
        pointer = builder.inttoptr(function, ir.PointerType(ir.FunctionType(word, [structure.type])))
        return builder.call(pointer, [structure])

    return types.intp(types.intp, words), codegen


@intrinsic
def _add(_typing: Any, address: Any, value: Any) -> Any:
    """Add to the word at an address and return what it was; all threads see one order of such additions."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.intp)
        pointer = builder.inttoptr(arguments[0], ir.PointerType(word))
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.intp(types.intp, types.intp), codegen


@njit(nogil=True)
def is_job(address):
    """Whether a handler was called with a job: frames stand at even addresses, jobs are given one further."""
    return address & 1 == 1


@njit(nogil=True)
def _succeeds(api, function, words):
    """Call a function of the interface on a structure of arguments; forget the error if there is one."""
    error = _call(read_word(api + function), words)
    if error != 0:
        _call(read_word(api + _DESTROY_ERROR), np.array([24, 0, error], dtype=np.int64))
    return error == 0


@njit(nogil=True)
def num_threads(frame):
    """Number of threads of the pool of a call, 1 where there is none."""
    api = read_word(frame + _API)
    if read_word(api) < _NUM_THREADS + 8:
        return 1
    words = np.array([32, 0, read_word(frame + _CONTEXT), 0, 1], dtype=np.int64)
    words[3] = words.ctypes.data + 32  # where the answer goes
    return max(words[4], 1) if _succeeds(api, _NUM_THREADS, words) else 1


@njit(nogil=True)
def job_at(address, handler, parts):
    """Return the job that a handler was called with; or open one of `parts` parts for the frame, and ask for help."""
    if is_job(address):
        return address - 1
    job = _malloc(_SIZE)
    write(job + _NEXT, 0)
    write(job + _FINISHED, 0)
    write(job + _HOLDERS, parts)
    write(job + _PARTS, parts)
    write(job + _FRAME, address)
    words = np.array([40, 0, read_word(address + _CONTEXT), handler, job + 1], dtype=np.int64)
    for _ in range(parts - 1):
        if not _succeeds(read_word(address + _API), _SCHEDULE, words):
            _add(job + _HOLDERS, -1)
    return job


@njit(nogil=True)
def claim(job):
    """Take the next part of a job; -1 where none is left."""
    part = _add(job + _NEXT, 1)
    return part if part < read_word(job + _PARTS) else -1


@njit(nogil=True)
def frame_of(job):
    """The call frame of a job."""
    return read_word(job + _FRAME)


@njit(nogil=True)
def parts_of(job):
    """Number of parts of a job."""
    return read_word(job + _PARTS)


@njit(nogil=True)
def finish(job):
    """Say that a part is done."""
    _add(job + _FINISHED, 1)


@njit(nogil=True)
def leave(job, address):
    """Let a job go; who came with the frame waits first until all parts are done."""
    if not is_job(address):
        while _add(job + _FINISHED, 0) < read_word(job + _PARTS):
            _pause()
    if _add(job + _HOLDERS, -1) == 1:
        _free(job)
