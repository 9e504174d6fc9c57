"""What a training of an imputer hides: cells, rows and stretches of rows, as chance has it.

Of each series one pattern is hidden: single cells, whole rows, stretches of rows, or stretches of each channel by
itself. Shares and lengths are drawn anew, from nearly nothing to nearly everything, so that laws are learned for holes
of all sizes, and next to none.
"""

from __future__ import annotations

import numpy as np

#: Largest share of cells or rows that is hidden.
_MOST = 0.9
#: Largest expected share of a series that stretches hide, and their longest part of it.
_COVER, _LONGEST = 0.6, 0.5


def hidden_cells(seen: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Choose the cells to hide among the observed ones.

    Args:
        seen: True = observed, (series, time, channel).
        uniform: Numbers in [0, 1), (series, time + 1, channel + 2): the first row decides pattern, share and length.

    Returns:
        True = hidden, (series, time, channel); nothing that was not observed.
    """
    num_series, num_rows, num_channels = seen.shape
    pattern, share, length = (uniform[:, 0, k] for k in range(3))
    cells = uniform[:, 1:, :num_channels]
    rows = uniform[:, 1:, num_channels : num_channels + 1]
    found = np.zeros(seen.shape, dtype=bool)
    for s in range(num_series):
        if pattern[s] < 0.5:
            which = cells[s] if pattern[s] < 0.25 else rows[s]
            found[s] = which < _MOST * share[s]
            continue
        live = max(int(np.flatnonzero(seen[s].any(axis=-1)).max(initial=0)) + 1, 2)
        size = int(np.exp(length[s] * np.log(max(_LONGEST * live, 2.0))))
        starts = (cells[s] if pattern[s] < 0.75 else rows[s]) < _COVER * share[s] / max(size, 1)
        sums = np.concatenate([np.zeros((1, starts.shape[1]), int), np.cumsum(starts, axis=0)])
        found[s] = (sums[1:] - sums[np.maximum(np.arange(num_rows) + 1 - size, 0)]) > 0
    return found & seen
