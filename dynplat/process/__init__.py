"""Laws over trajectories, built on scans; `dynplat.process.pyro` and `.numpyro` hold them as distributions."""

from dynplat.process.base import AbstractConditional, AbstractPredictive, AbstractProcess, Draw

__all__ = ["AbstractConditional", "AbstractPredictive", "AbstractProcess", "Draw"]
