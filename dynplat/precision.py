"""Precision of networks: where a fit asks for mixed precision, networks run in bfloat16 and all else as it is.

Which part of a model is a network only the model knows. What `pp.module` returns knows it by itself; a process that
runs a network on the sites says so:

    with network_precision(values):
        outputs = run(layer, weights, values)
    outputs = xp.astype(outputs, values.dtype)  # what is computed from here on is in the fit's precision again
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from array_api_compat import is_torch_array

#: Whether networks run in bfloat16, and how many have; None outside `mixed_precision`.
_ASKED: ContextVar[list[int] | None] = ContextVar("mixed precision", default=None)


@contextmanager
def mixed_precision() -> Iterator[list[int]]:
    """Let networks inside run in bfloat16; yields a list of one number, how many have."""
    count = [0]
    token = _ASKED.set(count)
    try:
        yield count
    finally:
        _ASKED.reset(token)


def network_precision(like: Any) -> AbstractContextManager[Any]:
    """The context in which a network runs: torch's autocast to bfloat16 inside `mixed_precision`, else nothing.

    Autocast leaves float64 as it is, and sums, norms and exponentials in float32; results may be bfloat16.

    Args:
        like: An array of the fit; mixed precision is for torch tensors.
    """
    count = _ASKED.get()
    if count is None or not is_torch_array(like):
        return nullcontext()
    count[0] += 1
    torch = sys.modules["torch"]
    return torch.autocast(like.device.type, dtype=torch.bfloat16)
