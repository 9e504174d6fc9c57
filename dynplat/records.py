"""Typed records with which components declare themselves, and the capabilities they claim.

A record says *what* a component is and *where* it is, never holds it: reading every record of every plugin imports no
numerical framework. The object behind `location` is imported on first use.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

from dynplat.errors import ArgumentError

#: Version of the contract between platform and plugins; an integer that grows with every breaking change.
API_VERSION = 1

_NAME = r"[a-z0-9][a-z0-9.+-]*"
_BARE_ID = re.compile(rf"^{_NAME}$")
_MODEL_ID = re.compile(rf"^{_NAME}/{_NAME}$")
_LOCATION = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")

OBSERVATION_KINDS = ("trajectories", "snapshots", "events", "pairs")
VALUE_TYPES = ("real", "positive", "count", "categorical")
LANGUAGES = ("numpyro", "pyro")
DEVICES = ("cpu", "cuda")
ORIENTATIONS = ("smaller", "larger", "target", "none")
AGGREGATES = ("mean", "root-mean")
DATA_KINDS = ("trajectories", "snapshots")


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. Whatever is not claimed is refused before anything runs; whatever is claimed is checked.

    Args:
        observations: Kinds of data accepted: `trajectories`, `snapshots`, `events`, `pairs`.
        values: Types of value accepted: `real`, `positive`, `count`, `categorical`.
        prior: Has a prior, so that Bayesian inference is defined.
        likelihood: Has a density for the observations (`log_prob`).
        composite: Has a composite likelihood: densities of observed values given others (`composite_steps`).
        simulate: Can draw trajectories (`sample`).
        condition: Can answer about times inside the data (imputation, smoothing).
        forecast: Can answer about times after the data.
        states: Has latent states that can be asked for.
        coherent: The laws it gives for different sets of query times are marginals of one law.
        joint: Draws at several times, or of several channels, move together as their joint law says; a model of
            marginals draws each cell by itself.
        gradients: `log_prob` (or `composite_steps`) is differentiable in the parameters.
        irregular_times: Accepts any increasing times; otherwise rows lie on a grid of equal steps, from which some may
            be absent where missing values are accepted.
        missing_values: Accepts element-wise missing values; a missing value is marginalised.
        inputs: Accepts known inputs (controls).
        new_series: A posterior can be asked about series it was not fitted to.
        multichannel: Accepts more than one channel.
        languages: Languages in which its prior can run, preferred first.
        devices: Device types on which it is meant to run.
    """

    observations: tuple[str, ...] = ("trajectories",)
    values: tuple[str, ...] = ("real",)
    prior: bool = True
    likelihood: bool = True
    composite: bool = False
    simulate: bool = True
    condition: bool = True
    forecast: bool = True
    states: bool = False
    coherent: bool = True
    joint: bool = True
    gradients: bool = True
    irregular_times: bool = True
    missing_values: bool = True
    inputs: bool = False
    new_series: bool = True
    multichannel: bool = True
    languages: tuple[str, ...] = LANGUAGES
    devices: tuple[str, ...] = DEVICES

    def __post_init__(self) -> None:
        """Refuse words that the platform does not know."""
        for field, legal in (
            ("observations", OBSERVATION_KINDS),
            ("values", VALUE_TYPES),
            ("languages", LANGUAGES),
            ("devices", DEVICES),
        ):
            given = getattr(self, field)
            unknown = [word for word in given if word not in legal]
            if unknown or not isinstance(given, tuple):
                raise ArgumentError(f"`{field}` must be a tuple of words out of {legal}; got {given!r}.")


@dataclass(frozen=True)
class Reference:
    """A publication: free text that can be read in a terminal, and where to find it.

    Args:
        text: Authors, year, title, place.
        doi: Digital object identifier, without a resolver's address.
        url: Address, where there is no DOI.
    """

    text: str
    doi: str = ""
    url: str = ""


