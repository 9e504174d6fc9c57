"""What the states of a hidden Markov chain emit: the law of a row's observation given the state.

Parameters are (..., series or 1, K, core dimensions). With `time_varying=True` they carry a time axis before K,
(..., series or 1, T, K, core dimensions): row t of the parameters is the law of row t.

A missing cell contributes exactly 0: where channels are independent given the state it is left out, and where they are
not the marginal law of the cells that were seen takes the place of the joint one.
"""

from dynplat.process.emissions.base import AbstractEmission, check_normalised, draw_index, index_type
from dynplat.process.emissions.categorical import CategoricalEmission
from dynplat.process.emissions.gaussian import GaussianEmission
from dynplat.process.emissions.multivariate_gaussian import MultivariateGaussianEmission
from dynplat.process.emissions.poisson import PoissonEmission
from dynplat.process.emissions.student_t import StudentTEmission

__all__ = [
    "AbstractEmission",
    "CategoricalEmission",
    "GaussianEmission",
    "MultivariateGaussianEmission",
    "PoissonEmission",
    "StudentTEmission",
    "check_normalised",
    "draw_index",
    "index_type",
]
