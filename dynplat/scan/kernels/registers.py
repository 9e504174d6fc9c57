"""Tuples of vectors of eight numbers, which stay in registers: what loops over a handful of states are made of.

An array holds vectors in memory between any two of its rows; the compiler can't prove that nothing else changes them. A
tuple has no address. Its length is known when a function of it is compiled, so that every operation is written out.
Functions that read tuples from arrays take their length from a tuple `like` of anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dynplat.scan.kernels.vector import EIGHT, FLAGS, Vector

_EIGHT = Vector(types.float64, EIGHT)
_DOUBLES = ir.VectorType(ir.DoubleType(), EIGHT)
_WORDS = ir.VectorType(ir.IntType(64), EIGHT)
#: What must be rounded before it goes on keeps its place; operations without flags would be given those of `compiling`.
_IN_ORDER = ("contract",)


def _tuple(length: int) -> Any:
    return types.UniTuple(_EIGHT, length)


def _items(builder: Any, bundle: Any) -> list[Any]:
    return [builder.extract_value(bundle, place) for place in range(bundle.type.count)]


def _doubles(number: float) -> Any:
    return ir.Constant(_DOUBLES, [number] * EIGHT)


def _words(number: int) -> Any:
    return ir.Constant(_WORDS, [number] * EIGHT)


def _everywhere(builder: Any, number: Any) -> Any:
    single = builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), [0] * EIGHT))


def _line(context: Any, builder: Any, kind: Any, array: Any, row: Any) -> Any:
    """Pointer to eight numbers: a row of a contiguous array (rows, 8)."""
    start = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [builder.mul(row, row.type(EIGHT))]), _DOUBLES.as_pointer())


def _next(builder: Any, pointer: Any, count: int) -> Any:
    return builder.gep(pointer, [ir.Constant(ir.IntType(64), count)])


# Memory.


@intrinsic
def load_each(_typing: Any, array: Any, row: Any, like: Any) -> Any:
    """Read as many rows of an array of float64 (rows, 8) as `like` is long, from `row` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = _line(context, builder, signature.args[0], *arguments[:2])
        found = [builder.load(_next(builder, first, place), align=8) for place in range(len(like))]
        return context.make_tuple(builder, signature.return_type, found)

    return _tuple(len(like))(array, types.intp, like), codegen


@intrinsic
def store_each(_typing: Any, array: Any, row: Any, bundle: Any) -> Any:
    """Write vectors into rows of an array of float64 (rows, 8), from `row` on."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = _line(context, builder, signature.args[0], *arguments[:2])
        for place, item in enumerate(_items(builder, arguments[2])):
            builder.store(item, _next(builder, first, place), align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, bundle), codegen


@intrinsic
def spread(_typing: Any, numbers: Any, like: Any) -> Any:
    """Each of the first n^2 numbers of a contiguous array of float64, n the length of `like`, eight times."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        found = [_everywhere(builder, builder.load(_next(builder, start, k))) for k in range(len(like) ** 2)]
        return context.make_tuple(builder, signature.return_type, found)

    return _tuple(len(like) ** 2)(numbers, like), codegen


def _lanes(context: Any, builder: Any, kind: Any, array: Any, bases: Any, offset: Any) -> list[Any]:
    """Pointers to eight numbers each of a contiguous array, `offset` after the bases, an array (8,) of int64."""
    start = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(start.type.pointee, EIGHT).as_pointer()
    places = [builder.add(builder.load(_next(builder, bases, lane)), offset) for lane in range(EIGHT)]
    return [builder.bitcast(builder.gep(start, [place]), vector) for place in places]


def _transposed(builder: Any, rows: Sequence[Any]) -> list[Any]:
    """Transpose eight vectors, by exchanging halves of blocks of two, four and eight."""
    rows = list(rows)
    for width in (1, 2, 4):
        low = [p if not p & width else EIGHT + p - width for p in range(EIGHT)]
        high = [p + width if not p & width else EIGHT + p for p in range(EIGHT)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), mask) for mask in (low, high)]
        for place in range(EIGHT):
            if not place & width:
                pair = rows[place], rows[place + width]
                rows[place], rows[place + width] = (builder.shuffle_vector(*pair, mask) for mask in masks)
    return rows


@intrinsic
def read_turned(_typing: Any, array: Any, bases: Any, offset: Any, block: Any, row: Any) -> Any:
    """Read eight numbers `offset` after each of eight places of a contiguous array into eight rows of `block`.

    Arguments: the array (one axis); `bases` (8,), the places; `block`, float64 (rows, 8), whose column l takes what
    stands after place l, and its first row to be written.
    """
    single = array.dtype == types.float32

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bases = context.make_array(signature.args[1])(context, builder, arguments[1]).data
        pointers = _lanes(context, builder, signature.args[0], arguments[0], bases, arguments[2])
        rows = [builder.load(pointer, align=4 if single else 8) for pointer in pointers]
        rows = [builder.fpext(each, _DOUBLES) for each in rows] if single else rows
        first = _line(context, builder, signature.args[3], *arguments[3:])
        for place, each in enumerate(_transposed(builder, rows)):
            builder.store(each, _next(builder, first, place), align=8)
        return context.get_dummy_value()

    return types.void(array, bases, types.intp, block, types.intp), codegen


