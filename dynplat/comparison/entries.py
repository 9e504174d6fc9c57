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
_VILLANI = Reference(
    "Villani (2009), Optimal transport: old and new, Springer, chapter 6 (definition of the distances)",
    doi="10.1007/978-3-540-71050-9",
)
_BONNEEL = Reference(
    "Bonneel, Rabin, Peyré and Pfister (2015), Sliced and Radon Wasserstein barycenters of measures, "
    "Journal of Mathematical Imaging and Vision 51",
    doi="10.1007/s10851-014-0506-3",
)
_SZEKELY_RIZZO = Reference(
    "Székely and Rizzo (2013), Energy statistics: a class of statistics based on distances, "
    "Journal of Statistical Planning and Inference 143(8)",
    doi="10.1016/j.jspi.2013.03.018",
)
_GRETTON = Reference(
    "Gretton, Borgwardt, Rasch, Schölkopf and Smola (2012), A kernel two-sample test, "
    "Journal of Machine Learning Research 13",
    url="https://jmlr.org/papers/v13/gretton12a.html",
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

_POPULATIONS = "dynplat.comparison.scores.populations"

#: Scores of the default table of populations.
POPULATION_ENTRIES: tuple[ScoreEntry, ...] = (
    ScoreEntry(
        "w2",
        "2-Wasserstein distance: root of the optimal-transport cost with squared Euclidean distances",
        f"{_POPULATIONS}:w2",
        references=(_VILLANI,),
        proper=False,
        needs=("draws",),
        kind="snapshots",
    ),
    ScoreEntry(
        "w1",
        "1-Wasserstein distance: optimal-transport cost with Euclidean distances",
        f"{_POPULATIONS}:w1",
        references=(_VILLANI,),
        proper=False,
        needs=("draws",),
        kind="snapshots",
    ),
    ScoreEntry(
        "sliced-w2",
        "Sliced 2-Wasserstein distance: root mean square of W2 along lines in all directions",
        f"{_POPULATIONS}:sliced_w2",
        references=(_BONNEEL,),
        proper=False,
        needs=("draws",),
        kind="snapshots",
    ),
    ScoreEntry(
        "energy-distance",
        "Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'|, without bias from the numbers of particles",
        f"{_POPULATIONS}:energy_distance",
        references=(_SZEKELY_RIZZO, _GNEITING_RAFTERY),
        needs=("draws",),
        kind="snapshots",
    ),
    ScoreEntry(
        "mmd",
        "Squared maximum mean discrepancy, Gaussian kernel of the truth's median distance, unbiased",
        f"{_POPULATIONS}:mmd",
        references=(_GRETTON, _GNEITING_RAFTERY),
        needs=("draws",),
        kind="snapshots",
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
