"""What a compiled kernel is: a function of arrays with its adjoint, and how it runs on arrays of NumPy.

One layout for all kernels: axis 0 of every array is the *group*, of length G, or 1 for what all groups share; groups
are independent of each other, so that they can be spread over threads. A kernel writes its outputs into arrays that it
is given. The first outputs are its values; the others are what its adjoint needs again.

`dynplat.scan.kernels.torch` and `dynplat.scan.kernels.jax` make differentiable functions of kernels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

Shape = tuple[int, ...]

#: NumPy dtypes of the kinds of arrays that don't follow the numbers of the call.
KINDS = {"count": np.int32, "flag": np.uint8}


@dataclass(frozen=True)
class Spec:
    """An array of a kernel.

    Args:
        name: Its name.
        rank: Its number of axes, the group included.
        kind: `number` (of the dtype of the call, which may be complex), `real` (of its real dtype), `count` (int32: JAX
            has no other without its x64 switch) or `flag` (uint8).
        differentiable: Whether the adjoint gives its gradient.
    """

    name: str
    rank: int
    kind: str = "real"
    differentiable: bool = False

    def empty(self, number: Any) -> np.ndarray:
        """An empty array of the type of this one in a call with numbers of dtype `number`."""
        return np.empty((0,) * self.rank, self.dtype(number))

    def dtype(self, number: Any) -> np.dtype:
        """NumPy dtype of the array in a call with numbers of dtype `number`."""
        if self.kind == "real":
            return np.empty(0, number).real.dtype
        return np.dtype(KINDS.get(self.kind, number))


@dataclass(frozen=True)
class Kernel:
    """A compiled function and its adjoint.

    Args:
        name: Its name.
        inputs: Its inputs.
        outputs: Its outputs; all but the first `num_values` are kept for the adjoint.
        num_values: Number of values.
        shapes: Function of the shapes of the inputs that gives the shapes of the outputs, and of whether the adjoint
            will be asked for.
        forward: Compiled function of inputs and outputs.
        backward: Compiled function of inputs, outputs, cotangents of the values, flags (1, differentiable inputs) that
            say which gradients are wanted, and gradients; of one that is not wanted nothing but zeros is asked, and it
            may have size 0.
        handlers: Function of a dtype that gives both as functions for XLA, where they need more than a call (see
            `dynplat.scan.kernels.handlers`).
        lanes: Place of an input (1, 2) that says on which range of the last axis a call works, where parts of that axis
            are independent of each other: threads share it out where there are too few groups.
        together: Number of groups that are worked on side by side where there are at least half as many: threads are
            given multiples of it, so that results don't depend on their number.
    """

    name: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    num_values: int
    shapes: Callable[[Sequence[Shape], bool], tuple[Shape, ...]]
    forward: Callable[..., None]
    backward: Callable[..., None]
    handlers: Callable[[Any], tuple[Any, Any]] | None = None
    lanes: int | None = None
    together: int = 1

    @property
    def knows_complex(self) -> bool:
        """Whether a call may have complex numbers."""
        return any(spec.kind == "number" for spec in self.inputs)

    @property
    def differentiable(self) -> tuple[int, ...]:
        """Places of the inputs that have gradients."""
        return tuple(index for index, spec in enumerate(self.inputs) if spec.differentiable)

    def forward_types(self, number: Any) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Empty arrays of the types that `forward` reads and writes."""
        inputs, outputs = (tuple(spec.empty(number) for spec in specs) for specs in (self.inputs, self.outputs))
        return inputs, outputs

    def backward_types(self, number: Any) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Empty arrays of the types that `backward` reads and writes."""
        inputs, outputs = self.forward_types(number)
        wanted = np.empty((0, 0), dtype=KINDS["flag"])
        read = (*inputs, *outputs, *outputs[: self.num_values], wanted)
        return read, tuple(inputs[place] for place in self.differentiable)

    def run(self, inputs: Sequence[np.ndarray], *, keep: bool, threads: int | None = None) -> tuple[np.ndarray, ...]:
        """Run forward.

        Args:
            inputs: Arrays as `inputs` names them; what is not contiguous or not writable is copied.
            keep: Whether all that the adjoint needs is kept.
            threads: Number of threads; by default as many as the process may use.
        """
        # numba compiles a kernel anew for arrays that may not be written to.
        inputs = [np.require(array, requirements=("C", "W")) for array in inputs]
        number = inputs[0].dtype
        shapes = self.shapes([array.shape for array in inputs], keep)
        outputs = tuple(np.empty(shape, spec.dtype(number)) for shape, spec in zip(shapes, self.outputs, strict=True))
        options: Any = {"lanes": self.lanes, "threads": threads, "together": self.together}
        in_parts(self.forward, num_groups(inputs), (*inputs, *outputs), **options)
        return outputs

    def pull_back(
        self,
        inputs: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray],
        wanted: Sequence[bool],
        *,
        threads: int | None = None,
    ) -> tuple[np.ndarray | None, ...]:
        """Gradients of the differentiable inputs, None where not `wanted`.

        Args:
            inputs: The inputs of the forward run.
            outputs: All it gave, with `keep`.
            cotangents: Cotangents of the values.
            wanted: One flag for each differentiable input.
            threads: Number of threads; by default as many as the process may use.
        """
        inputs = [np.require(array, requirements=("C", "W")) for array in inputs]
        cotangents = [np.require(array, requirements=("C", "W")) for array in cotangents]
        gradients = tuple(
            np.empty(inputs[place].shape if wish else (0,) * self.inputs[place].rank, inputs[place].dtype)
            for place, wish in zip(self.differentiable, wanted, strict=True)
        )
        flags = np.array([wanted], dtype=KINDS["flag"])
        arrays = (*inputs, *outputs, *cotangents, flags)
        options: Any = {"lanes": self.lanes, "threads": threads, "together": self.together}
        gradients = in_parts(self.backward, num_groups(inputs), arrays, gradients, **options)
        return tuple(g if wish else None for g, wish in zip(gradients, wanted, strict=True))


def num_groups(arrays: Sequence[Any]) -> int:
    """Number of groups of a call."""
    return max(int(array.shape[0]) for array in arrays)


def available_threads() -> int:
    """Number of cores that this process may use, or `OMP_NUM_THREADS` where that is less."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(asked))) if asked.isdigit() and int(asked) > 0 else cores


