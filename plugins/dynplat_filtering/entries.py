"""The records of the family. Light: importing this module imports no numerical framework."""

from __future__ import annotations

from dynplat.records import Capabilities, ModelEntry, Reference

HARTIKAINEN_SARKKA = Reference(
    "Hartikainen, J. and Särkkä, S. (2010). Kalman filtering and smoothing solutions to temporal Gaussian process "
    "regression models. IEEE International Workshop on Machine Learning for Signal Processing.",
    doi="10.1109/MLSP.2010.5589113",
)
SARKKA_SOLIN = Reference(
    "Särkkä, S. and Solin, A. (2019). Applied Stochastic Differential Equations. Cambridge University Press.",
    doi="10.1017/9781108186735",
)
SOLIN_SARKKA = Reference(
    "Solin, A. and Särkkä, S. (2014). Explicit link between periodic covariance functions and state space models. "
    "International Conference on Artificial Intelligence and Statistics.",
)
HARVEY = Reference(
    "Harvey, A. C. (1989). Forecasting, Structural Time Series Models and the Kalman Filter. "
    "Cambridge University Press.",
    doi="10.1017/CBO9781107049994",
)
MATSUDA_KOMAKI = Reference(
    "Matsuda, T. and Komaki, F. (2017). Time series decomposition into oscillation components and phase estimation. "
    "Neural Computation 29(2).",
    doi="10.1162/NECO_a_00916",
)

_LINEAR = Capabilities(states=True)


def _entry(name: str, summary: str, location: str, *references: Reference) -> ModelEntry:
    return ModelEntry(
        id=f"filtering/{name}",
        summary=summary,
        location=f"dynplat_filtering.{location}",
        references=references,
        capabilities=_LINEAR,
    )


LOCAL_LEVEL = _entry("local-level", "Brownian level seen with noise", "models:LocalLevel", HARVEY, SARKKA_SOLIN)
LOCAL_LINEAR_TREND = _entry(
    "local-linear-trend", "Level with a wandering slope, seen with noise", "models:LocalLinearTrend", HARVEY
)
MATERN12 = _entry(
    "matern12", "Matérn-1/2 process (Ornstein-Uhlenbeck) seen with noise", "models:Matern12", HARTIKAINEN_SARKKA
)
MATERN32 = _entry(
    "matern32", "Matérn-3/2 process (once differentiable) seen with noise", "models:Matern32", HARTIKAINEN_SARKKA
)
MATERN52 = _entry(
    "matern52", "Matérn-5/2 process (twice differentiable) seen with noise", "models:Matern52", HARTIKAINEN_SARKKA
)
PERIODIC = _entry("periodic", "Quasi-periodic process seen with noise", "models:Periodic", SOLIN_SARKKA)
STRUCTURAL = _entry(
    "structural", "Trend, seasons, short memory and noise, periods given or found", "models:Structural", HARVEY
)
OSCILLATORS = _entry(
    "oscillators", "Sum of damped stochastic oscillators seen with noise", "models:Oscillators", MATSUDA_KOMAKI
)
SUM = _entry("sum", "Sum of components named in an option, seen with noise", "models:Sum", SARKKA_SOLIN)
LINEAR_SDE = _entry(
    "linear-sde",
    "Free stable linear SDE of a chosen dimension driving all channels",
    "linear_sde:FreeLinearSDE",
    SARKKA_SOLIN,
)

ENTRIES = (
    LOCAL_LEVEL,
    LOCAL_LINEAR_TREND,
    MATERN12,
    MATERN32,
    MATERN52,
    PERIODIC,
    STRUCTURAL,
    OSCILLATORS,
    SUM,
    LINEAR_SDE,
)
