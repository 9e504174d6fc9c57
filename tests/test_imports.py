"""What asking light questions costs: no numerical framework, no table, no plot. Each case is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "jax", "pandas", "matplotlib", "xarray", "pyro", "numpyro", "scipy", "statsmodels", "numpy",
    "array_api_compat", "arviz_base", "pyarrow", "zarr", "h5netcdf", "pooch",
)  # fmt: skip


def imported_by(code: str, **environment: str) -> list[str]:
    """Return the heavy packages that a fresh interpreter has imported after `code`."""
    script = f"{code}\nimport sys, json\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    inherited = {key: value for key, value in os.environ.items() if key != "DYNPLAT_PLUGINS"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**inherited, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "code",
    [
        "import dynplat",
        "import dynplat.host, dynplat.records, dynplat.errors, dynplat.observer",
        "import dynplat as dp; assert dp.list_models() and dp.list_plugins()",
        "import dynplat as dp; dp.hookimpl; dp.ModelEntry; dir(dp)",
        "import dynplat.host.scaffold",
    ],
)
def test_light_questions_import_nothing_heavy(code):
    assert imported_by(code) == []


def test_listing_the_core_imports_no_framework():
    code = "import dynplat as dp; assert dp.list_datasets() and dp.list_scores() and dp.list_inferences()"
    assert set(imported_by(code)) <= {"numpy", "array_api_compat"}


@pytest.mark.parametrize("command", ["--help", "models", "plugins"])
def test_command_line_imports_nothing_heavy(command):
    run = f"""
import contextlib, io, sys
from dynplat import cli
sys.argv = ["dynplat", {command!r}]
with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
    cli.main()
assert printed.getvalue()
"""
    assert imported_by(run) == []


def test_listing_works_without_plugins():
    code = (
        "import dynplat as dp; assert all(entry.id.startswith('baselines/') for entry in dp.list_models()); "
        "assert dp.list_plugins()[0].state == 'blocked'"
    )
    assert imported_by(code, DYNPLAT_PLUGINS="") == []


def test_bundled_plugins_are_active():
    code = "import dynplat as dp; assert all(r.state == 'active' and not r.notes for r in dp.list_plugins())"
    assert imported_by(code) == []