#: Numbers in the arrays of a call below which threads cost more than they bring.
_SMALL = 20_000
#: Fewest entries of an axis of lanes that are worth a thread: some lines of a cache.
_NARROW = 32
#: What a part of the lanes takes longer than so much of whole rows, because memory is fetched in pieces.
_IN_PIECES = 1.6


def in_parts(
    function: Callable[..., None],
    groups: int,
    arrays: tuple[np.ndarray, ...],
    sums: tuple[np.ndarray, ...] = (),
    *,
    lanes: int | None = None,
    threads: int | None = None,
    together: int = 1,
) -> tuple[np.ndarray, ...]:
    """Run a compiled function on ranges of groups, or of lanes, at once.

    Args:
        function: Function of `arrays` and `sums`, which writes into some of them.
        groups: Number of groups; arrays of another length are given to all parts whole.
        arrays: Arrays that are read, and those that hold something for each group and are written.
        sums: Arrays that are written; what all groups share (length 1) is added up over the parts.
        lanes: See `Kernel`.
        threads: Number of threads; by default as many as the process may use.
        together: See `Kernel`.
    """
    threads = available_threads() if threads is None else threads
    if threads <= 1 or sum(array.size for array in arrays) < _SMALL:
        function(*arrays, *sums)
        return sums
    together = together if 2 * groups >= together else 1
    blocks = -(-groups // together)
    parts = min(blocks, threads)
    if lanes is not None:
        start, stop = (int(bound) for bound in arrays[lanes][0])
        ranges = min(threads, (stop - start) // _NARROW)
        # The last of the parts to end decides: it has ceil(groups / parts) of the groups.
        if ranges * -(-groups // parts) > _IN_PIECES * groups:
            bounds = np.linspace(start, stop, ranges + 1).astype(arrays[lanes].dtype)
            shares = [np.array([pair]) for pair in pairwise(bounds)]
            before, after = arrays[:lanes], arrays[lanes + 1 :]
            list(_pool().map(lambda share: function(*before, share, *after, *sums), shares))
            return sums
    if parts <= 1:
        function(*arrays, *sums)
        return sums
    bounds = np.minimum(np.linspace(0, blocks, parts + 1).astype(int) * together, groups)
    calls = []
    for start, stop in pairwise(bounds):
        own = [array if len(array) != groups else array[start:stop] for array in arrays]
        added = [np.empty_like(total) if len(total) == 1 else total[start:stop] for total in sums]
        calls.append((own, added))
    list(_pool().map(lambda call: function(*call[0], *call[1]), calls))
    for index, total in enumerate(sums):
        if len(total) == 1:
            total[:] = sum(added[index] for _, added in calls)
    return sums


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="dynplat-kernel")
