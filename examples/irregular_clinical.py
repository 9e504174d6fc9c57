# %% [markdown]
# # Filling an irregular clinical series
#
# **Question.** Vital signs of intensive-care patients come at irregular times, each at its own pace, and most cells of
# the table are empty. Is a hole in one channel filled better by a model in which one hidden state drives all channels,
# or by a model that treats each channel by itself? And are the intervals honest?
#
# **Models.** Both are linear stochastic differential equations observed at irregular times t_k, with holes:
#
#     dx = A x dt + L dW,     y(t_k) = H x(t_k) + d + e_k,     e_k ~ N(0, diag(r^2)).
#
# - `filtering/linear-sde`: A, L and H are free, the state drives all channels.
# - `filtering/structural`: each channel has its own level, slope, short memory and noise; no channel knows the others.
#
# The parameters are shared by all patients.
#
# **Data.** By default simulated (nothing is downloaded): each patient has an illness that heals slowly and a stress
# that comes and goes; heart rate, blood pressure, breathing and temperature follow both, seen with noise at Poisson
# times, temperature least often. With `--data physionet-2012` the same is done on real stays (Silva et al. 2012,
# Computing in Cardiology 39, 245-248); the catalogue fetches them, or reads them from the directory that `DYNPLAT_DATA`
# names.
#
# **What to expect.** On simulated data the joint model has the smaller errors in every channel, because the truth is
# joint; most of all in temperature, which is recorded least. Both have a coverage near 90 %. It takes about half a
# minute on one core; `--fast` uses fewer patients. On twenty real stays it is the other way round: two shared states
# are too few for patients that differ, breathing is filled worse by the joint model, the other channels about equally.

# %%
import argparse

import numpy as np

import dynplat as dp
from dynplat.comparison import measure_calibration

parser = argparse.ArgumentParser()
parser.add_argument("--fast", action="store_true", help="a small run, for tests")
parser.add_argument("--data", choices=("simulated", "physionet-2012"), default="simulated")
parser.add_argument("--plot", help="picture to write, such as clinical.png")
arguments = parser.parse_args()

num_patients = 6 if arguments.fast else 20
CHANNELS = ("HR", "SysABP", "RespRate", "Temp")


# %% [markdown]
# ## Data


# %%
def simulate(num_patients: int, seed: int = 0) -> dp.Trajectories:
    """Simulate patients over 48 hours: illness and stress are Ornstein-Uhlenbeck processes, four channels see both."""
    rng = np.random.default_rng(seed)
    rates = np.array([1 / 40, 1 / 3])  # per hour: illness heals slowly, stress comes and goes
    loading = np.array([[9.0, 6.0], [-8.0, 7.0], [2.0, 1.5], [0.5, 0.1]])
    level, noise = np.array([85.0, 120.0, 18.0, 37.0]), np.array([2.0, 3.0, 1.0, 0.15])
    seen_share = np.array([0.8, 0.6, 0.5, 0.15])  # how often each channel is recorded when any is
    times, values = [], []
    for _ in range(num_patients):
        when = np.sort(rng.uniform(0.0, 48.0, rng.poisson(35) + 5))
        state = rng.standard_normal(2)
        rows = []
        for gap in np.diff(when, prepend=when[0]):
            keep = np.exp(-rates * gap)
            state = keep * state + np.sqrt(1.0 - keep**2) * rng.standard_normal(2)
            rows.append(level + loading @ state + noise * rng.standard_normal(4))
        table = np.array(rows)
        table[rng.random(table.shape) > seen_share] = np.nan
        times.append(when)
        values.append(table)
    units = {"HR": "bpm", "SysABP": "mmHg", "RespRate": "1/min", "Temp": "degC"}
    return dp.Trajectories.from_arrays(times, values, channels=CHANNELS, units=units, time_unit="h")


if arguments.data == "simulated":
    data = simulate(num_patients)
else:
    stays = dp.load_dataset("physionet-2012").select(channels=CHANNELS)
    complete = [name for s, name in enumerate(stays.series) if stays.mask[s].sum(axis=0).min() >= 8]
    data = stays.select(series=complete[:num_patients])

print(str(data).splitlines()[0])
share = data.mask[data.rows].mean(axis=0)
print("observed share by channel:", {name: round(float(s), 2) for name, s in zip(data.channels, share, strict=True)})

# %% [markdown]
# ## Fit and compare
#
# A fifth of the observed cells is hidden; both models are fitted to the rest by MAP and asked about what was hidden.

# %%
task = dp.Imputation(data, fraction=0.2, seed=0, dataset=arguments.data)
models = {
    "joint": dp.load_model("filtering/linear-sde", dimension=2),
    "each by itself": dp.load_model("filtering/structural", periods=(), trend="local-level"),
}
fits = {name: dp.fit(model, task.train, "map", seed=0, restarts=1) for name, model in models.items()}
comparison = dp.compare(task, fits, scores=["rmse", "crps", "log-score", "coverage-90"])
print(comparison)

# %% [markdown]
# The channels have different units, so each is scored in units of its own standard deviation. Channel by channel, and
# pairwise on the same cells:

# %%
by_channel = comparison.by("channel", "crps").pivot(index="channel", columns="model", values="value")
print(by_channel.loc[list(CHANNELS)].round(3))
paired = comparison.differences("crps", reference="each by itself").iloc[0]
print(f"CRPS, joint minus each by itself: {paired['difference']:.3f} +- {paired['stderr']:.3f}")

# %% [markdown]
# ## Are the intervals honest?

# %%
for name, fit in fits.items():
    prediction = task.predict(fit, num_draws=2)
    for level in (0.5, 0.9):
        found = measure_calibration(prediction, task.truth, task.hidden, level)
        print(
            f"{name}: {100 * found.coverage:.0f} % inside {100 * level:.0f} % intervals "
            f"(chance explains {100 * found.lower:.0f}-{100 * found.upper:.0f} %): {found.verdict}"
        )

# %% [markdown]
# ## Key takeaways
#
# - Ragged patients, irregular times and holes need no preparation: every row is used at its own time.
# - A state that drives all channels fills a rarely measured channel from the others, where they follow one state. Real
#   patients may not: compare before you believe it.
# - Look at scores channel by channel, and at paired differences before calling a winner.
#
# ## Next steps
#
# - `--data physionet-2012` for real stays; then more states (`dimension=4`), other channels, more patients.
# - `dp.fit(..., "nuts")` on a few patients, to see how much the uncertainty of the parameters adds to the intervals.

# %%
if arguments.plot:
    from dynplat.plots import plot_prediction, save_figure

    filled = dp.impute(fits["joint"], data=data.select(series=data.series[:3]), num_draws=2)
    save_figure(
        plot_prediction(data.select(series=data.series[:3]), filled, title="filled by one joint state"), arguments.plot
    )
