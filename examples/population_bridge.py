# %% [markdown]
# # A population between its snapshots
#
# **Question.** A cloud of particles goes round and is seen seven times, each time by a fresh sample: no particle is
# ever followed. Where was the cloud in between, along which paths, and where is it next?
#
# **Models.** Schrödinger bridges: of all laws of paths that have the snapshots as their populations, the one that is
# closest to a reference process.
#
# - `bridges/static`: each snapshot and the next by themselves; the reference is Brownian motion with a velocity.
# - `bridges/multimarginal`: all at once; the reference is a linear SDE, dX = (A X + b) dt + s dW, fitted to them.
# - `baselines/ot-midpoint`: each particle half-way to its partner under optimal transport.
#
# **Data.** Simulated (nothing is downloaded): particles that turn by one radian per unit of time, slowly sink to the
# centre, and diffuse.
#
# **What to expect.** Transport in straight lines cuts the corners, and so does the bridge that knows only a velocity:
# W2, the root of optimal transport with squared distances, is 0.26 for both. The bridge whose reference can turn has
# 0.12, which is also what two samples of the same population have: nothing is left to gain. The rotation comes out as
# 1.00 per unit of time, the noise as 0.2 where 0.15 is true. It takes half a minute; `--fast` takes fewer particles.

# %%
import argparse

import numpy as np

import dynplat as dp

parser = argparse.ArgumentParser()
parser.add_argument("--fast", action="store_true", help="a small run, for tests")
parser.add_argument("--plot", help="picture to write, such as bridge.png")
arguments = parser.parse_args()

COUNT = 40 if arguments.fast else 200
SINK, TURN, NOISE = 0.05, 1.0, 0.15

# %% [markdown]
# ## Data
#
# Thirteen fresh cohorts, every half unit of time. A linear SDE has exact laws: at time t a particle is where rotation
# and decay took it, plus Gaussian noise.


# %%
def cohort(time: float, rng: np.random.Generator) -> np.ndarray:
    """Draw particles at a time; all started around (2, 0)."""
    start = np.array([2.0, 0.0]) + 0.25 * rng.normal(size=(COUNT, 2))
    c, s = np.cos(TURN * time), np.sin(TURN * time)
    moved = np.exp(-SINK * time) * start @ np.array([[c, s], [-s, c]])
    spread = NOISE * np.sqrt(-np.expm1(-2.0 * SINK * time) / (2.0 * SINK))
    return moved + spread * rng.normal(size=(COUNT, 2))


rng = np.random.default_rng(0)
times = np.arange(0.0, 6.5, 0.5)
data = dp.Snapshots.from_arrays(times, [cohort(time, rng) for time in times], channels=("x", "y"))
task = dp.SnapshotInterpolation(data)  # every second snapshot is held out
print(task.describe())

# %% [markdown]
# ## Fit and compare

# %%
models = {
    "ot-midpoint": dp.load_model("baselines/ot-midpoint"),
    "static": dp.load_model("bridges/static"),
    "multimarginal": dp.load_model("bridges/multimarginal"),
}
fits = {name: dp.fit(model, task.train, seed=0) for name, model in models.items()}
print(dp.compare(task, fits, scores=["w2", "energy-distance"]))

# %% [markdown]
# ## The reference that was fitted
#
# The drift was never seen, and no pair of places of one particle. What the snapshots say of it:

# %%
sites = fits["multimarginal"].sites(np.asarray)
A, sigma = sites["A"][0, 0], sites["diffusion"][0, 0]
print(f"rotation {(A[1, 0] - A[0, 1]) / 2:.2f} (true {TURN}), sinking {-np.trace(A) / 2:.3f} (true {SINK})")
print(f"noise {sigma[0]:.2f} and {sigma[1]:.2f} (true {NOISE})")

# %% [markdown]
# ## Where next
#
# After the last snapshot the fitted reference goes on.

# %%
ahead = dp.forecast(fits["multimarginal"], times=[7.0], num_draws=COUNT)
mean = np.asarray(ahead.draws)[:, 0, 0].mean(axis=0)
print(f"centre at time 7: ({mean[0]:.2f}, {mean[1]:.2f}); of a fresh cohort {cohort(7.0, rng).mean(axis=0).round(2)}")

# %%
if arguments.plot:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharex=True, sharey=True)
    grid = np.linspace(0.0, 6.0, 121)
    for axis, name in zip(axes, ("static", "multimarginal"), strict=True):
        paths = np.asarray(dp.predict(fits[name], grid, num_draws=12, seed=1).draws)[:, 0]
        for path in paths:
            axis.plot(path[:, 0], path[:, 1], color="tab:blue", linewidth=0.7, alpha=0.6)
        for shown, colour, label in (
            (task.truth, "tab:orange", "held out"),
            (task.train, "black", "seen"),
        ):
            cloud = np.concatenate(shown.populations)
            axis.scatter(cloud[:, 0], cloud[:, 1], s=3, color=colour, alpha=0.4, label=label)
        axis.set(title=f"paths of bridges/{name}", xlabel="x", ylabel="y", aspect="equal")
    axes[0].legend(loc="upper right", markerscale=3)
    figure.tight_layout()
    figure.savefig(arguments.plot, dpi=120)
    print(f"wrote {arguments.plot}")

# %% [markdown]
# ## Key takeaways
#
# - Between snapshots the reference decides. One that can turn follows the curve; straight lines cut the corner.
# - A reference is fitted by how little the snapshots surprise it, not by increments of paths, which are not observed.
# - Fitted noise holds the sampling error of the snapshots too, and comes out too large. Where noise is known, say it.
# - Draws are whole paths: one particle of every snapshot, and the reference between them.
#
# ## Next steps
#
# - `dp.load_model("bridges/gaussian")` gives means and variances in closed form, in no time.
# - `diffusion=0.15` says the noise where it is known.
# - `dynplat compare cells.csv --task snapshot-interpolation --models bridges/static,baselines/ot-midpoint` does this
#   for a file with one row per particle.
