"""Records of the scores that the platform itself provides. Reading them imports nothing numerical.

A plugin adds a score by the same record: `location` names a function `(prediction, truth, hidden) -> contributions`,
see `dynplat.comparison.scores`.
"""

from __future__ import annotations

from dynplat.records import Reference, ScoreEntry

_GNEITING_RAFTERY = Reference(
    "Gneiting and Raftery (2007), Strictly proper scoring rules, prediction, and estimation, "
    "Journal of the American Statistical Association 102(477)",
    doi="10.1198/016214506000001437",
)
_GNEITING = Reference(
    "Gneiting (2011), Making and evaluating point forecasts, Journal of the American Statistical Association 106(494)",
    doi="10.1198/jasa.2011.r10138",
)
_GRIMIT = Reference(
    "Grimit, Gneiting, Berrocal and Johnson (2006), The continuous ranked probability score for circular variables and "
    "its application to mesoscale forecast ensemble verification, "
    "Quarterly Journal of the Royal Meteorological Society 132",
    doi="10.1256/qj.05.235",
)
_FERRO = Reference(
    "Ferro (2014), Fair scores for ensemble forecasts, Quarterly Journal of the Royal Meteorological Society 140",
    doi="10.1002/qj.2270",
)

ENTRIES: tuple[ScoreEntry, ...] = (
    ScoreEntry(
        "rmse",
        "Root mean squared error of the predictive mean",
        "dynplat.comparison.scores.point:squared_error",
        references=(_GNEITING,),
        needs=("mean",),
        aggregate="root-mean",
    ),
    ScoreEntry(
        "mae",
        "Mean absolute error of the predictive median",
        "dynplat.comparison.scores.point:absolute_error",
        references=(_GNEITING,),
        needs=("quantile",),
    ),
    ScoreEntry(
        "crps",
        "Continuous ranked probability score: absolute error, for a distribution",
        "dynplat.comparison.scores.crps:crps",
        references=(_GNEITING_RAFTERY, _GRIMIT, _FERRO),
        needs=("distribution",),
    ),
    ScoreEntry(
        "log-score",
        "Logarithmic score: minus the log predictive density, in nats",
        "dynplat.comparison.scores.log_score:log_score",
        references=(_GNEITING_RAFTERY,),
        needs=("density",),
    ),
    ScoreEntry(
        "energy-score",
        "Energy score of the channels of one row together",
        "dynplat.comparison.scores.energy:energy_score",
        references=(_GNEITING_RAFTERY, _FERRO),
        needs=("draws",),
    ),
    ScoreEntry(
        "interval-score-90",
        "Interval score of the central 90 % interval: its width and what falls outside",
        "dynplat.comparison.scores.interval:interval_score",
        references=(_GNEITING_RAFTERY,),
        needs=("quantile",),
    ),
    ScoreEntry(
        "coverage-90",
        "Share of values inside the central 90 % interval",
        "dynplat.comparison.scores.interval:coverage",
        orientation="target",
        target=0.9,
        proper=False,
        needs=("quantile",),
    ),
    ScoreEntry(
        "width-90",
        "Width of the central 90 % interval",
        "dynplat.comparison.scores.interval:width",
        orientation="none",
        proper=False,
        needs=("quantile",),
    ),
)

#: Scores that exist besides the default table: the same records, not part of it.
MORE_ENTRIES: tuple[ScoreEntry, ...] = (
    ScoreEntry(
        "bias",
        "Mean error of the predictive mean, prediction minus truth",
        "dynplat.comparison.scores.point:error",
        orientation="target",
        target=0.0,
        proper=False,
        needs=("mean",),
    ),
    ScoreEntry(
        "energy-score-series",
        "Energy score of everything hidden in one series together",
        "dynplat.comparison.scores.energy:energy_score_series",
        references=(_GNEITING_RAFTERY, _FERRO),
        needs=("draws",),
    ),
)
