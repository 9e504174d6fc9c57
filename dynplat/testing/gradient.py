"""Checks of the likelihood's gradient, in every framework, and by it of simulator and likelihood against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dynplat.arrays import Observations, framework, to_numpy
from dynplat.model import Context
from dynplat.testing.report import CheckFailed, CheckSkipped, compare_arrays
from dynplat.testing.subject import FRAMEWORKS, NUM_POINTS, Subject, given, map_leaves

_NUM_DATA = 500
#: Nominal; the scores of few rows are skewed, which raises it by a factor of about ten.
_FALSE_ALARM = 1e-7
_SHOWN = {"torch": "torch", "jax": "JAX", "numpy": "NumPy"}


class Slope(NamedTuple):
    """A likelihood and its gradient.

    Attributes:
        steps: `log_prob_steps`.
        gradients: Gradient of its sum in each site.
    """

    steps: np.ndarray
    gradients: dict[str, np.ndarray]


def check_gradient(subject: Subject) -> None:
    """Gradients of log_prob equal finite differences for every site, in every framework that the languages use.

    Those of the composite likelihood, where the model has no other.
    """
    subject.need("gradients")
    subject.need_one("likelihood", "composite")
    points = range(NUM_POINTS)
    numeric = [_finite_differences(subject, point) for point in points]
    for name in _frameworks(subject):
        for point in points:
            for site, gradient in _slope(subject, name, point).gradients.items():
                expected, direction, size = numeric[point][site]
                got = float((gradient * direction).sum())
                cut = got == 0.0 and abs(expected) > 1e-4 * max(1.0, size)
                compare_arrays(
                    f"gradient of log_prob in {site!r} under {name}, along a random direction",
                    np.asarray(got),
                    np.asarray(expected),
                    rtol=2e-4,
                    atol=1e-5 * max(1.0, size),
                    cause="The gradient is cut: something detaches the site, stops its gradient or turns it into NumPy."
                    if cut
                    else "The gradient is not that of log_prob: a part of it is cut, or a derivative is wrong.",
                )


def check_frameworks_agree(subject: Subject) -> None:
    """log_prob_steps are the same under torch and under JAX, to 1e-9."""
    subject.need_one("likelihood", "composite")
    others = [name for name in _frameworks(subject) if name != subject.framework]
    if not others:
        raise CheckSkipped("the model runs in one framework")
    for name in others:
        for point in range(NUM_POINTS):
            compare_arrays(
                f"log_prob_steps under {_SHOWN[name]} against {_SHOWN[subject.framework]}",
                _slope(subject, name, point).steps,
                subject.terms(subject.observations, point),
                rtol=1e-9,
                atol=1e-9,
                cause="`process` does something else under one framework, or loses precision there.",
            )


def check_likelihood_fits_simulation(subject: Subject) -> None:
    """The mean gradient of log_prob over simulated data is zero (Bartlett's identity).

    Data simulated at some parameters make those parameters optimal on average: a likelihood of another law, or a
    simulator of another law, shows as a mean score away from zero. Two-sided test over all sites, family-wise
    false-alarm probability below 1e-5 with the seed left free.
    """
    subject.need("likelihood", "simulate", "gradients")
    from scipy import stats

    for point in range(NUM_POINTS):
        scores = _scores(subject, point)
        count = NUM_POINTS * sum(score.shape[1] for score in scores.values())
        width = stats.norm.isf(0.5 * _FALSE_ALARM / max(1, count))
        for site, score in scores.items():
            spread = score.std(axis=0, ddof=1) / np.sqrt(score.shape[0])
            mean = np.abs(score.mean(axis=0))
            z = np.where(mean > 0, mean / np.where(spread > 0, spread, 1.0), 0.0)
            if not (z < width).all():
                raise CheckFailed(
                    f"over {_NUM_DATA} simulated data sets the mean gradient of log_prob in {site!r} is {z.max():.1f} "
                    "standard errors away from 0: `sample` and `log_prob` are not of one law. Look at noise, time and "
                    "log-determinant in both."
                )


def _frameworks(subject: Subject) -> list[str]:
    """Frameworks of the languages; for a model without a prior those that differentiate, where it claims gradients."""
    if not subject.claims.languages and subject.claims.gradients:
        return ["torch", "jax"]
    return [FRAMEWORKS[language] for language in subject.claims.languages] or [subject.framework]


def _finite_differences(subject: Subject, point: int) -> dict[str, tuple[float, np.ndarray, float]]:
    """Per site: derivative of the total log_prob along a random direction, the direction, and the size of log_prob."""
    sites = subject.sites(point)
    rng = np.random.default_rng(subject.seed)
    found = {}
    for site, value in sites.items():
        direction = rng.normal(size=value.shape) * np.maximum(np.abs(value), 1e-3)
        # The five-point rule: its error is of fourth order, so that a fault is told from a large third derivative.
        step = 1e-3
        totals = [
            float(subject.terms(subject.observations, {**sites, site: value + factor * step * direction}).sum())
            for factor in (-2, -1, 1, 2)
        ]
        derivative = (totals[0] - 8 * totals[1] + 8 * totals[2] - totals[3]) / (12 * step)
        found[site] = derivative, direction, abs(totals[1])
    return found


def _slope(subject: Subject, name: str, point: int) -> Slope:
    """The likelihood and its gradient at a prior draw; under JAX compiled once for all draws."""
    if name == "numpy":
        raise CheckSkipped("the model has no language, so no framework differentiates it")
    if name == "torch":
        return _torch_slope(subject, subject.sites(point), subject.observations, subject.context)
    run = subject.memory.get("jax slope")
    if run is None:
        run = subject.memory["jax slope"] = _compile_slope(subject)
    with framework("jax") as to_array:
        gradients, steps = run({site: to_array(value) for site, value in subject.sites(point).items()})
        return Slope(to_numpy(steps), {site: to_numpy(value) for site, value in gradients.items()})


def _compile_slope(subject: Subject) -> Any:
    import jax

    with framework("jax") as to_array:
        observations = given(subject.observations, to_array)

        def total(sites: dict[str, Any]) -> tuple[Any, Any]:
            steps = subject.terms_of(subject.model.process(sites, subject.context), observations)
            return steps.sum(), steps

        gradient = jax.grad(total, has_aux=True) if subject.claims.gradients else lambda s: ({}, total(s)[1])
        sites = {site: to_array(value) for site, value in subject.sites().items()}
        try:
            lowered = jax.jit(gradient).lower(sites)
        except jax.errors.JAXTypeError as error:
            raise CheckFailed(
                f"`log_prob_steps` cannot be compiled by JAX: {str(error).splitlines()[0]} Let no Python condition or "
                "NumPy function depend on the value of a site."
            ) from error
        # The numbers do not depend on how hard the compiler tries; the seconds do.
        return lowered.compile(compiler_options={"xla_backend_optimization_level": "0"})


def _torch_slope(
    subject: Subject, values: Mapping[str, np.ndarray], observations: Observations, context: Context
) -> Slope:
    with framework("torch") as to_array:
        sites = {site: to_array(value).requires_grad_(True) for site, value in values.items()}
        steps = subject.terms_of(subject.model.process(sites, context), given(observations, to_array))
        if not steps.requires_grad:
            raise CheckFailed(
                "log_prob has no gradient at all under torch: it is cut on the way from the sites (a `detach`, a "
                "conversion to NumPy, a `no_grad`)."
            )
        steps.sum().backward()
        gradients = {
            site: np.zeros(value.shape) if value.grad is None else to_numpy(value.grad) for site, value in sites.items()
        }
        return Slope(to_numpy(steps), gradients)


def _scores(subject: Subject, point: int) -> dict[str, np.ndarray]:
    """Gradients of log_prob in each site, (data set, number), at data simulated from the same sites."""
    # Copies of the parameters on a leading axis: their gradients are the scores of the data sets, one by one.
    copies = subject.copies(_NUM_DATA, point, series=0)
    context = subject.context_of(slice(0, 1))
    one = map_leaves(subject.complete, lambda leaf: leaf[:1])
    values = subject.simulate(subject.seed + 5 + point, copies, one, context)
    many = map_leaves(one, lambda leaf: np.broadcast_to(leaf, (_NUM_DATA, *leaf.shape)))._replace(values=values)
    differentiating = subject.framework if subject.framework != "numpy" else _frameworks(subject)[0]
    if differentiating == "torch":
        gradients = _torch_slope(subject, copies, many, context).gradients
    elif differentiating == "jax":
        import jax

        with framework("jax") as to_array:
            seen = given(many, to_array)

            def total(sites: dict[str, Any]) -> Any:
                return subject.model.process(sites, context).log_prob(seen).sum()

            arrays = {site: to_array(value) for site, value in copies.items()}
            gradients = {site: to_numpy(value) for site, value in jax.jit(jax.grad(total))(arrays).items()}
    else:
        raise CheckSkipped("the model has no language, so no framework differentiates it")
    return {site: gradient.reshape(_NUM_DATA, -1) for site, gradient in gradients.items()}
