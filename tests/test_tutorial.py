"""The tutorial page, run: its files are written and edited, its commands executed, their outputs compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "plugins" / "tutorial.md"
_BLOCK = re.compile(r"^```(?P<language>\S+)(?P<argument>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = r"-?\d+\.\d+(?:e[+-]?\d+)?"


def test_tutorial_runs_as_written(tmp_path):
    reader = Reader(tmp_path)
    for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        language, argument, body = block["language"], block["argument"].strip(), block["body"]
        if language == "console":
            reader.run(body)
        elif language == "{code-block}":
            caption, text = re.fullmatch(r":caption: (\S+)\n\n(.*)", body, re.DOTALL).groups()
            (reader.edit if argument == "diff" else reader.write)(caption, text)
    assert reader.commands >= 10


class Reader:
    """Somebody who does what the page says in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = 0
        self.site = folder / ".site"
        self.installed: str | None = None
        self.stale = False

    def write(self, path: str, text: str) -> None:
        """Write a file of the page."""
        (self.folder / path).write_text(text, encoding="utf-8")
        self.stale = True

    def edit(self, path: str, text: str) -> None:
        """Replace the lines of a difference."""
        lines = text.splitlines()
        old, new = ("\n".join(line[1:] for line in lines if not line.startswith(sign)) + "\n" for sign in ("+", "-"))
        before = (self.folder / path).read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{old!r} stands {before.count(old)} times in {path}"
        self.write(path, before.replace(old, new))

    def run(self, block: str) -> None:
        """Run the commands of a console block and compare what they print."""
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            self.commands += 1
            printed, code = self.execute(shlex.split(command))
            assert code == (1 if "does not conform" in expected else 0), f"$ {command}\n{printed}"
            if expected:
                assert_same(command, expected, printed)

    def execute(self, words: list[str]) -> tuple[str, int]:
        """Run one command; an installation goes into a folder of its own, and again after every edit."""
        if words[:2] == ["pip", "install"]:
            self.installed, self.stale = f"./{words[-1]}", True
            return "", 0
        if self.installed and self.stale:
            options = ["--quiet", "--no-deps", "--no-build-isolation", "--upgrade", "--target", str(self.site)]
            pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options, self.installed]
            subprocess.run(pip, cwd=self.folder, check=True, capture_output=True)
            self.stale = False
        programs = {"dynplat": [sys.executable, "-m", "dynplat"], "python": [sys.executable]}
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DYNPLAT_", "PYTEST_", "COV_"))}
        done = subprocess.run(
            [*programs.get(words[0], [words[0]]), *words[1:]],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            timeout=600,
            env={**environment, "PYTHONPATH": str(self.site), "COLUMNS": "120", "NO_COLOR": "1"},
        )
        return done.stdout + (done.stderr if done.returncode > 1 else ""), done.returncode


def assert_same(command: str, expected: str, printed: str) -> None:
    """Compare texts: `...` stands for anything, numbers need only agree to the digits shown, spaces do not count."""
    pattern, shown = "", []
    for piece in re.split(rf"(\.\.\.|{_NUMBER}|\s+)", expected.strip()):
        if piece == "...":
            pattern += ".*?"
        elif re.fullmatch(_NUMBER, piece):
            shown.append(piece)
            pattern += f"({_NUMBER})"
        else:
            pattern += r"\s+" if piece.isspace() else re.escape(piece)
    pattern = re.sub(r"(?:\\s\+)?\.\*\?(?:\\s\+)?", lambda _: r"(?:.*?)", pattern)
    found = re.fullmatch(pattern, printed.strip(), re.DOTALL)
    assert found, f"$ {command}\nexpected:\n{expected}\nprinted:\n{printed}"
    for want, got in zip(shown, found.groups(), strict=True):
        digits = len(want.partition(".")[2].partition("e")[0])
        unit = 10.0 ** (int(want.partition("e")[2] or 0) - digits)
        # An optimiser finds its optimum to some four digits; the machine decides the others.
        tolerance = max(1.01 * unit, 3e-4 * abs(float(want)))
        assert abs(float(want) - float(got)) <= tolerance, f"$ {command}\nexpected {want}, printed {got}:\n{printed}"
