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

SALINAS = Reference(
    "Salinas, D., Flunkert, V., Gasthaus, J. and Januschowski, T. (2020). DeepAR: probabilistic forecasting with "
    "autoregressive recurrent networks. International Journal of Forecasting 36.",
    doi="10.1016/j.ijforecast.2019.07.001",
)
ORVIETO = Reference(
    "Orvieto, A., et al. (2023). Resurrecting recurrent neural networks for long sequences. International Conference "
    "on Machine Learning.",
    url="https://arxiv.org/abs/2303.06349",
)
GU_DAO = Reference(
    "Gu, A. and Dao, T. (2023). Mamba: linear-time sequence modeling with selective state spaces.",
    url="https://arxiv.org/abs/2312.00752",
)
DAO_GU = Reference(
    "Dao, T. and Gu, A. (2024). Transformers are SSMs: generalized models and efficient algorithms through structured "
    "state space duality. International Conference on Machine Learning.",
    url="https://arxiv.org/abs/2405.21060",
)
YANG = Reference(
    "Yang, S., Kautz, J. and Hatamizadeh, A. (2025). Gated delta networks: improving Mamba2 with delta rule. "
    "International Conference on Learning Representations.",
    url="https://arxiv.org/abs/2412.06464",
)

#: The next row given the past: no law inside the data, and a missing value is not integrated out of later rows.
_NEXT_ROW = Capabilities(condition=False, coherent=False, inputs=True, languages=("pyro", "numpyro"))


def _autoregressive(name: str, layers: str, location: str, *references: Reference) -> ModelEntry:
    return ModelEntry(
        id=f"deepssm/{name}",
        summary=f"The next row given the past, by {layers}",
        location=f"dynplat_deepssm.models:{location}",
        references=(*references, SALINAS),
        capabilities=_NEXT_ROW,
    )


S5 = _autoregressive("s5", "S5 layers: diagonal systems with a step for each state", "S5Model", SMITH)
LRU = _autoregressive("lru", "linear recurrent units", "LRUModel", ORVIETO)
MAMBA = _autoregressive("mamba", "Mamba's selective state spaces", "MambaModel", GU_DAO)
MAMBA2 = _autoregressive("mamba2", "Mamba-2 layers", "Mamba2Model", DAO_GU)
DELTANET = _autoregressive("deltanet", "gated delta rules", "DeltaNetModel", YANG)

CAO = Reference(
    "Cao, W., Wang, D., Li, J., Zhou, H., Li, L. and Li, Y. (2018). BRITS: bidirectional recurrent imputation for time "
    "series. Advances in Neural Information Processing Systems 31.",
    url="https://arxiv.org/abs/1805.10572",
)
BESAG = Reference(
    "Besag, J. (1975). Statistical analysis of non-lattice data. The Statistician 24.", doi="10.2307/2987782"
)

#: The law of each cell given all others: no joint law, so neither likelihood nor simulation, and no forecasts.
IMPUTER = ModelEntry(
    id="deepssm/imputer",
    summary="The law of each cell given all others, by networks from both sides trained on random holes",
    location="dynplat_deepssm.imputer:Imputer",
    references=(SMITH, CAO, BESAG),
    capabilities=Capabilities(
        likelihood=False,
        composite=True,
        simulate=False,
        forecast=False,
        coherent=False,
        joint=False,
        inputs=True,
        languages=("pyro", "numpyro"),
    ),
)

ENTRIES: tuple[ModelEntry, ...] = (
    LINEAR_GAUSSIAN,
    S5,
    LRU,
    MAMBA,
    MAMBA2,
    DELTANET,
    IMPUTER,
    DIRECT,
    SPACETIME,
)
