"""What a run of the no-U-turn sampler is asked for and what it gives, in either language."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """Options of the sampler. See `dynplat.inference.nuts.run`.

    Attributes:
        num_warmup: Steps of adaptation per chain.
        num_samples: Draws per chain.
        num_chains: Chains.
        target_accept: Acceptance rate that the step size is adapted to.
        max_tree_depth: Largest number of doublings of a trajectory.
        dense_mass: Whether the mass matrix is dense.
        chain_method: `vectorized`, `parallel` or `sequential`.
        keep_interrupted: Whether Ctrl-C ends the run with what there is.
    """

    num_warmup: int
    num_samples: int
    num_chains: int
    target_accept: float
    max_tree_depth: int
    dense_mass: bool
    chain_method: str
    keep_interrupted: bool


class Chains(NamedTuple):
    """Draws of all chains after warm-up.

    Attributes:
        z: Positions in prior units, (chain, draw, size).
        stats: Statistics (chain, draw) under ArviZ's names.
        interrupted: Whether Ctrl-C ended the run.
    """

    z: np.ndarray
    stats: dict[str, np.ndarray]
    interrupted: bool


#: Fewest draws per chain that an interrupted run keeps.
MIN_KEPT = 20
