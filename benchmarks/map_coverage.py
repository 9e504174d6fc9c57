"""Which mode should `map` plug into predictions: that of the natural parameters, or that on the unconstrained scale?

Series are drawn from the models' own priors, holes are made, `map` is fitted with and without `jacobian`, and the
holes are filled. Printed are the share of hidden values inside their 90 % intervals, with standard errors over series,
and beside it that under the true parameters, which must be 0.9; then the mean interval score (width plus 2/0.1 times
the distance of the values outside; Gneiting and Raftery 2007, doi:10.1198/016214506000001437) and the median width,
both in widths of the interval under the true parameters.

A series is a channel: the channels of these models share the times and nothing else, each with priors read off its own
observed values, so that a fit of 100 channels is 100 fits of one and compiles once. Holes are a third of the rows, at
random places, the ends among them. Data are drawn with the priors' constants of a random walk with unit steps; a fit
sees those of its own data, as a user's does.

Run: python benchmarks/map_coverage.py [--series 200]
Takes about 20 minutes on one core.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import dynplat as dp
from dynplat.inference import sample_prior
from dynplat.posterior import Posterior, simulate_sites

#: (model, options): no season is looked for, since none is in the data.
MODELS = (("filtering/local-level", {}), ("filtering/structural", {"periods": ()}))
SIZES = (3, 6, 12, 25, 50)
LEVEL = 0.9
GROUP = 100  # channels per fit
#: One search from the medians, long enough for all channels; one that is not would warn.
SEARCH = {"restarts": 0, "max_steps": 5000, "errors": False}
LAWS = ("natural", "unconstrained", "truth")


def simulated(model, num_seen: int, seed: int):
    """Data with holes, the values behind them, and a posterior that holds the true parameters."""
    rng = np.random.default_rng(seed)
    num_rows = num_seen + max(1, num_seen // 2)
    names = tuple(f"series{index}" for index in range(GROUP))
    times = np.arange(float(num_rows))
    walks = np.cumsum(rng.standard_normal((num_rows, GROUP)), axis=0)
    reference = dp.Trajectories.from_arrays(times, walks, channels=names)
    context = model.prepare(reference)
    sites, infos = sample_prior(model, context, num_draws=1, seed=seed)
    values = simulate_sites(model, context, sites, reference, times, seed=seed).draws.values[0, 0]
    hidden = rng.permuted(np.tile(np.arange(num_rows) >= num_seen, (GROUP, 1)), axis=1).T
    data = dp.Trajectories.from_arrays(times, np.where(hidden, np.nan, values), channels=names)
    draws = {name: value.reshape(1, 1, *infos[name].core_shape) for name, value in sites.items()}
    truth = Posterior.from_draws(model, context, data, draws, infos, method="truth", language="numpyro", seed=seed)
    return data, values, hidden, truth


def scores(posterior, values: np.ndarray, hidden: np.ndarray, seed: int) -> np.ndarray:
    """Coverage, mean interval score and mean width of each channel, (3, channel)."""
    lower, upper = (np.asarray(end)[0] for end in dp.impute(posterior, num_draws=0, seed=seed).interval(LEVEL))
    outside = np.maximum(lower - values, 0.0) + np.maximum(values - upper, 0.0)
    figures = (outside == 0, upper - lower + 2.0 / (1.0 - LEVEL) * outside, upper - lower)
    return np.array([np.where(hidden, figure, 0.0).sum(0) / hidden.sum(0) for figure in figures])


def measure(model, num_seen: int, num_series: int) -> dict[str, np.ndarray]:
    """Scores (3, series) of each law."""
    found: dict[str, list[np.ndarray]] = {law: [] for law in LAWS}
    for group in range(-(-num_series // GROUP)):
        seed = 1000 * num_seen + group
        data, values, hidden, truth = simulated(model, num_seen, seed)
        for law in LAWS:
            posterior = truth
            if law != "truth":
                jacobian = law == "unconstrained"
                posterior = dp.fit(model, data, "map", seed=seed, jacobian=jacobian, **SEARCH)
            found[law].append(scores(posterior, values, hidden, seed))
    return {law: np.concatenate(parts, axis=1) for law, parts in found.items()}


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=200, help="series of each length, rounded up to hundreds")
    num_series = parser.parse_args().series
    for model_id, options in MODELS:
        model = dp.load_model(model_id, **options)
        print(f"\n{model_id}\nvalues  coverage of 90 % intervals{'':24} score               width")
        print(f"        {'natural':15} {'unconstrained':15} {'truth':15}" + "  natural  unconstr." * 2)
        for num_seen in SIZES:
            started = time.perf_counter()
            found = measure(model, num_seen, num_series)
            line = f"{num_seen:6}  "
            for law in LAWS:
                inside = found[law][0]
                line += f"{inside.mean():.3f} +- {inside.std(ddof=1) / np.sqrt(inside.size):.3f}  "
            for row, average in ((1, np.mean), (2, np.median)):
                for law in LAWS[:2]:
                    # Relative to each series' own scale, which varies a thousandfold under such priors.
                    line += f"  {average(found[law][row] / found['truth'][2]):8.2f}"
            print(f"{line}   ({time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
