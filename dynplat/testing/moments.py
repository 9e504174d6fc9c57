"""Comparisons of draws with what a law states, with known false-alarm probabilities."""

from __future__ import annotations

import numpy as np

from dynplat.testing.report import CheckFailed, CheckSkipped

#: Draws given data, and simulations at each set of parameters, in a statistical check; its false-alarm probability.
NUM_DRAWS = 2000
NUM_SIMULATIONS = 1000
FALSE_ALARM = 1e-6


def compare_moments(name: str, drawn: np.ndarray, mean: np.ndarray, variance: np.ndarray, cause: str) -> None:
    """Fail unless draws (draw, ...) from a Gaussian law have the stated means and variances.

    Exact tests: the standardised mean is normal, the sum of squares chi-squared.
    """
    from scipy import stats

    count, drawn = drawn.shape[0], np.asarray(drawn, dtype=float)
    sd = np.sqrt(np.maximum(variance, 0.0))
    # A variance of 0 up to rounding: the draws must be constant up to rounding.
    sd = np.maximum(sd, 1e-7 * np.maximum(1.0, np.abs(mean)))
    level = 0.25 * FALSE_ALARM / max(mean.size, 1)
    z = np.abs(drawn.mean(axis=0) - mean) / (sd / np.sqrt(count))
    if not (z < stats.norm.isf(level)).all():
        worst = _worst(z)
        raise CheckFailed(
            f"the mean of {name} is {drawn.mean(axis=0)[worst]:.6g} at index {worst}, where {mean[worst]:.6g} is "
            f"stated ({z[worst]:.1f} standard errors away). {cause}"
        )
    squares = ((drawn - mean) ** 2).sum(axis=0) / sd**2
    low, high = stats.chi2.ppf(level, count), stats.chi2.isf(level, count)
    degenerate = variance <= 1e-14 * np.maximum(1.0, mean**2)
    bad = ~((squares < high) & ((squares > low) | degenerate))
    if bad.any():
        worst = _worst(np.where(bad, np.abs(np.log(np.maximum(squares, 1e-300) / count)), 0.0))
        raise CheckFailed(
            f"the variance of {name} is {drawn.var(axis=0)[worst]:.6g} at index {worst}, where {variance[worst]:.6g} "
            f"is stated ({count} draws). {cause}"
        )


def compare_frequencies(name: str, drawn: np.ndarray, law: np.ndarray, cause: str) -> None:
    """Fail unless indicators (draw, ...) are 1 as often as their probabilities say, by exact binomial tests.

    A law whose draws are no indicators is not tested.
    """
    from scipy import stats

    if not np.isin(drawn, (0.0, 1.0)).all():
        raise CheckSkipped("the states are no indicators, and the law's moments do not determine it")
    count, level = drawn.shape[0], 0.5 * FALSE_ALARM / max(law.size, 1)
    times, p = drawn.sum(axis=0), np.clip(law, 0.0, 1.0)
    tail = np.minimum(stats.binom.cdf(times, count, p), stats.binom.sf(times - 1, count, p))
    # What rounding makes of probabilities that are 0 or 1.
    sharp = np.abs(times / count - law) < 1e-6
    bad = (tail < level) & ~sharp
    if bad.any():
        worst = _worst(np.where(bad, -np.log(np.maximum(tail, 1e-300)), 0.0))
        raise CheckFailed(
            f"{name} hit entry {worst} in {times[worst] / count:.4g} of {count} draws, where the probability "
            f"{law[worst]:.6g} is stated. {cause}"
        )


def compare_samples(name: str, first: np.ndarray, other: str, second: np.ndarray, cause: str) -> None:
    """Fail unless two sets of draws (draw, ...) have the same marginals, by two-sample Kolmogorov-Smirnov tests."""
    from scipy import stats

    first, second = (np.reshape(draws, (len(draws), -1)) for draws in (first, second))
    for cell in range(first.shape[1]):
        distance, p = stats.ks_2samp(first[:, cell], second[:, cell], method="asymp")
        if p < FALSE_ALARM / first.shape[1]:
            raise CheckFailed(
                f"{name} and {other} have different marginals in cell {cell} (Kolmogorov-Smirnov distance "
                f"{distance:.3g}, p = {p:.2g}). {cause}"
            )


def compare_spreads(name: str, first: np.ndarray, other: str, second: np.ndarray, cause: str) -> None:
    """Fail unless two samples (draw, channel) have the same variances and correlations, to their sampling errors.

    Tested are the logarithms of variances, whose errors follow from fourth moments, and Fisher's z of correlations.
    """
    from scipy import stats

    channels = first.shape[1]
    limit = stats.norm.isf(0.5 * FALSE_ALARM / (channels * (channels + 1) / 2))
    logs, errors = [], []
    for sample in (first, second):
        centred = sample - sample.mean(axis=0)
        variance = np.maximum((centred**2).mean(axis=0), 1e-300)
        # At least that of a normal law: a small sample knows little of its tails.
        tails = np.maximum((centred**4).mean(axis=0) / variance**2 - 1.0, 2.0)
        logs.append(np.log(variance))
        errors.append(tails / len(sample))
    z = np.abs(logs[0] - logs[1]) / np.sqrt(errors[0] + errors[1])
    if not (z < limit).all():
        worst = _worst(z)
        sds = [float(np.exp(0.5 * log[worst])) for log in logs]
        raise CheckFailed(
            f"{name} have the standard deviation {sds[0]:.4g} in channel {worst[0]}, and {other} {sds[1]:.4g} "
            f"({z[worst]:.1f} standard errors apart). {cause}"
        )
    for i in range(channels):
        for j in range(i):
            with np.errstate(invalid="ignore", divide="ignore"):
                found = [np.nan_to_num(np.corrcoef(sample[:, i], sample[:, j])[0, 1]) for sample in (first, second)]
            steps = np.arctanh(np.clip(found, -1 + 1e-9, 1 - 1e-9))
            if abs(steps[0] - steps[1]) > limit * np.sqrt(1 / (len(first) - 3) + 1 / (len(second) - 3)):
                raise CheckFailed(
                    f"{name} have the correlation {found[0]:.3g} between channels {j} and {i}, and {other} "
                    f"{found[1]:.3g}. {cause}"
                )


def compare_correlation(
    name: str, first: np.ndarray, second: np.ndarray, covariance: float, variances: tuple[float, float], cause: str
) -> None:
    """Fail unless draws of two numbers have the stated covariance, by Fisher's z of the correlation."""
    from scipy import stats

    stated = float(np.clip(covariance / np.sqrt(variances[0] * variances[1]), -1.0, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = float(np.nan_to_num(np.corrcoef(first, second)[0, 1]))
    limit = 1.0 - 1e-9
    z = np.abs(np.arctanh(np.clip(found, -limit, limit)) - np.arctanh(np.clip(stated, -limit, limit)))
    if abs(found - stated) > 1e-6 and z * np.sqrt(first.size - 3) > stats.norm.isf(0.25 * FALSE_ALARM):
        raise CheckFailed(
            f"{name} have correlation {found:.3g} over {first.size} draws, where the law has {stated:.3g}. {cause}"
        )


def _worst(z: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(z, nan=np.inf))), z.shape))
