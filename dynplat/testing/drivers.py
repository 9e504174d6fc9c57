"""Checks of a scan: every driver gives the same, and all of them what dense algebra gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynplat.arrays import Observations, to_numpy
from dynplat.process import IndependentChannels, LinearGaussian
from dynplat.scan import DRIVERS, forced_driver
from dynplat.testing.references import DenseGaussian, dense_linear_gaussian
from dynplat.testing.report import CheckSkipped, compare_arrays
from dynplat.testing.subject import NUM_POINTS, Subject, given

_SIGNAL = {"mean": lambda law: law.mean("signal"), "variance": lambda law: law.variance("signal")}


def check_drivers_agree(subject: Subject) -> None:
    """Scanning time one by one or in a balanced tree gives the same likelihood and predictions, beyond rounding."""
    subject.need("likelihood")
    observations = subject.observations
    results = {}
    for driver in DRIVERS:
        if driver == "auto":
            continue
        with forced_driver(driver) as forced:
            answers = {"log_prob_steps": subject.steps(observations)}
            if subject.claims.condition and subject.family == "gaussian":
                answers |= subject.ask(observations, observations.times, _SIGNAL)
        if not forced.asked:
            raise CheckSkipped("the process leaves no choice of a driver")
        results[driver] = answers
    reference = results.pop("sequential")
    for driver, answers in results.items():
        for name, value in answers.items():
            compare_arrays(
                f"{name} with the driver {driver!r} against 'sequential'",
                value,
                reference[name],
                rtol=1e-7,
                atol=1e-7 * max(1.0, float(np.abs(reference[name]).max())),
                cause="A driver must show in the speed only: `combine` is not associative, or does not fit `act`.",
            )


def check_dense_twin_agrees(subject: Subject) -> None:
    """Likelihood and smoothed signal of a linear-Gaussian process equal those of its dense joint Gaussian."""
    subject.need("likelihood")
    observations = subject.observations
    for point in range(NUM_POINTS):
        with subject.arrays() as to_array:
            chain, seen, split = _chain(subject.process(to_array, point), given(observations, to_array))
            parameters = {
                name: None if value is None else to_numpy(value) for name, value in chain.parameters._asdict().items()
            }
        twins = _twins(parameters, Observations(*(None if leaf is None else _host(leaf) for leaf in seen)))
        shape = observations.mask.shape[:1] + (observations.mask.shape[-1:] if split else ())
        steps = np.reshape([twin.log_prob_steps for twin in twins], (*shape, -1))
        pivot = min(twin.smallest_pivot for twin in twins)
        # A recursion in float64 loses as many digits as the smallest conditional variance has lost.
        rtol = 1e-9 + 1e-13 / pivot
        compare_arrays(
            "log_prob_steps against the dense joint Gaussian",
            subject.steps(observations, point),
            steps.sum(axis=1) if split else steps,
            rtol=rtol,
            atol=rtol,
            cause="`log_prob_steps` is not the density of the chain that the process says it is.",
        )
        if subject.claims.condition and subject.family == "gaussian":
            dense = _signal(twins, parameters, shape, split)
            answers = subject.ask(observations, observations.times, _SIGNAL, point)
            for name, value in answers.items():
                compare_arrays(
                    f"{name} of the signal given the data against the dense joint Gaussian",
                    value,
                    dense[name],
                    rtol=1e3 * rtol,
                    atol=1e3 * rtol * max(1.0, float(np.abs(dense[name]).max())),
                    cause="`condition` does not give the law of the states given the data.",
                )


def _chain(process: Any, observations: Observations) -> tuple[LinearGaussian, Observations, bool]:
    """Return the chain that a process is, the observations as it reads them, and whether channels are a batch axis."""
    split = isinstance(process, IndependentChannels)
    if split:
        process = process.process
        times, values, mask, inputs, marks = observations
        observations = Observations(
            times[..., None, :],
            values.swapaxes(-1, -2)[..., None],
            mask.swapaxes(-1, -2)[..., None],
            None if inputs is None else inputs[..., None, :, :],
            marks,
        )
    chain = process
    if not isinstance(process, LinearGaussian):
        make = getattr(process, "chain", None)
        chain = None if make is None else make(observations.times, observations.inputs)
    if not isinstance(chain, LinearGaussian):
        raise CheckSkipped("the process is no linear-Gaussian chain, so that it has no dense twin")
    if chain.parameters.diffuse is not None:
        raise CheckSkipped("the start is diffuse")
    return chain, observations, split


def _twins(parameters: dict[str, np.ndarray | None], seen: Observations) -> list[DenseGaussian]:
    """The dense twin of every series (and channel, where they are a batch axis), in order."""
    twins = []
    for index in np.ndindex(*seen.mask.shape[:-2]):
        own = {}
        for name, value in parameters.items():
            if value is not None and name != "diffuse":
                own[name] = _pick(value, index, 1 if name == "m0" else 2 if name in ("P0", "c", "d") else 3)
        reads = "D" in own or "B" in own
        inputs = _pick(seen.inputs, index, 2) if reads and seen.inputs is not None else None
        twins.append(dense_linear_gaussian(values=seen.values[index], mask=seen.mask[index], inputs=inputs, **own))
    return twins


def _signal(
    twins: list[DenseGaussian], parameters: dict[str, np.ndarray | None], shape: tuple[int, ...], split: bool
) -> dict[str, np.ndarray]:
    """Means and variances of the signal, (series, time, channel)."""
    answers: dict[str, list[np.ndarray]] = {"mean": [], "variance": []}
    for index, twin in zip(np.ndindex(*shape), twins, strict=True):
        H = _pick(parameters["H"], index, 3)
        mean = (H @ twin.means[..., None])[..., 0]
        if parameters["d"] is not None:
            mean = mean + _pick(parameters["d"], index, 2)
        answers["mean"].append(mean)
        answers["variance"].append(np.diagonal(H @ twin.covs @ np.swapaxes(H, -1, -2), axis1=-2, axis2=-1))
    stacked = {name: np.reshape(value, (*shape, *np.shape(value[0]))) for name, value in answers.items()}
    if split:
        stacked = {name: np.swapaxes(value[..., 0], -1, -2) for name, value in stacked.items()}
    return stacked


def _pick(value: Any, index: tuple[int, ...], num_core: int) -> np.ndarray:
    """One element of the leading axes of an array, whose axes of length 1 (or none) serve every index."""
    lead = value.shape[: value.ndim - num_core]
    own = index[len(index) - len(lead) :]
    return value[tuple(0 if size == 1 else i for i, size in zip(own, lead, strict=True))]


def _host(leaf: Any) -> np.ndarray:
    return leaf if isinstance(leaf, np.ndarray) else to_numpy(leaf)
