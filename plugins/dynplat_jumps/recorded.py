"""The laws that a prior gives its sites, read off the prior program itself.

Steps of a sampler that use them can never disagree with the prior under which other inferences run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dynplat.model import AbstractModel, Context


class Law(NamedTuple):
    """A distribution as the prior wrote it.

    Attributes:
        family: Its name, such as `Gamma`.
        parameters: Its arguments, in order.
    """

    family: str
    parameters: tuple[np.ndarray, ...]

    def to_event(self, _: int) -> Law:
        """The same law: whether its numbers are one event makes no difference."""
        return self

    def centre(self, rng: np.random.Generator) -> np.ndarray:
        """A value to start from: the mean or median; of a Dirichlet law a draw, because its mean is the same for all.

        Raises:
            KeyError: The family is not known.
        """
        first, *rest = self.parameters
        if self.family == "Dirichlet":
            return self.draw(rng)
        found = {"LogNormal": lambda: np.exp(first), "Normal": lambda: first, "Gamma": lambda: first / rest[0]}
        return np.array(found[self.family]())

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A draw.

        Raises:
            KeyError: The family is not known.
        """
        a, *rest = self.parameters
        if self.family == "Dirichlet":
            weights = rng.gamma(a)
            return weights / weights.sum(axis=-1, keepdims=True)
        found = {
            "LogNormal": lambda: np.exp(rng.normal(a, rest[0])),
            "Normal": lambda: rng.normal(a, rest[0]),
            "Gamma": lambda: rng.gamma(a, 1.0 / rest[0]),
        }
        return np.asarray(found[self.family]())


class _Families:
    def __getattr__(self, family: str) -> Any:
        return lambda *parameters: Law(family, tuple(np.asarray(p, dtype=np.float64) for p in parameters))


class _Recorder:
    """The part of a prior's language that the models of this family speak."""

    dist = _Families()

    def __init__(self) -> None:
        self.laws: dict[str, Law] = {}

    def sample(self, name: str, law: Law, *, dims: Any = ()) -> None:
        self.laws[name] = law


def laws_of(model: AbstractModel, context: Context) -> dict[str, Law]:
    """The law of each site of a model of this family."""
    recorder = _Recorder()
    model.prior(recorder, context)  # type: ignore[arg-type]
    return recorder.laws
