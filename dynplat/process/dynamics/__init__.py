"""Linear dynamics in continuous time, discretised exactly, in closed form where one exists."""

from dynplat.process.dynamics.base import AbstractLinearDynamics
from dynplat.process.dynamics.combined import Constant, Stack
from dynplat.process.dynamics.dense import Dense
from dynplat.process.dynamics.integrated_wiener import IntegratedWiener
from dynplat.process.dynamics.matern import Matern, OrnsteinUhlenbeck
from dynplat.process.dynamics.rotations import DampedOscillator, Harmonic, QuasiPeriodic

__all__ = [
    "AbstractLinearDynamics",
    "Constant",
    "DampedOscillator",
    "Dense",
    "Harmonic",
    "IntegratedWiener",
    "Matern",
    "OrnsteinUhlenbeck",
    "QuasiPeriodic",
    "Stack",
]
