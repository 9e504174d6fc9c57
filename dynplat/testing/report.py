"""What the conformance kit tells: one result per check, and a report that names the faults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


class CheckFailed(AssertionError):
    """A check that found a fault: what was expected, what came, and the likely cause."""


class CheckSkipped(Exception):
    """A check that does not apply to what the component declares."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Args:
        component: Id of the component.
        check: Name of the check.
        status: `passed`, `failed` or `skipped`.
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
        """Whether nothing failed and at least one check ran."""
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
            lines.append(f"  {result.status:7} {result.check}")
            if result.message and result.status != "passed":
                lines += [f"          {line}" for line in result.message.splitlines()]
        counts = [
            f"{sum(result.status == status for result in self.results)} {status}"
            for status in ("passed", "failed", "skipped")
        ]
        verdict = "conforms" if self.passed else "does not conform"
        return "\n".join([*lines, f"{self.subject} {verdict}: {', '.join(counts)}."])
