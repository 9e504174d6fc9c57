"""Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788), for the patient."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import random_source, to_numpy
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import Subject

_NUM_DATA, _NUM_DRAWS = 60, 200
_FALSE_ALARM = 1e-4


def check_calibration(subject: Subject) -> None:
    """Ranks of the true parameters among NUTS draws are uniform (family-wise false-alarm probability below 1e-4).

    Parameters are drawn from the prior, data from the process, and the posterior is drawn by NUTS. The ranks of each
    number are compared with the uniform law by a chi-squared test on 10 bins after thinning to nearly independent
    draws, Bonferroni-corrected over the numbers.
    """
    subject.need("prior", "likelihood", "simulate")
    from scipy import stats

    from dynplat.data import Trajectories
    from dynplat.inference.nuts import run
    from dynplat.inference.prior import sample_prior

    if subject.language is None:
        raise CheckSkipped("the model has no language")
    data = subject.data
    ranks: dict[str, list[np.ndarray]] = {}
    for index in range(_NUM_DATA):
        seed = subject.seed + 1000 + index
        draws, infos = sample_prior(subject.model, subject.context, num_draws=1, seed=seed, language=subject.language)
        sites = {name: value[0] for name, value in draws.items()}
        with subject.arrays() as to_array:
            process = subject.model.process({name: to_array(value) for name, value in sites.items()}, subject.context)
            random = random_source(seed, to_array(0.0))
            values = to_numpy(process.sample(to_array(subject.observations.times), random=random).values)
        simulated = Trajectories.from_arrays(
            [data.times[s, : data.lengths[s]] for s in range(data.num_series)],
            [np.where(data.mask[s], values[s], np.nan)[: data.lengths[s]] for s in range(data.num_series)],
            series=data.series,
            channels=data.channels,
        )
        # The prior takes its scale from the data, so calibration must hold the context fixed.
        fixed = _with_context(subject.model, subject.context)
        posterior = run(fixed, simulated, seed=seed, num_warmup=300, num_samples=_NUM_DRAWS * 2, num_chains=1)
        for name, info in infos.items():
            if info.kind != "sample":
                continue
            drawn = posterior.tree["posterior"][name].values[0, ::4]
            true = sites[name] if info.local else sites[name][0]
            ranks.setdefault(name, []).append((drawn < true).sum(axis=0).ravel())
    total = sum(np.size(rank[0]) for rank in ranks.values())
    for name, rows in ranks.items():
        table = np.stack(rows)
        top = _NUM_DRAWS * 2 // 4 + 1
        for number in range(table.shape[1]):
            counts = np.histogram(table[:, number], bins=np.linspace(0, top, 11))[0]
            p = stats.chisquare(counts).pvalue
            if p < _FALSE_ALARM / total:
                raise CheckFailed(
                    f"the ranks of {name!r}[{number}] are not uniform (p = {p:.2g}; counts {counts.tolist()}): prior, "
                    "likelihood and simulator do not belong together."
                )


def _with_context(model: object, context: object) -> object:
    kind = type(model)
    fixed = type(kind.__name__, (kind,), {"prepare": lambda self, data: context})
    clone = object.__new__(fixed)
    clone.__dict__.update(model.__dict__)
    return clone
