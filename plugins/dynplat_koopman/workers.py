"""Blocks of rows on several threads, with the linear algebra of each block on its own thread.

Products of a block are too small to be shared out well: threads of a BLAS meet at the end of each product, evaluate
functions on one of them only, and wait by spinning, which is slow where another process needs a core. Whole blocks
share out evenly and meet once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Matrices up to this size are worked on by one thread.
_SMALL = 400


def share_out(blocks: Sequence[T], run: Callable[[Sequence[T]], R]) -> list[R]:
    """Call `run` on shares of the blocks, one share for each thread that linear algebra may use now.

    How many those are is the user's choice, by `OMP_NUM_THREADS` for instance. Share w has the blocks w, w + number of
    threads, ...: sums over shares depend on the number of threads only, and by rounding only.

    Args:
        blocks: What there is to do.
        run: Does some of the blocks; called on several threads at once.

    Returns:
        What `run` returned for each share.
    """
    if len(blocks) < 2:
        return [run(blocks)]
    blas = _blas()
    count = min(len(blocks), max((library["num_threads"] for library in blas.info()), default=1))
    if count < 2:
        return [run(blocks)]
    with blas.limit(limits=1):
        return list(_pool().map(run, [blocks[share::count] for share in range(count)]))


def for_size(size: int) -> AbstractContextManager[Any]:
    """Linear algebra with matrices (size, size): on one thread where that is fastest.

    A BLAS's other threads go on spinning for a while after a product, and would take their cores from the blocks that
    follow.
    """
    return _blas().limit(limits=1) if size <= _SMALL else nullcontext()


@lru_cache(maxsize=1)
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  it brings a library of its own, and only those that are loaded are found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="dynplat-koopman")
