"""Checks of the likelihood: whether `log_prob_steps` is the density of the law that it belongs to."""

from __future__ import annotations

import numpy as np

from dynplat.arrays import Observations, array_namespace, framework, random_source, to_numpy
from dynplat.testing.report import CheckFailed, CheckSkipped
from dynplat.testing.subject import NUM_POINTS, Subject, compare_arrays, for_series, given


def check_density_integrates_to_one(subject: Subject) -> None:
    """The density of the first and of the third row, given those before, integrates (or sums) to one over a channel.

    A wrong log-determinant or a lost constant shows here, whatever the family.
    """
    subject.need("likelihood")
    observations = _complete(subject)
    for point in range(NUM_POINTS):
        for row in (0, 2):
            total = _integral(subject, observations, row, point)
            if not abs(total - 1.0) < 2e-3:
                raise CheckFailed(
                    f"exp(log_prob) integrates to {total:.6g} over the value of row {row}, given the rows before; "
                    "expected 1. The density is not normalised: look at its log-determinant and its constants."
                )


def check_steps_are_conditional_densities(subject: Subject) -> None:
    """`log_prob_steps` at a row equals the density that `condition` on the rows before gives at that row."""
    subject.need("likelihood", "condition", "coherent")
    observations = _one_channel(_complete(subject))
    steps = subject.steps(observations)
    for row in range(1, min(5, observations.times.shape[-1])):
        mask = observations.mask.copy()
        mask[..., row:, :] = False
        past = observations._replace(mask=mask)
        value = observations.values[..., row : row + 1, :]
        answer = subject.ask(
            past,
            observations.times[..., row : row + 1],
            {"density": lambda law, v=value: law.log_density(_like(v, law))},
        )
        live = observations.mask[..., row, 0]
        compare_arrays(
            f"log p(y_{row} | earlier rows) from `condition(...).at(...)`",
            answer["density"][..., 0, 0][live],
            steps[..., row][live],
            rtol=1e-6,
            atol=1e-8,
            cause="Likelihood and predictions are not of one law: one of them ignores time, noise or mask.",
        )


def check_missing_is_marginal(subject: Subject) -> None:
    """Masking a cell integrates it out, and what stands behind a mask is never read."""
    subject.need("likelihood", "missing_values")
    observations = subject.observations
    base = subject.steps(observations)
    for filler in (1e6, -17.0):
        other = observations._replace(values=np.where(observations.mask, observations.values, filler))
        if not np.array_equal(subject.steps(other), base):
            raise CheckFailed(
                f"log_prob changes when the values behind the mask are replaced by {filler:g}: the mask is ignored, or "
                "masked numbers leak into the result."
            )
    complete = _complete(subject)
    row = 1
    mask = complete.mask.copy()
    mask[..., row, 0] = False
    hidden = subject.log_prob(complete._replace(mask=mask))
    for series in range(complete.values.shape[0]):
        if not complete.mask[series, row, 0]:
            continue
        log_total = _log_integral(subject, complete, series, row)
        if not abs(log_total - hidden[series]) < 2e-3 + 1e-4 * abs(hidden[series]):
            raise CheckFailed(
                f"log_prob with row {row} of series {series} masked is {hidden[series]:.8g}; integrating that value "
                f"out gives {log_total:.8g}. A missing value must be marginalised: the mask is ignored or miscounted."
            )


def check_masked_rows_contribute_zero(subject: Subject) -> None:
    """A row with nothing observed contributes exactly 0, and so do data with nothing observed at all."""
    subject.need("likelihood", "missing_values")
    observations = subject.observations
    mask = observations.mask.copy()
    mask[..., 2, :] = False
    steps = subject.steps(observations._replace(mask=mask))
    if not (steps[..., 2] == 0).all():
        raise CheckFailed(
            f"a row with nothing observed contributes {steps[..., 2]} to log_prob_steps; expected exactly 0."
        )
    nothing = subject.steps(observations._replace(mask=np.zeros_like(observations.mask)))
    if not (nothing == 0).all():
        raise CheckFailed("log_prob_steps is not exactly 0 where nothing is observed.")


