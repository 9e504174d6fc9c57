r"""The discrete flashing ratchet: a particle on a ring of three sites under a potential that flashes on and off.

Simulated by Berghaus et al. (2024), arXiv:2406.06419: 10,000 paths of a Markov jump process with six states (three
sites with the potential on, 0-2, and three with it off, 3-5), seen at 100 regular times on [0, 2.5] without noise,
started from the stationary law. With the potential on, the particle jumps from site i to j at rate :math:`e^{-V (j -
i)/2}`; with it off at rate 1; the potential flashes at rate 1.

How the traps are handled: the source divides times by 2.5 and stores them in float32, so that gaps differ in the eighth
digit. They are multiplied back, and the regular grid that they are the rounding of is returned. The source keeps its
arrays as torch files: their storages are read as bytes of known type, and the pickles beside them are never opened.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dynplat.data.catalogue.choices import check_choice
from dynplat.data.catalogue.fetch import fetch
from dynplat.data.catalogue.registry import FLASHING_RATCHET
from dynplat.data.trajectories import Trajectories
from dynplat.errors import DataError

NUM_PATHS, NUM_TIMES, NUM_STATES = 10_000, 100, 6
END = 2.5
#: Name of an array -> type of its numbers and shape, in the source's torch files.
_STORAGES = {
    "paths": ("sample_paths", "<i2", (NUM_PATHS, NUM_TIMES)),
    "times": ("grid", "<f4", (NUM_PATHS, NUM_TIMES)),
    "time_normalization_factors": ("time_normalization_factors", "<f4", (1,)),
    "intensity_matrices": ("intensity_matrices", "<f4", (1, NUM_STATES, NUM_STATES)),
    "initial_distributions": ("initial_distributions", "<f4", (1, NUM_STATES)),
}


class Truth(NamedTuple):
    """The law that the paths were drawn from.

    Attributes:
        rates: Rate from state i to j at [i, j], rows summing to 0, (6, 6).
        initial: Probabilities of the first state, (6,).
    """

    rates: np.ndarray
    initial: np.ndarray


def load_flashing_ratchet(*, potential: int = 1) -> Trajectories:
    """Load 10,000 paths of 100 states each.

    Args:
        potential: Height V of the potential, 0 or 1.

    Returns:
        Channel `state` (0-5); times from 0 to 2.5 in the simulation's unit. `load_truth` gives the true rates.
    """
    arrays = _arrays(potential)
    return Trajectories.from_arrays(arrays["times"], arrays["paths"].astype(np.float64)[..., None], channels=["state"])


def load_truth(*, potential: int = 1) -> Truth:
    """Load the true rates and first-state probabilities, stored in float32 by the source."""
    arrays = _arrays(potential)
    return Truth(
        arrays["intensity_matrices"][0].astype(np.float64), arrays["initial_distributions"][0].astype(np.float64)
    )


def _arrays(potential: int) -> dict[str, np.ndarray]:
    check_choice("potential", potential, FLASHING_RATCHET)
    return read_ratchet(fetch(FLASHING_RATCHET[potential]))


def read_ratchet(path: Path) -> dict[str, np.ndarray]:
    """Read paths, times and truth from the source's zip of torch files or from an npz of the same values.

    Raises:
        DataError: An array is not there, or the times are not the expected grid.
    """
    arrays = _read_torch_zip(path) if path.suffix == ".zip" else _read_npz(path)
    grid = np.linspace(0.0, END, NUM_TIMES)
    stored = np.atleast_2d(arrays["times"])
    factor = float(arrays["time_normalization_factors"].ravel()[0])
    if (stored != stored[0]).any() or not np.allclose(stored[0] * factor, grid, rtol=0, atol=1e-6):
        raise DataError(f"{NUM_TIMES} regular times on [0, {END:g}] are expected; got others.", source=path)
    return {**arrays, "times": grid}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        lacking = [name for name in _STORAGES if name not in archive.files]
        if lacking:
            raise DataError(f"the arrays {', '.join(lacking)} are not there.", source=path)
        return {name: archive[name] for name in _STORAGES}


def _read_torch_zip(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(path) as outer:
        for name, (stem, dtype, shape) in _STORAGES.items():
            file = f"fine_grid_{stem}"
            inside = [member for member in outer.namelist() if member.endswith(f"/{file}.pt") and member[0] != "_"]
            if len(inside) != 1:
                raise DataError(f"one member {file}.pt is expected; got {len(inside)}.", source=path)
            with zipfile.ZipFile(io.BytesIO(outer.read(inside[0]))) as inner:
                content = inner.read(f"{file}/data/0")
            if len(content) != np.dtype(dtype).itemsize * int(np.prod(shape)):
                raise DataError(f"{file}.pt holds {len(content)} bytes, not an array {shape} of {dtype}.", source=path)
            arrays[name] = np.frombuffer(content, dtype=dtype).reshape(shape)
    return arrays
