"""Whether a model can serve a request, asked before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dynplat.data.clock import show_label
from dynplat.errors import CapabilityError
from dynplat.model.observations import rows_of
from dynplat.records import Capabilities

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model.base import AbstractModel

#: Times are on a grid when they miss it by no more than this part of a step: tables round what they hold.
_SAME_STEP = 1e-3

_WORDS = {
    "prior": "a prior",
    "likelihood": "a likelihood",
    "composite": "a composite likelihood",
    "simulate": "simulation",
    "condition": "answers inside the data (imputation)",
    "forecast": "answers after the data (forecasting)",
    "states": "latent states",
    "coherent": "coherent laws",
    "joint": "joint draws",
    "gradients": "a likelihood that can be differentiated",
    "irregular_times": "irregular times",
    "missing_values": "missing values",
    "inputs": "known inputs",
    "new_series": "series that it was not fitted to",
    "multichannel": "several channels",
}


def check_request(
    model: AbstractModel,
    data: Trajectories | Snapshots | None,
    needs: Iterable[str] = (),
    *,
    language: str | None = None,
    device: str | None = None,
    purpose: str = "this request",
) -> None:
    """Refuse what `model` does not declare, naming what would work.

    Args:
        model: The model.
        data: The data of the request, or None.
        needs: Names of the capabilities that the request needs, with ` or ` between those of which one will do.
        language: Language the request wants, or None.
        device: Device the request wants, or None.
        purpose: What is asked for, for the message: `inference 'nuts'`, `task 'forecast'`.

    Raises:
        CapabilityError: The model lacks a capability.
    """
    claims = model.capabilities
    missing = [need for need in needs if not any(getattr(claims, name) for name in need.split(" or "))]
    if missing:
        lacking = " and ".join(" or ".join(_WORDS.get(name, name) for name in need.split(" or ")) for need in missing)
        raise CapabilityError(
            f"{purpose} needs {lacking}, which {model.entry.id} does not offer. It offers: {_offered(claims)}. "
            "List the models and their capabilities with `dynplat models`."
        )
    if language is not None and language not in claims.languages:
        legal = " or ".join(repr(name) for name in claims.languages) or "none: it has no prior program"
        raise CapabilityError(f"`language` for {model.entry.id} must be {legal}; got {language!r}.")
    if device is not None and not any(device.startswith(name) for name in claims.devices):
        raise CapabilityError(f"`device` for {model.entry.id} must be one of {claims.devices}; got {device!r}.")
    if data is not None:
        _check_data(model, claims, data, purpose)


def _check_data(model: AbstractModel, claims: Capabilities, data: Any, purpose: str) -> None:
    from dynplat.data import Snapshots

    kind = "snapshots" if isinstance(data, Snapshots) else "trajectories"
    accepted = set(claims.observations) | (
        {"trajectories"} if set(claims.observations) & {"events", "pairs"} else set()
    )
    if kind not in accepted:
        raise CapabilityError(f"{model.entry.id} takes {' or '.join(claims.observations)}; {purpose} came with {kind}.")
    data = rows_of(data)
    problems: list[str] = []
    if not claims.multichannel and len(data.channels) > 1:
        problems.append(f"one channel, and the data have {len(data.channels)} ({', '.join(data.channels)}): select one")
    if not claims.inputs and data.inputs is not None:
        problems.append("no inputs, and the data carry some: leave them out")
    rows = np.arange(data.times.shape[1]) < np.asarray(data.lengths)[:, None]
    if not claims.missing_values and not data.mask[rows].all():
        problems.append("no missing values, and the data have holes")
    if not claims.irregular_times and not _has_regular_times(data, absent=claims.missing_values):
        advice = model.alternatives.get("irregular_times", "resample the data or pick another model")
        problems.append(f"equal steps, and the times are irregular: {advice}")
    problems += _value_problems(claims, data)
    if problems:
        raise CapabilityError(f"{model.entry.id} takes {'; it takes '.join(problems)}.")


def _has_regular_times(data: Trajectories, *, absent: bool) -> bool:
    """Whether the rows of each series are one step apart, or with `absent` a whole number of its smallest gap."""
    for times, length in zip(data.times, data.lengths, strict=True):
        gaps = np.diff(times[:length])
        gaps = gaps[gaps > 0]
        if not gaps.size:
            continue
        # Far from zero the times themselves are rounded, and their differences with them.
        rounding = 4 * np.finfo(float).eps * float(np.max(np.abs(times[:length]), initial=0.0))
        step = float(np.median(gaps[gaps <= gaps.min() * (1 + _SAME_STEP) + 2 * rounding]))
        number = gaps / step
        if not absent and (number > 1.5).any():
            return False
        if (np.abs(number - np.round(number)) > _SAME_STEP + 2 * rounding / step).any():
            return False
    return True


def _value_problems(claims: Capabilities, data: Trajectories) -> list[str]:
    if "real" in claims.values:
        return []
    observed = data.values[data.mask]
    if observed.size == 0:
        return []
    whole = (observed == np.round(observed)) & (observed >= 0)
    # All values must be of one of the types; the refusal shows a value that is not of the type they come nearest to.
    legal = [observed > 0] if "positive" in claims.values else []
    legal += [whole] if set(claims.values) & {"count", "categorical"} else []
    nearest = max(legal, key=np.sum)
    if nearest.all():
        return []
    series, row, channel = np.argwhere(data.mask)[np.argmin(nearest)]
    place = f"series {data.series[series]!r}, {data.time_name} {show_label(data.labels[series, row])}"
    return [
        f"{' or '.join(claims.values)} values, and the data hold others (such as {data.values[series, row, channel]:g} "
        f"in channel {data.channels[channel]!r} of {place})"
    ]


def _offered(claims: Capabilities) -> str:
    names = [f.name for f in dataclasses.fields(claims) if f.name in _WORDS and getattr(claims, f.name)]
    return ", ".join(_WORDS[name] for name in names) or "nothing of the platform's common questions"