def check_padding_changes_nothing(subject: Subject) -> None:
    """Rows of padding at the end (mask False, last time repeated, any filler) leave every answer as it was."""
    subject.need("likelihood")
    observations = subject.observations
    extra = 3
    padded = observations._replace(
        times=np.concatenate([observations.times, np.repeat(observations.times[..., -1:], extra, axis=-1)], axis=-1),
        values=np.concatenate([observations.values, np.full_like(observations.values[..., :extra, :], 3.25)], axis=-2),
        mask=np.concatenate([observations.mask, np.zeros_like(observations.mask[..., :extra, :])], axis=-2),
        inputs=None
        if observations.inputs is None
        else np.concatenate(
            [observations.inputs, np.repeat(observations.inputs[..., -1:, :], extra, axis=-2)], axis=-2
        ),
        marks=None
        if observations.marks is None
        else np.concatenate([observations.marks, np.zeros_like(observations.marks[..., :extra])], axis=-1),
    )
    compare_arrays(
        "log_prob after padding",
        subject.log_prob(padded),
        subject.log_prob(observations),
        rtol=1e-9,
        atol=1e-9,
        cause="Padding must not count.",
    )


def check_series_order_is_free(subject: Subject) -> None:
    """Permuting the series permutes the answers, and one series alone has the log_prob it has among others."""
    subject.need("likelihood")
    _, infos = subject.points
    if any(info.local for info in infos.values()):
        raise CheckSkipped("the parameters belong to series, so that they would have to move with them")
    observations = subject.observations
    base = subject.log_prob(observations)
    flipped = subject.log_prob(_map(observations, lambda a: a[::-1]))
    compare_arrays("log_prob of the series in reverse", flipped[::-1], base, rtol=1e-9, atol=1e-9, cause="Series mix.")
    alone = subject.log_prob(_map(observations, lambda a: a[:1]), context=for_series(subject, 1))
    compare_arrays("log_prob of the first series alone", alone, base[:1], rtol=1e-9, atol=1e-9, cause="Series mix.")


def check_splitting_a_gap_changes_nothing(subject: Subject) -> None:
    """An unobserved row inside a gap leaves log_prob as it was: the law lives in time, not in row numbers."""
    subject.need("likelihood", "irregular_times", "missing_values", "coherent")
    observations = subject.observations
    where = 2
    middle = 0.5 * (observations.times[..., where - 1] + observations.times[..., where])
    split = observations._replace(
        times=np.insert(observations.times, where, middle, axis=-1),
        values=np.insert(observations.values, where, 0.0, axis=-2),
        mask=np.insert(observations.mask, where, False, axis=-2),
        inputs=None
        if observations.inputs is None
        else np.insert(observations.inputs, where, observations.inputs[..., where - 1, :], axis=-2),
        marks=None if observations.marks is None else np.insert(observations.marks, where, 0, axis=-1),
    )
    for point in range(NUM_POINTS):
        compare_arrays(
            "log_prob after an unobserved row was put into a gap",
            subject.log_prob(split, point),
            subject.log_prob(observations, point),
            rtol=1e-8,
            atol=1e-8,
            cause="The transition does not depend on elapsed time as a semigroup must: time is ignored or miscounted.",
        )


def check_time_matters(subject: Subject) -> None:
    """Stretching the gaps changes log_prob for at least one parameter draw, unless the law knows no time at all."""
    subject.need("likelihood", "irregular_times")
    observations = _complete(subject)
    start = observations.times[..., :1]
    slow = observations._replace(times=start + 7.0 * (observations.times - start))
    changes = [
        np.abs(subject.log_prob(slow, point) - subject.log_prob(observations, point)).max()
        for point in range(NUM_POINTS)
    ]
    if max(changes) == 0.0:
        raise CheckFailed(
            "log_prob is the same when every gap is stretched sevenfold: time is ignored. "
            "A model without memory of time must declare `irregular_times=False`."
        )


def check_parameters_broadcast(subject: Subject) -> None:
    """A leading axis of parameter draws gives the same as asking draw by draw."""
    subject.need("likelihood")
    draws, _ = subject.points
    with subject.arrays() as to_array:
        stacked = {name: to_array(np.stack([draw[name] for draw in draws])) for name in draws[0]}
        process = subject.model.process(stacked, subject.context)
        together = to_numpy(process.log_prob(given(subject.observations, to_array)))
    one_by_one = np.stack([subject.log_prob(subject.observations, point) for point in range(len(draws))])
    compare_arrays(
        "log_prob with a leading axis of draws",
        together,
        one_by_one,
        rtol=1e-8,
        atol=1e-8,
        cause="`process` must broadcast over leading axes of its parameters.",
    )


