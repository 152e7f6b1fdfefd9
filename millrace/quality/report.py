"""What came of the checks: one outcome an expectation, one report a layer."""

import json
from typing import Any, Literal

from millrace.casting import UNREADABLE
from millrace.errors import UserError
from millrace.strict import Strict

Layer = Literal["bronze", "silver", "gold"]
Engine = Literal["Great Expectations", "polars"]
# At most so many of the values that break a rule are shown.
SAMPLES = 5


class Check(Strict):
    """The outcome of one expectation."""

    rule: str
    column: str | None
    expected: str
    severity: str
    passed: bool
    unexpected: int | None
    rows: int | None
    samples: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The failure as a person would say it."""
        where = f"column '{self.column}'" if self.column not in (None, UNREADABLE) else "the table"
        if self.unexpected is None or self.rows is None:
            found = f" (found: {', '.join(self.samples)})" if self.samples else ""
            return f"{where} should {self.expected}{found}."
        share = self.unexpected / max(self.rows, 1)
        like = f", for example {', '.join(self.samples)}" if self.samples else ""
        count = f"{self.unexpected} of {self.rows} rows ({share:.1%})"
        return f"{where} should {self.expected}: {count} do not{like}."


class Report(Strict):
    """All outcomes of one layer, and what computed them."""

    layer: Layer
    checks: tuple[Check, ...]
    engine: Engine = "Great Expectations"

    @property
    def failures(self) -> list[Check]:
        """The failed checks that stop a run."""
        return [check for check in self.checks if not check.passed and check.severity == "critical"]

    @property
    def warnings(self) -> list[Check]:
        """The failed checks that do not."""
        return [check for check in self.checks if not check.passed and check.severity != "critical"]


def require(report: Report, origin: str) -> None:
    """Raise a UserError with a sentence for each check that must not fail but did."""
    if report.failures:
        sentences = "\n".join(f"  - {check.sentence}" for check in report.failures)
        failed = f"{len(report.failures)} {report.layer} check(s) failed"
        raise UserError(f"{origin}: {failed}, nothing was trained:\n{sentences}")


def shown(values: list[Any]) -> tuple[str, ...]:
    """Values as JSON, short, each once."""
    return tuple(dict.fromkeys(_shown(value) for value in values))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
