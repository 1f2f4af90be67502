"""Of all tests: which process runs which, and that one whose tool is missing is skipped, or fails."""

import os

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.outside_tools import TOOLS

TOGETHER = {"tests/limiter/test_bound.py"}
"""Files whose tests look at one thing that takes long to make."""


class _TestByTest(LoadScopeScheduling):  # type: ignore[misc]
    """Who is free gets the next test, in the order of the files; those that belong together go together, and first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """Take the place of ``--dist load``, which is what ``-n`` alone means."""
    return _TestByTest(config, log) if config.getoption("dist") == "load" else None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(program, ...): tools from tests/outside_tools.py that the test runs")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in (TOOLS[program] for program in marker.args):
            if not tool.is_missing:
                continue
            if os.environ.get("REQUIRE_TOOLS", "0") not in {"", "0"}:
                pytest.fail(f"REQUIRE_TOOLS is set, and {tool.absence}", pytrace=False)
            pytest.skip(tool.absence)
