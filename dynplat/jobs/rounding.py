"""Numbers as tables hold them: as many digits as mean something."""

from __future__ import annotations

import numpy as np


def rounded(values: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Drop the digits that say nothing: rounding moves a number by less than a thousandth of its sd."""
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.where(sd > 0, 3 - np.floor(np.log10(sd)), 15)
    rounded = np.array(values, dtype=float)
    for count in np.unique(places[np.isfinite(places)]):
        here = places == count
        rounded[here] = np.round(rounded[here], int(np.clip(count, -300, 300)))
    return rounded
