"""The conformance kit: every check that a component's own declarations call for, by function, by pytest, by command."""

from __future__ import annotations

import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynplat.errors import DynplatError, UnknownNameError
from dynplat.model import AbstractModel
from dynplat.testing import calibration, law, prediction, program
from dynplat.testing.report import CheckFailed, CheckResult, CheckSkipped, Report
from dynplat.testing.subject import Subject

if TYPE_CHECKING:
    from dynplat.data import Trajectories

#: The checks in the order in which a fault is easiest to understand: what is simple first.
CHECKS: tuple[Callable[[Subject], None], ...] = (
    program.check_record,
    program.check_context_ignores_hidden_cells,
    program.check_prior_runs_in_each_language,
    program.check_solver,
    program.check_undeclared_is_refused,
    prediction.check_simulation_is_finite,
    prediction.check_simulation_obeys_the_seed,
    law.check_masked_rows_contribute_zero,
    law.check_missing_is_marginal,
    law.check_density_integrates_to_one,
    law.check_time_matters,
    law.check_splitting_a_gap_changes_nothing,
    law.check_padding_changes_nothing,
    law.check_series_order_is_free,
    law.check_parameters_broadcast,
    law.check_steps_are_conditional_densities,
    law.check_likelihood_fits_simulation,
    law.check_gradient,
    law.check_frameworks_agree,
    law.check_single_precision,
    program.check_languages_agree,
    program.check_scale_of_time,
    prediction.check_conditioning_on_nothing_is_the_prior,
    prediction.check_data_narrow_the_law,
    prediction.check_marginals_agree_between_queries,
    prediction.check_draws_have_their_moments,
    prediction.check_forecast_forgets_the_mask,
    prediction.check_states_can_be_asked,
    program.check_saving,
)
SLOW_CHECKS: tuple[Callable[[Subject], None], ...] = (calibration.check_calibration,)


@dataclass(frozen=True)
class Check:
    """One check of one model, to be called.

    Args:
        function: The check.
        subject: What it works on; shared by the checks of a model, so that its data are made once.
    """

    function: Callable[[Subject], None]
    subject: Subject

    @property
    def name(self) -> str:
        """Name without its prefix, words joined by hyphens."""
        return self.function.__name__.removeprefix("check_").replace("_", "-")

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
        component = self.subject.model.entry.id
        return CheckResult(component, self.name, status, message, time.perf_counter() - started)


def list_checks(
    model: AbstractModel, *, seed: int = 0, slow: bool = False, data: Trajectories | None = None
) -> Iterator[Check]:
    """Yield the checks of a model, ready to be called."""
    subject = Subject(model, seed=seed, data=data)
    for function in (*CHECKS, *(SLOW_CHECKS if slow else ())):
        yield Check(function, subject)


def check_model(model: AbstractModel, *, seed: int = 0, slow: bool = False, data: Trajectories | None = None) -> Report:
    """Run the conformance kit on a model.

    Args:
        model: The model, with the options to be checked.
        seed: Seed of the made data, the prior draws and the statistical checks.
        slow: Whether to run simulation-based calibration too, which takes minutes.
        data: Trajectories to work on instead of made ones.

    Returns:
        A report; print it, or look at `.passed` and `.faults`.
    """
    return Report(
        model.entry.id, tuple(check.result() for check in list_checks(model, seed=seed, slow=slow, data=data))
    )


def check_plugin(name: str, *, seed: int = 0, slow: bool = False, host: Any = None) -> Report:
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


def parametrize_checks(*names: str, seed: int = 0, slow: bool = False) -> Any:
    """Parametrise a pytest test over the checks of models (`family/name`) and plugins (entry-point names).

    The test takes one argument `check` and calls it::

        @parametrize_checks("template")
        def test_conformance(check):
            check()
    """
    import pytest

    from dynplat import host as host_room

    params = []
    for name in names:
        models = [host_room.default_host().load_model(name)] if "/" in name else _plugin(name, None)[0]
        for model in models:
            for check in list_checks(model, seed=seed, slow=slow):
                params.append(pytest.param(_skipping(check), id=f"{model.entry.id}-{check.name}"))
    return pytest.mark.parametrize("check", params)


def _skipping(check: Check) -> Callable[[], None]:
    def run() -> None:
        import pytest

        try:
            check()
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))

    return run


def _plugin(name: str, host: Any) -> tuple[list[AbstractModel], list[CheckResult]]:
    from dynplat.host import default_host

    host = host or default_host()
    reports = {report.name: report for report in host.reports}
    if name not in reports:
        raise UnknownNameError(
            f"no plugin {name!r} is installed; there are {sorted(reports)}. Run `pip install -e FOLDER`."
        )
    report = reports[name]
    if report.state != "active":
        return [], [CheckResult(name, "plugin-is-active", "failed", f"the plugin is {report.state}: {report.reason}")]
    results = [CheckResult(name, "plugin-is-active", "passed"), _light(report)]
    ids = [component for component in report.components if "/" in component]
    return [host.load_model(model) for model in ids], results


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
