"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

SCHRODINGER = Reference(
    "Léonard, C. (2014). A survey of the Schrödinger problem and some of its connections with optimal transport. "
    "Discrete and Continuous Dynamical Systems 34.",
    doi="10.3934/dcds.2014.34.1533",
)
BUNNE = Reference(
    "Bunne, C., Hsieh, Y.-P., Cuturi, M. and Krause, A. (2023). The Schrödinger bridge between Gaussian measures has a "
    "closed form. AISTATS.",
    url="https://arxiv.org/abs/2202.05722",
)

SBIRR_PAPER = Reference(
    "Shen, Y., Berlinghieri, R. and Broderick, T. (2025). Multi-marginal Schrödinger bridges with iterative reference "
    "refinement. AISTATS.",
    url="https://arxiv.org/abs/2408.06277",
)
VARGAS = Reference(
    "Vargas, F., Thodoroff, P., Lamacraft, A. and Lawrence, N. (2021). Solving Schrödinger bridges via maximum "
    "likelihood. Entropy 23.",
    doi="10.3390/e23091134",
)

#: What a bridge claims whose law is known by its draws or moments: a conditional law, and nothing of single values.
_CLAIMS = Capabilities(
    observations=("snapshots",),
    prior=False,
    likelihood=False,
    simulate=False,
    gradients=False,
    missing_values=False,
    languages=(),
    devices=("cpu",),
)

GAUSSIAN = ModelEntry(
    id="bridges/gaussian",
    summary="Schrödinger bridge through Gaussians of the snapshots' moments, in closed form",
    location="dynplat_bridges.models:GaussianBridgeModel",
    references=(SCHRODINGER, BUNNE),
    capabilities=_CLAIMS,
)

PAVON = Reference(
    "Pavon, M., Trigila, G. and Tabak, E. G. (2021). The data-driven Schrödinger bridge. Communications on Pure and "
    "Applied Mathematics 74.",
    doi="10.1002/cpa.21975",
)
CUTURI = Reference(
    "Cuturi, M. (2013). Sinkhorn distances: lightspeed computation of optimal transport. Advances in Neural "
    "Information Processing Systems 26.",
    url="https://arxiv.org/abs/1306.0895",
)
SCHMITZER = Reference(
    "Schmitzer, B. (2019). Stabilized sparse scaling algorithms for entropy regularized transport problems. SIAM "
    "Journal on Scientific Computing 41.",
    doi="10.1137/16M1106018",
)
STATIC = ModelEntry(
    id="bridges/static",
    summary="Schrödinger bridge between each snapshot and the next by Sinkhorn's iterations on their particles",
    location="dynplat_bridges.models:StaticBridge",
    references=(SCHRODINGER, CUTURI, SCHMITZER),
    capabilities=_CLAIMS,
)
MULTIMARGINAL = ModelEntry(
    id="bridges/multimarginal",
    summary="Schrödinger bridge through the particles of all snapshots, with one fitted linear reference",
    location="dynplat_bridges.models:MultimarginalBridge",
    references=(SCHRODINGER, PAVON, SCHMITZER),
    capabilities=_CLAIMS,
)


SBIRR = ModelEntry(
    id="bridges/sbirr",
    summary="Schrödinger bridge over a parametric reference that is refined on the snapshots",
    location="dynplat_bridges.refined:SBIRR",
    references=(SBIRR_PAPER, VARGAS, SCHRODINGER),
    capabilities=_CLAIMS,
)

ENTRIES: tuple[ModelEntry, ...] = (GAUSSIAN, STATIC, MULTIMARGINAL, SBIRR)
