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

ENTRIES: tuple[ModelEntry, ...] = (GAUSSIAN,)
