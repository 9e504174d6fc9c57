"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

KALBFLEISCH_LAWLESS = Reference(
    "Kalbfleisch, J. D. and Lawless, J. F. (1985). The analysis of panel data under a Markov assumption. Journal of "
    "the American Statistical Association 80.",
    doi="10.1080/01621459.1985.10478195",
)
JACKSON = Reference(
    "Jackson, C. H. (2011). Multi-state models for panel data: the msm package for R. Journal of Statistical "
    "Software 38(8).",
    doi="10.18637/jss.v038.i08",
)
RABINER = Reference(
    "Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications in speech recognition. "
    "Proceedings of the IEEE 77(2).",
    doi="10.1109/5.18626",
)
PUTTER = Reference(
    "Putter, H., Fiocco, M. and Geskus, R. B. (2007). Tutorial in biostatistics: competing risks and multi-state "
    "models. Statistics in Medicine 26.",
    doi="10.1002/sim.2712",
)
CRAWFORD_SUCHARD = Reference(
    "Crawford, F. W. and Suchard, M. A. (2012). Transition probabilities for general birth-death processes with "
    "applications in ecology, genetics, and evolution. Journal of Mathematical Biology 65.",
    doi="10.1007/s00285-011-0471-z",
)

PANEL = ModelEntry(
    id="jumps/panel",
    summary="Markov jump process whose states are looked at now and then",
    location="dynplat_jumps.models:Panel",
    capabilities=Capabilities(
        observations=("trajectories", "events"), values=("categorical",), states=True, multichannel=False
    ),
    references=(KALBFLEISCH_LAWLESS, JACKSON),
)
MULTISTATE = ModelEntry(
    id="jumps/multistate",
    summary="Multi-state model: a Markov jump process whose jumps are seen when they happen",
    location="dynplat_jumps.models:Multistate",
    capabilities=Capabilities(
        observations=("trajectories", "events"), values=("categorical",), states=True, multichannel=False
    ),
    references=(PUTTER, JACKSON),
)
HIDDEN = ModelEntry(
    id="jumps/hidden",
    summary="Hidden Markov jump process, seen through noise or labels that may be wrong",
    location="dynplat_jumps.hidden:Hidden",
    capabilities=Capabilities(values=("real", "count", "categorical"), states=True),
    references=(JACKSON, RABINER),
)
BIRTH_DEATH = ModelEntry(
    id="jumps/birth-death",
    summary="Linear birth-death process with immigration, seen as counts",
    location="dynplat_jumps.models:BirthDeath",
    capabilities=Capabilities(
        observations=("trajectories", "events"), values=("count",), states=True, multichannel=False
    ),
    references=(CRAWFORD_SUCHARD,),
)

ENTRIES = (PANEL, MULTISTATE, HIDDEN, BIRTH_DEATH)
