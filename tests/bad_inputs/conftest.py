"""Prints what was refused and in which words, when these tests are run by themselves."""

from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not all("bad_inputs" in argument for argument in config.args):
        return
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    refusals = [dict(report.user_properties) for report in reports if report.when == "call"]
    refusals = [refusal for refusal in refusals if "input" in refusal]
    terminalreporter.section(f"{len(refusals)} bad inputs")
    width = max((len(refusal["input"]) for refusal in refusals), default=0)
    for refusal in sorted(refusals, key=lambda refusal: refusal["number"]):
        first, *more = refusal["message"].splitlines() or [""]
        terminalreporter.write_line(f"{refusal['input']:<{width}}  {first}")
        for line in more:
            terminalreporter.write_line(f"{'':<{width}}  {line}")