def check_gradient(subject: Subject) -> None:
    """Gradients of log_prob equal finite differences for every site, in every framework that the languages use."""
    subject.need("likelihood", "gradients")
    draws, _ = subject.points
    for language in subject.claims.languages:
        name = {"pyro": "torch", "numpyro": "jax"}[language]
        gradients = _gradients(subject, name, draws[0])
        for site, gradient in gradients.items():
            value = draws[0][site]
            direction = np.random.default_rng(subject.seed).normal(size=value.shape) * np.maximum(np.abs(value), 1e-3)
            # The five-point rule: its error is of fourth order, so that a fault is told from a large third derivative.
            step = 1e-3
            totals = [
                _total(subject, {**draws[0], site: value + factor * step * direction}) for factor in (-2, -1, 1, 2)
            ]
            numeric = (totals[0] - 8 * totals[1] + 8 * totals[2] - totals[3]) / (12 * step)
            compare_arrays(
                f"gradient of log_prob in {site!r} under {name}, along a random direction",
                np.asarray((gradient * direction).sum()),
                np.asarray(numeric),
                rtol=2e-4,
                atol=1e-5 * max(1.0, abs(totals[1])),
                cause="The gradient is not that of the likelihood.",
            )


def check_single_precision(subject: Subject) -> None:
    """log_prob in float32 stays near that in float64."""
    subject.need("likelihood")
    exact = subject.log_prob(subject.observations)
    with subject.arrays("float32") as to_array:
        process = subject.process(to_array)
        rough = to_numpy(process.log_prob(given(subject.observations, to_array)))
    if rough.dtype != np.float32:
        raise CheckFailed(f"float32 parameters gave a log_prob in {rough.dtype}: dtype must follow the input.")
    compare_arrays(
        "log_prob in float32", rough, exact, rtol=2e-3, atol=2e-2, cause="The computation loses float32's digits."
    )


def check_frameworks_agree(subject: Subject) -> None:
    """log_prob is the same under torch and under JAX."""
    subject.need("likelihood")
    if set(subject.claims.languages) != {"pyro", "numpyro"}:
        raise CheckSkipped("the model declares one language")
    draws, _ = subject.points
    results = {}
    for name in ("torch", "jax"):
        with framework(name) as to_array:
            sites = {key: to_array(value) for key, value in draws[0].items()}
            process = subject.model.process(sites, subject.context)
            results[name] = to_numpy(process.log_prob(given(subject.observations, to_array)))
    compare_arrays(
        "log_prob under JAX against torch", results["jax"], results["torch"], rtol=1e-9, atol=1e-9, cause="They differ."
    )


def check_likelihood_fits_simulation(subject: Subject) -> None:
    """The mean gradient of log_prob over simulated data is zero (Bartlett's identity).

    Data simulated at some parameters make those parameters optimal on average: a likelihood of another law, or a
    simulator of another law, shows as a mean score away from zero. Two-sided test over all sites, family-wise
    false-alarm probability below 1e-6.
    """
    subject.need("likelihood", "simulate", "gradients")
    from scipy import stats

    draws, _ = subject.points
    scores = _scores(subject, draws[0], num_data=400)
    width = stats.norm.isf(0.5e-6 / max(1, sum(score.shape[1] for score in scores.values())))
    for site, score in scores.items():
        spread = score.std(axis=0, ddof=1) / np.sqrt(score.shape[0])
        z = np.abs(score.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
        if z.max() > width:
            raise CheckFailed(
                f"over 400 simulated data sets the mean gradient of log_prob in {site!r} is {z.max():.1f} standard "
                "errors away from 0: `sample` and `log_prob` are not of one law. "
                "Look at noise, time and log-determinant in both."
            )


def _scores(subject: Subject, draw: dict[str, np.ndarray], num_data: int) -> dict[str, np.ndarray]:
    """Gradients of log_prob in each site, (data set, number), at data simulated from the same sites."""
    observations = _map(_complete(subject), lambda a: a[:1])
    context = for_series(subject, 1)
    with subject.arrays() as to_array:
        # A leading axis of copies of the parameters: its gradients are the scores of the data sets, one by one.
        copies = {
            name: np.broadcast_to(value[:1], (num_data, 1, *value.shape[1:])).copy() for name, value in draw.items()
        }
        sites = {name: to_array(value) for name, value in copies.items()}
        random = random_source(subject.seed + 5, to_array(0.0))
        inputs = None if observations.inputs is None else to_array(observations.inputs)
        process = subject.model.process(sites, context)
        values = to_numpy(process.sample(to_array(observations.times), random=random, inputs=inputs).values)
    lead = values.shape[:-2]
    many = observations._replace(
        values=values,
        times=np.broadcast_to(observations.times, (*lead, values.shape[-2])),
        mask=np.broadcast_to(observations.mask, values.shape),
    )
    gradients = _gradients(subject, subject.framework, copies, many, context)
    return {name: gradient.reshape(num_data, -1) for name, gradient in gradients.items()}


def _gradients(
    subject: Subject,
    name: str,
    draw: dict[str, np.ndarray],
    observations: Observations | None = None,
    context: object = None,
) -> dict[str, np.ndarray]:
    observations = subject.observations if observations is None else observations
    context = subject.context if context is None else context
    with framework(name) as to_array:
        if name == "torch":
            sites = {key: to_array(value).requires_grad_(True) for key, value in draw.items()}
            total = subject.model.process(sites, context).log_prob(given(observations, to_array)).sum()
            total.backward()
            return {
                key: to_numpy(site.grad) if site.grad is not None else np.zeros(site.shape)
                for key, site in sites.items()
            }
        import jax

        def total_of(sites: dict) -> object:
            return subject.model.process(sites, context).log_prob(given(observations, to_array)).sum()

        gradients = jax.grad(total_of)({key: to_array(value) for key, value in draw.items()})
        return {key: to_numpy(value) for key, value in gradients.items()}


def _total(subject: Subject, draw: dict[str, np.ndarray]) -> float:
    with subject.arrays() as to_array:
        process = subject.model.process({key: to_array(value) for key, value in draw.items()}, subject.context)
        log_prob = process.log_prob(given(subject.observations, to_array))
        return float(to_numpy(array_namespace(log_prob).sum(log_prob)))


def _complete(subject: Subject) -> Observations:
    """The observations of the subject with every real row observed, holes filled with a plausible value."""
    observations = subject.observations
    data = subject.data
    live = (np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None])[..., None]
    seen = observations.values[observations.mask]
    filler = float(np.median(seen)) if seen.size else 0.0
    values = np.where(observations.mask, observations.values, filler)
    return observations._replace(values=np.where(live, values, 0.0), mask=np.broadcast_to(live, values.shape).copy())


