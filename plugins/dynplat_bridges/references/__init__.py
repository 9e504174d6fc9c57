"""Reference processes: what a population would do if nothing but its start were known."""

from dynplat_bridges.references.base import AbstractLinearReference, AbstractReference, LinearTransition
from dynplat_bridges.references.brownian import Brownian, DriftingBrownian
from dynplat_bridges.references.custom import Custom
from dynplat_bridges.references.gradient import GradientField
from dynplat_bridges.references.linear import LinearSDE, OrnsteinUhlenbeck
from dynplat_bridges.references.lotka_volterra import LotkaVolterra
from dynplat_bridges.references.repressilator import Repressilator
from dynplat_bridges.references.text import linear_reference_from, reference_from
from dynplat_bridges.references.vortex import Vortex

__all__ = [
    "AbstractLinearReference",
    "AbstractReference",
    "Brownian",
    "Custom",
    "DriftingBrownian",
    "GradientField",
    "LinearSDE",
    "LinearTransition",
    "LotkaVolterra",
    "OrnsteinUhlenbeck",
    "Repressilator",
    "Vortex",
    "linear_reference_from",
    "reference_from",
]
