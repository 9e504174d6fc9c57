"""Drifts learned by regression on the increments of paths."""

from dynplat_bridges.drifts.base import AbstractRegression, FittedDrift
from dynplat_bridges.drifts.neural import NeuralRegression
from dynplat_bridges.drifts.ridge import KernelRidge

__all__ = ["AbstractRegression", "FittedDrift", "KernelRidge", "NeuralRegression"]
