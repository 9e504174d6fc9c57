# %% [markdown]
# # A hierarchical model as a plain Pyro script
#
# **Question.** Several short series revert to a common level, each at its own rate. One series alone says little about
# its rate. How much does it help to let the series share what they know?
#
# **Model.** For series i = 1..S an Ornstein-Uhlenbeck process, seen at irregular times with noise:
#
#     dx_i = -r_i x_i dt + s sqrt(2 r_i) dW_i,     y_i(t_k) = x_i(t_k) + e_k,     e_k ~ N(0, q^2),
#     log r_i ~ N(m, v^2)          (partial pooling; v -> 0 is complete pooling, v -> infinity is none)
#     m ~ N(0, 1.5^2),  v ~ HalfNormal(1),  s ~ HalfNormal(2),  q ~ HalfNormal(1).
#
# The states are integrated out exactly: `dynplat.process.pyro.LinearSDE` is a distribution whose event is a whole
# series, (time, channel), and whose batch is the plate of series. Everything else is ordinary Pyro: no model, task or
# fit of dynplat is involved.
#
# **Data.** Simulated: 40 series of 8 to 16 readings at irregular times, a tenth of them missing. The true rates are
# known, so the three ways of pooling can be scored.
#
# **What to expect.** Partial pooling recovers the rates better than both extremes: without pooling a short series runs
# off to wherever its noise points, with complete pooling all differences are lost. It takes a bit more than a minute on
# one core with variational inference. `--nuts` draws the partially pooled posterior by NUTS instead, which takes far
# longer, since no kernel is compiled under torch yet. `--fast` is a smoke test, too small for the finding.

# %%
import argparse

import arviz_base
import arviz_stats
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal

from dynplat.process.dynamics import OrnsteinUhlenbeck
from dynplat.process.pyro import LinearSDE

parser = argparse.ArgumentParser()
parser.add_argument("--fast", action="store_true", help="a smoke test: few series, few steps")
parser.add_argument("--nuts", action="store_true", help="NUTS instead of variational inference for partial pooling")
arguments = parser.parse_args()

torch.set_default_dtype(torch.float64)
num_series, longest, num_steps = (4, 10, 60) if arguments.fast else (40, 16, 1000)
num_draws, num_kept = (100, 20) if arguments.fast else (1000, 300)

# %% [markdown]
# ## Data
#
# Ragged series are padded at the end: the last time is repeated and the mask says that nothing was observed there.

