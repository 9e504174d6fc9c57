"""Sets of multi-indices: degrees of polynomials and orders of waves."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np

from dynplat.errors import ArgumentError

#: `total`: the sizes of the indices sum to the largest at most; `tensor`: each is the largest at most.
Truncation = Literal["total", "tensor"]
#: More functions than any Gram matrix could hold.
_LARGEST = 2_000_000


@lru_cache(maxsize=64)
def degrees_of(num_variables: int, largest: int, truncation: str, smallest: int = 0) -> np.ndarray:
    """Multi-indices (N, d) of numbers 0, ..., `largest`, by their sum and then in falling lexicographic order.

    Args:
        num_variables: Number of variables, d.
        largest: Largest sum (`total`) or entry (`tensor`).
        truncation: `total` or `tensor`.
        smallest: Smallest sum.

    Raises:
        ArgumentError: A number is out of range, or the set is too large to be listed.
    """
    if num_variables < 1:
        raise ArgumentError(f"`num_variables` must be at least 1; got {num_variables}.")
    if largest < 0 or smallest < 0:
        raise ArgumentError(f"degrees must be at least 0; got degree={largest} and min_degree={smallest}.")
    if truncation not in ("total", "tensor"):
        raise ArgumentError(f"`truncation` must be 'total' or 'tensor'; got {truncation!r}.")
    if truncation == "tensor":
        if (largest + 1) ** num_variables > _LARGEST:
            raise ArgumentError(
                f"{largest + 1} degrees in each of {num_variables} variables are more than {_LARGEST:,} functions; "
                "choose truncation='total' or a smaller degree."
            )
        rows = list(product(range(largest + 1), repeat=num_variables))
    else:
        rows = _of_total(num_variables, largest)
    rows = sorted((row for row in rows if sum(row) >= smallest), key=lambda row: (sum(row), [-k for k in row]))
    found = np.array(rows, dtype=np.int64).reshape(-1, num_variables)
    found.setflags(write=False)
    return found


def _of_total(num_variables: int, largest: int) -> list[tuple[int, ...]]:
    if num_variables == 1:
        return [(k,) for k in range(largest + 1)]
    return [(k, *rest) for k in range(largest + 1) for rest in _of_total(num_variables - 1, largest - k)]
