"""The conformance kit: every check that a component's own declarations call for, by function, by pytest, by command."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynplat.errors import ArgumentError, DynplatError, PluginError, UnknownNameError
from dynplat.model import AbstractModel
from dynplat.testing import (
    calibration,
    conditional,
    density,
    drivers,
    elapsed,
    events,
    forecasting,
    gradient,
    law,
    populations,
    prediction,
    program,
    simulation,
)
from dynplat.testing.report import CheckFailed, CheckResult, CheckSkipped, Report
from dynplat.testing.subject import PopulationSubject, Subject

if TYPE_CHECKING:
    from dynplat.data import Snapshots, Trajectories
    from dynplat.host import Host

#: The checks in the order in which a fault is easiest to understand: what is simple first.
CHECKS: tuple[Callable[[Subject], None], ...] = (
    program.check_record,
    program.check_context_ignores_hidden_cells,
    program.check_prior_runs_in_each_language,
    program.check_solver,
    program.check_undeclared_is_refused,
    simulation.check_simulation_is_finite,
    simulation.check_simulation_obeys_the_seed,
    density.check_masked_rows_contribute_zero,
    density.check_missing_is_marginal,
    density.check_density_integrates_to_one,
    elapsed.check_time_matters,
    elapsed.check_splitting_a_gap_changes_nothing,
    law.check_padding_changes_nothing,
    law.check_series_order_is_free,
    law.check_parameters_broadcast,
    law.check_inputs_act,
    law.check_single_precision,
    density.check_steps_do_not_see_the_future,
    density.check_steps_are_conditional_densities,
    events.check_events_exhaust_the_law,
    events.check_events_agree_with_looks,
    drivers.check_dense_twin_agrees,
    drivers.check_drivers_agree,
    gradient.check_likelihood_fits_simulation,
    gradient.check_gradient,
    gradient.check_frameworks_agree,
    program.check_languages_agree,
    elapsed.check_unit_of_time_is_free,
    simulation.check_conditioning_on_nothing_is_the_prior,
    prediction.check_data_narrow_the_law,
    prediction.check_marginals_agree_between_queries,
    prediction.check_density_has_the_moments,
    prediction.check_draws_obey_the_seed,
    prediction.check_draws_have_their_moments,
    prediction.check_draws_move_together,
    prediction.check_forecast_forgets_the_mask,
    forecasting.check_forecast_is_the_next_term,
    forecasting.check_forecast_follows_the_data,
    conditional.check_composite_terms_are_densities,
    conditional.check_composite_counts_what_is_observed,
    conditional.check_law_of_a_cell_has_its_density,
    conditional.check_law_of_a_cell_follows_the_data,
    prediction.check_states_can_be_asked,
    program.check_saving,
)
#: The checks of a model that takes snapshots. Some are those of trajectories, which ask the same of a population.
POPULATION_CHECKS: tuple[Callable[[Any], None], ...] = (
    program.check_record,
    program.check_prior_runs_in_each_language,
    program.check_solver,
    program.check_undeclared_is_refused,
    populations.check_population_at_a_snapshot_is_the_snapshot,
    populations.check_order_of_particles_is_free,
    populations.check_populations_agree_between_queries,
    populations.check_draws_are_paths,
    populations.check_forecast_is_given_or_refused,
    populations.check_population_has_no_clock_of_its_own,
    prediction.check_density_has_the_moments,
    prediction.check_draws_obey_the_seed,
    prediction.check_draws_have_their_moments,
    program.check_saving,
)
SLOW_CHECKS: tuple[Callable[[Subject], None], ...] = (calibration.check_calibration,)


@dataclass(frozen=True)
class Check:
    """One check of one model, to be called.

    Args:
        function: The check.
        subject: What it works on; shared by the checks of a model, so that its data are made once.
        expected: Why it is expected to fail, or an empty text.
    """

    function: Callable[[Subject], None]
    subject: Subject
    expected: str = ""

    @property
    def name(self) -> str:
        """Name without its prefix, words joined by hyphens."""
        return name_of(self.function)

    def __call__(self) -> None:
        """Run; raise CheckFailed with the fault, or CheckSkipped where it does not apply."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library's warning is no fault of the component
            self.function(self.subject)

    def result(self) -> CheckResult:
        """Run and return the outcome; an unexpected exception is a fault of the component and tells where it arose."""
        started = time.perf_counter()
        status, message = "passed", ""
        try:
            self()
        except CheckSkipped as skipped:
            status, message = "skipped", str(skipped)
        except CheckFailed as failed:
            status, message = "failed", str(failed)
        except DynplatError as error:
            status, message = "failed", f"{type(error).__name__}: {error}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            status = "failed"
            message = f"{type(error).__name__}: {error} (at {os.path.basename(where.filename)}, line {where.lineno})"
        if self.expected and status == "failed":
            status, message = "expected", f"{self.expected} {message}"
        elif self.expected and status == "passed":
            status, message = "failed", f"expected to fail ({self.expected}), and passes: take the announcement away."
        component = self.subject.model.entry.id
        return CheckResult(component, self.name, status, message, time.perf_counter() - started)


