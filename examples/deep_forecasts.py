# %% [markdown]
# # Forecasts of a relaxation oscillator by a deep state-space model
#
# **Question.** Many short series come at irregular times, with holes, of different lengths. What is behind them is
# nonlinear, and only a part of it is seen. Does a network that is trained on all of them forecast better than linear
# models do, and are its bands honest?
#
# **Models.** `deepssm/s5` gives the law of the next row by a network of state-space layers, which are discretised over
# the gaps between rows, with a Student-t law at its end:
#
#     x_k = network(x_{k-1}; y_{k-1}, gap_k),     y_k | past ~ t(location(x_k), scale(x_k), degrees(x_k)).
#
# It is trained by minibatches of series (`train`), and forecasts by draws, each row given those drawn before it.
# `filtering/oscillators` and `filtering/matern32` are linear stochastic differential equations, fitted by MAP.
#
# **Data.** Simulated: van der Pol's oscillator, x'' = mu (1 - x^2) x' - x with mu = 3 and a little noise in its
# velocity, of which x is seen with noise at Poisson times. It creeps along and then jumps. A tenth of the values is
# lost one by one, and of every other series a stretch.
#
# **What to expect.** The linear models know the period, and not that slow stretches end in jumps. The CRPS of the
# network is 0.14 and that of the oscillators 0.24, and its bands of 90 % hold 90 %. A minute on one core; `--fast`
# trains a small network on ten series for a few epochs, which is too little: there the oscillators win.

# %%
import argparse

import numpy as np

import dynplat as dp

parser = argparse.ArgumentParser()
parser.add_argument("--fast", action="store_true", help="a small run, for tests")
parser.add_argument("--plot", help="picture to write, such as forecasts.png")
arguments = parser.parse_args()

NUM_SERIES, HORIZON = (10, 8) if arguments.fast else (80, 10)

# %% [markdown]
# ## Data


# %%
def simulate(num_series: int, seed: int = 0) -> dp.Trajectories:
    """Simulate series of 60 to 120 rows at Poisson times, four rows to a unit of time."""
    rng = np.random.default_rng(seed)
    step, times, values = 0.01, [], []
    for number in range(num_series):
        when = np.cumsum(rng.exponential(0.25, int(rng.integers(60, 121))))
        x, v, path = 2.0 * rng.standard_normal(), rng.standard_normal(), []
        for _ in range(int(when[-1] / step) + 2001):
            x, v = x + step * v, v + step * (3.0 * (1.0 - x * x) * v - x) + 0.3 * np.sqrt(step) * rng.standard_normal()
            path.append(x)
        seen = np.array(path)[2000 + (when / step).astype(int)]  # after the oscillator has found its cycle
        seen = seen + 0.1 * rng.standard_normal(len(when))
        seen[rng.random(len(when)) < 0.1] = np.nan
        if number % 2:
            first = int(rng.integers(10, len(when) - HORIZON - 20))
            seen[first : first + 12] = np.nan
        times.append(when)
        values.append(seen[:, None])
    return dp.Trajectories.from_arrays(times, values, channels=("x",))


data = simulate(NUM_SERIES)
print(str(data).splitlines()[0])
task = dp.Forecast(data, horizon=HORIZON, dataset="relaxation")

# %% [markdown]
# ## Fit and compare
#
# The last rows of each series are cut off. A tenth of the series is held back from the network while it trains: their
# loss says when to stop.

# %%
sizes = {"width": 8, "num_layers": 1, "num_states": 8} if arguments.fast else {"width": 32, "num_layers": 2}
training = {"num_epochs": 4 if arguments.fast else 120, "batch_size": 8, "learning_rate": 0.01, "patience": 30}
fits = {"deepssm/s5": dp.fit(dp.load_model("deepssm/s5", **sizes), task.train, "train", seed=0, **training)}
for name in ("filtering/oscillators", "filtering/matern32"):
    fits[name] = dp.fit(name, task.train, "map", seed=0, restarts=1)
history = fits["deepssm/s5"].provenance["extra"]["history"]
best = fits["deepssm/s5"].provenance["extra"]["best_epoch"]
print(
    f"loss of validation: {history['validation'][0]:.3f} after one epoch, {history['validation'][best - 1]:.3f} at best"
)
comparison = dp.compare(task, fits, scores=["rmse", "crps", "log-score", "coverage-90"])
print(comparison)
paired = comparison.differences("crps", reference="filtering/oscillators").set_index("model")
row = paired.loc["deepssm/s5"]
print(f"CRPS, network minus oscillators: {row['difference']:.3f} +- {row['stderr']:.3f}")

# %% [markdown]
# ## Picture

# %%
if arguments.plot:
    import matplotlib.pyplot as plt

    shown = list(task.train.series[:2])
    figure, axes = plt.subplots(2, 2, figsize=(11, 5), sharey=True, sharex="row")
    for column, name in enumerate(("deepssm/s5", "filtering/oscillators")):
        predicted = task.predict(fits[name], num_draws=400, seed=0)
        lower, upper = predicted.interval(0.9)
        for axis, series in zip(axes[:, column], shown, strict=True):
            s = list(data.series).index(series)
            rows = task.hidden[s, :, 0]
            kept = task.train.mask[s, :, 0]
            start = np.flatnonzero(kept)[-30]
            late = kept & (np.arange(len(kept)) >= start)
            known = task.train.times[s, late], task.train.values[s, late, 0]
            axis.plot(*known, "o-", color="black", markersize=3, linewidth=0.6)
            axis.plot(
                data.times[s, rows], data.values[s, rows, 0], "o", color="tab:red", markersize=3, label="held out"
            )
            axis.plot(data.times[s, rows], predicted.mean.values[s, rows, 0], color="tab:blue", label="mean")
            band = (part.values[s, rows, 0] for part in (lower, upper))
            axis.fill_between(data.times[s, rows], *band, color="tab:blue", alpha=0.25, linewidth=0, label="90 %")
            axis.set_title(f"{name}, series {series}", fontsize="small", loc="left")
    axes[0, 0].legend(loc="lower left", fontsize="small")
    figure.tight_layout()
    figure.savefig(arguments.plot, dpi=120)
    print(f"wrote {arguments.plot}")

# %% [markdown]
# ## Key takeaways
#
# - Irregular times, holes and series of any length need no preparation: a gap enters the discretisation of each layer.
# - A network needs many series. On few of them, or on one, the linear models are better and quicker.
# - Rows that nobody trained on say when to stop, and a table of proper scores says whether it was worth it.
#
# ## Next steps
#
# - `--plot forecasts.png` draws two series; the network's band follows the jump.
# - `deepssm/mamba` and the other cells are one word away; `head="negative-binomial"` is for counts.
# - `deepssm/imputer` fills the holes instead.
