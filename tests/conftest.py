"""Tests that need a tool from outside are skipped where it is missing, and the run names it at its end."""

import os

import pytest

from tests.outside_tools import TOOLS


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, ...): tools from tests/outside_tools.py that the test runs")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in (TOOLS[program] for program in marker.args):
            if not tool.is_missing:
                continue
            if os.environ.get("REQUIRE_TOOLS", "0") not in {"", "0"}:
                pytest.fail(f"{tool.absence}, and REQUIRE_TOOLS is set", pytrace=False)
            pytest.skip(tool.absence)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    tests = {tool: sum(tool.absence in why for why in skipped) for tool in TOOLS.values()}
    if any(tests.values()):
        terminalreporter.section("not tested for want of a tool")
    for tool, count in tests.items():
        if count:
            terminalreporter.line(f"{tool.program}: {tool.tests} ({count} tests)")
            terminalreporter.line(f"    Debian: apt-get install {tool.packages}")