def name_of(function: Callable[[Subject], None]) -> str:
    """Name of a check: that of its function without the prefix, words joined by hyphens."""
    return function.__name__.removeprefix("check_").replace("_", "-")


def list_checks(
    model: AbstractModel,
    *,
    seed: int = 0,
    slow: bool = False,
    data: Trajectories | Snapshots | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[Check]:
    """Return the checks of a model, ready to be called (arguments as for `check_model`)."""
    expected = dict(expected_failures or {})
    names = [name_of(function) for function in (*CHECKS, *POPULATION_CHECKS, *SLOW_CHECKS)]
    unknown = [name for name in expected if name not in names]
    if unknown:
        raise ArgumentError(f"`expected_failures` names {unknown[0]!r}, which is no check; the checks are {names}.")
    takes = set(model.capabilities.observations)
    checks: list[tuple[Callable[[Any], None], Subject]] = []
    given, crowd = (None, data) if _is_population(data) else (data, None)
    if takes - {"snapshots"}:
        subject: Subject = Subject(model, seed=seed, data=given)  # pyright: ignore[reportArgumentType]
        checks += [(function, subject) for function in (*CHECKS, *(SLOW_CHECKS if slow else ()))]
    if "snapshots" in takes:
        subject = PopulationSubject(model, seed=seed, data=crowd)  # pyright: ignore[reportArgumentType]
        checks += [(function, subject) for function in POPULATION_CHECKS]
    return [Check(function, subject, expected.get(name_of(function), "")) for function, subject in checks]


def check_model(
    model: AbstractModel,
    *,
    seed: int = 0,
    slow: bool = False,
    data: Trajectories | Snapshots | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Report:
    """Run the conformance kit on a model.

    Args:
        model: The model, with the options to be checked.
        seed: Seed of the made data, the prior draws and the statistical checks.
        slow: Whether to run simulation-based calibration too, which takes a minute or more.
        data: Trajectories to work on instead of made ones: two or more series of six or more rows; for a model of
            snapshots, three or more populations of a hundred or so particles.
        expected_failures: Reason by name of each check that is bound to fail. It counts as a fault when it passes.

    Returns:
        A report; print it, or look at `.passed` and `.faults`.

    Raises:
        ArgumentError: `expected_failures` names no check.
    """
    checks = list_checks(model, seed=seed, slow=slow, data=data, expected_failures=expected_failures)
    return Report(model.entry.id, tuple(check.result() for check in checks))


def check_plugin(name: str, *, seed: int = 0, slow: bool = False, host: Host | None = None) -> Report:
    """Run the conformance kit on a plugin: it loads, it is light, its records hold, and each model conforms.

    Args:
        name: Name of the plugin's entry point.
        seed: Seed of the checks.
        slow: Whether to run simulation-based calibration too.
        host: The host to ask; the default one when None.

    Raises:
        UnknownNameError: No plugin of that name is installed.
    """
    models, results = _plugin(name, host)
    if results[0].status == "passed":
        for model in models:
            results += check_model(model, seed=seed, slow=slow).results
    return Report(name, tuple(results))


def parametrize_checks(
    *what: str | AbstractModel,
    seed: int = 0,
    slow: bool = False,
    data: Trajectories | Snapshots | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Any:
    """Parametrise a pytest test over the checks of models and plugins.

    The test takes one argument `check` and calls it::

        @parametrize_checks("template")
        def test_conformance(check):
            check()

    Args:
        what: Ids of models (`family/name`), names of plugins (all their models), or models built with options.
        seed: Seed of the checks.
        slow: Whether to run simulation-based calibration too.
        data: Trajectories to work on instead of made ones, as for `check_model`.
        expected_failures: Reason by name of each check that is bound to fail; such a test is marked `xfail`, strictly.
    """
    import pytest

    params = []
    for item in what:
        if isinstance(item, AbstractModel):
            models = [item]
        elif "/" in item:
            from dynplat.host import default_host

            models = [_build(default_host(), item)]
        else:
            models, results = _plugin(item, None)
            if results[0].status != "passed":
                raise PluginError(results[0].message)
        for model in models:
            for check in list_checks(model, seed=seed, slow=slow, data=data, expected_failures=expected_failures):
                marks = [pytest.mark.xfail(reason=check.expected, strict=True)] if check.expected else []
                params.append(pytest.param(_skipping(check), id=f"{model.entry.id}-{check.name}", marks=marks))
    return pytest.mark.parametrize("check", params)


def _is_population(data: Trajectories | Snapshots | None) -> bool:
    from dynplat.data import Snapshots

    return isinstance(data, Snapshots)


def _skipping(check: Check) -> Callable[[], None]:
    def run() -> None:
        import pytest

        try:
            check()
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))

    return run


def _plugin(name: str, host: Host | None) -> tuple[list[AbstractModel], list[CheckResult]]:
    from dynplat.host import default_host

    host = host or default_host()
    reports = {report.name: report for report in host.reports()}
    if name not in reports:
        raise UnknownNameError(
            f"no plugin {name!r} is installed; there are {sorted(reports)}. Run `pip install -e FOLDER`."
        )
    report = reports[name]
    if report.state != "active":
        return [], [CheckResult(name, "plugin-is-active", "failed", f"the plugin is {report.state}: {report.reason}")]
    results = [CheckResult(name, "plugin-is-active", "passed"), _light(report)]
    ids = [component for component in report.components if "/" in component]
    return [_build(host, model) for model in ids], results


def _build(host: Host, id: str) -> AbstractModel:
    from dynplat.host.build import build_model

    return build_model(host.find("model", id), {})


def _light(report: Any) -> CheckResult:
    """Importing the plugin's module, as every start of dynplat does, must load no numerical framework."""
    import subprocess
    import sys

    heavy = ("torch", "jax", "pyro", "numpyro", "pandas", "matplotlib", "scipy")
    code = (
        f"import sys, importlib; importlib.import_module({report.module!r}); "
        f"print(', '.join(m for m in {heavy} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    name = "plugin-is-light"
    if done.returncode:
        return CheckResult(
            report.name, name, "failed", f"importing {report.module} fails: {done.stderr.strip()[-400:]}"
        )
    if done.stdout.strip():
        return CheckResult(
            report.name,
            name,
            "failed",
            f"importing {report.module} imports {done.stdout.strip()}: import such packages inside functions or in "
            "the modules that hold the models.",
        )
    return CheckResult(report.name, name, "passed")
