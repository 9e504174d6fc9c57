"""What a command asks: which model, fitted how, to which table. All jobs that fit one model begin alike."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynplat import api
from dynplat.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Table
    from dynplat.model import AbstractModel
    from dynplat.observer import Observer
    from dynplat.posterior import Posterior


@dataclass(frozen=True)
class Source:
    """Where the data are.

    Args:
        name: A file, or the name of a data set of the catalogue.
        time: Column of times of a file; found when None.
        id: Column that names the series of a file.
        columns: Value columns; all numbers when None.
        date_format: How the dates of a file are written, where that is not plain.
        encoding: Encoding of a text file; UTF-8 when None.
        delimiter: Character between the cells of a text file; found when None.
        decimal: Decimal mark of a text file; found when None.
        missing: Numbers that stand for a missing value in a file.
    """

    name: str
    time: str | None = None
    id: str | None = None
    columns: tuple[str, ...] | None = None
    date_format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    missing: tuple[float, ...] | None = None

    @property
    def title(self) -> str:
        """The name without its folder."""
        return Path(self.name).name

    def load(self) -> Table:
        """Read the file, or the data set, as a table that can be given back filled.

        Raises:
            DataError: Neither a file nor a known name, or a file that cannot be understood.
            ArgumentError: Columns are named for a data set of the catalogue, or it holds no trajectories.
        """
        from dynplat.data import Trajectories, read_table

        given = self._given()
        if os.path.exists(self.name):
            try:
                return read_table(self.name, **given)
            except DataError as error:
                raise _naming_options(error) from error
        data = self._from_catalogue([name for name in given if name != "columns"])
        if not isinstance(data, Trajectories):
            raise ArgumentError(f"{self.name!r} holds {type(data).__name__}; this command takes trajectories.")
        return read_table(data, columns=self.columns)

    def load_snapshots(self) -> Snapshots:
        """Read the file, one row per particle, or the data set as snapshots.

        Raises:
            DataError: Neither a file nor a known name, or a file that cannot be understood.
            ArgumentError: An option is of no use here, or the data set holds no snapshots.
        """
        from dynplat.data import Snapshots, read

        given = self._given()
        if os.path.exists(self.name):
            strange = [f"`{_option(name)}`" for name in ("id", "missing") if name in given]
            if strange:
                raise ArgumentError(
                    f"{' and '.join(strange)} would speak of series; a table of snapshots has one row per particle, "
                    "which has all its values. Leave it out."
                )
            try:
                data = read(self.name, kind="snapshots", **given)
            except DataError as error:
                raise _naming_options(error) from error
        else:
            data = self._from_catalogue(list(given))
        if not isinstance(data, Snapshots):
            raise ArgumentError(f"{self.name!r} holds {type(data).__name__}; this task takes snapshots.")
        return data

    def _given(self) -> dict[str, Any]:
        return {f.name: value for f in fields(self)[1:] if (value := getattr(self, f.name)) is not None}

    def _from_catalogue(self, strange: list[str]) -> Any:
        """Load a data set of the catalogue; `strange` are the options that are of no use to it."""
        if self.name not in {entry.id for entry in api.list_datasets()}:
            if Path(self.name).suffix:
                raise DataError(
                    "no such file.", source=self.name, hint="Check the path, or see the names in `dynplat datasets`."
                )
            api.load_dataset(self.name)  # an unknown name: the host names near ones, and plugins that failed
        if strange:
            named = ", ".join(f"`{_option(name)}`" for name in strange)
            raise ArgumentError(
                f"{self.name!r} is a data set of the catalogue, and {named} would say how to read a file. Leave it out."
            )
        return api.load_dataset(self.name)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _naming_options(error: DataError) -> DataError:
    """Let an error name the options of the command line where it names the arguments that they stand for."""
    names = "|".join(f.name for f in fields(Source)[1:])

    def named(text: str) -> str:
        text = re.sub(rf"`({names})`", lambda match: f"`{_option(match[1])}`", text)
        return re.sub(rf"\b({names})=(?=')", lambda match: f"{_option(match[1])} ", text)

    return DataError(
        named(error.problem), hint=named(error.hint), source=error.source, row=error.row, column=error.column
    )


@dataclass(frozen=True)
class Method:
    """How a model is fitted.

    Args:
        inference: Id of the inference, or None for the default of the model at hand.
        options: Its options.
        seed: Seed of everything random, in the fit and after it.
    """

    inference: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """A model and its options.

    Args:
        model: Id of the model.
        options: Its options.
    """

    model: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """One model, fitted to one table.

    Args:
        source: Where the data are.
        model: Id of the model.
        options: Its options.
        method: How it is fitted.
    """

    source: Source
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    method: Method = field(default_factory=Method)

    def open(self, *needs: str, purpose: str = "this request") -> Opened:
        """Build the model and read the table.

        Args:
            needs: Capabilities that the job needs beside those of the inference.
            purpose: What the job is, for the message of a refusal.

        Raises:
            DynplatError: The model or the table cannot be had, or the model does not declare what the job needs.
        """
        model = api.load_model(self.model, **self.options)
        table = self.source.load()
        if needs:
            api.check(model, table.trajectories, needs, purpose=purpose)
        return Opened(self, model, table)


@dataclass(frozen=True)
class Opened:
    """A question whose model and table are at hand.

    Args:
        question: The question.
        model: The model.
        table: The table.
    """

    question: Question
    model: AbstractModel
    table: Table

    def fit(self, observers: Iterable[Observer]) -> Posterior:
        """Fit the model; what the inference warns of is among `notes`, which the commands print."""
        from dynplat.inference import InferenceWarning

        method = self.question.method
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InferenceWarning)
            return api.fit(
                self.model,
                self.table.trajectories,
                method.inference,
                seed=method.seed,
                observers=observers,
                **method.options,
            )

    def notes(self, posterior: Posterior) -> list[str]:
        """Say what the user should know of the table and of the fit."""
        from dynplat.jobs.notes import notes_on

        extra = posterior.provenance["extra"]
        return [*notes_on(self.table, told=extra.get("constant_channels", ())), *extra.get("notes", [])]
