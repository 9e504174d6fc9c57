"""The edge of dynplat in Python: here, and on the command line, names become objects.

Below the edge functions take objects, return new values and ask the plugin host nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dynplat.errors import ArgumentError
from dynplat.host import Component, PluginReport, default_host
from dynplat.records import DatasetEntry, Entry, InferenceEntry, ModelEntry, ScoreEntry

if TYPE_CHECKING:
    from dynplat.compare.score import Score
    from dynplat.data import Snapshots, Trajectories
    from dynplat.model import AbstractModel

_Record = TypeVar("_Record", bound=Entry)


def list_models() -> list[ModelEntry]:
    """List the records of all models, by id. Imports no numerical framework."""
    return _entries("model", ModelEntry)


def list_datasets() -> list[DatasetEntry]:
    """List the records of all data sets, by id."""
    return _entries("dataset", DatasetEntry)


def list_inferences() -> list[InferenceEntry]:
    """List the records of all inference methods, by id."""
    return _entries("inference", InferenceEntry)


def list_scores() -> list[ScoreEntry]:
    """List the records of all scores, by id."""
    return _entries("score", ScoreEntry)


def list_components(kind: str) -> list[Component]:
    """List all components of a kind with their providers, and what stands in the way of those that cannot be used.

    Args:
        kind: `model`, `dataset`, `inference` or `score`.

    Raises:
        ArgumentError: `kind` is another word.
    """
    return default_host().components(kind)


def list_plugins() -> list[PluginReport]:
    """List what became of each installed plugin: active, blocked, broken, incompatible, and why."""
    return default_host().reports()


def load_model(id: str, /, **options: Any) -> AbstractModel:
    """Build the model that bears a name.

    Args:
        id: Name, such as `filtering/local-level`; see `list_models`.
        **options: Options of the model; see `describe`.

    Raises:
        UnknownNameError: No model bears the name.
        ConflictError: Two plugins provide it.
        ArgumentError: An option is unknown, absent, of another type, or refused by the model.
        MissingExtraError: A package that the model requires is not installed. The message has the command.
        PluginError: The plugin's model breaks its contract.
    """
    from dynplat.host.build import build_model

    return build_model(default_host().find("model", id), options)


def load_dataset(id: str, /, **options: Any) -> Trajectories | Snapshots:
    """Load the data set that bears a name.

    Args:
        id: Name, such as `mauna-loa-co2`; see `list_datasets`.
        **options: Options of the data set; see `describe`.

    Raises:
        UnknownNameError: No data set bears the name.
        ConflictError: Two providers claim it.
        ArgumentError: An option is unknown, absent, of another type, or refused by the loader.
        DataError: The source cannot be had, or is not what it should be.
        MissingExtraError: A package that the data set requires is not installed. The message has the command.
        PluginError: The loader breaks its contract.
    """
    from dynplat.host.build import build_dataset

    return build_dataset(default_host().find("dataset", id), options)


def load_score(id: str, /) -> Score:
    """Return the score that bears a name, as comparisons take it: its record and its function.

    Raises:
        UnknownNameError: No score bears the name.
        ConflictError: Two providers claim it.
        MissingExtraError: A package that the score requires is not installed.
        PluginError: The score breaks its contract.
    """
    from dynplat.compare.score import Score
    from dynplat.host.build import build_function

    component = default_host().find("score", id)
    function = build_function(component)
    return Score(component.entry, function)  # type: ignore[arg-type]


def load_inference(id: str, /) -> Callable[..., Any]:
    """Return the function of the inference method that bears a name; its record is in `list_inferences`.

    Raises:
        UnknownNameError: No inference bears the name.
        ConflictError: Two providers claim it.
        MissingExtraError: A package that the inference requires is not installed.
        PluginError: The inference breaks its contract.
    """
    from dynplat.host.build import build_function

    return build_function(default_host().find("inference", id))


def describe(id: str, /, *, kind: str | None = None) -> dict[str, Any]:
    """Describe a component: what it is and can do, its options, where it comes from, what to cite.

    Args:
        id: Name of a model, data set, inference or score.
        kind: `model`, `dataset`, `inference` or `score`; needed only where several kinds have the name.

    Returns:
        A plain dictionary that can be written as JSON: `id`, `kind`, `summary`, `state` and `reason` (of
        `dynplat.host.report.Component`), `options` by name (`type`, `required`, `default`; None when they cannot be
        read, and `reason` says why), `capabilities` (None for what is no model), the other fields of its record under
        `details`, `references`, `requires`, `extra`, `provider` (`distribution`, `version`, `plugin`, `module`) and
        `location`.

    Raises:
        UnknownNameError: Nothing bears the name.
        ConflictError: Two providers claim it.
        ArgumentError: `kind` is another word, or is needed.
    """
    from dynplat.host.describe import describe_component

    host = default_host()
    if kind is None:
        kinds = host.kinds_of(id)
        if len(kinds) > 1:
            raise ArgumentError(f"{id!r} is the name of a {' and of a '.join(kinds)}; say which with `kind`.")
        kind = kinds[0]
    return describe_component(host.find(kind, id))


def _entries(kind: str, record: type[_Record]) -> list[_Record]:
    return [component.entry for component in list_components(kind) if isinstance(component.entry, record)]