@dataclass(frozen=True)
class Entry:
    """What every record carries.

    Args:
        id: Name by which users ask for the component.
        summary: One line, without a full stop at its end.
        location: `package.module:attribute` of the object, imported on first use.
        requires: Names of importable modules that the component needs beyond dynplat's own dependencies.
        extra: Name of the distribution's optional dependency group that installs `requires`.
        references: Publications to cite.
    """

    id: str
    summary: str
    location: str = ""
    requires: tuple[str, ...] = ()
    extra: str = ""
    references: tuple[Reference, ...] = ()

    def __post_init__(self) -> None:
        """Refuse malformed ids, summaries and locations."""
        self._check_id(_BARE_ID, "lower-case letters, digits, '.', '+' and '-', such as 'mauna-loa-co2'")
        if not self.summary or "\n" in self.summary:
            raise ArgumentError(f"`summary` of {self.id!r} must be one line of text; got {self.summary!r}.")
        if self.location and not _LOCATION.match(self.location):
            raise ArgumentError(
                f"`location` of {self.id!r} must look like 'package.module:Name'; got {self.location!r}."
            )

    def _check_id(self, pattern: re.Pattern[str], legal: str) -> None:
        if not isinstance(self.id, str) or not pattern.match(self.id):
            raise ArgumentError(f"`id` of a {type(self).__name__} must be {legal}; got {self.id!r}.")

    def load(self) -> Any:
        """Import and return the object behind `location`.

        Raises:
            ArgumentError: The record has no location.
        """
        if not self.location:
            raise ArgumentError(f"{self.id!r} has no `location`: it was built in a script and is not registered.")
        module, _, name = self.location.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class ModelEntry(Entry):
    """A model: `location` names a subclass of `dynplat.model.AbstractModel`. Its id is `<family>/<name>`."""

    capabilities: Capabilities = Capabilities()

    def _check_id(self, pattern: re.Pattern[str], legal: str) -> None:
        super()._check_id(_MODEL_ID, "'<family>/<name>' in lower case, such as 'filtering/local-level'")


@dataclass(frozen=True)
class DatasetEntry(Entry):
    """A data set: `location` names a function without required arguments that returns `Trajectories` or `Snapshots`.

    Args:
        kind: `trajectories` or `snapshots`.
        licence: Licence as the source states it.
        offline: Whether it loads with no network and no mirror directory.
    """

    kind: str = "trajectories"
    licence: str = ""
    offline: bool = False


@dataclass(frozen=True)
class InferenceEntry(Entry):
    """An inference method: `location` names a function `(model, data, *, seed, observers, language, **options)`.

    Args:
        needs: Capabilities that a model must claim, by field name; `likelihood or composite` where one of two will do.
    """

    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreEntry(Entry):
    """A score: `location` names a function `(prediction, truth, hidden) -> contributions`.

    What contributions are is said in `dynplat.comparison.scores`.

    Args:
        orientation: `smaller` or `larger` is better; `target`: nearer to `target` is better; `none`: neither (a width
            says nothing alone).
        proper: Whether the score is proper for the law (or the functional) that it asks about.
        needs: Parts of a prediction that it reads: `mean`, `quantile`, `draws`, `density`, or `distribution` (Gaussian
            components, or else draws).
        aggregate: How contributions become one figure: `mean` or `root-mean`.
        target: Value that a perfect prediction attains, for the orientation `target`.
        kind: What it scores: cells of `trajectories`, or populations (`snapshots`).
    """

    orientation: str = "smaller"
    proper: bool = True
    needs: tuple[str, ...] = ("mean",)
    aggregate: str = "mean"
    target: float | None = None
    kind: str = "trajectories"

    def __post_init__(self) -> None:
        """Refuse words that the platform does not know."""
        super().__post_init__()
        if self.orientation not in ORIENTATIONS:
            raise ArgumentError(
                f"`orientation` of {self.id!r} must be one of {ORIENTATIONS}; got {self.orientation!r}."
            )
        if self.aggregate not in AGGREGATES:
            raise ArgumentError(f"`aggregate` of {self.id!r} must be one of {AGGREGATES}; got {self.aggregate!r}.")
        if self.kind not in DATA_KINDS:
            raise ArgumentError(f"`kind` of {self.id!r} must be one of {DATA_KINDS}; got {self.kind!r}.")
        if (self.target is not None) != (self.orientation == "target"):
            raise ArgumentError(
                f"`target` of {self.id!r} must be a number exactly when `orientation` is 'target'; "
                f"got {self.target!r} with {self.orientation!r}."
            )