def _turned_writer(adds: bool) -> Any:
    @intrinsic
    def write_turned(_typing: Any, block: Any, row: Any, array: Any, bases: Any, offset: Any) -> Any:
        """Write eight rows of `block` where `read_turned` reads them from, or add them to what stands there."""
        single = array.dtype == types.float32
        align = 4 if single else 8

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first = _line(context, builder, signature.args[0], *arguments[:2])
            rows = [builder.load(_next(builder, first, place), align=8) for place in range(EIGHT)]
            bases = context.make_array(signature.args[3])(context, builder, arguments[3]).data
            pointers = _lanes(context, builder, signature.args[2], arguments[2], bases, arguments[4])
            for pointer, each in zip(pointers, _transposed(builder, rows), strict=True):
                if single:
                    each = builder.fptrunc(each, pointer.type.pointee)
                if adds:
                    each = builder.fadd(builder.load(pointer, align=align), each)
                builder.store(each, pointer, align=align)
            return context.get_dummy_value()

        return types.void(block, types.intp, array, bases, types.intp), codegen

    return write_turned


write_turned, add_turned = _turned_writer(False), _turned_writer(True)


# Arithmetic.


def _products(builder: Any, terms: Sequence[tuple[Any, Any]]) -> Any:
    """Sum of products; of four or more two sums at once, which shortens the wait."""
    if len(terms) > 3:
        half = len(terms) // 2
        return builder.fadd(_products(builder, terms[:half]), _products(builder, terms[half:]), flags=FLAGS)
    total = builder.fmul(*terms[0], flags=FLAGS)
    for pair in terms[1:]:
        total = builder.fadd(total, builder.fmul(*pair, flags=FLAGS), flags=FLAGS)
    return total


@intrinsic
def through_each(_typing: Any, laws: Any, matrix: Any) -> Any:
    """Products law^T matrix for laws of n numbers one after another, with a matrix of n^2 (row by row)."""
    n = math.isqrt(len(matrix))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, entries = (_items(builder, bundle) for bundle in arguments)
        found = [
            _products(builder, [(numbers[first + i], entries[i * n + j]) for i in range(n)])
            for first in range(0, len(numbers), n)
            for j in range(n)
        ]
        return context.make_tuple(builder, signature.return_type, found)

    return laws(laws, matrix), codegen


@intrinsic
def times_each(_typing: Any, bundle: Any, factors: Any) -> Any:
    """Products with `factors`, again and again where there are fewer of them."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers, others = (_items(builder, bundle) for bundle in arguments)
        found = [builder.fmul(x, others[k % len(others)], flags=FLAGS) for k, x in enumerate(numbers)]
        return context.make_tuple(builder, signature.return_type, found)

    return bundle(bundle, factors), codegen


@intrinsic
def multiple_each(_typing: Any, bundle: Any, factor: Any) -> Any:
    """Products with one vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = [builder.fmul(x, arguments[1], flags=FLAGS) for x in _items(builder, arguments[0])]
        return context.make_tuple(builder, signature.return_type, found)

    return bundle(bundle, factor), codegen