def _one_channel(observations: Observations) -> Observations:
    mask = observations.mask.copy()
    mask[..., 1:] = False
    return observations._replace(mask=mask)


def _grid(subject: Subject, observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Values over which a density is integrated, and their weights."""
    claims = subject.claims
    if set(claims.values) & {"real", "positive"}:
        seen = observations.values[observations.mask]
        centre, spread = float(np.median(seen)), float(np.std(seen)) or 1.0
        # A tangent grid reaches far out and is fine in the middle: heavy tails and narrow peaks both integrate.
        u = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 20_003)[1:-1]
        grid, weight = centre + spread * np.tan(u), spread / np.cos(u) ** 2 * (u[1] - u[0])
        if "real" not in claims.values:
            weight = np.where(grid > 0, weight, 0.0)
            grid = np.where(grid > 0, grid, 1.0)
        return grid, weight
    top = int(observations.values.max()) + 200
    return np.arange(top, dtype=float), np.ones(top)


def _densities(subject: Subject, observations: Observations, series: int, row: int, point: int) -> tuple:
    """log_prob of one series for every grid value of (row, channel 0), by a leading axis of data sets."""
    grid, weight = _grid(subject, observations)
    one = _map(observations, lambda a: a[series : series + 1])
    values = np.repeat(one.values[None], grid.size, axis=0)
    values[:, 0, row, 0] = grid
    mask = np.broadcast_to(one.mask, values.shape)
    many = one._replace(values=values, mask=mask, times=np.broadcast_to(one.times, values.shape[:-1]))
    draws, infos = subject.points
    with subject.arrays() as to_array:
        draw = draws[point % len(draws)]
        own = {key: value[series : series + 1] if infos[key].local else value for key, value in draw.items()}
        process = subject.model.process({k: to_array(v) for k, v in own.items()}, for_series(subject, 1))
        log_prob = to_numpy(process.log_prob(given(many, to_array)))
    return log_prob.reshape(grid.size, -1)[:, 0], weight


def _integral(subject: Subject, observations: Observations, row: int, point: int) -> float:
    mask = observations.mask.copy()
    mask[..., row + 1 :, :] = False
    mask[..., row, 1:] = False
    observations = observations._replace(mask=mask)
    log_prob, weight = _densities(subject, observations, 0, row, point)
    if row:
        before = mask.copy()
        before[..., row, :] = False
        log_prob = log_prob - subject.log_prob(observations._replace(mask=before), point)[0]
    return float(np.sum(np.exp(log_prob) * weight))


def _log_integral(subject: Subject, observations: Observations, series: int, row: int) -> float:
    log_prob, weight = _densities(subject, observations, series, row, 0)
    top = log_prob.max()
    return float(top + np.log(np.sum(np.exp(log_prob - top) * weight)))


def _map(observations: Observations, change: object) -> Observations:
    return Observations(*(None if leaf is None else change(leaf) for leaf in observations))  # type: ignore[operator]


def _like(value: np.ndarray, law: object) -> object:
    from dynplat.arrays import asarray_like

    return asarray_like(value, law.mean())  # type: ignore[attr-defined]