# %%
rng = np.random.default_rng(0)
true_rates = np.exp(rng.normal(-0.5, 0.5, num_series))
times = np.zeros((num_series, longest))
y = np.full((num_series, longest, 1), np.nan)
for i, rate in enumerate(true_rates):
    length = int(rng.integers(longest // 2, longest + 1))
    times[i, :length] = np.cumsum(rng.exponential(0.7, length))
    times[i, length:] = times[i, length - 1]
    x = 0.0
    for k, gap in enumerate(np.diff(times[i, :length], prepend=-1e3)):
        keep = np.exp(-rate * gap)
        x = keep * x + 1.5 * np.sqrt(1.0 - keep**2) * rng.standard_normal()
        if rng.random() > 0.1:
            y[i, k, 0] = x + 0.3 * rng.standard_normal()
times, y = torch.as_tensor(times), torch.as_tensor(y)
seen = ~y.isnan()
print(f"{num_series} series, {int(seen.sum())} readings; true rates", np.round(true_rates, 2))

# %% [markdown]
# ## Three models
#
# They differ in one line: where the rate comes from. Its spread is written as m + v z with z standard normal, because a
# short series leaves z near its prior, and samplers walk that shape easily.


# %%
def observe(rate: torch.Tensor) -> None:
    """Emit the noise, the spread and the series, given a rate for each series (or one for all)."""
    sd = pyro.sample("sd", dist.HalfNormal(2.0))
    noise_sd = pyro.sample("noise_sd", dist.HalfNormal(1.0))
    H, R = torch.ones(1, 1, 1), (noise_sd**2).reshape(1, 1, 1)
    with pyro.plate("series", num_series):
        law = LinearSDE(OrnsteinUhlenbeck(rate.expand(num_series), sd), H, R, times=times, mask=seen)
        pyro.sample("y", law, obs=y)


def partial_pooling() -> None:
    """Rates share a law whose centre and spread are learned."""
    centre = pyro.sample("centre", dist.Normal(0.0, 1.5))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("rates", num_series):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
    observe(pyro.deterministic("rate", torch.exp(centre + spread * z)))


def no_pooling() -> None:
    """Each rate by itself, with a wide prior."""
    with pyro.plate("rates", num_series):
        log_rate = pyro.sample("log_rate", dist.Normal(0.0, 1.5))
    observe(pyro.deterministic("rate", torch.exp(log_rate)))


def complete_pooling() -> None:
    """One rate for all."""
    log_rate = pyro.sample("log_rate", dist.Normal(0.0, 1.5))
    observe(pyro.deterministic("rate", torch.exp(log_rate).expand(num_series)))


# %% [markdown]
# ## Inference


# %%
def draw_svi(model, seed: int = 0) -> dict[str, np.ndarray]:
    """Fit a full-rank Gaussian guide and draw from it: arrays (chain, draw, ...)."""
    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    guide = AutoMultivariateNormal(model, init_scale=0.1)
    svi = SVI(model, guide, pyro.optim.ClippedAdam({"lr": 0.03, "lrd": 0.1 ** (1 / num_steps)}), Trace_ELBO())
    losses = [svi.step() for _ in range(num_steps)]
    print(f"  {model.__name__}: loss {np.mean(losses[:20]):.1f} -> {np.mean(losses[-20:]):.1f}")
    with torch.no_grad():
        latent = Predictive(guide, num_samples=num_draws, parallel=False)()
        rates = Predictive(
            pyro.poutine.block(model, hide=["y"]), posterior_samples=latent, return_sites=["rate"], parallel=False
        )()
    return {
        name: value.reshape(1, num_draws, *value.squeeze().shape[1:]).numpy()
        for name, value in {**latent, **rates}.items()
        if not name.startswith("_")
    }


def draw_nuts(model, seed: int = 0) -> dict[str, np.ndarray]:
    """Two chains of NUTS: arrays (chain, draw, ...)."""
    chains = []
    for chain in range(2):
        pyro.set_rng_seed(seed + chain)
        sampler = MCMC(NUTS(model), num_samples=num_kept, warmup_steps=num_kept, disable_progbar=True)
        sampler.run()
        chains.append({name: value.numpy() for name, value in sampler.get_samples().items()})
    draws = {name: np.stack([chain[name] for chain in chains]) for name in chains[0]}
    draws["rate"] = np.exp(draws["centre"][..., None] + draws["spread"][..., None] * draws["z"])
    return draws


draws = {
    "partial": (draw_nuts if arguments.nuts else draw_svi)(partial_pooling),
    "none": draw_svi(no_pooling),
    "complete": draw_svi(complete_pooling),
}

# %% [markdown]
# ## ArviZ
#
# The draws of any script become ArviZ's tree with one call.

# %%
tree = arviz_base.from_dict(
    {"posterior": {name: draws["partial"][name] for name in ("centre", "spread", "sd", "noise_sd", "rate")}}
)
print(arviz_stats.summary(tree, var_names=["centre", "spread", "sd", "noise_sd"], kind="stats"))

# %% [markdown]
# ## Which pooling recovers the rates?

# %%
for name, found in draws.items():
    log_rate = np.log(found["rate"]).reshape(-1, num_series)
    error = np.sqrt(np.mean((log_rate.mean(0) - np.log(true_rates)) ** 2))
    print(f"{name:9s} root mean squared error of log rate {error:.2f}, mean posterior sd {log_rate.std(0).mean():.2f}")

# %% [markdown]
# ## Key takeaways
#
# - A whole irregular series with holes is one `pyro.sample` statement; the states are integrated out exactly, so the
#   sampler sees only parameters.
# - Plates, guides, NUTS and ArviZ work as with any Pyro distribution; `dynplat.process.numpyro` is the same for
#   NumPyro, whose compiled NUTS is much faster.
# - Partial pooling lies between the extremes and learns how far.
#
# ## Next steps
#
# - Other dynamics in the same place: `Matern`, `IntegratedWiener`, `DampedOscillator`, `Dense`, and `Stack` for sums.
# - Within dynplat, `filtering/matern12` with `per_series` gives each series parameters of its own without a script.
