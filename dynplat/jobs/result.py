"""What a job tells its user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dynplat.posterior import Posterior, Prediction


@dataclass(frozen=True)
class JobResult:
    """What a job tells its user.

    Args:
        sentence: The closing sentence.
        notes: What could not be done, and why.
        posterior: The fit.
        prediction: The prediction.
    """

    sentence: str
    notes: list[str] = field(default_factory=list)
    posterior: Posterior | None = None
    prediction: Prediction | None = None
