"""Semigroups: elements, how two of them combine, their identity, and how a state meets a raw step."""

from dynplat.semigroup.diffuse import DiffuseState, act_diffuse, flat_state
from dynplat.semigroup.kalman import GaussianState, Innovation, act, initial_state, predict, update
from dynplat.semigroup.linear_gaussian import (
    FilteringElement,
    Step,
    combine,
    filtering_element,
    identity,
    project_missing,
    starting_element,
)
from dynplat.semigroup.smoothing import (
    SmoothingElement,
    act_smoothing,
    combine_smoothing,
    final_element,
    noise_factor,
    regression_element,
    rounded_factor,
    smoothing_element,
    smoothing_identity,
)

__all__ = [
    "DiffuseState",
    "FilteringElement",
    "GaussianState",
    "Innovation",
    "SmoothingElement",
    "Step",
    "act",
    "act_diffuse",
    "act_smoothing",
    "combine",
    "combine_smoothing",
    "filtering_element",
    "final_element",
    "flat_state",
    "identity",
    "initial_state",
    "noise_factor",
    "predict",
    "project_missing",
    "regression_element",
    "rounded_factor",
    "smoothing_element",
    "smoothing_identity",
    "starting_element",
    "update",
]
