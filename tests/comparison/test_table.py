import pytest

from dynplat.comparison.table import format_estimate, latex_table, latex_text, markdown_table, text_table


@pytest.mark.parametrize(
    ("value", "stderr", "text"),
    [
        (0.34321, 0.01234, "0.343 ± 0.012"),
        (0.34321, 0.0996, "0.34 ± 0.10"),
        (-1234.5678, 3.21, "-1234.6 ± 3.2"),
        (1234567.0, 4321.0, "1234600 ± 4300"),
        (18628232.0, 3326302.0, "18600000 ± 3300000"),
        (151.4, 123.0, "150 ± 120"),
        (151.4, 99.6, "150 ± 100"),
        (2.5, 0.0, "2.5 ± 0"),
        (0.1 + 0.2, float("nan"), "0.3"),
        (0.5, None, "0.5"),
        (float("inf"), float("nan"), "inf"),
        (float("-inf"), None, "-inf"),
        (float("nan"), 1.0, "-"),
        (None, None, "-"),
        (1e-12, 1e-13, "1e-12 ± 1.0e-13"),
    ],
)
def test_value_has_as_many_digits_as_its_error_supports(value, stderr, text):
    assert format_estimate(value, stderr) == text


def test_latex_writes_its_own_signs():
    assert format_estimate(0.34321, 0.01234, dialect="latex") == r"0.343 \pm 0.012"
    assert format_estimate(float("inf"), None, dialect="latex") == r"\infty"
    assert latex_text("a_b & 90 % {c}") == r"a\_b \& 90 \% \{c\}"
    assert latex_table(["m", "s"], [["a", "$1$"]], num_left=1).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"m & s \\",
        r"\midrule",
        r"a & $1$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown_escapes_bars():
    assert markdown_table(["m", "s"], [["a|b", "1"]], num_left=1) == "| m | s |\n| --- | ---: |\n| a\\|b | 1 |"


def test_text_is_set_in_columns():
    assert text_table(["model", "s"], [["a", "1.0"], ["bb", "-"]], num_left=1) == "model    s\na      1.0\nbb       -"
