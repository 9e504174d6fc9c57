"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

SMITH = Reference(
    "Smith, J. T. H., Warrington, A. and Linderman, S. W. (2023). Simplified state space layers for sequence modeling. "
    "International Conference on Learning Representations.",
    url="https://arxiv.org/abs/2208.04933",
)
SARKKA_SOLIN = Reference(
    "Särkkä, S. and Solin, A. (2019). Applied Stochastic Differential Equations. Cambridge University Press.",
    doi="10.1017/9781108186735",
)

LINEAR_GAUSSIAN = ModelEntry(
    id="deepssm/linear-gaussian",
    summary="Diagonal state-space layer driven by noise: a stationary Gaussian process with learned time scales",
    location="dynplat_deepssm.linear_gaussian:LinearGaussianSSM",
    references=(SMITH, SARKKA_SOLIN),
    capabilities=Capabilities(states=True),
)

ZHANG = Reference(
    "Zhang, M., Saab, K. K., Poli, M., Dao, T., Goel, K. and Ré, C. (2023). Effectively modeling time series with "
    "simple discrete state spaces. International Conference on Learning Representations.",
    url="https://arxiv.org/abs/2303.09489",
)

#: What direct forecasters can do: no law of a hole, none of a whole trajectory before the first window.
_DIRECT = Capabilities(
    simulate=False, condition=False, coherent=False, irregular_times=False, languages=("pyro", "numpyro")
)

DIRECT = ModelEntry(
    id="deepssm/direct",
    summary="Direct forecasts of several steps from patches, by any cell, with a Student-t law",
    location="dynplat_deepssm.direct:Direct",
    references=(SMITH,),
    capabilities=_DIRECT,
)
SPACETIME = ModelEntry(
    id="deepssm/spacetime",
    summary="Direct forecasts by companion systems in a closed loop, with a Student-t law",
    location="dynplat_deepssm.direct:SpaceTime",
    references=(ZHANG,),
    capabilities=_DIRECT,
)

ENTRIES: tuple[ModelEntry, ...] = (LINEAR_GAUSSIAN, DIRECT, SPACETIME)
