"""Observations as processes see them, and the few operations that the array API lacks.

Numerical code of dynplat is written once on the `array API standard <https://data-apis.org/array-api>`_: the namespace
follows the arguments (`array_namespace`), constants are made from an argument so that dtype and device follow it, and
no global back end exists. This module supplies exactly the operations that the standard lacks and that some room
needs; each is tested under NumPy, torch and JAX.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, is_jax_array, is_torch_array

from dynplat.errors import ArgumentError

__all__ = [
    "Array",
    "Observations",
    "Random",
    "array_namespace",
    "asarray_like",
    "cholesky",
    "cholesky_semidefinite",
    "common_type",
    "compiled",
    "concrete",
    "epsilon",
    "eye_like",
    "framework",
    "in_torch_transform",
    "log_gamma",
    "random_source",
    "solve",
    "solve_cholesky",
    "solve_triangular",
    "stop_gradient",
    "symmetrise",
    "take_rows",
    "to_numpy",
]

#: Any array that the array API knows: NumPy, torch or JAX (traced or not).
Array = Any


class Observations(NamedTuple):
    """All that a process sees of data.

    Series shorter than the longest are padded at the end with `mask` False, the last time repeated and finite filler.
    A masked cell contributes exactly 0 to a log density, whatever stands in `values`.

    Attributes:
        times: Times, (..., series, time), non-decreasing along time; the law of a process starts at the first row.
        values: Values, (..., series, time, channel), finite everywhere.
        mask: True = observed, the shape of `values`.
        inputs: Known inputs, (..., series, time, input), or None. The input of a row holds from it until the next row.
        marks: An integer code per row, (..., series, time), or None: what kind of observation the row is.
    """

    times: Array
    values: Array
    mask: Array
    inputs: Array | None = None
    marks: Array | None = None


def asarray_like(value: Any, like: Array) -> Array:
    """Turn numbers or a NumPy array into an array of the namespace, dtype and device of `like`.

    Booleans and integers keep their kind; real numbers take the dtype of `like`.
    """
    if type(value) is type(like) and not isinstance(value, np.ndarray):
        return value
    xp = array_namespace(like)
    if is_torch_array(value) or is_jax_array(value):
        if array_namespace(value) is not xp:
            raise ArgumentError(
                f"arrays of two frameworks meet: {type(value).__name__} and {type(like).__name__}; "
                "convert one of them first."
            )
        return value
    host = np.asarray(value)
    dtype = None if host.dtype.kind in "biu" else like.dtype
    if is_torch_array(like):
        # torch cannot share memory that NumPy holds read-only, as arrays of data are: such an array is copied.
        return xp.asarray(np.require(host, requirements=["C", "W"]), dtype=dtype, device=like.device)
    return xp.asarray(host, dtype=dtype)


def to_numpy(value: Array) -> np.ndarray:
    """Bring an array to NumPy on the host, cut from any gradient tape."""
    if is_torch_array(value):
        return value.detach().cpu().resolve_conj().numpy()
    return np.asarray(value)


def concrete(value: Array) -> np.ndarray | None:
    """Return the numbers of `value` as NumPy, or None while they are only being traced or have none (meta).

    Traced are JAX's tracers, and all torch tensors inside a `torch.func` transform.
    """
    if is_torch_array(value):
        return None if value.device.type == "meta" or in_torch_transform() else to_numpy(value)
    if is_jax_array(value):
        jax = sys.modules["jax"]
        return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
    return np.asarray(value)


def in_torch_transform() -> bool:
    """Whether code runs inside `torch.func.vmap`, `grad` or `jvp`, where no tensor can be read."""
    # torch has no public question for this; without an answer a tensor counts as ordinary.
    functorch = getattr(sys.modules["torch"]._C, "_functorch", None)
    ask = getattr(functorch, "peek_interpreter_stack", None)
    return ask is not None and ask() is not None


class Random(NamedTuple):
    """A source of random numbers in one framework, made by `random_source`.

    Attributes:
        normal: Function of a shape: independent standard normal numbers.
        uniform: Function of a shape: independent uniform numbers on [0, 1).
        poisson: Function of rates: independent Poisson numbers with these means, of the dtype of the rates.
    """

    normal: Any
    uniform: Any
    poisson: Any


def random_source(seed: int, like: Array) -> Random:
    """Make a source of random numbers with the namespace, dtype and device of `like` from an explicit seed.

    Consecutive calls of the source give fresh numbers; the same seed gives the same sequence.
    """
    if is_torch_array(like):
        torch = sys.modules["torch"]
        generator = torch.Generator(device=like.device)
        generator.manual_seed(int(seed))
        options = {"generator": generator, "dtype": like.dtype, "device": like.device}
        return Random(
            normal=lambda shape: torch.randn(tuple(shape), **options),
            uniform=lambda shape: torch.rand(tuple(shape), **options),
            poisson=lambda rates: torch.poisson(rates.detach(), generator=generator),
        )
    if is_jax_array(like):
        jax = sys.modules["jax"]
        # The seed may be an argument of a compiled program, so that one program serves many seeds.
        state = {"key": jax.random.key(seed if is_jax_array(seed) else int(seed))}

        def fresh() -> Any:
            state["key"], key = jax.random.split(state["key"])
            return key

        return Random(
            normal=lambda shape: jax.random.normal(fresh(), tuple(shape), dtype=like.dtype),
            uniform=lambda shape: jax.random.uniform(fresh(), tuple(shape), dtype=like.dtype),
            poisson=lambda rates: jax.random.poisson(fresh(), rates).astype(rates.dtype),
        )
    rng = np.random.default_rng(int(seed))
    return Random(
        normal=lambda shape: rng.standard_normal(tuple(shape)).astype(like.dtype),
        uniform=lambda shape: rng.random(tuple(shape)).astype(like.dtype),
        poisson=lambda rates: rng.poisson(rates).astype(rates.dtype),
    )


@contextmanager
def framework(name: str, *, dtype: str = "float64", device: str = "cpu") -> Iterator[Callable[[Any], Array]]:
    """Give a function that turns numbers and NumPy arrays into arrays of `numpy`, `torch` or `jax`.

    Real numbers become `dtype` on `device`; booleans and integers keep their kind. JAX computes in float64 only with
    its x64 switch on: the switch is set inside this context alone and put back after it.

    Args:
        name: `numpy`, `torch` or `jax`.
        dtype: `float64` or `float32`.
        device: A device of the framework, such as `cpu` or `cuda`.

    Raises:
        ArgumentError: The name, the dtype or the device is unknown.
    """
    if dtype not in ("float64", "float32"):
        raise ArgumentError(f"`dtype` must be 'float64' or 'float32'; got {dtype!r}.")
    if name == "numpy":
        yield lambda value: asarray_like(value, np.empty(0, dtype=dtype))
    elif name == "torch":
        import torch

        empty = torch.empty(0, dtype=getattr(torch, dtype), device=_checked(torch.device, device))
        yield lambda value: asarray_like(value, empty)
    elif name == "jax":
        import jax

        with jax.enable_x64(dtype == "float64"):
            target = _checked(jax.devices, "gpu" if device.startswith("cuda") else device)[0]
            with jax.default_device(target):
                empty = jax.numpy.empty(0, dtype=dtype)
                yield lambda value: asarray_like(value, empty)
    else:
        raise ArgumentError(f"`name` must be 'numpy', 'torch' or 'jax'; got {name!r}.")


def _checked(make: Callable[[str], Any], device: str) -> Any:
    try:
        return make(device)
    except RuntimeError as error:
        raise ArgumentError(f"`device` {device!r} is not available here: {error}.") from error


def epsilon(like: Array) -> float:
    """Return the distance from 1 to the next number in the dtype of `like`."""
    return float(array_namespace(like).finfo(like.dtype).eps)


def eye_like(n: int, like: Array) -> Array:
    """Return the identity matrix (n, n) in the namespace, dtype and device of `like`."""
    if is_torch_array(like):
        return array_namespace(like).eye(n, dtype=like.dtype, device=like.device)
    return array_namespace(like).eye(n, dtype=like.dtype)


def stop_gradient(value: Array) -> Array:
    """Return `value` as a constant for automatic differentiation."""
    if is_torch_array(value):
        return value.detach()
    if is_jax_array(value):
        return sys.modules["jax"].lax.stop_gradient(value)
    return value


def compiled(function: Callable[..., Any], like: Array, *static: str) -> Callable[..., Any]:
    """Return `function` compiled under JAX (once per function, shapes and static arguments), and itself elsewhere.

    Args:
        function: A function of a module, whose arguments are records of arrays.
        like: An array of the framework at hand.
        static: Names of keyword arguments that are not arrays.
    """
    return _jitted(function, static) if is_jax_array(like) else function


@lru_cache(maxsize=256)
def _jitted(function: Callable[..., Any], static: tuple[str, ...]) -> Callable[..., Any]:
    import jax

    return jax.jit(function, static_argnames=static)


def common_type(*values: Any) -> tuple[Any, ...]:
    """Bring real arrays to one namespace, dtype and device: those of the torch or JAX arrays among them.

    NumPy arrays and numbers follow the arrays of the framework; None stays None.

    Raises:
        ArgumentError: torch and JAX arrays meet.
    """
    if _is_common(values):
        return values  # the usual case, and the same likelihood is built thousands of times
    foreign = [v for v in values if is_torch_array(v) or is_jax_array(v)]
    like = foreign[0] if foreign else next((np.asarray(v) for v in values if v is not None), None)
    if like is None:
        return values
    xp = array_namespace(like)
    for value in foreign:
        asarray_like(value, like)
    real = [v.dtype for v in foreign if xp.isdtype(v.dtype, "real floating")]
    if not foreign:
        dtype = np.result_type(*(v for v in values if v is not None), np.float32)
    else:
        dtype = xp.result_type(*real) if real else xp.asarray(1.0).dtype
    like = xp.astype(like, dtype) if like.dtype != dtype else like
    out = []
    for value in values:
        if value is not None:
            value = asarray_like(value, like)
            value = value if value.dtype == dtype else xp.astype(value, dtype)
        out.append(value)
    return tuple(out)


def _is_common(values: tuple[Any, ...]) -> bool:
    """Whether all that is given are arrays of one class, with real numbers of one dtype."""
    kinds = {(type(value), getattr(value, "dtype", None)) for value in values if value is not None}
    if len(kinds) != 1:
        return False
    kind, dtype = kinds.pop()
    return not issubclass(kind, np.generic) and str(dtype).rpartition(".")[2] in ("float32", "float64")


def log_gamma(value: Array) -> Array:
    """Logarithm of the gamma function of positive numbers."""
    if is_torch_array(value):
        return sys.modules["torch"].lgamma(value)
    if is_jax_array(value):
        return sys.modules["jax"].lax.lgamma(value)
    from scipy.special import gammaln

    return gammaln(value)


def symmetrise(matrix: Array) -> Array:
    """Return the symmetric part of square matrices (..., n, n)."""
    return 0.5 * (matrix + array_namespace(matrix).matrix_transpose(matrix))


def cholesky(matrix: Array) -> Array:
    """Lower Cholesky factors of symmetric matrices (..., n, n); a matrix that is not positive definite gives NaN.

    No framework raises here, and one bad matrix of a batch does not spoil the others.
    """
    xp = array_namespace(matrix)
    if matrix.shape[-1] == 1:
        return xp.sqrt(xp.where(matrix > 0, matrix, xp.nan))
    if is_torch_array(matrix):
        factor, info = xp.linalg.cholesky_ex(matrix)
        return xp.where((info == 0)[..., None, None], factor, xp.nan)
    if is_jax_array(matrix):
        return xp.linalg.cholesky(matrix)
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        factor = np.full_like(matrix, np.nan)
        for index in np.ndindex(matrix.shape[:-2]):
            with suppress(np.linalg.LinAlgError):
                factor[index] = np.linalg.cholesky(matrix[index])
        return factor


def solve(matrix: Array, right: Array) -> Array:
    """Solve matrix z = right for matrices (..., n, n) and right (..., n, k); a singular matrix gives NaN or infinity.

    No framework raises here, and one bad matrix of a batch does not spoil the others.
    """
    xp = array_namespace(matrix, right)
    if is_torch_array(matrix):
        return xp.linalg.solve_ex(matrix, right, check_errors=False).result
    if is_jax_array(matrix):
        return xp.linalg.solve(matrix, right)
    try:
        return np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        lead = np.broadcast_shapes(matrix.shape[:-2], right.shape[:-2])
        matrix = np.broadcast_to(matrix, (*lead, *matrix.shape[-2:]))
        right = np.broadcast_to(right, (*lead, *right.shape[-2:]))
        solved = np.full_like(right, np.nan)
        for index in np.ndindex(*lead):
            with suppress(np.linalg.LinAlgError):
                solved[index] = np.linalg.solve(matrix[index], right[index])
        return solved


def solve_triangular(factor: Array, right: Array, *, transpose: bool = False) -> Array:
    """Solve L z = right, or with `transpose` L^T z = right, for lower factors L (..., n, n) and right (..., n, k)."""
    xp = array_namespace(factor, right)
    if factor.shape[-1] == 1:
        return right / factor
    if is_torch_array(factor):
        return xp.linalg.solve_triangular(factor.mT if transpose else factor, right, upper=transpose)
    if is_jax_array(factor):
        jax = sys.modules["jax"]
        lead = xp.broadcast_shapes(factor.shape[:-2], right.shape[:-2])
        return jax.lax.linalg.triangular_solve(
            xp.broadcast_to(factor, lead + factor.shape[-2:]),
            xp.broadcast_to(right, lead + right.shape[-2:]),
            left_side=True,
            lower=True,
            transpose_a=transpose,
        )
    matrix = np.swapaxes(factor, -1, -2) if transpose else factor
    n = matrix.shape[-1]
    rows: list[np.ndarray] = [np.empty(0)] * n
    for i in range(n - 1, -1, -1) if transpose else range(n):
        known = range(i + 1, n) if transpose else range(i)
        rest = right[..., i, :]
        for j in known:
            rest = rest - matrix[..., i, j, None] * rows[j]
        rows[i] = rest / matrix[..., i, i, None]
    return np.stack(rows, axis=-2)


def solve_cholesky(factor: Array, right: Array) -> Array:
    """Solve L L^T z = right for lower factors L (..., n, n) and right (..., n, k)."""
    return solve_triangular(factor, solve_triangular(factor, right), transpose=True)


def cholesky_semidefinite(matrix: Array, floor: Array) -> Array:
    r"""Lower factors L of positive *semi*-definite matrices (..., n, n), with L L^T = matrix.

    Cholesky's elimination in the given order; a pivot that is not above its `floor` gives a column of zeros, so the
    columns that are not zero name a set of coordinates on which the matrix is definite, and the others are
    combinations of those.

    Args:
        matrix: Symmetric positive semi-definite matrices up to rounding.
        floor: What counts as zero for each pivot, (..., n): a few roundings of the numbers the matrix was made from.
    """
    xp = array_namespace(matrix, floor)
    n = matrix.shape[-1]
    columns = []
    rest = matrix
    for j in range(n):
        pivot = rest[..., j, j]
        keep = pivot > floor[..., j]
        root = xp.sqrt(xp.where(keep, pivot, 1.0))[..., None]
        column = xp.where(keep[..., None], rest[..., :, j], 0.0) / root
        columns.append(column)
        rest = rest - column[..., :, None] * column[..., None, :]
        # Rounding of a pivot reaches the others by what multiplies its row: a small pivot makes it large.
        floor = floor + stop_gradient(column / root) ** 2 * floor[..., j, None]
    factor = xp.stack(columns, axis=-1)
    # What elimination leaves above the diagonal is rounding.
    return xp.tril(factor)


def take_rows(values: Array, rows: Array, *, num_core: int) -> Array:
    """Gather along time: `values` (..., time, core dimensions) at integer `rows` (..., query).

    Args:
        values: Arrays whose leading axes broadcast with those of `rows`.
        rows: Row numbers in [0, time).
        num_core: Number of core dimensions of `values`.

    Returns:
        (..., query, core dimensions).
    """
    xp = array_namespace(values, rows)
    split = values.ndim - num_core - 1
    core = tuple(values.shape[split + 1 :])
    lead = xp.broadcast_shapes(tuple(values.shape[:split]), tuple(rows.shape[:-1]))
    values = xp.broadcast_to(values, (*lead, *values.shape[split:]))
    index = xp.broadcast_to(rows, (*lead, rows.shape[-1]))
    index = xp.broadcast_to(xp.reshape(index, tuple(index.shape) + (1,) * num_core), tuple(index.shape) + core)
    if is_torch_array(values):
        return xp.take_along_dim(values, xp.astype(index, xp.int64), dim=len(lead))
    return xp.take_along_axis(values, index, axis=len(lead))
