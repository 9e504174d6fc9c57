"""Laws over trajectories, built on scans; `dynplat.process.pyro` and `.numpyro` hold them as distributions."""

from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess, Draw
from dynplat.process.channels import IndependentChannels
from dynplat.process.gaussian_predictive import GaussianPredictive
from dynplat.process.linear_gaussian import LinearGaussian
from dynplat.process.linear_sde import LinearSDE

__all__ = [
    "AbstractConditional",
    "AbstractPredictive",
    "AbstractProcess",
    "Draw",
    "GaussianPredictive",
    "IndependentChannels",
    "LinearGaussian",
    "LinearSDE",
]
