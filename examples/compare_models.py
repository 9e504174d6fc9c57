# %% [markdown]
# # Comparing three models
#
# **Question.** Which model fills and forecasts the level of the Nile best: a wandering level, a smooth stationary
# process, or a sum of both? And is the difference more than luck?
#
# **Models.** All are linear stochastic differential equations seen with noise, y(t_k) = z(t_k) + e_k:
#
# - `filtering/local-level`: z is a Brownian motion, dz = s dW;
# - `filtering/matern32`: z is a once differentiable stationary process around a mean, with covariance s^2 (1 + a |h|)
#   exp(-a |h|), a = sqrt(3) / length scale;
# - `filtering/structural`: a level with a slope, plus an Ornstein-Uhlenbeck process of short memory.
#
# **Data.** Annual flow of the Nile at Aswan, 1871-1970 (Cobb 1978, Biometrika 65, 243-251), shipped with statsmodels:
# no download. `--data mauna-loa-co2` takes the weekly CO2 series instead (ten times as long).
#
# **What to expect.** The three are hard to tell apart on a hundred values: the sum looks best at filling and worst at
# forecasting, and no difference reaches two of its standard errors. That is the finding. It takes about half a minute
# on one core. The result is saved as `comparison.csv`, `.md` and `.json`.

# %%
import argparse
from pathlib import Path

import dynplat as dp
from dynplat.comparison import Comparison

parser = argparse.ArgumentParser()
parser.add_argument("--fast", action="store_true", help="two models on one task, for tests")
parser.add_argument("--data", choices=("nile", "mauna-loa-co2"), default="nile")
parser.add_argument("--out", type=Path, default=Path(), help="folder for the tables")
arguments = parser.parse_args()

data = dp.load_dataset(arguments.data)
print(str(data).splitlines()[0])

# %% [markdown]
# ## Two questions
#
# Imputation hides values one by one; the forecast cuts off the end. A model can be good at one and bad at the other.

# %%
tasks = [dp.Imputation(data, fraction=0.3, seed=0, dataset=arguments.data)]
if not arguments.fast:
    tasks.append(dp.Forecast(data, horizon=20, dataset=arguments.data))
models = {
    "level": dp.load_model("filtering/local-level"),
    "smooth": dp.load_model("filtering/matern32"),
    "sum": dp.load_model("filtering/structural", periods=None if arguments.data == "mauna-loa-co2" else ()),
}
if arguments.fast:
    del models["sum"]

comparison = None
for task in tasks:
    fits = {name: dp.fit(model, task.train, "map", seed=0) for name, model in models.items()}
    result = dp.compare(task, fits, scores=["rmse", "crps", "log-score", "coverage-90"])
    comparison = result if comparison is None else comparison.merge(result)
print(comparison)

# %% [markdown]
# ## Is it more than luck?
#
# Each figure above has its own standard error, but the models are scored on the same cells: what is hard for one is
# hard for all and cancels in the difference. Compare differences, not error bars.

# %%
paired = comparison.differences("crps", reference="level")
for row in paired.itertuples():
    ratio = row.difference / row.stderr
    print(
        f"{row.task}: CRPS of {row.model} minus that of {row.reference}: {row.difference:+.2f} +- {row.stderr:.2f} "
        f"({ratio:+.1f} standard errors, {row.n} cells)"
    )

# %% [markdown]
# ## Save
#
# `.csv` and `.json` hold one record per model, task and score; `.md` and `.tex` the table. `save` keeps the
# contribution of every cell, so that other differences can be taken later.

# %%
for name in ("comparison.csv", "comparison.md"):
    comparison.write(arguments.out / name)
comparison.save(arguments.out / "comparison.json")
again = Comparison.load(arguments.out / "comparison.json")
assert again.records == comparison.records
print((arguments.out / "comparison.md").read_text(encoding="utf-8"))

# %% [markdown]
# ## Key takeaways
#
# - The task decides the question; every model answers the same cells, with the same seed.
# - CRPS is a proper score in the unit of the data; coverage alone is not enough, because wide intervals always cover.
# - A difference smaller than two of its standard errors is no ranking.
#
# ## Next steps
#
# - Other hold-outs: `dp.Imputation(data, pattern="blocks")` hides stretches, which is harder and often closer to real
#   gaps.
# - `dynplat compare nile --models A,B --store results` keeps finished fits, so that a study can be resumed.
