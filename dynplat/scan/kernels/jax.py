"""Compiled kernels as differentiable functions of JAX arrays on the CPU.

XLA calls a kernel directly (`dynplat.scan.kernels.frame`): no Python runs and no lock is taken, so that any number of
chains may call it at once. Under `vmap` the mapped axis joins the groups. Gradients come from the kernel's own adjoint;
derivatives of gradients (`jax.hessian`, `jacrev` of `grad`) from the twin. Plain forward mode (`jax.jvp`, `jacfwd` of a
value) has no rule: ask for the sequential driver there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jax.custom_batching import custom_vmap

from dynplat.scan.kernels.handlers import handlers_of
from dynplat.scan.kernels.kernel import KINDS, Kernel, num_groups

Twin = Callable[..., tuple[jax.Array, ...]]


def call(kernel: Kernel, twin: Twin, inputs: Sequence[jax.Array]) -> tuple[tuple[jax.Array, ...], jax.Array]:
    """Run a kernel (arguments and results as for `dynplat.scan.kernels.torch.call`, everything traceable).

    The twin must be a function of a module, not a closure, so that what was compiled is found again.
    """
    outputs = _differentiable(kernel, twin)(*inputs)
    return outputs[: kernel.num_values], outputs[-1]


@lru_cache(maxsize=64)
def _differentiable(kernel: Kernel, twin: Twin) -> Callable[..., tuple[jax.Array, ...]]:
    """Values and the last output of a kernel as a function that can be differentiated."""
    reported = tuple(dict.fromkeys((*range(kernel.num_values), len(kernel.outputs) - 1)))

    @jax.custom_vjp
    def function(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        outputs = _forward(kernel, twin, keep=False)(*inputs)
        return tuple(outputs[place] for place in reported)

    def forward(*primals: Any) -> tuple[tuple[jax.Array, ...], Any]:
        inputs = tuple(primal.value for primal in primals)
        # JAX may use the structure that one call of this function returned for another call: which gradients are wanted
        # must travel as numbers.
        wanted = np.array([[primals[place].perturbed for place in kernel.differentiable]], dtype=KINDS["flag"])
        outputs = _forward(kernel, twin, keep=True)(*inputs)
        return tuple(outputs[place] for place in reported), (inputs, outputs, jax.numpy.asarray(wanted))

    def backward(kept: Any, cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs, outputs, wanted = kept
        of_values = tuple(
            jax.numpy.zeros(value.shape, value.dtype) if _is_zero(cotangent) else cotangent
            for value, cotangent in zip(outputs, cotangents[: kernel.num_values], strict=False)
        )
        found = _backward(kernel, twin)(*inputs, *outputs, *of_values, wanted)
        gradients: list[Any] = [None] * len(inputs)
        for place, gradient in zip(kernel.differentiable, found, strict=True):
            gradients[place] = gradient
        return tuple(gradients)

    function.defvjp(forward, backward, symbolic_zeros=True)
    return function


def _is_zero(cotangent: Any) -> bool:
    return isinstance(cotangent, jax.custom_derivatives.SymbolicZero)


@lru_cache(maxsize=256)
def _forward(kernel: Kernel, twin: Twin, *, keep: bool) -> Callable[..., tuple[jax.Array, ...]]:
    """The kernel with its outputs; its tangents, which only derivatives of gradients ask for, are those of the twin."""

    @jax.custom_jvp
    def forward(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        return mapped(*inputs)

    @forward.defjvp
    def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        outputs = forward(*primals)
        _, moved = jax.jvp(twin, primals, tangents)
        # What the adjoint keeps has no tangents of its own: `_backward` differentiates the twin with respect to inputs.
        rest = tuple(np.zeros(o.shape, _tangent_dtype(o.dtype)) for o in outputs[kernel.num_values :])
        return outputs, (*moved, *rest)

    @custom_vmap
    def mapped(*inputs: jax.Array) -> tuple[jax.Array, ...]:
        dtype = inputs[0].dtype
        shapes = kernel.shapes([tuple(array.shape) for array in inputs], keep)
        results = [
            jax.ShapeDtypeStruct(shape, spec.dtype(dtype)) for shape, spec in zip(shapes, kernel.outputs, strict=True)
        ]
        return tuple(jax.ffi.ffi_call(_target(kernel, dtype, 0), results)(*inputs))

    @mapped.def_vmap
    def _(size: int, batched: Sequence[bool], *inputs: jax.Array) -> tuple[Any, Any]:
        merged = _merged(size, batched, inputs, whole=False)
        outputs = mapped(*merged)
        return tuple(_apart(size, output) for output in outputs), (True,) * len(outputs)

    return forward


@lru_cache(maxsize=64)
def _backward(kernel: Kernel, twin: Twin) -> Callable[..., tuple[jax.Array, ...]]:
    """The gradients as a function of inputs, outputs, cotangents and flags that say which are wanted."""
    count = len(kernel.inputs)
    places = kernel.differentiable

    @jax.custom_jvp
    def backward(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        return mapped(*arrays)

    @backward.defjvp
    def _(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        of_values = slice(len(primals) - 1 - kernel.num_values, len(primals) - 1)

        def gradients(inputs: Any, cotangents: Any) -> tuple[jax.Array, ...]:
            def values(*asked: jax.Array) -> tuple[jax.Array, ...]:
                complete = list(inputs)
                for place, array in zip(places, asked, strict=True):
                    complete[place] = array
                return twin(*complete)

            return jax.vjp(values, *(inputs[place] for place in places))[1](tuple(cotangents))

        _, moved = jax.jvp(gradients, (primals[:count], primals[of_values]), (tangents[:count], tangents[of_values]))
        return backward(*primals), moved

    @custom_vmap
    def mapped(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        dtype = arrays[0].dtype
        results = [jax.ShapeDtypeStruct(arrays[place].shape, arrays[place].dtype) for place in places]
        return tuple(jax.ffi.ffi_call(_target(kernel, dtype, 1), results)(*arrays))

    @mapped.def_vmap
    def _(size: int, batched: Sequence[bool], *arrays: jax.Array) -> tuple[Any, Any]:
        # Each mapped call has gradients of its own, also for what the calls share.
        wanted = arrays[-1][0] if batched[-1] else arrays[-1]
        found = mapped(*_merged(size, batched[:-1], arrays[:-1], whole=True), wanted)
        gradients = []
        for place, gradient in zip(places, found, strict=True):
            gradient = _apart(size, gradient)
            own = arrays[place].shape[1 if batched[place] else 0]
            gradients.append(gradient.sum(axis=1, keepdims=True) if own == 1 else gradient)
        return tuple(gradients), (True,) * len(gradients)

    return backward


def _merged(size: int, batched: Sequence[bool], arrays: Sequence[jax.Array], *, whole: bool) -> list[jax.Array]:
    """Let a mapped axis join the groups; with `whole` nothing stays shared."""
    groups = num_groups([array[0] if mapped else array for array, mapped in zip(arrays, batched, strict=True)])
    merged = []
    for array, mapped in zip(arrays, batched, strict=True):
        if not mapped:
            if array.shape[0] == 1 and not whole:
                merged.append(array)
                continue
            array = jax.numpy.broadcast_to(array, (size, *array.shape))
        if array.shape[1] != groups:
            array = jax.numpy.broadcast_to(array, (size, groups, *array.shape[2:]))
        merged.append(array.reshape(size * groups, *array.shape[2:]))
    return merged


def _apart(size: int, array: jax.Array) -> jax.Array:
    return array.reshape(size, array.shape[0] // size, *array.shape[1:])


def _tangent_dtype(dtype: Any) -> Any:
    return dtype if jax.numpy.issubdtype(dtype, np.inexact) else jax.dtypes.float0


@lru_cache(maxsize=64)
def _target(kernel: Kernel, dtype: Any, which: int) -> str:
    """Register a kernel (0) or its adjoint (1) with XLA and return the name under which it is known."""
    own = kernel.handlers or partial(handlers_of, kernel)
    handler = own(np.dtype(dtype))[which]
    name = f"dynplat_{kernel.name}_{('forward', 'backward')[which]}_{np.dtype(dtype).name}"
    pointer = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(handler.address)
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(pointer), platform="cpu")
    return name
