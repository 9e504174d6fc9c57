"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

WILLIAMS = Reference(
    "Williams, M. O., Kevrekidis, I. G. and Rowley, C. W. (2015). A data-driven approximation of the Koopman operator: "
    "extending dynamic mode decomposition. Journal of Nonlinear Science 25.",
    doi="10.1007/s00332-015-9258-5",
)
COLBROOK_TOWNSEND = Reference(
    "Colbrook, M. J. and Townsend, A. (2024). Rigorous data-driven computation of spectral properties of Koopman "
    "operators for dynamical systems. Communications on Pure and Applied Mathematics 77.",
    doi="10.1002/cpa.22125",
)

KORDA_MEZIC = Reference(
    "Korda, M. and Mezić, I. (2018). Linear predictors for nonlinear dynamical systems: Koopman operator meets model "
    "predictive control. Automatica 93.",
    doi="10.1016/j.automatica.2018.03.046",
)
COLBROOK = Reference(
    "Colbrook, M. J. (2023). The mpEDMD algorithm for data-driven computations of measure-preserving dynamical "
    "systems. SIAM Journal on Numerical Analysis 61.",
    doi="10.1137/22M1521407",
)

EDMD = ModelEntry(
    id="koopman/edmd",
    summary="Lifted linear-Gaussian process by extended dynamic mode decomposition",
    location="dynplat_koopman.models:EDMD",
    references=(WILLIAMS, KORDA_MEZIC, COLBROOK_TOWNSEND, COLBROOK),
    capabilities=Capabilities(
        prior=False, states=True, coherent=False, irregular_times=False, inputs=True, languages=()
    ),
)

BAYESIAN = ModelEntry(
    id="koopman/bayesian",
    summary="Lifted linear-Gaussian process with a posterior over its Koopman operator",
    location="dynplat_koopman.bayesian:BayesianEDMD",
    references=(WILLIAMS, KORDA_MEZIC),
    capabilities=Capabilities(states=True, coherent=False, irregular_times=False, inputs=True),
)

LUSCH = Reference(
    "Lusch, B., Kutz, J. N. and Brunton, S. L. (2018). Deep learning for universal linear embeddings of nonlinear "
    "dynamics. Nature Communications 9.",
    doi="10.1038/s41467-018-07210-0",
)
LI = Reference(
    "Li, Q., Dietrich, F., Bollt, E. M. and Kevrekidis, I. G. (2017). Extended dynamic mode decomposition with "
    "dictionary learning: a data-driven adaptive spectral decomposition of the Koopman operator. Chaos 27.",
    doi="10.1063/1.4993854",
)
DEEP = ModelEntry(
    id="koopman/deep",
    summary="Lifted linear process with learned eigenfunctions: a network and the eigenvalues, in continuous time",
    location="dynplat_koopman.deep:Deep",
    references=(LUSCH, LI),
    capabilities=Capabilities(states=True, coherent=False),
)

ENTRIES: tuple[ModelEntry, ...] = (EDMD, BAYESIAN, DEEP)