@intrinsic
def shifted_each(_typing: Any, bundle: Any, term: Any) -> Any:
    """Sums with one vector."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = [builder.fadd(x, arguments[1], flags=FLAGS) for x in _items(builder, arguments[0])]
        return context.make_tuple(builder, signature.return_type, found)

    return bundle(bundle, term), codegen


@intrinsic
def plus_pairs(_typing: Any, sums: Any, left: Any, right: Any) -> Any:
    """Sums of n^2 numbers with the products of each of n with each of n others."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        totals, x, y = (_items(builder, bundle) for bundle in arguments)
        found = [
            builder.fadd(total, builder.fmul(x[k // len(y)], y[k % len(y)], flags=FLAGS), flags=FLAGS)
            for k, total in enumerate(totals)
        ]
        return context.make_tuple(builder, signature.return_type, found)

    return sums(sums, left, right), codegen


@intrinsic
def sum_each(_typing: Any, bundle: Any, like: Any) -> Any:
    """Sum of the first vectors of a tuple, as many as `like` is long."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        total, *others = _items(builder, arguments[0])[: len(like)]
        for other in others:
            total = builder.fadd(total, other, flags=FLAGS)
        return total

    return _EIGHT(bundle, like), codegen


@intrinsic
def greatest_each(_typing: Any, bundle: Any) -> Any:
    """Largest of the vectors of a tuple, number by number."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        largest, *others = _items(builder, arguments[0])
        for other in others:
            largest = builder.select(builder.fcmp_ordered(">", other, largest), other, largest)
        return largest

    return _EIGHT(bundle), codegen


@intrinsic
def exp_each(_typing: Any, bundle: Any, largest: Any) -> Any:
    """Exponentials of numbers less `largest`, which none of them exceeds; 0 below 1e-307, NaN for NaN."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = [_exp(builder, builder.fsub(x, arguments[1], flags=_IN_ORDER)) for x in _items(builder, arguments[0])]
        return context.make_tuple(builder, signature.return_type, found)

    return bundle(bundle, largest), codegen


# log 2 in two parts: multiples of the first are exact.
_LOG_2_HIGH, _LOG_2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
#: Added to a number it leaves the nearest whole number in the last bits.
_WHOLE = 1.5 * 2.0**52
_SMALLEST = -708.0
_EXPONENT, _BIAS = 52, 1023


def _polynomial(builder: Any, x: Any, coefficients: Sequence[float]) -> Any:
    """Polynomial with coefficients from the highest degree down."""
    total = _doubles(coefficients[0])
    for coefficient in coefficients[1:]:
        total = builder.fadd(builder.fmul(total, x, flags=_IN_ORDER), _doubles(coefficient), flags=_IN_ORDER)
    return total


def _exp(builder: Any, x: Any) -> Any:
    """As `dynplat.scan.kernels.exponential.exp`, for numbers that are not positive."""

    def minus_times(a: Any, b: Any, number: float) -> Any:
        return builder.fsub(a, builder.fmul(b, _doubles(number), flags=_IN_ORDER), flags=_IN_ORDER)

    # NaN is not below.
    below = builder.fcmp_ordered("<", x, _doubles(_SMALLEST))
    inside = builder.select(below, _doubles(_SMALLEST), x)
    moved = builder.fadd(
        builder.fmul(inside, _doubles(1.0 / math.log(2.0)), flags=_IN_ORDER), _doubles(_WHOLE), flags=_IN_ORDER
    )
    n = builder.fsub(moved, _doubles(_WHOLE), flags=_IN_ORDER)
    r = minus_times(minus_times(inside, n, _LOG_2_HIGH), n, _LOG_2_LOW)
    s = _polynomial(builder, r, [1.0 / math.factorial(degree) for degree in range(13, -1, -1)])
    bits = builder.shl(builder.add(builder.bitcast(moved, _WORDS), _words(_BIAS)), _words(_EXPONENT))
    return builder.select(below, _doubles(0.0), builder.fmul(s, builder.bitcast(bits, _DOUBLES), flags=_IN_ORDER))


#: Bits of sqrt(1/2).
_HALF_ROOT = 0x3FE6A09E667F3BCD


@intrinsic
def logarithm(_typing: Any, x: Any) -> Any:
    """Logarithms of positive normal numbers, as `dynplat.scan.kernels.exponential.log`; of others anything."""

    def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _WORDS)
        n = builder.ashr(builder.sub(bits, _words(_HALF_ROOT)), _words(_EXPONENT))
        m = builder.bitcast(builder.sub(bits, builder.shl(n, _words(_EXPONENT))), _DOUBLES)
        above = builder.fsub(m, _doubles(1.0), flags=_IN_ORDER)
        f = builder.fdiv(above, builder.fadd(m, _doubles(1.0), flags=_IN_ORDER), flags=_IN_ORDER)
        s = builder.fmul(f, f, flags=_IN_ORDER)
        r = builder.fmul(s, _polynomial(builder, s, [1.0 / degree for degree in range(23, 1, -2)]), flags=_IN_ORDER)
        n = builder.sitofp(builder.trunc(n, ir.VectorType(ir.IntType(32), EIGHT)), _DOUBLES)
        low, high = (builder.fmul(n, _doubles(part), flags=_IN_ORDER) for part in (_LOG_2_LOW, _LOG_2_HIGH))
        f = builder.fmul(f, _doubles(2.0), flags=_IN_ORDER)
        low = builder.fadd(builder.fmul(f, r, flags=_IN_ORDER), low, flags=_IN_ORDER)
        return builder.fadd(high, builder.fadd(f, low, flags=_IN_ORDER), flags=_IN_ORDER)

    return x(x), codegen


def _of_bits(change: Callable[[Any, Any], Any], doc: str) -> Any:
    def function(_typing: Any, x: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            exponent = builder.lshr(builder.bitcast(arguments[0], _WORDS), _words(_EXPONENT))
            return change(builder, exponent)

        return x(x), codegen

    function.__doc__ = doc
    return intrinsic(function)


def _inverse_power(builder: Any, exponent: Any) -> Any:
    bits = builder.shl(builder.sub(_words(2 * _BIAS), exponent), _words(_EXPONENT))
    return builder.bitcast(bits, _DOUBLES)


def _power(builder: Any, exponent: Any) -> Any:
    narrow = builder.trunc(builder.sub(exponent, _words(_BIAS)), ir.VectorType(ir.IntType(32), EIGHT))
    return builder.sitofp(narrow, _DOUBLES)


inverse_power = _of_bits(_inverse_power, "One over the largest powers of two that do not exceed positive numbers.")
power = _of_bits(_power, "The exponents of these powers.")
