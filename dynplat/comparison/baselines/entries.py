"""Records of the baselines. Reading them imports nothing numerical."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

_HERE = "dynplat.comparison.baselines"
_CLAIMS = Capabilities(
    observations=("snapshots",),
    values=("real", "positive", "count", "categorical"),
    prior=False,
    likelihood=False,
    simulate=False,
    gradients=False,
    missing_values=False,
    languages=(),
    devices=("cpu",),
)

ENTRIES: tuple[ModelEntry, ...] = (
    ModelEntry(
        "baselines/persistence",
        "A population stays as it was seen last",
        f"{_HERE}.persistence:Persistence",
        capabilities=_CLAIMS,
    ),
    ModelEntry(
        "baselines/ot-midpoint",
        "Half-way between two snapshots along the optimal transport from one to the next",
        f"{_HERE}.ot_midpoint:OtMidpoint",
        references=(
            Reference(
                "McCann (1997), A convexity principle for interacting gases, Advances in Mathematics 128(1) "
                "(displacement interpolation)",
                doi="10.1006/aima.1997.1634",
            ),
        ),
        capabilities=Capabilities(
            **{**{name: getattr(_CLAIMS, name) for name in _CLAIMS.__dataclass_fields__}, "forecast": False}
        ),
    ),
)
