"""The ways into the rows of a chain, and which of them are alike."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dynplat.arrays import Array, concrete


class Ways(NamedTuple):
    """The ways into rows of a chain.

    Attributes:
        spans: Parts of the gap before each row that lie in each piece of the generator, (..., time) each.
        quiet: Nothing happened since the row before, (..., time), or None where nothing is known of any row.
        jump: The row's state was entered at exactly its time, (..., time), or None.
        piece: Piece of the generator at the row's time, (..., time), or None where there is one.
        held: Inputs before the row in their distance from the centre, (..., time, k), or None where none count.
    """

    spans: list[Array]
    quiet: np.ndarray | None
    jump: np.ndarray | None
    piece: Array | None
    held: Array | None = None

    @property
    def lead(self) -> tuple[int, ...]:
        """Leading axes."""
        shapes = [tuple(array.shape[:-1]) for array in (*self.spans, self.quiet, self.jump) if array is not None]
        shapes += [] if self.held is None else [tuple(self.held.shape[:-2])]
        return tuple(np.broadcast_shapes(*shapes))

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.spans[0].shape[-1])


def share(ways: Ways) -> tuple[Ways, np.ndarray] | None:
    """The different ways, and which of them leads into each row; None where they are only being traced."""
    held = [] if ways.held is None else [ways.held[..., k] for k in range(int(ways.held.shape[-1]))]
    known = (*ways.spans, *held, ways.quiet, ways.jump, ways.piece)
    arrays = [concrete(array) for array in known if array is not None]
    if any(array is None for array in arrays):
        return None
    lead = ways.lead
    stacked = np.stack(
        [np.broadcast_to(np.asarray(array, np.float64), (*lead, ways.size)) for array in arrays if array is not None],
        axis=-1,
    )
    unique, index = _unique_rows(np.ascontiguousarray(stacked).tobytes(), stacked.shape)
    columns = list(unique.T)
    spans = columns[: len(ways.spans)]
    inputs = columns[len(ways.spans) : len(ways.spans) + len(held)]
    rest = columns[len(ways.spans) + len(held) :]
    quiet = rest.pop(0) > 0 if ways.quiet is not None else None
    jump = rest.pop(0) > 0 if ways.jump is not None else None
    piece = rest.pop(0).astype(np.int64) if ways.piece is not None else None
    return Ways(spans, quiet, jump, piece, np.stack(inputs, axis=-1) if inputs else None), index


@lru_cache(maxsize=8)  # an optimiser asks for the same rows again and again
def _unique_rows(content: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Different rows and where each stands, with one copy along leading axes on which nothing depends."""
    rows = np.frombuffer(content, dtype=np.float64).reshape(shape)
    for axis in range(rows.ndim - 2):
        if rows.shape[axis] > 1 and (rows == rows.take([0], axis=axis)).all():
            rows = rows.take([0], axis=axis)
    # Rows as single values: what sorts them need not be the order of numbers.
    flat = np.ascontiguousarray(rows.reshape(-1, shape[-1]) + 0.0)
    keys = flat.view(np.dtype((np.void, flat.dtype.itemsize * shape[-1]))).ravel()
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    unique = np.ascontiguousarray(flat[first])
    index = index.reshape(rows.shape[:-1])
    unique.setflags(write=False)
    index.setflags(write=False)
    return unique, index
