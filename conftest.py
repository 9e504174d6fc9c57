"""The documentation as tests: the Python blocks and commands of README.md, docs/ and the plugins' READMEs run.

- ```` ```python ```` blocks run in order and share their names within a page; `>>>` examples are compared with what
  they show (numbers to the digits shown).
- ```` ```console ```` blocks: each line that begins with `$ ` runs as its own process; what follows it is compared
  with what it printed (`...` stands for anything, numbers to the digits shown). A command must succeed, unless the next
  one is `echo $?`. Only the commands of `_COMMANDS` run, with `NAME=VALUE` before them where the page says so.
- ```` ```sh ```` and ```` ```text ```` blocks do not run.

A page's blocks work in one temporary folder, which holds a copy of the tables in docs/_static.
"""

from __future__ import annotations

import doctest
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.evaluators.doctest import NUMBER, OutputChecker
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

#: Commands that tests run in processes of their own keep nothing: every run compiles, as the first one does.
os.environ["DYNPLAT_JAX_CACHE"] = "off"

_ROOT = Path(__file__).parent
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | NUMBER
_COMMANDS = ("dynplat", "head", "cat")


class ConsoleParser(CodeBlockParser):
    """Runs the commands of a console block and compares what they print."""

    language = "console"

    def evaluate(self, example: Example) -> str | None:
        """Return None when every command did what the block shows, and otherwise what it did."""
        code = 0
        steps = _steps(example.parsed)
        for index, (command, wanted) in enumerate(steps):
            if command == "echo $?":
                printed = f"{code}\n"
            else:
                code, printed = _run(command)
                asked = index + 1 < len(steps) and steps[index + 1][0] == "echo $?"
                if code and not asked:
                    return f"`{command}` ended with exit code {code}:\n{printed}"
            if wanted.strip() and not OutputChecker().check_output(wanted, printed, _FLAGS):
                return f"`{command}` printed\n{printed}\nand the page shows\n{wanted}"
        return None


def _steps(block: str) -> list[tuple[str, str]]:
    """Split a block into commands (continued after a backslash) and what is shown below each."""
    steps: list[tuple[str, str]] = []
    lines = iter(block.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            steps.append((command.strip(), ""))
        elif steps:
            command, wanted = steps[-1]
            steps[-1] = (command, f"{wanted}{line}\n")
    return steps


def _run(command: str) -> tuple[int, str]:
    words = shlex.split(command)
    environment = dict(os.environ)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    if words[0] not in _COMMANDS:
        raise ValueError(f"a console block runs {', '.join(_COMMANDS)} only; got {words[0]!r}. Use a `sh` block.")
    if words[0] == "dynplat":
        words[:1] = [sys.executable, "-m", "dynplat"]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    return done.returncode, done.stdout


def _enter(namespace: dict[str, Any]) -> None:
    folder = tempfile.mkdtemp(prefix="dynplat-docs-")
    for table in (_ROOT / "docs" / "_static").glob("*.csv"):
        shutil.copy(table, folder)
    namespace["_places"] = (os.getcwd(), folder)
    os.chdir(folder)


def _leave(namespace: dict[str, Any]) -> None:
    before, folder = namespace["_places"]
    os.chdir(before)
    shutil.rmtree(folder, ignore_errors=True)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=_FLAGS), ConsoleParser(), SkipParser()],
    path=str(_ROOT),
    patterns=["README.md", "docs/*.md", "docs/**/*.md", "plugins/dynplat_*/README.md"],
    excludes=["docs/plugins/tutorial.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
