"""Reference processes: what a population would do if nothing but its start were known."""

from dynplat_bridges.references.base import AbstractLinearReference, AbstractReference, LinearTransition
from dynplat_bridges.references.brownian import Brownian
from dynplat_bridges.references.linear import LinearSDE, OrnsteinUhlenbeck
from dynplat_bridges.references.text import linear_reference_from, reference_from

__all__ = [
    "AbstractLinearReference",
    "AbstractReference",
    "Brownian",
    "LinearSDE",
    "LinearTransition",
    "OrnsteinUhlenbeck",
    "linear_reference_from",
    "reference_from",
]
