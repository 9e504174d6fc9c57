"""What the conformance kit tells: one result per check, and a report that names the faults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


class CheckFailed(AssertionError):
    """A check that found a fault: what was expected, what came, and the likely cause."""


class CheckSkipped(Exception):
    """A check that does not apply to what the component declares, or that could not be run."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Args:
        component: Id of the component.
        check: Name of the check.
        status: `passed`, `failed`, `skipped`, or `expected` for a failure that was announced.
        message: The fault, or why the check does not apply.
        seconds: How long it took.
    """

    component: str
    check: str
    status: str
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """Outcomes of all checks of one component or one plugin.

    Args:
        subject: What was checked.
        results: The outcomes, in the order in which the checks ran.
    """

    subject: str
    results: tuple[CheckResult, ...] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether nothing failed (that was not announced) and at least one check passed."""
        statuses = [result.status for result in self.results]
        return "failed" not in statuses and "passed" in statuses

    @property
    def faults(self) -> tuple[CheckResult, ...]:
        """The failed checks."""
        return tuple(result for result in self.results if result.status == "failed")

    def to_dict(self) -> dict[str, Any]:
        """Return plain figures for JSON."""
        return {"subject": self.subject, "passed": self.passed, "results": [asdict(result) for result in self.results]}

    def __str__(self) -> str:
        lines = []
        component = None
        for result in self.results:
            if result.component != component:
                component = result.component
                lines.append(component)
            lines.append(f"  {result.status:8} {result.check}")
            if result.message and result.status != "passed":
                lines += [f"           {line}" for line in result.message.splitlines()]
        counts = []
        for status in ("passed", "failed", "skipped", "expected"):
            count = sum(result.status == status for result in self.results)
            if count or status != "expected":
                counts.append(f"{count} {status}")
        verdict = "conforms" if self.passed else "does not conform"
        return "\n".join([*lines, f"{self.subject} {verdict}: {', '.join(counts)}."])


def compare_arrays(
    name: str, got: np.ndarray, expected: np.ndarray, *, rtol: float, atol: float = 0.0, cause: str
) -> None:
    """Fail unless two arrays agree, telling the largest difference and the likely cause."""
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    if got.shape != expected.shape:
        raise CheckFailed(f"{name}: expected shape {expected.shape}, got {got.shape}. {cause}")
    bad = ~np.isfinite(got) & (got != expected)
    if bad.any():
        raise CheckFailed(f"{name}: {bad.sum()} of {got.size} numbers are not finite. {cause}")
    with np.errstate(invalid="ignore"):
        excess = np.where(got == expected, 0.0, np.abs(got - expected) - (atol + rtol * np.abs(expected)))
    if got.size and not (excess <= 0).all():
        worst = np.unravel_index(int(np.argmax(np.nan_to_num(excess, nan=np.inf))), got.shape)
        raise CheckFailed(
            f"{name}: expected {expected[worst]:.10g}, got {got[worst]:.10g} at index {tuple(map(int, worst))} "
            f"(difference {abs(got[worst] - expected[worst]):.3g}). {cause}"
        )
