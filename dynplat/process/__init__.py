"""Laws over trajectories, built on scans; `dynplat.process.pyro` and `.numpyro` hold them as distributions."""

from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess, Draw
from dynplat.process.channels import IndependentChannels
from dynplat.process.emissions import (
    AbstractEmission,
    CategoricalEmission,
    GaussianEmission,
    MultivariateGaussianEmission,
    PoissonEmission,
    StudentTEmission,
)
from dynplat.process.gaussian_predictive import GaussianPredictive
from dynplat.process.hidden_markov import HiddenMarkov
from dynplat.process.linear_gaussian import LinearGaussian
from dynplat.process.linear_sde import LinearSDE

__all__ = [
    "AbstractConditional",
    "AbstractEmission",
    "AbstractPredictive",
    "AbstractProcess",
    "CategoricalEmission",
    "Draw",
    "GaussianEmission",
    "GaussianPredictive",
    "HiddenMarkov",
    "IndependentChannels",
    "LinearGaussian",
    "LinearSDE",
    "MultivariateGaussianEmission",
    "PoissonEmission",
    "StudentTEmission",
]
