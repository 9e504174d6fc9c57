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

ENTRIES: tuple[ModelEntry, ...] = (LINEAR_GAUSSIAN,)
