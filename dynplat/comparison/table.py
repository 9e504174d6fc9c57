"""Figures as text: a value with as many digits as its standard error supports, and tables in three dialects."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Shown where there is no figure.
ABSENT = "-"
_PLUS_MINUS = {"text": " ± ", "markdown": " ± ", "latex": r" \pm "}
_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def format_estimate(value: float | None, stderr: float | None, *, dialect: str = "text") -> str:
    """Write a value and its standard error: two digits of the error, the value to the same decimal.

    Args:
        value: The figure; None or NaN for an absent one.
        stderr: Its standard error; None or NaN where it is undefined.
        dialect: `text`, `markdown` or `latex`.
    """
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        sign = "-" if value < 0 else ""
        return sign + (r"\infty" if dialect == "latex" else "inf")
    if stderr is None or not math.isfinite(stderr):
        return f"{value:.4g}"
    if stderr == 0.0:
        return f"{value:.4g}{_PLUS_MINUS[dialect]}0"
    # The exponent of the error once it is rounded to two digits, so that 0.0996 counts as 0.10.
    exponent = int(f"{stderr:.1e}".split("e")[1])
    decimals = 1 - exponent
    if decimals > 8 or decimals < -5:
        return f"{value:.4g}{_PLUS_MINUS[dialect]}{stderr:.1e}"
    # Places before the decimal point are rounded as well; the format alone would print every digit of them.
    value, stderr = round(value, decimals), round(stderr, decimals)
    decimals = max(decimals, 0)
    return f"{value:.{decimals}f}{_PLUS_MINUS[dialect]}{stderr:.{decimals}f}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """Columns padded with spaces; the first `num_left` are set to the left, the others to the right."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = []
    for line in [header, *rows]:
        cells = [
            cell.ljust(width) if column < num_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """A table in GitHub's Markdown; a bar inside a cell is escaped."""
    alignment = ["---" if column < num_left else "---:" for column in range(len(header))]
    body = [[cell.replace("|", r"\|") for cell in line] for line in [header, *rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in [body[0], alignment, *body[1:]])


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """A LaTeX `tabular` with the rules of the booktabs package; cells must already be LaTeX."""
    columns = "l" * num_left + "r" * (len(header) - num_left)
    lines = [r"\begin{tabular}{" + columns + "}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    lines += [" & ".join(line) + r" \\" for line in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def latex_text(text: str) -> str:
    """Escape what LaTeX would read as a command."""
    return "".join(_LATEX_SPECIAL.get(letter, letter) for letter in text)
